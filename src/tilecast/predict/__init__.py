"""Latency of one kernel: published predictors and this project's own behind one small interface."""
