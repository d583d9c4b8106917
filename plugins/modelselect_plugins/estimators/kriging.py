"""Kriging of the transfer history: results of the candidate on similar datasets, and of similar candidates."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Cost
from modelselect.estimators.posterior import (
    MOST_RELIABLE,
    correlation,
    normal_scores,
    remeasured,
)
from modelselect.history import HistoryView
from modelselect_plugins.estimators._shared.distances import squared_distances, squared_norms
from modelselect_plugins.estimators._shared.history import view_and_candidate

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

AGREEMENT, AGREEMENT_WEIGHT = 0.60, 3.0
"""Correlation of the results on two datasets before any is seen, and the pairs of datasets that it counts as."""

LEAST_AGREEMENT = 0.05
"""Datasets are taken to agree at least so far: a few that contradict each other are no reason to rank by nothing."""

SLOPE_WEIGHT = 0.1
"""Spread of the likeness of datasets, summed over pairs, from which its effect on the agreement is believed by half."""

FEW_DATASETS = 3

ARCHITECTURE_SHARE, WORDS_SHARE, SIZES_SHARE = 1.0, 1.0, 0.5
"""Variances of what architectures, the words of names and each of two forms of sizes say of a candidate.

The unit is the variance of what results on other datasets can tell. The shares were chosen on the tables of
docs/explanation/recall.md, which says what those are that three tables choose, judged on the fourth.
"""

MOST_CERTAIN = 0.9999
"""Where correlations with what results can tell are cut off, so that no result has a variance of 0."""

SIMILAR_AT_MOST = 1_000
"""Candidates that others are compared with: those with the most results."""

WORD = re.compile(r"[a-z]+|\d+")


class Kriging(ms.Estimator):
    """What a candidate's results on similar datasets and those of similar candidates predict, without a forward pass.

    The result of a candidate on a dataset is taken for a Gaussian process over candidates and datasets. Datasets are
    alike if a proxy model sees the same in them, and candidates if their architecture, size and name are alike. The
    history shows how much the likeness of datasets matters.

    In short: What it and its kin did on similar datasets.

    Formula: a result with the share s of a dataset's candidates above it becomes `-sqrt(s)`, standardised over the
    dataset. Datasets correlate by `a + b k`, `k = exp(-|f - f'|² / 4P)`, with the standardised means f of P features of
    the proxy; a line through the correlations in the history gives a and b. The candidate's own results y predict
    `r' R^-1 y`, with the share `r' R^-1 r` of the variance. This is a noisy observation of a Gaussian process over
    candidates, `cos(archi2vec) + Jaccard(words of names) + 0.5 exp(-|z - z'|² / 4) + z'z / 4`, with the standardised
    logarithms z of parameters and layers. Its posterior mean is the score.

    Components: `kriging` is the score, an expected deviation from the mean candidate; `own` is the part that the
    candidate's own results predict, 0 without results; `certainty`, from 0 to 1, is the share of the variance of a
    result on the dataset that the own results explain.

    Limits: The score can be no better than the history: without results there is none; with fewer than three datasets
    there is a warning. Datasets can only be distinguished if the history has the proxy's features of them. The ranking
    follows results on other datasets; whether a candidate fits these classes, only its features can show.

    Code and paper: Our own method; the documentation shows how it was measured.

    Source: our own; `docs/explanation/recall.md`.

    >>> from modelselect.history import History, Result
    >>> import tempfile
    >>> history = History(tempfile.mkdtemp() + "/history.sqlite")
    >>> known = {"timm:a": (0.9, 0.8, 0.9), "timm:b": (0.5, 0.7, 0.6), "timm:c": (0.1, 0.2, 0.1)}
    >>> results = [Result(c, f"data{i}", "accuracy", v) for c, vs in known.items() for i, v in enumerate(vs)]
    >>> history.record(results).new
    9
    >>> scores = Kriging().recall(history.view().about(dict.fromkeys(known, {}), {}), np.ones((10, 4)))
    >>> sorted(known, key=lambda c: -scores[c]["kriging"])
    ['timm:a', 'timm:b', 'timm:c']
    """

    name = "kriging"
    requires = frozenset({"proxy_features", "architecture", "history"})
    optional = frozenset({"metadata"})
    citation = "modelselect: Kriging of fine-tuning results over datasets and models, 2026"
    cost: ClassVar[Cost] = "free"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        view, candidate = view_and_candidate(evidence, self.name)
        assert evidence.proxy_features is not None
        return self.recall(view, evidence.proxy_features)[candidate]

    def recall(
        self, view: HistoryView, proxy_features: NDArray[Any] | None, seed: int = 0
    ) -> Mapping[str, Mapping[str, float]]:
        """The components of every candidate of the view's pool, by id.

        Args:
            view: of the history, about the pool and the dataset.
            proxy_features: (N, P) features of the dataset's rows by the proxy of the view; None where there is none.
            seed: not used; nothing is drawn.

        Raises:
            NotApplicableError: the history holds no results.
        """
        proxy = None if proxy_features is None else np.asarray(proxy_features).mean(axis=0, dtype=np.float64)
        return view.remembered(
            ("kriging", self.key, None if proxy is None else proxy.tobytes()), lambda: _recall(view, proxy)
        )


def _recall(view: HistoryView, proxy: Vector | None) -> dict[str, dict[str, float]]:
    ranks = view.performance()
    if not np.isfinite(ranks).any():
        raise NotApplicableError(
            "the transfer history holds no results; every select() adds to it, and `modelselect history import` brings "
            "in what others have measured"
        )
    results = np.column_stack([standing(column) for column in ranks.T])
    seen = proxy_means(view, proxy)
    _warn(view, seen)
    agreement, common = agreements(results, likeness(seen))
    own, reliability = from_datasets(results, agreement, common)
    asked = _most_results(reliability, results)
    mean = from_candidates(own, reliability, asked, similarities(view, asked))
    rows = [view.positions[candidate] for candidate in view.pool]
    table = np.column_stack([mean, np.nan_to_num(own * reliability), common * reliability**2])[rows].tolist()
    names = ("kriging", "own", "certainty")
    return {candidate: dict(zip(names, row, strict=True)) for candidate, row in zip(view.pool, table, strict=True)}


def standing(ranks: Vector) -> Vector:
    """(M,) how near to the top a candidate came on a dataset: minus the root of the share above it, standardised.

    Args:
        ranks: (M,) from 0 for the lowest to 1 for the highest; NaN for candidates without a result.

    >>> standing(np.array([1.0, 0.5, 0.0])).round(2).tolist()
    [1.29, -0.15, -1.14]
    """
    known = np.isfinite(ranks)
    count = int(known.sum())
    above = np.sqrt(((count - 1) * (1 - ranks) + 0.5) / max(count, 1))
    spread = above[known].std() if count else 0.0
    found: Vector = np.where(known, 0.0, np.nan) if spread < 1e-12 else (above[known].mean() - above) / spread
    return found


def proxy_means(view: HistoryView, proxy: Vector | None) -> Matrix:
    """(N + 1, P) means of the proxy's features, of the history's datasets and last of the target; NaN where unknown."""
    widths = {summary.shape[1] for summary in view.proxies.values()}
    width = next(iter(widths), 1)
    unknown = np.full(width, np.nan)
    rows = [np.asarray(view.proxies[d][0], np.float64) if d in view.proxies else unknown for d in view.datasets]
    return np.stack([*rows, proxy if proxy is not None and len(proxy) == width else unknown])


def likeness(seen: Matrix) -> Matrix:
    """(N + 1, N + 1) how alike datasets are, from 0 to 1; one that the proxy has not seen counts as the mean one."""
    known = np.isfinite(seen[:, 0])
    if known.sum() < 2:
        return np.eye(len(seen))
    deviation = seen[known].std(axis=0)
    scaled = np.nan_to_num((seen - seen[known].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))
    norms = squared_norms(scaled)
    distances = squared_distances(scaled, scaled, norms, norms)
    alike: Matrix = np.exp(-distances / (4 * seen.shape[1]))
    return alike


def agreements(results: Matrix, alike: Matrix) -> tuple[Matrix, float]:
    """(N + 1, N + 1) expected correlations of the results on two datasets, the last of which is the target.

    Args:
        results: (M, N), NaN where nothing is known.
        alike: (N + 1, N + 1) likeness of the datasets.

    Returns:
        `a + b k` off the diagonal, a line through the correlations in the history: a shipped level counts as some
        pairs, and a penalty draws the slope to 0. The level is `LEAST_AGREEMENT` at least, the slope not below 0. And
        the correlation of two datasets that are exactly alike: the share of a result that results elsewhere can tell.
    """
    first, second = np.tril_indices(results.shape[1], -1)
    columns = [normal_scores(column) for column in results.T]
    found = np.array([correlation(columns[i], columns[j]) for i, j in zip(first, second, strict=True)])
    known = np.isfinite(found)
    level = float(np.clip(remeasured(AGREEMENT, found, AGREEMENT_WEIGHT), LEAST_AGREEMENT, MOST_RELIABLE))
    near, found = alike[first, second][known], found[known]
    if len(found):
        middle = near.mean()
        slope = max((near - middle) @ (found - found.mean()) / ((near - middle) @ (near - middle) + SLOPE_WEIGHT), 0.0)
        level -= slope * middle
        if level < LEAST_AGREEMENT:  # datasets that are not alike disagree
            level = LEAST_AGREEMENT
            slope = max(near @ (found - level) / (near @ near + SLOPE_WEIGHT), 0.0)
    else:
        slope = 0.0
    expected: Matrix = level + min(slope, MOST_RELIABLE - level) * alike
    common = float(expected[-1, -1])
    np.fill_diagonal(expected, 1.0)
    return expected, common


def from_datasets(results: Matrix, agreement: Matrix, common: float) -> tuple[Vector, Vector]:
    """What the candidates' own results predict on the target.

    Args:
        results: (M, N), NaN where nothing is known.
        agreement: (N + 1, N + 1) expected correlations of datasets.
        common: the share of a result that results elsewhere can tell.

    Returns:
        (M,) values with deviation 1, NaN where nothing is known, and (M,) their correlations with this share.
    """
    count = len(results)
    values, reliability = np.full(count, np.nan), np.zeros(count)
    covered = np.isfinite(results)
    patterns, which = np.unique(covered, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        towards = agreement[-1, :-1][pattern]
        if towards.any():
            here = which.ravel() == number
            weights = np.linalg.solve(agreement[:-1, :-1][np.ix_(pattern, pattern)], towards)
            explained = float(weights @ towards)
            reliability[here] = min(np.sqrt(explained / common), MOST_CERTAIN)
            values[here] = results[np.ix_(here, pattern)] @ weights / np.sqrt(explained)
    return values, reliability


def from_candidates(own: Vector, reliability: Vector, asked: Sequence[int], similar: Matrix) -> Vector:
    """The posterior of a Gaussian process over candidates whose results are noisy observations of it.

    Args:
        own: (M,) predictions from own results, with deviation 1.
        reliability: (M,) of them, above 0 for the candidates asked.
        asked: K candidates with results that all are compared with.
        similar: (M, K) covariances with these.

    Returns:
        (M,) means.
    """
    there = list(asked)
    if not there:
        return np.zeros(len(own))
    trust = reliability[there]
    observed = own[there] / trust  # of the scale of the truth
    middle = float(np.average(observed, weights=trust**2))
    noise = (1 - trust**2) / trust**2
    weights = np.linalg.solve(similar[there] + np.diag(noise), observed - middle)
    mean: Vector = middle + similar @ weights
    left_out = [place for place in np.flatnonzero(np.isfinite(own)) if place not in set(there)]
    mean[left_out] = (own * reliability)[left_out]  # a history too large to compare all with all
    return mean


def similarities(view: HistoryView, asked: Sequence[int]) -> Matrix:
    """(M, K) how similar all candidates of a view are to K of them: architectures, words of the names, sizes."""
    there = list(asked)
    vectors = np.nan_to_num(view.architectures)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths > 0, lengths, 1.0)
    sizes = np.log(view.sizes)
    known = np.isfinite(sizes)
    scaled = np.nan_to_num(np.column_stack([_scaled(column) for column in sizes.T]))
    squares = squared_norms(scaled)
    products = scaled @ scaled[there].T
    distances = np.maximum(squares[:, None] + squares[there] - 2 * products, 0.0)
    near = np.exp(-distances / 4) * np.outer(known.any(axis=1), known[there].any(axis=1))
    words = _shared_words(view.candidates, there)
    similar: Matrix = (
        ARCHITECTURE_SHARE * (units @ units[there].T) + WORDS_SHARE * words + SIZES_SHARE * (near + products / 2)
    )
    return similar


def _scaled(column: Vector) -> Vector:
    known = np.isfinite(column)
    if not known.any():
        return column
    deviation = column[known].std()
    scaled: Vector = (column - column[known].mean()) / (deviation if deviation > 0 else 1.0)
    return scaled


def _shared_words(names: Sequence[str], asked: Sequence[int]) -> Matrix:
    """(M, K) share of the words of two names that both have."""
    from scipy.sparse import csr_array

    split = [set(WORD.findall(name.lower())) for name in names]
    places = {word: place for place, word in enumerate(sorted(set().union(*split)))}
    rows = np.repeat(np.arange(len(split)), [len(words) for words in split])
    columns = [places[word] for words in split for word in words]
    said = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(split), len(places) + 1))
    counts = np.array([len(words) for words in split])
    both = (said @ said[list(asked)].T).toarray()
    shared: Matrix = both / np.maximum(counts[:, None] + counts[list(asked)] - both, 1.0)
    return shared


def _most_results(reliability: Vector, results: Matrix) -> list[int]:
    """The candidates that all are compared with."""
    counts = np.where(reliability > 0, np.isfinite(results).sum(axis=1), 0)
    order = np.argsort(-counts, kind="stable")[:SIMILAR_AT_MOST]
    return sorted(int(place) for place in order if counts[place])


def _warn(view: HistoryView, seen: Matrix) -> None:
    told = ""
    if len(view.datasets) < FEW_DATASETS:
        told = f"the transfer history knows {len(view.datasets)} datasets, too few to tell which is like this one"
    elif not np.isfinite(seen[-1]).any() or np.isfinite(seen[:-1, 0]).sum() < 2:
        told = "the proxy has seen too few of the history's datasets, so that this one counts as their mean"
    if told:
        warnings.warn(told, ScoreWarning, stacklevel=2)


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [Kriging()]
