"""Linear probe: the cross-validated accuracy of logistic regression on frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample
from modelselect_plugins.estimators._shared.folds import standardised_in_span


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
        train, test = standardised_in_span(train, test)
        weights, bias = logistic_regression(train, classes, self.regularisation, self.iterations)
        logits = test @ weights + bias
        if logits.shape[1] == 1:
            return (logits[:, 0] > 0).astype(np.int64)
        return np.asarray(logits.argmax(axis=1), np.int64)


def logistic_regression(
    rows: NDArray[np.floating[Any]], classes: NDArray[np.int64], regularisation: float = 1.0, iterations: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights (D, K) and the bias (K,) that scikit-learn's `LogisticRegression` finds, without importing it.

    Objective, start, L-BFGS and its tolerances are the same; for two classes there is one column, positive for class 1.

    Args:
        rows: (N, D).
        classes: (N,) from 0 to K - 1, each at least once; K is at least 2.
        regularisation: scikit-learn's `C`.
        iterations: maximum number of iterations. What is reached by then is returned.
    """
    from scipy.optimize import minimize

    (count, width), n_classes = rows.shape, int(classes.max()) + 1
    columns = 1 if n_classes == 2 else n_classes
    penalty, each = 1 / (regularisation * count), np.arange(count)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        table = flat.reshape(width + 1, columns)
        weights, logits = table[:-1], rows @ table[:-1] + table[-1]
        if columns == 1:
            loss = (np.logaddexp(0, logits[:, 0]) - classes * logits[:, 0]).sum()
            residual = 0.5 * (1 + np.tanh(logits / 2)) - classes[:, None]
        else:
            logits -= logits.max(axis=1, keepdims=True)
            raised = np.exp(logits)
            total = raised.sum(axis=1)
            loss = (np.log(total) - logits[each, classes]).sum()
            residual = raised / total[:, None]
            residual[each, classes] -= 1
        residual /= count
        gradient = np.concatenate([rows.T @ residual + penalty * weights, residual.sum(axis=0)[None]])
        return loss / count + penalty / 2 * (weights * weights).sum(), gradient.ravel()

    settings: Any = {"maxiter": iterations, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps}
    start: Any = np.zeros((width + 1) * columns)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=settings)
    table = found.x.reshape(width + 1, columns)
    return table[:-1], table[-1]


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
