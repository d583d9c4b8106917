"""Constants are chosen without the benchmark that judges them, and without the truth of the dataset in question."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from scipy import stats

from modelselect.benchmarking.leaving_out import Method, leave_one_benchmark_out
from modelselect.benchmarking.results import BenchmarkResults
from tests.benchmarking.conftest import made_up

BENCHMARKS = {f"b{seed}": made_up(datasets=3, seed=seed) for seed in range(3)}


def test_the_method_is_judged_where_it_was_not_fitted_and_never_sees_the_answer() -> None:
    asked: list[tuple[frozenset[str], frozenset[str], str]] = []

    def fit(others: Mapping[str, BenchmarkResults]) -> Method:
        def method(benchmark: BenchmarkResults, dataset: str) -> Mapping[str, float]:
            asked.append((frozenset(others), frozenset(benchmark.truth), dataset))
            return benchmark.scores["bad"][dataset]

        return method

    found = leave_one_benchmark_out(BENCHMARKS, fit)
    for (others, seen, dataset), name in zip(asked, [n for n in BENCHMARKS for _ in range(3)], strict=True):
        assert others == BENCHMARKS.keys() - {name}
        assert seen == set(BENCHMARKS[name].truth) - {dataset}
    for name, benchmark in BENCHMARKS.items():
        for dataset, figure in found[name].items():
            scores = benchmark.scores["bad"][dataset]
            expected = stats.weightedtau(list(scores.values()), [benchmark.truth[dataset][m] for m in scores])
            assert figure == pytest.approx(expected.statistic)


def test_a_constant_that_suits_one_benchmark_alone_fails_elsewhere() -> None:
    """The sign of a score differs between the two benchmarks, so each is judged with the other's sign."""
    truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7}}
    benchmarks = {
        "up": BenchmarkResults(truth, {"x": truth}),
        "down": BenchmarkResults(truth, {"x": {"d": {"a": 1.0, "b": 2.0, "c": 3.0}}}),
    }

    def fit(others: Mapping[str, BenchmarkResults]) -> Method:
        (other,) = others.values()
        sign = 1.0 if other.scores["x"]["d"]["a"] > other.scores["x"]["d"]["c"] else -1.0
        return lambda benchmark, dataset: {m: sign * v for m, v in benchmark.scores["x"][dataset].items()}

    assert leave_one_benchmark_out(benchmarks, fit, "kendall") == {"up": {"d": -1.0}, "down": {"d": -1.0}}
