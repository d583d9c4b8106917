"""`OneVsRest`: an estimator of classes on sets of labels, one label against the rest at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.linear_algebra import Vector
from modelselect.utils.class_labels import UNLABELLED
from modelselect.utils.target_kinds import CLASSES, LABEL_SETS, NUMBERS

FEWEST = 2
"""Rows that have a label, and that have it not, from which the label counts."""


class OneVsRest(Estimator):
    """The mean score of an estimator over labels: each label is a task of two classes, to have it or not.

    Rows where a label is not known do not count for it, and neither does a label that fewer than two rows have, or
    all but one. Statistics of the features are shared by all labels that are known for every row.

    An estimator that takes sets of labels itself scores them at once. If labels are missing, it scores each label on
    the rows where it is known.

    Args:
        estimator: of classes, or of sets of labels that are all known.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> sets = rng.integers(0, 2, (100, 3)).astype(float)
    >>> features = np.hstack([sets, rng.normal(size=(100, 5))]) + 0.1 * rng.normal(size=(100, 8))
    >>> from modelselect.host.host import get_host
    >>> bool(ms.score(features, sets, OneVsRest(get_host().estimator("centroid"))) > 75)
    True
    """

    optional = frozenset()
    targets = frozenset({LABEL_SETS})

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator

    @property
    def name(self) -> str:  # type: ignore[override]  # of each instance its estimator's
        return self.estimator.name

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return self.estimator.requires

    @property
    def reads(self) -> frozenset[str]:
        return self.estimator.reads

    @property
    def citation(self) -> str:  # type: ignore[override]
        return self.estimator.citation

    @property
    def relative(self) -> bool:  # type: ignore[override]
        return self.estimator.relative

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.estimator.stochastic

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.labels is not None
        itself = LABEL_SETS in self.estimator.targets
        if itself and not np.isnan(evidence.labels).any():
            return evaluate(self.estimator, evidence)
        found = [evaluate(self.estimator, one) for one in _one_by_one(evidence, CLASSES if not itself else NUMBERS)]
        if not found:
            raise NotApplicableError(
                f"{self.name} compares rows that have a label with rows that have it not, and there are fewer than "
                f"{FEWEST} of them for every label; give more rows"
            )
        names = set.intersection(*(set(components) for components in found))
        return {name: float(np.mean([each[name] for each in found])) for name in found[0] if name in names}

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Vector:
        return self.estimator.combine(scores)


def _one_by_one(evidence: Evidence, kind: str) -> Iterator[Evidence]:
    """The evidence for each label: two classes, -1 where it is not known; or one number, of the rows where it is."""
    labels = evidence.labels
    assert labels is not None
    for column in labels.T:
        known = ~np.isnan(column)
        count = int((column == 1).sum())
        if min(count, int(known.sum()) - count) < FEWEST:
            continue
        if kind == CLASSES:
            yield evidence.with_labels(np.where(known, column, UNLABELLED).astype(np.int64), CLASSES)
        else:
            rows = np.flatnonzero(known)
            yield evidence.take(rows).with_labels(column[rows, None].copy(), LABEL_SETS)
