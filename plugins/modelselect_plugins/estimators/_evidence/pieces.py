"""From what is known of a pool to the pieces of evidence: history, similar candidates, and facts that do not change.

All functions take arrays over the pool's candidates, in one order, with NaN where something is not known. The constants
were chosen on seven benchmarks with 69 datasets, each dataset left out in turn; docs/explanation/default-estimators.md
shows the figures, also for constants that were chosen on six benchmarks and judged on the seventh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.estimators.posterior import (
    FEWEST_IN_COMMON,
    LEAST_SPREAD,
    MOST_RELIABLE,
    WHOLE_COLUMN,
    Piece,
    correlation,
    normal_scores,
    remeasured,
)
from modelselect_plugins.estimators._evidence import reliabilities

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

HISTORY_WEIGHT = 3.0
"""Pairs of datasets that the shipped reliability of the history counts as."""

AGREEMENT_WEIGHT = 6.0
"""Datasets beyond the second one that the agreement of a history must be seen on, to be believed by half."""

GENERAL_SHARES = {"size": 1.0, "imagenet": 1.0, "quality": 1.0, "probe": 0.3}
"""By piece, the share of its information that says which candidates are good everywhere, as the history does too.

On published tables, the means of a probe over datasets correlate by 0.6 to 0.95 with the mean accuracies, and the rest
of a probe by 0.2 to 0.4 with the rest of the accuracies. The probe's share was chosen on the benchmarks.
"""

WIDEST = 2.5
"""Where the robust score of an accuracy is cut off, so that one failed fine-tuning does not outweigh other datasets."""

UNIT_PERCENTILE = 70
"""Percentile of the distances from the median that is the unit of robust scores: that of N(0, 1) is 1.04."""

ANCHOR_PSEUDO_COUNTS = 2.0
"""Results that what is expected without history counts as, where incomplete columns are anchored."""

ANCHOR_ROUNDS = 60
"""Rounds of the alternating least squares that anchor columns; the values change by less than 1e-5 after them."""

RIDGE = 0.5
"""Penalty of the kernel ridge regression, in units of the kernel, which is 1 for a candidate with itself."""

FACTS_SHARE, FAMILY_SHARE, WORDS_SHARE = 0.35, 0.30, 0.35
"""Shares of numbers, family and words of the name in the similarity of two candidates."""

FOLDS = 5
"""Parts of the candidates with results that are predicted from the others, to measure the piece `similar`."""


def fact_piece(name: str, values: ArrayLike, accuracies: Matrix, prior: float) -> Piece:
    """A fact of the candidates (log parameters, accuracy on ImageNet): how it went with accuracies before.

    Args:
        name: of the piece.
        values: (M,) of the fact.
        accuracies: (M, D) of the history.
        prior: its shipped reliability.
    """
    scores = normal_scores(values)
    return Piece(name, scores, remeasured(prior, (correlation(scores, normal_scores(y)) for y in accuracies.T)))


def probe_piece(
    members: Sequence[ArrayLike], past: Sequence[Sequence[ArrayLike]], accuracies: Matrix, prior: float
) -> Piece:
    """What estimators say of the features: the mean of their normal scores.

    Args:
        members: (M,) scores by each estimator.
        past: by history dataset, the same estimators' scores there.
        accuracies: (M, D) of the history, by the same datasets.
        prior: the shipped reliability.
    """
    found = [
        correlation(_mean_score(scores, len(y)), normal_scores(y)) for scores, y in zip(past, accuracies.T, strict=True)
    ]
    return Piece("probe", _mean_score(members, len(accuracies)), remeasured(prior, found))


def history_piece(accuracies: Matrix, cold_mean: Vector) -> Piece:
    """What the candidates reached on other datasets.

    A column that covers most of the pool counts by the mean of its normal scores and its robust scores. A smaller
    column holds the best of another run only. Its values say how these compare with each other, and not how they
    compare with the rest: so it is anchored on what is expected of them without history.

    Args:
        accuracies: (M, D), one column for each dataset under one recipe.
        cold_mean: (M,) posterior means without history.

    Returns:
        The piece; its reliability grows with the number of results (Spearman-Brown), and with how far the columns
        agree.
    """
    count, columns = accuracies.shape
    covered = np.isfinite(accuracies)
    used = np.flatnonzero(covered.sum(axis=0) >= 2)
    whole = [d for d in used if covered[:, d].mean() >= WHOLE_COLUMN]
    scores = np.full((count, columns), np.nan)
    for d in whole:
        scores[:, d] = _column_scores(accuracies[:, d])
    partial = [d for d in used if d not in whole]
    if partial:
        scores[:, partial] = _anchored(accuracies[:, partial], cold_mean)
    results = np.isfinite(scores).sum(axis=1)
    total = np.where(np.isfinite(scores), scores, 0.0).sum(axis=1)
    mean = np.divide(total, results, out=np.full(count, np.nan), where=results > 0)
    one = min(remeasured(reliabilities.HISTORY, _agreements(accuracies), HISTORY_WEIGHT), 1.0)
    reliability = one * np.sqrt(results) / np.sqrt(1 + np.maximum(results - 1, 0) * one)
    return Piece("history", normal_scores(mean), np.clip(reliability, 0.0, 1.0))


def beyond_history(pieces: Sequence[Piece], accuracies: Matrix) -> list[Piece]:
    """The pieces, with less reliability for what the history has shown already.

    An accuracy has two parts: how good a candidate is everywhere, and how well it suits this dataset. Size and accuracy
    on ImageNet know the first part alone, a probe knows both. Results on other datasets show the first part directly,
    and the better, the more there are and the more they agree. So these pieces are left with what is not yet known: for
    a candidate with n results, a share (1 - c) / (1 - c + n c) of their information about the first part, with the
    agreement c of the datasets. Two datasets do not yet show an agreement, and change nothing.

    Args:
        pieces: of the pool, by their names in `GENERAL_SHARES`; other pieces stay as they are.
        accuracies: (M, D) of the history.
    """
    agreements = _agreements(accuracies)
    further = max(int((np.isfinite(accuracies).sum(axis=0) >= 2).sum()) - 2, 0)
    if not agreements or not further:
        return list(pieces)
    believed = further / (AGREEMENT_WEIGHT + further)
    common = float(np.clip(believed * np.mean(agreements), 0.0, MOST_RELIABLE))
    unknown = (1 - common) / (1 - common + np.isfinite(accuracies).sum(axis=1) * common)
    shares = [GENERAL_SHARES.get(piece.name, 0.0) for piece in pieces]
    return [
        replace(piece, reliability=piece.reliability * np.sqrt(1 - share + share * unknown))
        for piece, share in zip(pieces, shares, strict=True)
    ]


def similar_piece(history: Vector, kernel: Matrix) -> Piece:
    """What similar candidates did, for the candidates without results of their own: kernel ridge regression.

    Args:
        history: (M,) values of the piece `history`; NaN for candidates without results.
        kernel: (M, M) similarities, 1 on the diagonal.
    """
    known = np.isfinite(history)
    values = np.full(len(history), np.nan)
    if known.sum() >= 2 and not known.all():
        predicted = _regressed(kernel, history, known)
        values[~known] = normal_scores(predicted)[~known]
    return Piece("similar", values, remeasured(reliabilities.SIMILAR, _left_out(kernel, history, known)))


def similarity_kernel(facts: Matrix, families: Sequence[str], names: Sequence[str]) -> Matrix:
    """(M, M) how similar candidates are: numbers that describe them, the family, the words of their names.

    Args:
        facts: (M, F) log parameters, dimension of the features, input size; NaN where unknown.
        families: of each candidate.
        names: of each candidate.
    """
    scores = np.column_stack([np.nan_to_num(normal_scores(column)) for column in facts.T])
    distances = ((scores[:, None] - scores[None]) ** 2).sum(axis=2)
    near = np.exp(-distances / (2 * max(scores.shape[1], 1)))
    family = np.array([[a == b for b in families] for a in families], dtype=np.float64)
    words = [_words(name) for name in names]
    shared = np.array([[_jaccard(a, b) for b in words] for a in words])
    kernel: Matrix = FACTS_SHARE * near + FAMILY_SHARE * family + WORDS_SHARE * shared
    return kernel


def _mean_score(members: Sequence[ArrayLike], count: int) -> Vector:
    """(M,) normal score of the mean normal score, over the members that have one."""
    stacked = np.stack([normal_scores(member) for member in members] or [np.full(count, np.nan)])
    known = np.isfinite(stacked)
    total, count = np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0)
    return normal_scores(np.divide(total, count, out=np.full(stacked.shape[1], np.nan), where=count > 0))


def _column_scores(column: Vector) -> Vector:
    """(M,) half the normal score, half the distance from the median in units of a percentile of these distances."""
    known = np.isfinite(column)
    middle = np.median(column[known])
    spread = np.percentile(np.abs(column[known] - middle), UNIT_PERCENTILE)
    robust = np.clip((column - middle) / spread, -WIDEST, WIDEST) if spread > 0 else np.where(known, 0.0, np.nan)
    scores: Vector = 0.5 * (normal_scores(column) + robust)
    return scores


def _anchored(columns: Matrix, cold_mean: Vector) -> Matrix:
    """(M, D) values of incomplete columns on the scale of the cold mean, each moved to where its candidates belong."""
    known = np.isfinite(columns)
    values = np.full(columns.shape, np.nan)
    for d in range(columns.shape[1]):
        here = known[:, d]
        column, deviation = columns[here, d], columns[here, d].std()
        spread = max(float(cold_mean[here].std()), LEAST_SPREAD)
        values[here, d] = (column - column.mean()) / deviation * spread if deviation > 0 else 0.0
    filled = np.where(known, values, 0.0)
    quality = cold_mean.astype(np.float64)
    offsets = np.zeros(columns.shape[1])
    for _ in range(ANCHOR_ROUNDS):
        offsets = _offsets(filled, known, quality)
        moved = np.where(known, filled - offsets, 0.0).sum(axis=1)
        quality = (moved + ANCHOR_PSEUDO_COUNTS * cold_mean) / (known.sum(axis=1) + ANCHOR_PSEUDO_COUNTS)
    anchored: Matrix = values - offsets
    return anchored


def _offsets(values: Matrix, known: NDArray[np.bool_], quality: Vector) -> Vector:
    """(D,) mean over a column's candidates of how far its values lie above their quality."""
    above: Vector = np.where(known, values - quality[:, None], 0.0).sum(axis=0) / known.sum(axis=0)
    return above


