"""PACTran: PAC-Bayesian bounds on the loss after transfer, negated (Ding et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import check_probabilities, class_indices, class_sums

_CITATION = (
    "N. Ding, X. Chen, T. Levinboim, S. Changpinyo, R. Soricut: PACTran: PAC-Bayesian Metrics for Estimating the "
    "Transferability of Pretrained Models to Classification Tasks, ECCV 2022"
)
_TINY = 1e-10  # added by the authors wherever a logarithm might be of 0


class PACTran(Estimator):
    """Minus the PAC-Bayesian bound with a Gaussian prior over the weights of a linear classifier on the features.

    A PAC-Bayesian bound limits the loss on new rows by the loss on known rows and by the distance of the weights from
    their prior. The best such bound for a linear classifier on the features predicts how good the candidate will be.

    In short: A bound on the error of a linear classifier.

    Formula: the bound is the optimum of `cross-entropy + |W|^2 / (2 N lambda)`, over weights W and a bias on centred
    features, plus the flatness `(C s / (2 N lambda)) log(N lambda tr(H) / (D C))`, where tr(H) is the trace of the
    summed Hessian at the optimum and s is the prior variance times D.

    Args:
        regularisation: lambda.
        variance: s; the authors report 100 lambda and 10 lambda.
        iterations: maximum number of iterations of L-BFGS.

    Components: `optimum` (the negated first term) and `flatness` (the negated second term); the score is their sum.

    Limits: `regularisation` is per row, so features of large norm are hardly regularised, and separable features reach
    an optimum near 0: then the flatness term decides, for any labels.

    Code and paper: Agrees with the authors' code (calculate_pac_gauss), negated, since lower is better there. L-BFGS
    starts from zero; the authors start from small random weights. The problem is convex, and the results agree within
    the variation of theirs.

    Source: section 4.3 of the paper.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 4)) + 2 * labels[:, None]
    >>> ms.score(features, labels, "pactran") > ms.score(features, rng.permutation(labels), "pactran")
    True
    """

    name = "pactran"
    requires = frozenset({"features", "labels"})
    citation = _CITATION
    cost = "iterative"

    def __init__(self, regularisation: float = 1.0, variance: float = 100.0, iterations: int = 100) -> None:
        self.regularisation = regularisation
        self.variance = variance
        self.iterations = iterations

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        from scipy.optimize import minimize

        classes = evidence.statistics
        if 2 * classes.n > classes.features.d:  # a rotation to fewer dimensions costs more than it saves
            classes = classes.unrotated
        n_rows, n_classes, width = classes.n, classes.n_classes, classes.features.width
        strength = self.regularisation * n_rows
        mean = classes.features.mean

        def logits(weights: NDArray[np.float64], bias: NDArray[np.float64], chunk: NDArray[np.float64]) -> Any:
            return chunk @ weights + (bias - mean @ weights)

        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights, bias = np.split(parameters.reshape(width + 1, n_classes), [width])
            entropy = 0.0
            gradient = np.zeros((width + 1, n_classes))
            for rows, chunk in classes.features.chunks():
                codes, every = classes.codes[rows], np.arange(len(chunk))
                residual, log_mass = _softmax(logits(weights, bias[0], chunk), codes)
                entropy -= log_mass
                residual[every, codes] -= 1
                gradient[:width] += chunk.T @ residual
                gradient[width] += residual.sum(axis=0)
            gradient[:width] -= np.outer(mean, gradient[width])
            gradient /= n_rows
            gradient[:width] += weights / strength
            value = entropy / n_rows + 0.5 * float(np.square(weights).sum()) / strength
            return value, gradient.ravel()

        start = np.zeros((width + 1) * n_classes)
        options = {"maxiter": self.iterations}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", tol=1e-6, options=options)  # type: ignore[call-overload]
        weights, bias = np.split(found.x.reshape(width + 1, n_classes), [width])

        trace = n_classes * classes.features.d / strength
        for _, chunk in classes.features.chunks():
            probabilities, _ = _softmax(logits(weights, bias[0], chunk), None)
            curvature = (probabilities * (1 - probabilities)).sum(axis=1)
            trace += float(curvature @ (np.square(chunk - mean).sum(axis=1) + 1))
        size = classes.features.d * n_classes
        flatness = 0.5 * n_classes * self.variance / strength * np.log(trace * strength / size + _TINY)
        return {self.name: -float(found.fun + flatness), "optimum": -float(found.fun), "flatness": -float(flatness)}


def _softmax(logits: NDArray[np.float64], codes: NDArray[np.intp] | None) -> tuple[NDArray[np.float64], float]:
    """Of each row, in place; and the sum of the logarithms of what the rows' own classes get."""
    logits -= logits.max(axis=1, keepdims=True)
    own = 0.0 if codes is None else float(logits[np.arange(len(logits)), codes].sum())
    np.exp(logits, out=logits)
    mass = logits.sum(axis=1, keepdims=True)
    logits /= mass
    return logits, own - float(np.log(mass).sum())


