"""Timing kernels and whole models on the machine at hand."""
