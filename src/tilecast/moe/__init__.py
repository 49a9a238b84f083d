"""Mixtures of experts on several GPUs: where experts lie, what moves, what prefetching can hide."""