def _agreements(accuracies: Matrix) -> list[float]:
    """Correlations of normal scores, over all pairs of datasets with enough candidates in common."""
    columns = [normal_scores(column) for column in accuracies.T]
    found = [correlation(a, b) for i, a in enumerate(columns) for b in columns[:i]]
    return [value for value in found if np.isfinite(value)]


def _regressed(kernel: Matrix, history: Vector, known: NDArray[np.bool_]) -> Vector:
    """(M,) prediction for all candidates from those with results."""
    inside = kernel[np.ix_(known, known)] + RIDGE * np.eye(int(known.sum()))
    predicted: Vector = kernel[:, known] @ np.linalg.solve(inside, history[known])
    return predicted


def _left_out(kernel: Matrix, history: Vector, known: NDArray[np.bool_]) -> list[float]:
    """Correlations of predictions with results, each fifth of the candidates predicted from the others.

    Every fifth candidate in the order of the results is in one fold, so that the order of the pool does not matter.
    """
    places = np.flatnonzero(known)
    places = places[np.argsort(history[places], kind="stable")]
    if len(places) < FOLDS * FEWEST_IN_COMMON:
        return []
    predicted = np.full(len(history), np.nan)
    for fold in range(FOLDS):
        out = places[fold::FOLDS]
        rest = known.copy()
        rest[out] = False
        predicted[out] = _regressed(kernel, history, rest)[out]
    return [correlation(predicted[places[fold::FOLDS]], history[places[fold::FOLDS]]) for fold in range(FOLDS)]


def _words(name: str) -> frozenset[str]:
    """The words of a name: what stands between dots, dashes, slashes and underscores, and digits apart from letters."""
    words, word = set(), ""
    for c in name.lower() + "-":
        if c.isalnum() and (not word or word[-1].isdigit() == c.isdigit()):
            word += c
        else:
            words.add(word)
            word = c if c.isalnum() else ""
    return frozenset(words - {""})


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0
