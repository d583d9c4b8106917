"""Decoded sounds: their samples and their rate."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Waveform(NamedTuple):
    """A decoded sound.

    Attributes:
        samples: (T,) float32, mono, from -1 to 1.
        rate: samples per second.
    """

    samples: NDArray[np.float32]
    rate: int


def resampled(sound: Waveform, rate: int) -> NDArray[np.float32]:
    """(T,) samples at another rate, by a polyphase filter."""
    from scipy.signal import resample_poly

    if sound.rate == rate:
        return sound.samples
    common = gcd(sound.rate, rate)
    made: NDArray[np.float32] = resample_poly(sound.samples, rate // common, sound.rate // common).astype(np.float32)
    return made
