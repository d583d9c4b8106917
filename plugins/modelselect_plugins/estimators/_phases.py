"""Fennec's three phases, fitted to a transfer history once, before any target is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.history import HistoryView
from modelselect_plugins.estimators.factorisation import Factorisation, factorise

Matrix = NDArray[np.float64]

NEIGHBOURS = 3
"""Number of architectures from which a candidate without results takes its vector."""

TREES = 100


@dataclass(frozen=True)
class FennecSettings:
    """The parameters that the phases read, as `Fennec` has them, and none of them None."""

    rank: int
    penalty_models: float
    penalty_tasks: float
    alpha: float
    by_evidence: bool
    metric: str | None
    scale: str
    leaf: int
    ridge: float
    clusters: int
    architecture: bool | str


@dataclass(frozen=True)
class Phases:
    """What Fennec has learned from a history, for a pool of candidates.

    Attributes:
        factorisation: of the candidates with results.
        models: (M, k) vectors of all candidates: their own, or those of their architectures' neighbours.
        weights: (M,) weight of the meta phase in the score.
        certainty: (M,) from 0 to 1: how much a score depends on the candidate's own results.
        forest: predicts a dataset's vector from the proxy's features of it; None if there are too few datasets.
        mean_task: (k,) used for a dataset without proxy features.
        warm: (M,) True for candidates with results.
        meta: (M,) the candidates' part of the meta score.
        dataset_weights: (3,) of the datasets' part: classes, samples, and a constant.
        dataset_scale: (2, 2) mean and deviation of the datasets' features.
        seen: (n, P) the proxy's features of the history's datasets.
    """

    factorisation: Factorisation
    models: Matrix
    weights: Matrix
    certainty: Matrix
    forest: Any
    mean_task: Matrix
    warm: NDArray[np.bool_]
    meta: Matrix
    dataset_weights: Matrix
    dataset_scale: Matrix
    seen: Matrix

    def task(self, proxy: Matrix | None) -> Matrix:
        """(k,) vector of a new dataset, of whose rows the proxy's features have this mean (P,)."""
        if self.forest is None or proxy is None or len(proxy) != self.seen.shape[1]:
            return self.mean_task
        found: Matrix = np.atleast_1d(self.forest.predict(proxy[None])[0])
        return found

    def transfer(self, task: Matrix) -> Matrix:
        """(M,) transfer scores for a dataset's vector: equation 7."""
        scores: Matrix = self.models @ task
        return scores

    def merge(self, transfer: Matrix, meta: Matrix) -> tuple[Matrix, Matrix]:
        """(M,) meta scores on the level of the transfer scores, and (M,) both merged: equation 10.

        Each phase has its own notion of how hard a new dataset is. Where all candidates have one weight that shifts all
        alike; where they have their own it would set those with a history against those without.
        """
        level = (transfer - meta)[self.warm].mean()
        return meta + level, (1 - self.weights) * transfer + self.weights * (meta + level)

    def meta_scores(self, sizes: Matrix) -> Matrix:
        """(M,) meta scores for a dataset's classes and samples (NaN where unknown): equation 9."""
        mean, deviation = self.dataset_scale
        features = np.nan_to_num((_logs(sizes) - mean) / deviation)
        scores: Matrix = self.meta + np.append(features, 1.0) @ self.dataset_weights
        return scores


def fit(fennec: FennecSettings, view: HistoryView, seed: int) -> Phases:
    """The phases for this history, and for all candidates that it or the pool knows."""
    performance = view.performance(fennec.metric, fennec.scale)
    counts = (~np.isnan(performance)).sum(axis=1)
    warm = counts > 0
    found = factorise(performance[warm], fennec.rank, fennec.penalty_models, fennec.penalty_tasks, seed=seed)
    models, own = _models(found, warm, counts, view.architectures)
    shares = (1 - fennec.alpha) * (own if fennec.by_evidence else np.where(own > 0, 1.0, 0.0))
    weights = np.divide(fennec.alpha, fennec.alpha + shares, out=np.ones(len(own)), where=fennec.alpha + shares > 0)
    forest, seen = _forest(view, found, fennec, seed)
    meta, dataset_weights, dataset_scale = _regression(fennec, view, performance)
    return Phases(
        found,
        models,
        weights,
        own / (own + 1),
        forest,
        found.tasks.mean(axis=0),
        warm,
        meta,
        dataset_weights,
        dataset_scale,
        seen,
    )


def _models(
    found: Factorisation, warm: NDArray[np.bool_], counts: NDArray[np.int64], vectors: Matrix
) -> tuple[Matrix, Matrix]:
    """(M, k) vectors of all candidates, and how many results each stands for.

    A vector that is taken from other architectures stands for less than one result: for as much as they are alike.
    """
    models = np.tile(found.models.mean(axis=0), (len(warm), 1))
    models[warm] = found.models
    own = counts.astype(np.float64)
    drawn = ~np.isnan(vectors[:, 0])  # a vector has all its entries or none
    if not (warm & drawn).any() or not (~warm & drawn).any():
        return models, own
    units = _units(vectors)
    known, groups = np.unique(units[warm & drawn], axis=0, return_inverse=True)
    sums = np.zeros((len(known), models.shape[1]))
    np.add.at(sums, groups.ravel(), models[warm & drawn])
    means = sums / np.bincount(groups.ravel(), minlength=len(known))[:, None]
    strangers, which = np.unique(units[~warm & drawn], axis=0, return_inverse=True)
    alike = np.clip(strangers @ known.T, 0.0, 1.0)
    near = np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]
    likeness = np.take_along_axis(alike, near, axis=1)
    shares = likeness**8  # the same architecture outweighs those that are only similar
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    borrowed = (shares[:, :, None] * means[near]).sum(axis=1)
    models[~warm & drawn] = borrowed[which.ravel()]
    own[~warm & drawn] = likeness[:, 0][which.ravel()]
    return models, own


