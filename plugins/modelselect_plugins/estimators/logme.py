"""LogME, the log of the maximum evidence of a linear model on frozen features.

K. You, Y. Liu, J. Wang, M. Long: LogME: Practical assessment of pre-trained models for transfer learning, ICML 2021;
fixed-point solver of: Ranking and tuning pre-trained models, JMLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError
from modelselect.evidence.linear_algebra import Matrix, Vector
from modelselect_plugins.estimators._shared.regime import invalid_if_wide

_ITERATIONS = 11  # maximum in the authors' code


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
    alpha counts them, which inflates the score. `solver="icml"` is their code for the ICML paper: tolerance 1e-2, every
    dimension in the determinant, the 1e-5 also in the evidence. `"unguarded"` is the same with nothing added, as in the
    Transfer Learning Library. A class without rows has no regression (in the authors' code it counts).

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, LogME()), 3)
    -0.736
    """

    name = "logme"
    requires = frozenset({"features", "labels"})
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
        if evidence.labels is not None and evidence.labels.ndim == 2:
            cross = features.cross(evidence.labels)
            squares = np.square(evidence.labels, dtype=np.float64).sum(axis=0)
        else:
            classes = evidence.statistics
            cross = (classes.means * classes.counts[:, None]).T
            squares = classes.counts.astype(np.float64)
        invalid_if_wide(
            self.name,
            features,
            "is inflated: the features fit any target",
            "Give more rows than dimensions, and compare only candidates of which this holds.",
        )
        evidence_per_sample = log_evidence(features.gram_eigh, cross, squares, features.n, features.d, self.solver)
        return {self.name: evidence_per_sample}


def log_evidence(
    spectrum: tuple[Vector, Matrix], cross: Matrix, squares: Vector, n: int, d: int, solver: str = "fixed point"
) -> float:
    """Mean over targets of the maximised log evidence per sample.

    Args:
        spectrum: eigenvalues and eigenvectors of the uncentred Gram matrix F'F.
        cross: (min(N, D), T) F' times targets.
        squares: (T,) squared length of each target.
        n: samples.
        d: dimensions of the features.
        solver: see `LogME`.

    Raises:
        EvidenceError: all features are zero.
    """
    eigenvalues, eigenvectors = spectrum
    kept = eigenvalues > 0
    if not kept.any():
        raise EvidenceError(
            "all features are zero, so that nothing can be regressed on them; look at how they were made"
        )
    sigma = eigenvalues[kept, None]
    projected = np.square(eigenvectors[:, kept].T @ cross) / sigma  # squared length of each target along each direction
    unreached = np.maximum(squares - projected.sum(axis=0), 0.0)
    form = _SOLVERS[solver]
    unmet = d - len(sigma) if n > d or form.every_dimension else 0  # directions of length 0 in the determinant

    alpha, beta = np.ones_like(squares), np.ones_like(squares)
    weights, residuals = np.empty_like(squares), np.empty_like(squares)
    active = np.arange(len(squares))
    for _ in range(_ITERATIONS):
        ratio = alpha[active] / beta[active]
        shrunk = sigma / (sigma + ratio)
        dimensions = shrunk.sum(axis=0)
        weights[active] = (projected[:, active] * shrunk / (sigma + ratio)).sum(axis=0)
        residuals[active] = (projected[:, active] * np.square(1 - shrunk)).sum(axis=0) + unreached[active]
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
