"""Devices, links and systems."""
