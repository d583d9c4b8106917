"""`Expectation`: what all evidence together says of one ranked candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

SURE = 0.8
"""Below this probability of being better, two candidates cannot be distinguished."""


@dataclass(frozen=True)
class Expectation:
    """The posterior of a candidate's quality, on the scale of normal scores within the pool: 0 is the pool's mean.

    Attributes:
        mean: the expected normal score.
        deviation: the standard deviation of it.
        rank_interval: the lowest and the highest rank that hold the true rank with a probability of 80%.
        contributions: what each piece of evidence adds to the mean, by its name. They sum up to the mean that was
            expected before fine-tuning; after it, the measured accuracy decides most of the mean.
    """

    mean: float
    deviation: float
    rank_interval: tuple[int, int]
    contributions: Mapping[str, float] = field(default_factory=dict)

    def probability_better(self, other: Expectation) -> float:
        """The probability that this candidate is better than the other.

        >>> low, high = Expectation(0.0, 0.6, (1, 2)), Expectation(1.0, 0.8, (1, 2))
        >>> round(high.probability_better(low), 2)
        0.84
        """
        spread = math.hypot(self.deviation, other.deviation)
        if spread == 0:
            return 0.5 if self.mean == other.mean else float(self.mean > other.mean)
        return NormalDist().cdf((self.mean - other.mean) / spread)
