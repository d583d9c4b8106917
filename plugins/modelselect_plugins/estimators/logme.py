"""LogME, the log of the maximum evidence of a linear model on frozen features.

K. You, Y. Liu, J. Wang, M. Long: LogME: Practical assessment of pre-trained models for transfer learning, ICML 2021;
fixed-point solver of: Ranking and tuning pre-trained models, JMLR 2022.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError
from modelselect.evidence.linear_algebra import CPU, Matrix, Tridiagonal, Vector
from modelselect_plugins.estimators._shared.regime import invalid_if_wide

_ITERATIONS = 11  # maximum in the authors' code
_SMALL = 1e-9  # regularisation relative to the largest eigenvalue, below which dependent columns need eigenvectors


class _Solver(NamedTuple):
    guard: float  # added to both denominators
    counted: float  # share of the guard that enters the evidence
    tolerance: float  # relative, of alpha / beta
    every_dimension: bool  # whether the determinant has every dimension, also if N <= D


_SOLVERS = {
    "fixed point": _Solver(1e-5, 0.0, 1e-3, every_dimension=False),
    "icml": _Solver(1e-5, 1e-5, 1e-2, every_dimension=True),
    "unguarded": _Solver(np.finfo(np.float64).tiny, 0.0, 1e-2, every_dimension=True),
}


class LogME(ms.Estimator):
    """Log evidence per sample of a Bayesian linear regression from features to targets, its two precisions maximised.

    The evidence is the probability of the labels given the features, over all linear models at once. Unlike the
    likelihood of a fitted model it does not reward over-fitting, so no rows have to be held out.

    In short: How well a linear model explains the labels.

    Formula: the mean over targets of `log p(y | F, alpha, beta) / N` at the fixed point of alpha (precision of the
    weights) and beta (precision of the noise). Class labels become one-hot targets with one regression each; (N, T)
    floats (regression, multi-label) are used unchanged. The features are not centred, and there is no bias.

    Args:
        solver: `"fixed point"`, `"icml"` or `"unguarded"`; see below.

    Limits: Inflated if N <= D (a warning says so, and a mean rank over several estimators leaves it out): compare only
    candidates with N > D. A regression on one-hot targets has no softmax, so outlying rows have a large weight.

    Code and paper: The default follows the authors' current code: tolerance 1e-3, and 1e-5 added to both denominators.
    If N <= D, the D - N directions that the features do not reach are left out of the determinant, although D / 2 log
    alpha counts them, which inflates the score. A class without rows has no regression (in the authors' code it
    counts).

    - The authors' code for the ICML paper has tolerance 1e-2, every dimension in the determinant, and the 1e-5 also in
      the evidence: `solver="icml"`.
    - The Transfer Learning Library adds nothing to the denominators: `solver="unguarded"`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, LogME()), 3)
    -0.736
    """

    name = "logme"
    requires = frozenset({"features", "labels"})
    targets = frozenset({"classes", "numbers", "label_sets"})
    citation = (
        "K. You, Y. Liu, J. Wang, M. Long: LogME: Practical assessment of pre-trained models for transfer learning, "
        "ICML 2021"
    )
    version = 2

    def __init__(self, solver: Literal["fixed point", "icml", "unguarded"] = "fixed point") -> None:
        self.solver = solver

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.solver not in _SOLVERS:
            raise InvalidInputError(f"solver is {self.solver!r}; expected one of {', '.join(map(repr, _SOLVERS))}")
        features = evidence.feature_statistics
        invalid_if_wide(
            self.name,
            features,
            "is inflated: the features fit any target",
            "Give more rows than dimensions, and compare only candidates of which this holds.",
        )
        # Without a guard, and with no fewer dimensions than rows, the residuals fall to where rounding decides.
        if features.device == CPU and (self.solver != "unguarded" or features.n > features.d):
            with contextlib.suppress(_IllConditionedError):
                return {self.name: log_evidence(_by_tridiagonal(evidence), features.n, features.d, self.solver)}
        regression = ByEigenvectors(features.gram_eigh, _cross(evidence), _squares(evidence))
        return {self.name: log_evidence(regression, features.n, features.d, self.solver)}


def _squares(evidence: ms.Evidence) -> Vector:
    """(T,) squared length of each target."""
    if _has_targets(evidence):
        squares: Vector = np.square(evidence.labels, dtype=np.float64).sum(axis=0)  # type: ignore[arg-type]
        return squares
    return evidence.statistics.counts.astype(np.float64)


def _cross(evidence: ms.Evidence) -> Matrix:
    """(min(N, D), T) F' times the targets."""
    if _has_targets(evidence):
        return evidence.feature_statistics.cross(evidence.labels)  # type: ignore[arg-type]
    classes = evidence.statistics
    return (classes.means * classes.counts[:, None]).T


def _by_tridiagonal(evidence: ms.Evidence) -> _ByTridiagonal:
    features = evidence.feature_statistics
    if not features.is_wide:
        known = _cross(evidence)
    elif _has_targets(evidence):
        known = evidence.labels  # type: ignore[assignment]
    else:
        known = np.eye(evidence.statistics.n_classes)[evidence.statistics.codes]
    turned = features.tridiagonal.rotated(known)
    return _ByTridiagonal(features.tridiagonal, turned, _squares(evidence), by_rows=features.is_wide)


def _has_targets(evidence: ms.Evidence) -> bool:
    return evidence.labels is not None and evidence.labels.ndim == 2


