"""LEEP: how well a model's source classes predict the target classes (Nguyen et al., ICML 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import check_probabilities, class_indices, class_sums

_CHUNK_ROWS = 8192


class LEEP(Estimator):
    """Log expected empirical prediction: the mean over rows of log sum_z P(y | z) P(z | x).

    The candidate's own classifier says which source classes an image looks like. The better these predict the target
    class, the closer the two tasks are, and the less fine-tuning has to change.

    In short: How well source classes predict your classes.

    Formula: `mean over rows of log sum_z P(y | z) P(z | x)`, where P(z | x) are the source-class probabilities, and
    P(y | z) is their empirical joint distribution with the target labels, divided by its marginal over y. At most 0,
    which means that the source classes determine the target class.

    Limits: Needs a backbone with a source classifier; a self-supervised one has no score. It does not use the features,
    so two networks with equal source tasks and different features have the same score. With few source classes it
    hardly varies; with more source classes than rows it approaches 0.

    Code and paper: Agrees with the code of LogME (LEEP.py). A source class without any mass is left out, where that
    code returns NaN.

    >>> import modelselect as ms
    >>> ms.score(None, [0, 0, 1, 1], "leep", source_probabilities=[[1, 0], [1, 0], [0, 1], [0, 1]])
    0.0
    """

    name = "leep"
    requires = frozenset({"labels", "source_probabilities"})
    citation = (
        "C. Nguyen, T. Hassner, M. Seeger, C. Archambeau: LEEP: A New Measure to Evaluate Transferability of Learned "
        "Representations, ICML 2020"
    )

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.source_probabilities is not None
        assert evidence.labels is not None
        probabilities = evidence.source_probabilities
        check_probabilities(probabilities)
        indices, n_classes = class_indices(evidence.labels, self.name)
        return {self.name: log_expected_prediction(probabilities, indices, n_classes)}


def log_expected_prediction(
    probabilities: NDArray[np.floating[Any]], indices: NDArray[np.int64], n_classes: int
) -> float:
    """LEEP of (N, S) probabilities of source classes, or of clusters, and (N,) target class indices.

    >>> log_expected_prediction(np.eye(3), np.array([0, 1, 1]), 2)
    0.0
    """
    joint = class_sums(probabilities, indices, n_classes)
    mass = joint.sum(axis=0)
    target_given_source = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    total = 0.0
    for start in range(0, len(indices), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        expected = np.einsum("ns,ns->n", target_given_source[indices[rows]], probabilities[rows], dtype=np.float64)
        total += float(np.log(expected).sum())
    return min(total / len(indices), 0.0)


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [LEEP()]
