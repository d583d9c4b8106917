"""LEAD: how a linear classifier's logits would move in fine-tuning, by the tangent kernel (Hu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.linear_algebra import positive_eigh, softmax
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample

_ITERATIONS = 1000  # maximum for L-BFGS, for all support vector machines together; usually it needs 100 to 500
_ACTIVE = 0.3  # twice the share of rows that usually violate their margin: what they add to the loss's curvature


class LEAD(Estimator):
    """Minus the cross-entropy of logits that have moved towards the labels for a time, each class at its own rate.

    Fine-tuning moves each row's logits from those of a linear classifier on the frozen features towards the row's
    label. How fast a class moves follows from its neural tangent kernel. The score is how near to the labels the logits
    are after a fixed time.

    In short: How logits would move towards the labels in training.

    Formula: a row of class k moves from its initial state p to `(1 - r_k) y + r_k p`, where y is its one-hot label,
    `r_k = exp(-eta lambda_k t)`, and lambda_k is the mean eigenvalue of the class's neural tangent kernel: that of a
    head with two hidden layers at random initialisation, for the sum of its logits, over a sample of the class. The
    initial p are the class probabilities of one-versus-rest linear support vector machines (softmax of their
    decisions).

    Args:
        time: t.
        rows_per_class: number of rows sampled for the kernel.
        widths: of the two hidden layers.
        max_rows: with more rows than this, one sample of this size that keeps the class shares; None uses all rows.

    Limits: If N <= D, the support vector machines separate the rows perfectly, and all candidates score alike. Since
    only the differences between the rates of classes count here, most of the score is the fit of these machines. Until
    it can be compared with the authors' own figures, treat it as our reading of the method, not as the method.

    Code and paper: **Nothing here could be checked against the authors.** No code of theirs was found. Of the full text
    (arXiv 2507.14559) only the abstract and the first lines could be read, which have no equation. All else comes from
    a third party's re-implementation, which quotes the paper: the dynamics and their solution (equations 5 and 6), a
    rate for each class from the mean eigenvalue of its kernel (equation 7 and algorithm 1), the kernel of the sum of
    the logits (equation 17 of the supplement), the support vector machines, the cross-entropy as the score, t = 1, 64
    rows of a class, and widths of 1,024 and 2,048. A second re-implementation has ridge regression, one hidden layer
    and t = 10.

    - The decisions of the machines become probabilities by softmax. The paper is quoted with "normalised"; the first
      re-implementation calibrates them on folds, the second takes them as they are. Nothing restores either.
    - The lambda_k are divided by their mean over classes, so that a class with an average rate keeps exp(-t) of its
      initial state, and only the differences between the classes count. Nothing restores the paper's own scale: the
      value of eta is unknown.

    Source: equations 5 to 7, algorithm 1 and equation 17 of the supplement, as given in a third party's
    re-implementation.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> ms.score(features, labels, "lead") > ms.score(features, rng.permutation(labels), "lead")
    True
    """

    name = "lead"
    requires = frozenset({"features", "labels"})
    citation = (
        "Z. Hu, X. Li, S. Tang, J. Liu, Y. Hu, L.-Y. Duan: LEAD: Exploring Logit Space Evolution for Model Selection, "
        "CVPR 2024"
    )
    cost = "iterative"
    stochastic = True
    version = 2

    def __init__(
        self,
        time: float = 1.0,
        rows_per_class: int = 64,
        widths: tuple[int, int] = (1024, 2048),
        max_rows: int | None = 10_000,
    ) -> None:
        self.time = time
        self.rows_per_class = rows_per_class
        self.widths = widths
        self.max_rows = max_rows

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        rng = np.random.default_rng(evidence.seed)
        indices, n_classes = class_indices(evidence.labels, self.name)
        features: NDArray[Any] = evidence.features
        if self.max_rows is not None and len(indices) > self.max_rows:
            rows = stratified_sample(indices, self.max_rows, rng)
            features, indices = features[rows], indices[rows]
        features = np.array(features, dtype=np.float64)
        initial = _probabilities(features, indices)[np.arange(len(indices)), indices]
        rates = self._rates(features, indices, n_classes, rng)
        remaining = np.exp(-self.time * rates / rates.mean())[indices]
        return {self.name: float(np.log1p(-remaining * (1 - initial)).mean())}

    def _rates(
        self, features: NDArray[np.float64], indices: NDArray[np.int64], n_classes: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """(C,) mean eigenvalue of each class's kernel, which is its mean diagonal: squared lengths of gradients."""
        first, second = self.widths
        inner = rng.normal(size=(features.shape[1], first)) * (2 / features.shape[1]) ** 0.5
        middle = rng.normal(size=(first, second)) * (2 / first) ** 0.5
        outer = rng.normal(size=(second, n_classes)) * (2 / second) ** 0.5
        rates = np.empty(n_classes)
        for c in range(n_classes):
            members = np.flatnonzero(indices == c)
            if len(members) > self.rows_per_class:
                members = rng.choice(members, self.rows_per_class, replace=False)
            rows = features[members]
            below = np.maximum(rows @ inner, 0)
            above = np.maximum(below @ middle, 0)
            at_above = outer.sum(axis=1) * (above > 0)
            at_below = (at_above @ middle.T) * (below > 0)
            squares = (
                _squares(rows) * _squares(at_below) + _squares(below) * _squares(at_above) + n_classes * _squares(above)
            )
            rates[c] = squares.mean()
        return np.maximum(rates, np.finfo(np.float64).tiny)


def _squares(rows: NDArray[Any]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.square(rows).sum(axis=1)
    return result


def _probabilities(features: NDArray[np.float64], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, C) softmax of the decisions of one-versus-rest support vector machines on standardised features.

    Linear machines with squared hinge loss and C = 1, all classes at once by L-BFGS: the optimum that scikit-learn's
    LinearSVC looks for one class after the other. The weights are expressed along the eigenvectors of the rows'
    scatter, scaled so that the loss is about equally curved along each, and the search begins at the solution of ridge
    regression: without either, it stops far from the optimum, at another distance for each candidate.
    """
    from scipy.optimize import minimize

    deviation = features.std(axis=0)
    rows = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)  # for the bias
    if rows.shape[1] > rows.shape[0]:  # the weights lie in the span of the rows
        curvatures, axes = positive_eigh(rows @ rows.T)
        rows = axes * np.sqrt(curvatures)
    else:
        curvatures, axes = positive_eigh(rows.T @ rows)
        rows = rows @ axes
    n_classes = int(indices.max()) + 1
    signs = np.where(indices[:, None] == np.arange(n_classes), 1.0, -1.0)

    scale = 1 / np.sqrt(1 + _ACTIVE * curvatures[:, None])
    ridge = 2 * (rows.T @ signs) / (1 + 2 * curvatures[:, None])
    scaled = np.asfortranarray(rows * scale.T)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        variables = parameters.reshape(-1, n_classes)
        weights = variables * scale
        violated = np.maximum(1 - signs * (scaled @ variables), 0)
        value = 0.5 * np.square(weights).sum() + np.square(violated).sum()
        return float(value), (weights * scale - 2 * scaled.T @ (signs * violated)).ravel()

    options = {"maxiter": _ITERATIONS}
    found = minimize(loss, (ridge / scale).ravel(), jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
    return softmax(scaled @ found.x.reshape(-1, n_classes))


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [LEAD()]