class _Regression(Protocol):
    """Ridge regressions of T targets on the features F, for any ratio alpha / beta of the two precisions.

    Attributes:
        squares: (T,) squared length of each target.
        eigenvalues: the positive ones of F'F.
    """

    squares: Vector
    eigenvalues: Vector

    def fitted(self, targets: NDArray[np.intp], ratios: Vector) -> tuple[Vector, Vector]:
        """Squared length of the weights, and of the residuals, of each of these targets at its ratio."""
        ...


class ByEigenvectors:
    """Regressions by the eigendecomposition of F'F.

    Args:
        spectrum: eigenvalues and eigenvectors of F'F.
        cross: (min(N, D), T) F' times the targets.
        squares: (T,) squared length of each target.
    """

    def __init__(self, spectrum: tuple[Vector, Matrix], cross: Matrix, squares: Vector) -> None:
        eigenvalues, eigenvectors = spectrum
        kept = eigenvalues > 0
        self.squares = squares
        self.eigenvalues = eigenvalues[kept]
        self._reached = np.square(eigenvectors[:, kept].T @ cross) / self.eigenvalues[:, None]  # along each direction
        self._unreached = np.maximum(squares - self._reached.sum(axis=0), 0.0)

    def fitted(self, targets: NDArray[np.intp], ratios: Vector) -> tuple[Vector, Vector]:
        shrunk = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + ratios)
        reached = self._reached[:, targets]
        weights = (reached * shrunk / (self.eigenvalues[:, None] + ratios)).sum(axis=0)
        return weights, (reached * np.square(1 - shrunk)).sum(axis=0) + self._unreached[targets]


class _IllConditionedError(Exception):
    """Rounding would decide."""


class _ByTridiagonal:
    """Regressions without eigenvectors: each is one solution with three diagonals.

    Args:
        tridiagonal: of S, which is F'F, or FF' if `by_rows`. With S = QTQ' and r = alpha / beta, it solves
            (T + r) x = z.
        turned: (K, T) z: Q' times F' times the targets or, if `by_rows`, Q' times the targets.
        squares: (T,) squared length of each target.
        by_rows: whether S is FF'.
    """

    def __init__(self, tridiagonal: Tridiagonal, turned: Matrix, squares: Vector, by_rows: bool) -> None:
        self._tridiagonal, self._turned, self._by_rows = tridiagonal, turned, by_rows
        self.squares = squares
        self.eigenvalues = tridiagonal.eigenvalues[tridiagonal.eigenvalues > 0]

    def fitted(self, targets: NDArray[np.intp], ratios: Vector) -> tuple[Vector, Vector]:
        dependent = len(self.eigenvalues) < len(self._turned)
        if dependent and ratios.min() <= _SMALL * self.eigenvalues.max(initial=0.0):
            raise _IllConditionedError
        weights, residuals = np.empty(len(targets)), np.empty(len(targets))
        for ratio in np.unique(ratios):  # at first they are all the same
            alike = np.flatnonzero(ratios == ratio)
            known = self._turned[:, targets[alike]]
            solution = self._tridiagonal.solve(ratio, known)
            if solution is None:
                raise _IllConditionedError
            lengths = np.square(solution).sum(axis=0)
            explained = (known * solution).sum(axis=0) - ratio * lengths
            if self._by_rows:
                weights[alike], residuals[alike] = explained, ratio**2 * lengths
            else:
                weights[alike] = lengths
                residuals[alike] = self.squares[targets[alike]] - explained - 2 * ratio * lengths
        return np.maximum(weights, 0.0), np.maximum(residuals, 0.0)


def log_evidence(regression: _Regression, n: int, d: int, solver: str = "fixed point") -> float:
    """Mean over targets of the maximised log evidence per sample.

    Args:
        regression: of the targets on the features.
        n: samples.
        d: dimensions of the features.
        solver: see `LogME`.

    Raises:
        EvidenceError: all features are zero.
    """
    sigma, squares = regression.eigenvalues[:, None], regression.squares
    if not len(sigma):
        raise EvidenceError(
            "all features are zero, so that nothing can be regressed on them; look at how they were made"
        )
    form = _SOLVERS[solver]
    unmet = d - len(sigma) if n > d or form.every_dimension else 0  # directions of length 0 in the determinant

    alpha, beta = np.ones_like(squares), np.ones_like(squares)
    weights, residuals = np.empty_like(squares), np.empty_like(squares)
    active = np.arange(len(squares))
    for _ in range(_ITERATIONS):
        ratio = alpha[active] / beta[active]
        dimensions = (sigma / (sigma + ratio)).sum(axis=0)
        weights[active], residuals[active] = regression.fitted(active, ratio)
        alpha[active] = dimensions / (weights[active] + form.guard)
        beta[active] = (n - dimensions) / (residuals[active] + form.guard)
        moved = np.abs(alpha[active] / beta[active] - ratio) / ratio > form.tolerance
        active = active[moved]
        if not len(active):
            break
    determinant = np.log(alpha + beta * sigma).sum(axis=0) + unmet * np.log(alpha)
    evidence = (
        d * np.log(alpha)
        + n * np.log(beta)
        - determinant
        - beta * (residuals + form.counted)
        - alpha * (weights + form.counted)
        - n * math.log(2 * math.pi)
    )
    return float((evidence / (2 * n)).mean())


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [LogME()]
