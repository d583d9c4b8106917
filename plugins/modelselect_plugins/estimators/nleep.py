"""N-LEEP: LEEP with the clusters of a Gaussian mixture instead of source classes (Li et al., CVPR 2021)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import EvidenceError, ScoreWarning
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample
from modelselect_plugins.estimators.leep import log_expected_prediction

_FIRST_SEED = 123  # that of EMAB's authors
_REGULARISATION = 1e-6  # scikit-learn's default, and that of all published codes
_TOLERANCE = 1e-3  # scikit-learn's default, of the mean log likelihood
_FEW_ROWS = 2  # for each mixture component
_FEW_COMPONENTS = 64  # principal components that other estimators also use


class NLEEP(Estimator):
    """LEEP on the features' own clusters: needs no source classifier, so it also scores self-supervised backbones.

    A Gaussian mixture finds the clusters of the features. The better the cluster of an image predicts its class, the
    better the features fit the target.

    In short: LEEP with clusters of features as source classes.

    Formula: features are projected on the principal components that keep the share `variance` of their variance; a
    Gaussian mixture of `components_per_class` C components, at most N, is fitted; its posterior probabilities replace
    the source-class probabilities in LEEP: `mean over rows of log sum_z P(y | z) P(z | x)`.

    Args:
        variance: share of the variance that the principal components keep.
        components_per_class: mixture components for each class; None: max(min(C, N / 5), N / 10) components in total.
        covariance: of a component: `"spherical"` or `"full"`.
        iterations: maximum number of iterations of expectation maximisation.
        max_rows: with more rows than this, one sample of this size that keeps the class shares; None uses all rows.

    Limits: If there are few rows for each component, a cluster of one row predicts its class perfectly, and the score
    approaches 0; a warning says so. The fit has a random start (k-means from `evidence.seed`), so scores vary between
    seeds.

    Code and paper: The default has the settings of EMAB's code, and at seed 0 its random numbers. The published codes
    agree with this one within their own variation over seeds. If the mixture cannot be fitted (a cluster collapses),
    its covariances are regularised more strongly until it can be fitted; the published codes stop with an error.

    - Model Spider and PACTran have another number of components, with full covariances:
      `components_per_class=None, covariance="full"`.

    Source: Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.2.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 4)) + 6 * labels[:, None]
    >>> ms.score(features, labels, "nleep") > ms.score(features, rng.permutation(labels), "nleep")
    True
    """

    name = "nleep"
    requires = frozenset({"features", "labels"})
    citation = "Y. Li, X. Jia, R. Sang, Y. Zhu, B. Green, L. Wang, B. Gong: Ranking Neural Checkpoints, CVPR 2021"
    cost = "iterative"
    stochastic = True

    def __init__(
        self,
        variance: float = 0.8,
        components_per_class: int = 5,
        covariance: Literal["spherical", "full"] = "spherical",
        iterations: int = 100,
        max_rows: int | None = 20_000,
    ) -> None:
        self.variance = variance
        self.components_per_class = components_per_class
        self.covariance = covariance
        self.iterations = iterations
        self.max_rows = max_rows

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.labels is not None
        indices, n_classes = class_indices(evidence.labels, self.name)
        statistics = evidence.feature_statistics
        if self.max_rows is not None and len(indices) > self.max_rows:
            sample = stratified_sample(indices, self.max_rows, np.random.default_rng(evidence.seed))
            statistics, indices = FeatureStatistics(statistics.features[sample]), indices[sample]
        projected = _leading_components(statistics, self.variance)
        n_rows = len(indices)
        if self.components_per_class is None:
            n_components = max(min(n_classes, n_rows // 5), n_rows // 10, 1)
        else:
            n_components = min(self.components_per_class * n_classes, n_rows)
        if n_rows < _FEW_ROWS * n_components:
            warnings.warn(
                f"nleep fits {n_components} clusters to {n_rows} rows: the score is near its maximum 0 whatever the "
                "features. Give a larger probe, or fewer components_per_class.",
                ScoreWarning,
                stacklevel=2,
            )
        clusters = self._posterior(projected, n_components, evidence.seed)
        return {self.name: log_expected_prediction(clusters, indices, n_classes)}

    def _posterior(self, rows: NDArray[np.float64], n_components: int, seed: int) -> NDArray[np.float64]:
        """(N, K) probabilities of the mixture's components."""
        largest = max(float(rows.var(axis=0).max()), 1.0)
        fit = _spherical_posterior if self.covariance == "spherical" else _full_posterior
        regularisation = _REGULARISATION
        while True:
            try:
                return fit(rows, n_components, regularisation, self.iterations, _FIRST_SEED + seed)
            except ValueError:
                regularisation *= 10
                if regularisation > largest:
                    raise


def _full_posterior(
    rows: NDArray[np.float64], n_components: int, regularisation: float, iterations: int, seed: int
) -> NDArray[np.float64]:
    """(N, K) probabilities of the components of a mixture with full covariances.

    Raises:
        ValueError: a component has no variance left.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_components, reg_covar=regularisation, max_iter=iterations, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # also of k-means, if rows are equal
        posterior: NDArray[np.float64] = mixture.fit(rows).predict_proba(rows)
    return posterior


def _spherical_posterior(
    rows: NDArray[np.float64], n_components: int, regularisation: float, iterations: int, seed: int
) -> NDArray[np.float64]:
    """The same with one variance for each component: scikit-learn's fit, with two products an iteration, not three.

    Raises:
        ValueError: a component has no variance left.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # if rows are equal
        clusters = KMeans(n_components, n_init=1, random_state=np.random.RandomState(seed)).fit(rows).labels_
    posterior = np.zeros((len(rows), n_components))
    posterior[np.arange(len(rows)), clusters] = 1
    squares = np.einsum("nd,nd->n", rows, rows)
    width = rows.shape[1]
    likelihood, converged = -np.inf, False
    for _ in range(iterations + 1):
        counts = posterior.sum(axis=0) + 10 * np.finfo(np.float64).eps
        means = (posterior.T @ rows) / counts[:, None]
        lengths = np.square(means).sum(axis=1)
        variances = (posterior.T @ squares / counts - lengths) / width + regularisation
        if not (variances > 0).all():
            raise ValueError("a component of the mixture has no variance left")
        constants = np.log(counts / counts.sum()) - (width * np.log(2 * np.pi * variances) + lengths / variances) / 2
        # The logarithms of each row's densities, in the array of the posterior: -|x - mean|^2 / (2 variance) + ...
        np.matmul(rows, (means / variances[:, None]).T, out=posterior)
        posterior -= squares[:, None] * (0.5 / variances)
        posterior += constants
        highest = posterior.max(axis=1, keepdims=True)
        posterior -= highest
        np.exp(posterior, out=posterior)
        mass = posterior.sum(axis=1, keepdims=True)
        posterior /= mass
        if converged:  # scikit-learn notices before it moves the components, and so moves them once more
            break
        before, likelihood = likelihood, float((np.log(mass) + highest).mean())
        converged = abs(likelihood - before) < _TOLERANCE
    return posterior


def _leading_components(statistics: FeatureStatistics, share: float) -> NDArray[np.float64]:
    """(N, K) the fewest principal components that hold more than `share` of the variance."""
    if statistics.total_variance == 0:
        raise EvidenceError("all rows of the features are equal, so that there are no clusters to find")
    for k in (_FEW_COMPONENTS, statistics.width):
        held = np.cumsum(statistics.explained_variance(k)) / statistics.total_variance
        if held[-1] > share:
            break
    return statistics.principal_components(int(np.searchsorted(held, share, side="right")) + 1)


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [NLEEP()]