def _forest(view: HistoryView, found: Factorisation, fennec: FennecSettings, seed: int) -> tuple[Any, Matrix]:
    """A random forest from what the proxy saw of the datasets to their vectors: equation 6."""
    seen = [index for index, dataset in enumerate(view.datasets) if dataset in view.proxies]
    if len(seen) < 2:
        return None, np.zeros((0, 0))
    from sklearn.ensemble import RandomForestRegressor

    features = np.stack([view.proxies[view.datasets[index]][0] for index in seen]).astype(np.float64)
    targets = found.tasks[seen]
    leaf = min(fennec.leaf, -(-len(seen) // 3))
    forest = RandomForestRegressor(TREES, min_samples_leaf=leaf, random_state=seed)
    forest.fit(features, targets if targets.shape[1] > 1 else targets[:, 0])
    return forest, features


def _regression(fennec: FennecSettings, view: HistoryView, performance: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Linear regression from the meta features of candidate and dataset to performance: equation 8.

    Every known pair is a row, `[1, candidate's, dataset's]`; sums over pairs are products of the tables of candidates
    and of datasets with the matrix of what is known, so that no table of pairs is made.
    """
    known: NDArray[np.bool_] = ~np.isnan(performance)
    filled = np.where(known, performance, 0.0)
    candidates = meta_features(view, fennec.clusters, fennec.architecture)
    sizes = _logs(view.dataset_sizes[:-1])
    scale = np.stack([_nan_mean(sizes), _nan_deviation(sizes)])
    datasets = np.c_[np.nan_to_num((sizes - scale[0]) / scale[1]), np.ones(len(sizes))]
    per_candidate, per_dataset = known.sum(axis=1), known.sum(axis=0)
    cross = candidates.T @ known @ datasets
    gram = np.block(
        [
            [candidates.T @ (per_candidate[:, None] * candidates), cross],
            [cross.T, datasets.T @ (per_dataset[:, None] * datasets)],
        ]
    )
    moments = np.concatenate([candidates.T @ filled.sum(axis=1), datasets.T @ filled.sum(axis=0)])
    penalty = np.full(
        len(gram), fennec.ridge * per_candidate[per_candidate > 0].mean()
    )  # relative to the number of candidates
    penalty[-1] = 0.0  # the constant
    weights = np.linalg.pinv(gram + np.diag(penalty), rcond=1e-10, hermitian=True) @ moments
    split = candidates.shape[1]
    return candidates @ weights[:split], weights[split:], scale


def meta_features(view: HistoryView, clusters: int, architecture: bool | str) -> Matrix:
    """(M, F) meta features of candidates: parameters, layers and, with `architecture`, archi2vec vector and cluster.

    If `architecture` is `"one-hot"`, a column for each different architecture takes the place of vector and cluster.
    Numbers are logarithms, standardised; what is not known is 0, and a column says that it is not.
    """
    from modelselect import archi2vec

    sizes = _logs(view.sizes)
    basic = np.nan_to_num((sizes - _nan_mean(sizes)) / _nan_deviation(sizes))
    columns = [basic, np.isnan(sizes).astype(np.float64)]
    vectors = view.architectures
    drawn = ~np.isnan(vectors[:, 0])  # a vector has all its entries or none
    if architecture and drawn.any():
        units = np.where(drawn[:, None], _units(vectors), 0.0)
        distinct, which = np.unique(units[drawn], axis=0, return_inverse=True)
        if architecture == "one-hot":
            labels = np.arange(len(distinct))
        else:
            labels = archi2vec.clusters(distinct, min(clusters, len(distinct)))
            columns.append(units)
        one_hot = np.zeros((len(vectors), labels.max() + 1))
        one_hot[np.flatnonzero(drawn), labels[which.ravel()]] = 1.0
        columns.append(one_hot)
    return np.concatenate(columns, axis=1)


def _units(vectors: Matrix) -> Matrix:
    """Rows of unit length, rounded so that equal architectures stay equal."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Matrix = (vectors / np.where(lengths > 0, lengths, 1.0)).round(9)
    return units


def _logs(sizes: Matrix) -> Matrix:
    return np.log10(sizes)


def _nan_mean(table: Matrix) -> Matrix:
    there: NDArray[np.bool_] = ~np.isnan(table)
    mean: Matrix = np.where(there, table, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return mean


def _nan_deviation(table: Matrix) -> Matrix:
    deviation = np.sqrt(_nan_mean((table - _nan_mean(table)) ** 2))
    return np.where(deviation > 0, deviation, 1.0)
