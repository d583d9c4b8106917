"""Whether any candidate's features tell the classes of a probe apart, by the accuracies that estimators measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from modelselect.estimators.guessing import PROPORTIONAL, better_than_guessing
from modelselect.evaluation.results import ScoringResult


def tell_classes_apart(results: Iterable[ScoringResult], labels: ArrayLike | None) -> bool | None:
    """True if the features of any candidate do better than guessing; None if no accuracy was measured.

    Args:
        results: of scoring the candidates. The accuracies are those of `knn` and `linear_probe`, or those that a
            composite of estimators computed as `linear_probe/linear_probe`.
        labels: (N,) classes of the probe's rows, -1 for unlabelled rows.
    """
    given = np.asarray([] if labels is None else labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        return None
    counts = np.unique(given[given >= 0], return_counts=True)[1]
    found = list(results)
    columns = {name: np.array([_accuracy(result.components, name) for result in found]) for name in PROPORTIONAL}
    measured = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    if not measured or len(counts) < 2:
        return None
    return bool(better_than_guessing(measured, counts[counts > 1] if (counts > 1).sum() > 1 else counts).any())


def _accuracy(components: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Per cent, of the estimator itself or of the same member of a composite; NaN if neither has one."""
    own = components.get(name, {}).get(name)
    members = (each[f"{name}/{name}"] for each in components.values() if f"{name}/{name}" in each)
    return float(next(members, np.nan) if own is None else own)
