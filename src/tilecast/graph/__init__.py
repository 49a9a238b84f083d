"""A model as a list of kernels."""
