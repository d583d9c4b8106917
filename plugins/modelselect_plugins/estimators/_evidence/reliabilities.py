"""The correlation with accuracy after fine-tuning that is expected of each piece of evidence.

These are where a user without a history starts. They were found by leaving out one dataset after the other on seven
benchmarks with 69 datasets. All but `QUALITY` are measured again on the user's own history. `public/README.md` holds
what published tables say of the same numbers.
"""

from __future__ import annotations

PROBE = 0.68
"""Of the mean of four estimators' normal scores: `etran`, `ncti`, `logme`, `linear_probe`."""

HISTORY = 0.60
"""Between the accuracies of the same candidates on two datasets, under one fine-tuning recipe."""

SIZE = 0.55
"""Of the logarithm of the number of parameters."""

IMAGENET = 0.70
"""Of the top-1 accuracy on ImageNet-1k."""

QUALITY = 0.35
"""Of the quality in published results. It is fixed: others fine-tune in other ways, and their results carry less."""

SIMILAR = 0.40
"""Of what similar candidates did, for a candidate without results of its own."""
