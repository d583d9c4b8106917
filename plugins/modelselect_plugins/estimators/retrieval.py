"""How well frozen features find the documents of a query: nDCG, recall, and nDCG after a linear map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.tasks.ranking_metrics import ndcg_of_queries, recall_of_queries
from modelselect.utils.relevance import Relevance
from modelselect_plugins.estimators._shared.folds import folds_of
from modelselect_plugins.estimators.linear_probe import LinearProbe

Matrix = NDArray[np.float64]


class NDCG(Estimator):
    """nDCG of the frozen encoder, in per cent: documents are ordered by the cosine of their features and the query's.

    An encoder that puts relevant documents first without any training needs little fine-tuning, or none.

    In short: How high do relevant documents stand for a query?

    Formula: the mean over queries of `DCG / ideal DCG`, with `DCG = sum over the first k documents of grade /
    log2(place + 1)`. Documents that are equally near share their places.

    Args:
        k: number of documents that count.

    Limits: It compares a query with the documents of the probe only, so it is higher than on the whole corpus. An
    encoder that was never trained to compare texts may still be a good start: `linear_probe` sees more of that.

    Code and paper: Grades are the gains, as in scikit-learn's `ndcg_score` and in torchmetrics; both give the same.

    >>> from modelselect.utils.relevance import relevance_values
    >>> labels = relevance_values(1, 2, [(0, 0, 1.0)])  # one query and two documents, of which the first is relevant
    >>> evidence = Evidence.of(features=[[1.0, 0.0], [1.0, 1.0], [1.0, 0.1]], labels=labels, target_kind="relevance")
    >>> round(NDCG().score(evidence)["ndcg"], 1)
    63.1
    """

    name = "ndcg"
    requires = frozenset({"features", "labels"})
    targets = frozenset({"relevance"})
    citation = "K. Järvelin, J. Kekäläinen: Cumulated gain-based evaluation of IR techniques, ACM TOIS 20, 2002"

    def __init__(self, k: int = 10) -> None:
        self.k = k

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        features, labels = _of_queries(self, evidence, self.k)
        return {self.name: 100 * float(ndcg_of_queries(labels, features, self.k).mean())}


class Recall(Estimator):
    """Recall of the frozen encoder, in per cent: the share of relevant documents among the k nearest ones by cosine.

    A second model often orders the first documents again, and then it only matters that the relevant ones are among
    them.

    In short: How many relevant documents are among the nearest?

    Formula: the mean over queries of the number of relevant documents among the first k, divided by the number of
    relevant documents. Of documents that are equally near, those count that chance would choose.

    Args:
        k: number of documents that count.

    Limits: It does not see the order among the first k documents, and on a small probe many candidates reach 100.

    Code and paper: The usual definition; it agrees with torchmetrics.

    >>> from modelselect.utils.relevance import relevance_values
    >>> labels = relevance_values(1, 2, [(0, 0, 1.0)])  # one query and two documents, of which the first is relevant
    >>> evidence = Evidence.of(features=[[1.0, 0.0], [1.0, 1.0], [1.0, 0.1]], labels=labels, target_kind="relevance")
    >>> Recall(k=1).score(evidence), Recall(k=2).score(evidence)
    ({'recall': 0.0}, {'recall': 100.0})
    """

    name = "recall"
    requires = frozenset({"features", "labels"})
    targets = frozenset({"relevance"})
    citation = (
        "C. D. Manning, P. Raghavan, H. Schütze: Introduction to Information Retrieval, Cambridge University Press, "
        "2008, chapter 8"
    )

    def __init__(self, k: int = 10) -> None:
        self.k = k

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        features, labels = _of_queries(self, evidence, self.k)
        return {self.name: 100 * float(recall_of_queries(labels, features, self.k).mean())}


class MappedRetrieval(Estimator):
    """nDCG@10, in per cent, after a linear map, in cross-validation over queries. `linear_probe` for retrieval.

    The map makes queries and their documents alike. It whitens the differences of query and document, which is relevant
    component analysis: A. Bar-Hillel, T. Hertz, N. Shental, D. Weinshall: Learning distance functions using equivalence
    relations, ICML 2003. It is fitted on the queries of the other folds, and the documents of all are searched.

    Args:
        folds: number of folds of the cross-validation.
        shrinkage: weight of the identity in the covariance of the differences, relative to their mean variance.

    >>> from modelselect.utils.relevance import relevance_values
    >>> rng = np.random.default_rng(0)
    >>> texts, noise = rng.normal(size=(20, 8)), 9 * rng.normal(size=(40, 1))
    >>> features = np.hstack([np.vstack([texts, texts]), noise])  # a query is its document, but for the last direction
    >>> labels = relevance_values(20, 20, [(row, row, 1.0) for row in range(20)])
    >>> evidence = Evidence.of(features=features, labels=labels, target_kind="relevance")
    >>> MappedRetrieval().score(evidence)["linear_probe"] > NDCG().score(evidence)["ndcg"] + 20
    True
    """

    name = "linear_probe"
    requires = LinearProbe.requires
    targets = frozenset({"relevance"})
    citation = LinearProbe.citation
    stochastic = True

    def __init__(self, folds: int = 5, shrinkage: float = 1.0) -> None:
        self.folds = folds
        self.shrinkage = shrinkage

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        if not self.shrinkage > 0:
            raise InvalidInputError(f"shrinkage is {self.shrinkage!r}; expected a number above 0")
        features, labels = _of_queries(self, evidence)
        relevance = Relevance.of(labels)
        count = len(relevance.queries)
        if count < 2:
            raise NotApplicableError(
                f"{self.name} fits a map on some queries and judges others, and there is one query"
            )
        lengths = np.sqrt(np.square(features).sum(axis=1, keepdims=True))
        features = features / np.where(lengths > 0, lengths, 1.0)
        found = np.empty(count)
        for test in folds_of(count, self.folds, np.random.default_rng(evidence.seed)):
            training = relevance.pairs[~np.isin(relevance.pairs[:, 0], test)]
            queries, documents = relevance.queries[training[:, 0]], relevance.documents[training[:, 1]]
            mean = features[np.concatenate([queries, documents])].mean(axis=0)
            rows = np.sort(np.concatenate([relevance.queries[test], relevance.documents]))
            differences = features[queries] - features[documents]
            found[test] = ndcg_of_queries(labels[rows], _whitened(features[rows] - mean, differences, self.shrinkage))
        return {self.name: 100 * float(found.mean())}


def _whitened(rows: Matrix, differences: Matrix, shrinkage: float) -> Matrix:
    """(N, D) rows in a basis where the covariance of (P, D) differences is the identity.

    The covariance is shrunk towards a multiple of the identity. The basis is that of its Cholesky factor: a rotation of
    the symmetric square root, which changes no cosine.
    """
    from scipy.linalg import solve_triangular

    covariance = differences.T @ differences / len(differences)
    variance = float(np.trace(covariance)) / len(covariance)
    if variance == 0:
        return rows
    factor = np.linalg.cholesky(covariance + shrinkage * variance * np.eye(len(covariance)))
    whitened: Matrix = solve_triangular(factor, rows.T, lower=True).T
    return whitened


def _of_queries(estimator: Estimator, evidence: Evidence, k: int = 1) -> tuple[Matrix, NDArray[Any]]:
    """Features in float64, and relevance."""
    assert evidence.features is not None
    assert evidence.labels is not None
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InvalidInputError(f"k is {k!r}; expected an integer of 1 or more")
    if evidence.target_kind != "relevance":
        raise NotApplicableError(f"{estimator.name} compares queries with documents, and there are none")
    if not len(Relevance.of(evidence.labels).queries):
        raise NotApplicableError(f"{estimator.name} needs a query with a relevant document, and there is none")
    return evidence.features.astype(np.float64), evidence.labels


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [NDCG(), Recall()]
