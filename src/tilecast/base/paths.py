"""Paths of the library's own files: package data, which a wheel holds, and files that only a checkout has."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"
DEVICES = DATA / "devices"
SYSTEMS = DATA / "systems"
MODELS = DATA / "models"
KERNELS = DATA / "kernels"  # of the shipped models, in symbolic form
PRICES = DATA / "prices.yaml"
POWER = DATA / "power.yaml"
WEIGHTS = DATA / "weights"
CURVES = DATA / "collectives.json"  # fitted curves of collective operations
SHARES = DATA / "shares.json"  # kernels of one GPU's share of the published training steps
SERVING_INTERVALS = DATA / "serving_intervals.csv"  # measured serving points against their forecasts
TUNED_KERNELS = DATA / "tuned_expert_kernels.csv"

SOURCE = DATA.parents[1]  # the folder that Python imports the library from
CHECKOUT = DATA.parents[2]
PUBLISHED = CHECKOUT / "resources/published"
STUDIES = CHECKOUT / "config/studies"
