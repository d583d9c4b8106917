"""Methods with constants, judged on a benchmark that their constants were not chosen on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from modelselect.benchmarking.measures import FEWEST_FOR_A_FIGURE, find_measure
from modelselect.benchmarking.results import BenchmarkResults

Method: TypeAlias = Callable[[BenchmarkResults, str], Mapping[str, float]]
"""From a benchmark and one of its datasets to a score for each model. The benchmark lacks the truth of this dataset."""

Fit: TypeAlias = Callable[[Mapping[str, BenchmarkResults]], Method]
"""From benchmarks with their truth to the method whose constants suit them best."""


def leave_one_benchmark_out(
    benchmarks: Mapping[str, BenchmarkResults], fit: Fit, measure: str = "weighted_kendall"
) -> dict[str, dict[str, float]]:
    """The figures of a method on each benchmark, if its constants are chosen on all the others.

    The method gets the left-out benchmark without the truth of the dataset in question, so it may use the truth of the
    other datasets, as a method with a transfer history does.

    Args:
        benchmarks: by name.
        fit: chooses the constants.
        measure: as in `Benchmark.table`.

    Returns:
        By left-out benchmark and dataset, the agreement of the method's scores with the truth. Datasets on which the
        method scores fewer than two models with a known accuracy are absent.

    Raises:
        UnknownNameError: there is no such measure.

    >>> truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7}}
    >>> one = BenchmarkResults(truth, {"x": {"d": {"a": 3, "b": 2, "c": 1}}, "y": {"d": {"a": 1, "b": 2, "c": 3}}})
    >>> def fit(others):
    ...     best = max(("x", "y"), key=lambda name: sum(b.scores[name]["d"]["a"] for b in others.values()))
    ...     return lambda benchmark, dataset: benchmark.scores[best][dataset]
    >>> leave_one_benchmark_out({"one": one, "two": one}, fit, "kendall")
    {'one': {'d': 1.0}, 'two': {'d': 1.0}}
    """
    judged_by = find_measure(measure)
    found: dict[str, dict[str, float]] = {}
    for name, benchmark in benchmarks.items():
        method = fit({other: results for other, results in benchmarks.items() if other != name})
        found[name] = {}
        for dataset, known in benchmark.truth.items():
            scores = method(_without_truth(benchmark, dataset), dataset)
            both = [model for model in known if model in scores]
            if len(both) >= FEWEST_FOR_A_FIGURE:
                x, y = (np.array([table[model] for model in both], np.float64) for table in (scores, known))
                found[name][dataset] = judged_by.of(x, y)
    return found


def _without_truth(benchmark: BenchmarkResults, dataset: str) -> BenchmarkResults:
    return replace(
        benchmark,
        truth={other: by_model for other, by_model in benchmark.truth.items() if other != dataset},
        runs={other: by_model for other, by_model in benchmark.runs.items() if other != dataset},
        test_rows={other: by_model for other, by_model in benchmark.test_rows.items() if other != dataset},
    )
