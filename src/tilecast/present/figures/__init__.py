"""Figures: one module each, drawn by one rule each, so that editing one re-runs one."""
