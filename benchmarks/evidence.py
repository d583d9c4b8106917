"""Is the default ranking `evidence` better than what it replaces, and than simple baselines? One command says so.

    python benchmarks/evidence.py [--only methods,recall] [--benchmarks ...] [--output FILE]

Prints tables as Markdown. One dataset of a benchmark is left out, and the pool is ranked for it, with a history of 0,
1, 2, 4 or all other datasets of this benchmark; smaller histories are drawn several times. Only estimators see rows of
the dataset that is left out. `--output` writes the tables to a file, too.

The scores of the embedded and the lab's networks take some minutes, once: they are kept in the cache folder. The
published tables are in the folder `MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import evidence_methods
import numpy as np
from default_estimators import regret, weighted_kendall
from evidence_benchmarks import LOADERS, Benchmark, Matrix, Vector
from evidence_methods import WITH_HISTORY, WITHOUT_HISTORY, Method, alone, evidence, recipe
from evidence_recall import recall_table
from scipy.special import ndtri
from scipy.stats import pearsonr

from modelselect.errors import ScoreWarning
from modelselect.estimators.posterior import Piece, normal_scores
from modelselect_plugins.estimators._evidence import pieces, reliabilities

HISTORIES: Mapping[str, int | None] = {"none": 0, "1 dataset": 1, "2": 2, "4": 4, "all others": None}
DRAWN = 5
"""Histories of one size that are drawn for a dataset."""

SLOW = {"Fennec"}
"""Measured with the whole history alone."""

COLD, WHOLE = "evidence, history: none", "evidence, history: all others"
JUDGED = {"methods", "estimators", "intervals"}
"""Sections that show the figures of all methods."""

FIGURES = ("Weighted Kendall", "Pearson", "Top-1 regret in points")
KNOWN_AT_MOST = (3, 4, 5)
TRIED: Mapping[str, int | None] = {"none": 0, "1 dataset": 1, "2": 2, "all others": None}
VARIANTS = ((0.6, 1.0), (0.7, 3.0), (0.8, 3.0))
USUAL_SPREAD = 0.7
"""Deviation of the logarithm of parameters in a pool of usual sizes."""

BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RESAMPLES = 2_000

Judged = Mapping[str, Mapping[str, Matrix]]
"""By benchmark and method, (datasets, 3) figures; NaN where the method does not apply."""


def figures(scores: Vector, truth: Vector) -> tuple[float, float, float]:
    """Weighted Kendall, Pearson and regret over the candidates whose accuracy is known."""
    there = np.isfinite(truth)
    scores, truth = scores[there], truth[there]
    known = np.isfinite(scores)
    if known.sum() < 2 or np.ptp(scores[known]) == 0:
        return np.nan, np.nan, np.nan
    return (
        weighted_kendall(scores, truth),
        float(pearsonr(scores[known], truth[known]).statistic),
        regret(scores, truth),
    )


def histories(benchmark: Benchmark, target: int, size: int | None) -> list[list[int]]:
    """Datasets of the history: all others, or several draws."""
    others = [d for d in range(len(benchmark.datasets)) if d != target]
    if size is None or size == 0 or size >= len(others):
        return [others if size != 0 else []]
    random = np.random.default_rng(target)
    return [sorted(random.permutation(others)[:size].tolist()) for _ in range(DRAWN)]


def judged(benchmark: Benchmark, methods: Mapping[str, tuple[Method, int | None]]) -> dict[str, Matrix]:
    """(datasets, 3) figures of each method, which is given with the size of its history."""
    return {
        name: np.array(
            [
                np.mean(
                    [figures(method(benchmark, t, h), benchmark.accuracies[:, t]) for h in histories(benchmark, t, n)],
                    axis=0,
                )
                for t in range(len(benchmark.datasets))
            ]
        )
        for name, (method, n) in methods.items()
    }


def main_methods() -> dict[str, tuple[Method, int | None]]:
    found: dict[str, tuple[Method, int | None]] = {name: (method, 0) for name, method in WITHOUT_HISTORY.items()}
    for name, method in WITH_HISTORY.items():
        for history, size in HISTORIES.items():
            if name == "evidence" or size is None or (size and name not in SLOW):
                found[f"{name}, history: {history}"] = (method, size)
    return found


# --- tables -----------------------------------------------------------------------------------------------------------


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    cells = [[str(cell) for cell in line] for line in (head, ["---"] * len(head), *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def number(value: float, digits: int = 3) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def methods_tables(found: Judged) -> Iterator[str]:
    for place, figure in enumerate(FIGURES):
        lines = []
        for name in main_methods():
            values = [float(_mean(by[name][:, place])) for by in found.values()]
            lines.append([name, *map(number, values)])
        yield f"### {figure}, one dataset left out\n\n" + markdown(["ranked by", *found], lines)


def estimators_table(pools: Sequence[Benchmark], found: Judged) -> str:
    pools = [pool for pool in pools if pool.scores]
    names = sorted({name for pool in pools for name in pool.scores})
    scored = {
        pool.name: judged(pool, {n: (functools.partial(alone, name=n), 0) for n in names if n in pool.scores})
        for pool in pools
    }
    rows = {
        name: [float(_mean(scored[pool.name][name][:, 0])) if name in pool.scores else np.nan for pool in pools]
        for name in names
    }
    for name in (COLD, WHOLE):
        rows[f"**{name}**"] = [float(_mean(found[pool.name][name][:, 0])) for pool in pools]
    order = sorted(rows, key=lambda name: (-np.isfinite(rows[name]).sum(), -np.nanmean(rows[name])))
    shown = [name for name in order if np.isfinite(rows[name]).sum() > 1]
    lines = [[name, *map(number, rows[name]), number(float(np.nanmean(rows[name])))] for name in shown]
    left = [(max(rows[n][i] for n in names if np.isfinite(rows[n][i])), i) for i in range(len(pools))]
    best = [max((n for n in names if rows[n][i] == value), key=str) for value, i in left]
    lines.append(["the best single one", *(f"{n} {number(v)}" for n, (v, _) in zip(best, left, strict=True)), ""])
    head = ["ranked by", *(pool.name for pool in pools), "mean"]
    return "### Every estimator alone, weighted Kendall (those of two benchmarks or more)\n\n" + markdown(head, lines)


def calibration_tables(pools: Sequence[Benchmark]) -> Iterator[str]:
    lines = []
    pairs: dict[str, list[Matrix]] = {"none": [], "all others": []}
    totals: dict[str, list[Matrix]] = {name: [] for name in pairs}
    for pool in pools:
        line: list[object] = [pool.name]
        for name in pairs:
            inside, sure = [], []
            for target in range(len(pool.datasets)):
                found = recipe(pool, target, histories(pool, target, HISTORIES[name])[0])
                truth, known = normal_scores(pool.accuracies[:, target]), found.variance < 1
                away = (np.abs(truth - found.mean) / np.sqrt(found.variance))[known & np.isfinite(truth)]
                inside.append(np.column_stack([away < ndtri(0.9), away < ndtri(0.975)]))
                sure.append(_pairs(truth[known], found.mean[known], found.variance[known]))
            covered = np.concatenate(inside)
            if len(covered):
                totals[name].append(covered.mean(axis=0))
                pairs[name].append(np.concatenate(sure))
            line += [number(float(v), 2) for v in (covered.mean(axis=0) if len(covered) else (np.nan, np.nan))]
        lines.append(line)
    means = [number(float(value), 2) for name in pairs for value in np.mean(totals[name], axis=0)]
    lines.append(["mean", *means])
    head = ["benchmark", "no history: in 80%", "in 95%", "all others: in 80%", "in 95%"]
    yield "### How often intervals hold the truth\n\n" + markdown(head, lines)
    lines = []
    for low, high in itertools.pairwise(BINS):
        cells: list[object] = [f"{low:.1f} to {high:.1f}"]
        for tables in pairs.values():
            there = [table[(table[:, 0] >= low) & (table[:, 0] <= high)] for table in tables]
            there = [table for table in there if len(table)]
            cells += [number(float(np.mean([t[:, k].mean() for t in there])), 2) for k in (0, 1)]
        lines.append(cells)
    head = ["said", "no history: said", "right", "all others: said", "right"]
    yield "### Pairs: how often the better one is the one said to be better\n\n" + markdown(head, lines)


def _pairs(truth: Vector, mean: Vector, variance: Vector) -> Matrix:
    """(pairs, 2) probability said, and whether it was right, of the pairs whose truth differs."""
    from scipy.special import ndtr

    first, second = np.triu_indices(len(truth), 1)
    said = ndtr((mean[first] - mean[second]) / np.sqrt(variance[first] + variance[second]))
    differs = (truth[first] != truth[second]) & np.isfinite(truth[first] + truth[second])
    right = np.where(said >= 0.5, truth[first] > truth[second], truth[first] < truth[second])
    return np.column_stack([np.maximum(said, 1 - said), right])[differs]


def incomplete_table(pools: Sequence[Benchmark]) -> str:
    """Of each dataset of the history, only three to five candidates are known, as after `select(..., top_k=)`."""
    lines = []
    for pool in pools:
        found = []
        for target in range(len(pool.datasets)):
            (others,) = histories(pool, target, None)
            random, truth = np.random.default_rng(target), pool.accuracies[:, target]
            firsts, best = (np.full((len(pool.models), len(others)), np.nan) for _ in range(2))
            for column, d in enumerate(others):
                count = int(random.choice(KNOWN_AT_MOST))
                for table, order in ((firsts, recipe(pool, d, ()).mean), (best, pool.accuracies[:, d])):
                    rows = np.argsort(-np.nan_to_num(order, nan=-np.inf), kind="stable")[:count]
                    table[rows, column] = pool.accuracies[rows, d]
            ranked = [recipe(pool, target, ())]
            ranked += [
                recipe(pool, target, others, known, plain) for known in (firsts, best) for plain in (True, False)
            ]
            found.append([np.nan_to_num(figures(each.mean, truth)[0]) for each in ranked])
        lines.append([pool.name, *np.mean(found, axis=0)])
    lines.append(["mean", *np.mean([line[1:] for line in lines], axis=0)])
    head = ["benchmark", "no history", "first places, as they are", "anchored", "the best, as they are", "anchored"]
    shown = [[line[0], *map(number, line[1:])] for line in lines]
    return "### History of three to five candidates a dataset, weighted Kendall\n\n" + markdown(head, shown)


def intervals_table(found: Judged) -> str:
    """Differences of weighted Kendall with 95% intervals, benchmarks and then datasets drawn with replacement."""
    lines = []
    for size in HISTORIES:
        compared = [*WITHOUT_HISTORY, *(f"{name}, history: {size}" for name in WITH_HISTORY if name != "evidence")]
        for baseline in compared:
            pairs = [(by[f"evidence, history: {size}"], by[baseline]) for by in found.values() if baseline in by]
            differences = [ours[:, 0] - theirs[:, 0] for ours, theirs in pairs]
            differences = [d[np.isfinite(d)] for d in differences if np.isfinite(d).any()]
            if not differences:
                continue
            random = np.random.default_rng(0)
            drawn = [
                np.mean([np.mean(random.choice(d, len(d))) for d in _resampled(differences, random)])
                for _ in range(RESAMPLES)
            ]
            low, high = np.quantile(drawn, (0.025, 0.975))
            mean = np.mean([d.mean() for d in differences])
            name = baseline.removesuffix(f", history: {size}")
            lines.append([size, name, len(differences), f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"])
    head = ["history", "compared with", "benchmarks", "difference", "95% interval"]
    return "### Difference of weighted Kendall from each baseline\n\n" + markdown(head, lines)


def variants_table(pools: Sequence[Benchmark]) -> str:
    """Rules that were tried and left out: a heavier history, and size by its spread in the pool."""
    ways: dict[str, contextlib.AbstractContextManager[object]] = {"**as it is**": contextlib.nullcontext()}
    for start, weight in VARIANTS:
        ways[f"history from {start:.2f}, which counts as {weight:.0f}"] = _history_from(start, weight)
    ways["size by its spread"] = mock.patch.object(evidence_methods, "_cold", _by_spread)
    lines = []
    for name, way in ways.items():
        with way:
            found = [[judged(pool, {name: (evidence, n)})[name][:, 0] for n in TRIED.values()] for pool in pools]
        values = [[_mean(kendall) for kendall in of_pool] for of_pool in found]
        values.append([_mean(np.array(each)) for each in zip(*values, strict=True)])
        lines.append([name, *(" / ".join(map(number, each)) for each in values)])
    head = ["rule", *(pool.name for pool in pools), "mean"]
    return f"### Rules that were left out, weighted Kendall, history: {' / '.join(TRIED)}\n\n" + markdown(head, lines)


@contextlib.contextmanager
def _history_from(start: float, weight: float) -> Iterator[None]:
    """With another reliability of the history, before datasets can be compared, and the pairs that it counts as."""
    with mock.patch.object(reliabilities, "HISTORY", start), mock.patch.object(pieces, "HISTORY_WEIGHT", weight):
        yield


_OWN_COLD = evidence_methods._cold


def _by_spread(benchmark: Benchmark, *given: Any) -> list[Piece]:
    """The pieces, where size has the noise that it has elsewhere, and the signal of this pool."""
    found = []
    for piece in _OWN_COLD(benchmark, *given):
        if piece.name == "size":
            spread = min(float(np.nanstd(np.log(benchmark.fact("parameters")))), USUAL_SPREAD)
            signal, noise = piece.reliability * spread, USUAL_SPREAD * np.sqrt(1 - piece.reliability**2)
            piece = replace(piece, reliability=float(signal / np.hypot(signal, noise)))
        found.append(piece)
    return found


def _resampled(differences: Sequence[Vector], random: np.random.Generator) -> list[Vector]:
    return [differences[i] for i in random.integers(0, len(differences), len(differences))]


def _mean(values: Vector) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def main() -> None:
    sections = ("methods", "estimators", "calibration", "incomplete", "intervals", "variants", "recall")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(sections), help="tables, separated by commas")
    parser.add_argument("--benchmarks", default=",".join(LOADERS), help="whose tables, separated by commas")
    parser.add_argument("--cache-dir", type=Path, default=Path(tempfile.gettempdir()) / "modelselect-evidence")
    parser.add_argument("--output", type=Path, help="write the tables to this file, too")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    warnings.simplefilter("ignore", ScoreWarning)
    pools: list[Benchmark] = []
    found: Judged = {}
    if set(wanted) - {"recall"}:
        pools = [LOADERS[name](name, arguments.cache_dir) for name in arguments.benchmarks.split(",")]
        found = {pool.name: judged(pool, main_methods()) for pool in pools} if set(wanted) & JUDGED else {}
    makers: Mapping[str, Callable[[], Sequence[str]]] = {
        "methods": lambda: list(methods_tables(found)),
        "estimators": lambda: [estimators_table(pools, found)],
        "calibration": lambda: list(calibration_tables(pools)),
        "incomplete": lambda: [incomplete_table(pools)],
        "intervals": lambda: [intervals_table(found)],
        "variants": lambda: [variants_table(pools)],
        "recall": lambda: [recall_table()],
    }
    tables = []
    for section in wanted:
        for table in makers[section]():
            tables.append(table)
            print(table, "\n", flush=True)
    if arguments.output:
        arguments.output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
