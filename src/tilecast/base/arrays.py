"""The type of a numpy array, whatever its numbers and dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
