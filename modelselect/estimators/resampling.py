"""How much a score varies between probes: the same resamples of the probe's rows for every candidate.

A resample is four fifths of the rows of each class, drawn without replacement: the delete-d jackknife of Shao and Wu
(Annals of Statistics 17, 1989), also known as subsampling (Politis and Romano, Annals of Statistics 22, 1994). The
bootstrap draws with replacement, so methods that use neighbours would find copies of a row. A mean over four fifths of
N rows varies half as much as a mean over N new rows, so deviations are doubled. They are taken around the mean of the
resamples and added to the score of all rows, since many scores depend on the number of rows.

Of rows that are parts of wholes, such as words of sentences, four fifths of the wholes are drawn: rows of one whole are
alike, so that drawing rows would make scores look surer than they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import EvidenceError, InvalidInputError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import ROW_FIELDS, Evidence
from modelselect.probe.sampling import wholes_of
from modelselect.utils.target_kinds import RELEVANCE

SCHEME = "four fifths of each class without replacement, 1"
"""Part of every key: must change when the rows of a resample change."""

SCHEME_OF_WHOLES = "four fifths of the wholes without replacement, 1"
"""The same for rows that are parts of wholes."""

SHARE = 0.8
SCALE = (SHARE / (1 - SHARE)) ** 0.5
"""Factor from deviations between resamples to deviations between probes: sqrt(m / (n - m)) for m of n rows."""


def check_resamples(resamples: int) -> None:
    """Raises InvalidInputError if this number of resamples is not usable."""
    if not isinstance(resamples, Integral) or resamples < 0 or resamples == 1:
        raise InvalidInputError(f"resamples is {resamples}; expected 0 (no standard errors) or at least 2, better 50")


def looks_at_rows(estimator: Estimator) -> bool:
    """True if the estimator reads evidence with one row for each row of the probe."""
    return not estimator.reads.isdisjoint(ROW_FIELDS)


def resample(evidence: Evidence, number: int, seed: int) -> Evidence:
    """The evidence of resample `number`, which has the same rows for every candidate of a probe.

    >>> labels = np.repeat([0, 1, 2], [10, 5, 1])
    >>> resample(Evidence.of(labels=labels), 0, seed=0).labels.tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]
    """
    labels, rng = evidence.labels, np.random.default_rng([seed, number])
    if labels is not None and evidence.target_kind == RELEVANCE:  # four fifths of the queries, and all documents
        is_query = np.isnan(labels[:, 0])
        queries = np.flatnonzero(is_query)
        kept = queries[_four_fifths(np.zeros(len(queries), np.int64), rng)]
        return evidence.take(np.sort(np.append(kept, np.flatnonzero(~is_query))))
    strata = np.zeros(evidence.n_rows, dtype=np.int64) if labels is None or labels.ndim != 1 else labels
    if evidence.groups is not None:
        return evidence.take(_of_wholes(evidence.groups, strata, rng))
    return evidence.take(_four_fifths(strata, rng))


def check_components(estimator: Estimator, resampled: Mapping[str, float], score: Mapping[str, float]) -> None:
    """Raises EvidenceError if a resample has other components than all rows, as an ensemble of few rows may have."""
    if resampled.keys() != score.keys():
        raise EvidenceError(
            f"{estimator.name} has the components {', '.join(sorted(resampled))} on four fifths of the rows, but "
            f"{', '.join(sorted(score))} on all rows; give more rows"
        )


def replicate(score: Mapping[str, float], resampled: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """One candidate's components as other probes might give them: spread around its score by its uncertainty.

    >>> replicate({"a": 7.0}, [{"a": 4.0}, {"a": 6.0}])
    [{'a': 5.0}, {'a': 9.0}]
    """
    names = list(score)
    table = np.array([[components[name] for name in names] for components in resampled])
    moved = np.array([score[name] for name in names]) + SCALE * (table - table.mean(axis=0))
    return [dict(zip(names, row, strict=True)) for row in moved.tolist()]


def _four_fifths(strata: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers, ascending: four fifths of each stratum, rounded at random, and at least one row."""
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    ends = np.floor(np.cumsum(SHARE * counts) + rng.random()).astype(
        np.int64
    )  # cumulative, so that the total is rounded only once
    taken = np.maximum(np.diff(ends, prepend=0), 1)
    shuffled = rng.permutation(len(codes))
    by_stratum = shuffled[np.argsort(codes[shuffled], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(codes)) - np.repeat(starts, counts)
    return np.sort(by_stratum[place < np.repeat(taken, counts)])


def _of_wholes(groups: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers, ascending: of four fifths of the wholes, and of one more for each class that these lack."""
    whole, has = wholes_of(groups, labels)
    kept = np.zeros(len(has), np.bool_)
    kept[_four_fifths(np.zeros(len(has), np.int64), rng)] = True
    for label in np.flatnonzero(has.any(axis=0) & ~has[kept].any(axis=0)).tolist():
        if not has[kept, label].any():
            kept[has[:, label].argmax()] = True
    return np.flatnonzero(kept[whole])