class PACTranDirichlet(Estimator):
    """Minus the PAC-Bayesian bound with a Dirichlet prior over the target classes given the source class.

    Like LEEP, this predicts the target class from the candidate's source classes; the bound limits the loss of this
    prediction on new rows. The prior corrects for what LEEP gains by fitting its table to the rows.

    In short: A bound by source classes, with a Dirichlet prior.

    Formula: variational inference of the source class of each row: from q = P(z | x), `iterations` times
    `a_cz = a0_c + sum of q over the rows of class c`, then `log q = log P(z | x) + digamma(a_yz) - digamma(sum_c a_cz)`
    up to a constant. The bound is the Kullback-Leibler divergence and the log ratio of the Dirichlet normalisers, over
    N C.

    Args:
        alpha: strength of the prior, a0_c = alpha pi_c.
        iterations: number of iterations of the inference.

    Limits: Needs a backbone with a source classifier. It does not use the features. For a thousand source classes and a
    few hundred rows, the bound is mostly the prior.

    Code and paper: Agrees with the authors' code (calculate_pac_dir), negated, since lower is better there.

    Source: section 4.1 of the paper.

    >>> import modelselect as ms
    >>> informative, uninformative = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], [[0.5, 0.5]] * 4
    >>> pair = (informative, uninformative)
    >>> scores = [ms.score(None, [0, 0, 1, 1], "pactran_dirichlet", source_probabilities=p) for p in pair]
    >>> scores[0] > scores[1]
    True
    """

    name = "pactran_dirichlet"
    requires = frozenset({"labels", "source_probabilities"})
    citation = _CITATION
    _normalised: ClassVar[bool] = True

    def __init__(self, alpha: float = 1.0, iterations: int = 10) -> None:
        self.alpha = alpha
        self.iterations = iterations

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        from scipy.special import digamma

        assert evidence.source_probabilities is not None
        assert evidence.labels is not None
        probabilities = evidence.source_probabilities
        check_probabilities(probabilities)
        indices, n_classes = class_indices(evidence.labels, self.name)
        prior = self.alpha * np.bincount(indices)[:, None] / len(indices) + _TINY
        counts = class_sums(probabilities, indices, n_classes)
        logs = np.log(probabilities.astype(np.float64) + _TINY)
        for remaining in reversed(range(self.iterations)):
            posterior = prior + counts
            evidence_of = digamma(posterior)
            if self._normalised:
                evidence_of = evidence_of - digamma(posterior.sum(axis=0))
            counts, divergence = _assign(logs, indices, evidence_of, measure=remaining == 0)
        bound = self._bound(prior, posterior, divergence, probabilities)
        return {self.name: -bound / (len(indices) * n_classes) + self._offset}

    _offset: ClassVar[float] = 0.0

    def _bound(
        self,
        prior: NDArray[np.float64],
        posterior: NDArray[np.float64],
        divergence: float,
        probabilities: NDArray[np.floating[Any]],
    ) -> float:
        from scipy.special import gammaln

        before = gammaln(prior.sum()) - gammaln(prior).sum()
        after = gammaln(posterior.sum(axis=0)) - gammaln(posterior).sum(axis=0)
        return float((after - before).sum()) + divergence


class PACTranGamma(PACTranDirichlet):
    """Minus the PAC-Bayesian bound with a Gamma prior over unnormalised weights of source class and target class.

    Like `PACTranDirichlet`, but the weights of a source class need not add up to one, so a source class may also have
    little influence. The bound adds the logarithm of each row's total weight.

    In short: A bound by source classes, with a Gamma prior.

    Formula: that of `PACTranDirichlet` without the digamma of the sum, with the normalisers of Gamma distributions and
    `sum over rows of (log sum_z P(z | x) sum_c a_cz - 1)`; minus 1 in total.

    Limits: Those of `PACTranDirichlet`.

    Code and paper: Agrees with the authors' code (calculate_pac_gamma), negated, since lower is better there.

    Source: section 4.2 of the paper.

    >>> import modelselect as ms
    >>> informative, uninformative = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], [[0.5, 0.5]] * 4
    >>> pair = (informative, uninformative)
    >>> scores = [ms.score(None, [0, 0, 1, 1], "pactran_gamma", source_probabilities=p) for p in pair]
    >>> scores[0] > scores[1]
    True
    """

    name = "pactran_gamma"
    _normalised = False
    _offset = -1.0

    def _bound(
        self,
        prior: NDArray[np.float64],
        posterior: NDArray[np.float64],
        divergence: float,
        probabilities: NDArray[np.floating[Any]],
    ) -> float:
        from scipy.special import gammaln

        weights = probabilities @ posterior.sum(axis=0)
        return float((gammaln(prior) - gammaln(posterior)).sum() + divergence + (np.log(weights) - 1).sum())


_CHUNK_ROWS = 1024  # so that a chunk of a few hundred source classes stays in the cache


def _assign(
    logs: NDArray[np.float64], indices: NDArray[np.int64], evidence_of: NDArray[np.float64], measure: bool
) -> tuple[NDArray[np.float64], float]:
    """Sums by class of q, which is softmax(log P + evidence_of[class]) of each row; and sum of q (log q - log P).

    The second is 0 unless `measure` is true.
    """
    counts = np.zeros_like(evidence_of)
    divergence = 0.0
    for start in range(0, len(indices), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        log_q = logs[rows] + evidence_of[indices[rows]]
        log_q -= log_q.max(axis=1, keepdims=True)
        q = np.exp(log_q)
        mass = q.sum(axis=1, keepdims=True)
        q /= mass
        counts += class_sums(q, indices[rows], len(counts))
        if measure:
            divergence += float((q * (log_q - np.log(mass) - logs[rows])).sum())
    return counts, divergence


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [PACTran(), PACTranDirichlet(), PACTranGamma()]
