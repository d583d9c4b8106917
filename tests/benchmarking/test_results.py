"""The mean rank elsewhere uses only the other datasets, and results survive a data frame."""

from __future__ import annotations

import pandas as pd
import pytest

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.results import MEAN_RANK, mean_rank_elsewhere
from tests.benchmarking.conftest import made_up
from tests.conftest import shared_path


def test_the_mean_rank_elsewhere_never_looks_at_the_dataset_itself() -> None:
    truth = {d: dict(models) for d, models in made_up().truth.items()}
    before = mean_rank_elsewhere(truth)
    truth["d0"] = {model: -value for model, value in truth["d0"].items()}
    after = mean_rank_elsewhere(truth)
    assert before["d0"] == after["d0"]
    assert before["d1"] != after["d1"]


@pytest.mark.parametrize(
    ("name", "weighted_kendall"),
    [("supervised-cnn-11x11.csv", 0.84), ("self-supervised-12x11.csv", 0.64), ("foundation-10x10.csv", 0.65)],
)
def test_the_mean_rank_reaches_what_is_known_of_it_on_published_results(name: str, weighted_kendall: float) -> None:
    table = pd.read_csv(shared_path("truth", name))
    found = Benchmark.of_scores(table.assign(estimator="none", score=0.0), table).table(resamples=0)
    assert found.history == MEAN_RANK
    assert next(r for r in found.rows if r.estimator == MEAN_RANK).mean.value == pytest.approx(
        weighted_kendall, abs=0.0105
    )


def test_scores_and_truth_come_back_from_the_data_frame() -> None:
    found = made_up()
    assert Benchmark.of_scores(found.to_pandas(), found.to_pandas()) == found
