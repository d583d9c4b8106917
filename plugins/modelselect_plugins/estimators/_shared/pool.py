"""Scores that are relative to a pool of candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def min_max(values: ArrayLike) -> NDArray[np.float64]:
    """Of a pool's scores: 0 for the least, 1 for the greatest. Zeros where all are equal, for then they say nothing.

    >>> min_max([1.0, 2.0, 5.0]).tolist()
    [0.0, 0.25, 1.0]
    >>> min_max([3.0, 3.0]).tolist()
    [0.0, 0.0]
    """
    array = np.asarray(values, dtype=np.float64)
    spread = np.ptp(array)
    result: NDArray[np.float64] = (array - array.min()) / spread if spread > 0 else np.zeros_like(array)
    return result
