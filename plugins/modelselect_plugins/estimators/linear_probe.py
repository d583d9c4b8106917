"""Linear probe: the cross-validated accuracy of logistic regression on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample


class LinearProbe(Estimator):
    """Accuracy, in per cent, of L2-regularised multinomial logistic regression in stratified cross-validation.

    If a linear classifier on the frozen features does well on rows that it has not seen, fine-tuning has a good
    starting point. This is the direct, slow measure that closed-form estimators approximate.

    In short: Cross-validated accuracy of a linear classifier.

    Formula: the share of rows that a logistic regression, trained on the other folds, classifies correctly. Features
    are standardised by the mean and deviation of the training folds. Every class is spread over the folds as evenly as
    possible, so that a class with fewer rows than folds is missing in the test rows of some folds, but never in
    training. The row of a class with a single row is always trained on, and not judged.

    Args:
        folds: number of folds of the cross-validation.
        regularisation: inverse strength of the penalty, scikit-learn's `C`.
        iterations: maximum number of iterations of L-BFGS. A fit that has not converged by then is used as it is,
            since the accuracy hardly changes any more.
        max_rows: with more rows than this, one sample of this size that keeps the class shares; None uses all rows.

    Limits: If the probe is small relative to the number of classes, the accuracy is coarse and many candidates tie.
    Prefers wide features, and does not cover what fine-tuning can change.

    Code and paper: Folds of the probe replace the paper's training and validation splits.

    - The penalty is fixed. The paper chooses it on the validation split. Nothing restores it: give another penalty.

    Source: Kornblith, Shlens, Le, CVPR 2019 (logistic regression on frozen features).

    >>> import modelselect as ms
    >>> ms.score([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]], [0, 0, 0, 1, 1, 1], "linear_probe")
    100.0
    """

    name = "linear_probe"
    requires = frozenset({"features", "labels"})
    citation = "S. Kornblith, J. Shlens, Q. V. Le: Do Better ImageNet Models Transfer Better?, CVPR 2019"
    cost = "iterative"
    stochastic = True

    def __init__(
        self, folds: int = 5, regularisation: float = 1.0, iterations: int = 100, max_rows: int | None = 10_000
    ) -> None:
        self.folds = folds
        self.regularisation = regularisation
        self.iterations = iterations
        self.max_rows = max_rows

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        rng = np.random.default_rng(evidence.seed)
        features, (indices, _) = evidence.features, class_indices(evidence.labels, self.name)
        if self.max_rows is not None and len(indices) > self.max_rows:
            rows = stratified_sample(indices, self.max_rows, rng)
            features, indices = features[rows], indices[rows]
        fold = _deal(indices, self.folds, rng)
        if not (fold >= 0).any():
            raise NotApplicableError(
                f"{self.name} trains on some rows of a class and tests on others, and no class has two rows"
            )
        right = np.zeros(len(indices), dtype=bool)
        for test in range(fold.max() + 1):
            held_out = fold == test
            right[held_out] = (
                self._predict(features[~held_out], indices[~held_out], features[held_out]) == indices[held_out]
            )
        return {self.name: 100 * float(right[fold >= 0].mean())}

    def _predict(
        self, train: NDArray[np.floating[Any]], classes: NDArray[np.int64], test: NDArray[np.floating[Any]]
    ) -> NDArray[np.int64]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        train, test = train.astype(np.float64), test.astype(np.float64)
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation[deviation <= 1e-12 * np.abs(mean)] = 1.0  # a constant column, up to rounding
        train, test = (train - mean) / deviation, (test - mean) / deviation
        if train.shape[1] > train.shape[0]:
            # The penalty is invariant to rotations, and the weights lie in the span of the training rows: solve there.
            basis = np.linalg.qr(train.T)[0]
            train, test = train @ basis, test @ basis
        model = LogisticRegression(C=self.regularisation, max_iter=self.iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train, classes)
        predicted: NDArray[np.int64] = model.predict(test)
        return predicted


def _deal(indices: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) the fold in which each row is tested, -1 for the only row of a class, which is always trained on.

    Rows are shuffled within their class, then dealt out in turn, each class going on where the last one stopped.
    """
    counts = np.bincount(indices)
    shuffled = rng.permutation(len(indices))
    by_class = shuffled[np.argsort(indices[shuffled], kind="stable")]
    alone = counts[indices[by_class]] == 1
    fold = np.full(len(indices), -1)
    fold[by_class[~alone]] = np.arange((~alone).sum()) % min(folds, max((~alone).sum(), 1))
    return fold


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [LinearProbe()]
