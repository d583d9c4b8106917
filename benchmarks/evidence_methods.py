"""Ways to rank the pool of a benchmark for one of its datasets, with a history of some of the others.

A method takes the benchmark, the number of the dataset to rank for, and the numbers of the datasets in the history. It
gives (M,) scores, NaN where it has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from unittest import mock

import numpy as np
from evidence_benchmarks import Benchmark, Matrix, Vector

from modelselect.estimators.posterior import Piece, Posterior, posterior
from modelselect.estimators.ranks import mean_rank, normalised_ranks
from modelselect.history import ACCURACY, HistoryView, Result
from modelselect_plugins.estimators._evidence import pieces, reliabilities
from modelselect_plugins.estimators.evidence import MOST_OF_THE_POOL, NEED_ROWS, default_members
from modelselect_plugins.estimators.fennec import Fennec

MEMBERS = tuple(member.name for member in default_members())
DEFAULT_BEFORE = ("etran", "knn", "logme")

Method = Callable[[Benchmark, int, Sequence[int]], Vector]


def recipe(
    benchmark: Benchmark, target: int, history: Sequence[int], accuracies: Matrix | None = None, plain: bool = False
) -> Posterior:
    """The default ranking's posterior.

    `accuracies` are (M, D) of the history's datasets, None for all that the benchmark knows. With `plain`, incomplete
    columns are taken as they are, and not anchored.
    """
    known = benchmark.accuracies[:, list(history)] if accuracies is None else accuracies
    found = _cold(benchmark, target, history, known)
    if history:
        cold = posterior(_cold(benchmark, target, (), known[:, :0]), len(benchmark.models)).mean
        with mock.patch.object(pieces, "WHOLE_COLUMN", 0.0 if plain else pieces.WHOLE_COLUMN):
            found = [*pieces.beyond_history(found, known), pieces.history_piece(known, cold)]
    return posterior(found, len(benchmark.models))


def _cold(benchmark: Benchmark, target: int, history: Sequence[int], known: Matrix) -> list[Piece]:
    """Pieces other than the history."""
    found = []
    dimensions = benchmark.fact("dimension")
    enough = not np.isfinite(dimensions).any() or benchmark.rows >= np.nanmedian(dimensions) / 2
    members = [name for name in MEMBERS if name in benchmark.scores and (enough or name not in NEED_ROWS)]
    if members:
        now, *past = ([benchmark.scores[name][:, d] for name in members] for d in (target, *history))
        found.append(pieces.probe_piece(now, past, known, reliabilities.PROBE))
    if np.isfinite(benchmark.fact("parameters")).any():
        found.append(pieces.fact_piece("size", np.log(benchmark.fact("parameters")), known, reliabilities.SIZE))
    if np.isfinite(benchmark.fact("imagenet")).mean() > MOST_OF_THE_POOL:
        found.append(pieces.fact_piece("imagenet", benchmark.fact("imagenet"), known, reliabilities.IMAGENET))
    return found


def evidence(benchmark: Benchmark, target: int, history: Sequence[int]) -> Vector:
    return recipe(benchmark, target, history).mean


def elsewhere(benchmark: Benchmark, _: int, history: Sequence[int]) -> Vector:
    """The mean normalised rank on the datasets of the history."""
    ranks = np.column_stack([normalised_ranks(benchmark.accuracies[:, d]) for d in history])
    known = np.isfinite(ranks)
    total, count = np.where(known, ranks, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def fennec(benchmark: Benchmark, target: int, history: Sequence[int]) -> Vector:
    """By Fennec's own code, on a history of these accuracies; it has no proxy and no architectures here."""
    results = tuple(
        Result(model, benchmark.datasets[d], ACCURACY, value / 100)
        for d in history
        for model, value in zip(benchmark.models, benchmark.accuracies[:, d].tolist(), strict=True)
        if np.isfinite(value)
    )
    sizes = {
        model: {"parameters": value} if np.isfinite(value) else {}
        for model, value in zip(benchmark.models, benchmark.fact("parameters").tolist(), strict=True)
    }
    view = HistoryView(
        candidates=tuple(dict.fromkeys(result.candidate for result in results)),
        datasets=tuple(benchmark.datasets[d] for d in history),
        results=results,
        candidate_facts=sizes,
        dataset_facts={},
        graphs={},
        proxies={},
    ).about(sizes, {})
    found = Fennec().recall(view, None)
    return np.array([found[model]["fennec"] for model in benchmark.models])


def default_before(benchmark: Benchmark, target: int, _: Sequence[int]) -> Vector:
    """The mean rank of `etran`, `knn` and `logme`, of those that the benchmark has."""
    there = [name for name in DEFAULT_BEFORE if name in benchmark.scores]
    if not there:
        return np.full(len(benchmark.models), np.nan)
    return mean_rank({name: normalised_ranks(benchmark.scores[name][:, target]) for name in there})


def fact(benchmark: Benchmark, _: int, __: Sequence[int], name: str) -> Vector:
    return benchmark.fact(name)


def alone(benchmark: Benchmark, target: int, _: Sequence[int], name: str) -> Vector:
    return benchmark.scores[name][:, target] if name in benchmark.scores else np.full(len(benchmark.models), np.nan)


WITHOUT_HISTORY: Mapping[str, Method] = {
    "parameters": functools.partial(fact, name="parameters"),
    "ImageNet accuracy": functools.partial(fact, name="imagenet"),
    "downloads": functools.partial(fact, name="downloads"),
    "etran + knn + logme": default_before,
}
WITH_HISTORY: Mapping[str, Method] = {"mean rank elsewhere": elsewhere, "Fennec": fennec, "evidence": evidence}
