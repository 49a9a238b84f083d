"""Tilecast: reproducible artifact evaluation of GPU performance forecasting."""

__version__ = "0.1.0"
