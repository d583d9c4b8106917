"""A table can be written in every form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.errors import InvalidInputError
from tests.benchmarking.conftest import made_up


def test_every_form_can_be_written_and_holds_the_figures(tmp_path: Path) -> None:
    table = made_up().table(resamples=50)
    for suffix in (".md", ".tex", ".html", ".csv", ".json", ".txt"):
        table.save(tmp_path / f"table{suffix}")
    frame = pd.read_csv(tmp_path / "table.csv")
    mean = frame[(frame.estimator == "good") & frame.dataset.isna()].iloc[0]
    assert (mean.value, mean.low) == (table.rows[0].mean.value, (table.rows[0].mean.interval or [0])[0])
    document = json.loads((tmp_path / "table.json").read_text())
    assert document["rows"][0]["mean"]["value"] == mean.value
    assert document["truth"] == made_up().truth
    shown = f"{mean.value:.2f}"
    for suffix in (".md", ".tex", ".html", ".txt"):
        assert shown in (tmp_path / f"table{suffix}").read_text()
    with pytest.raises(InvalidInputError, match=r"expected \.md"):
        table.save(tmp_path / "table.docx")


def test_a_benchmark_without_any_figure_says_so_in_every_form(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 10)
    evidence = {"d": {m: {"features": np.eye(20)[:, :4], "labels": labels} for m in "ab"}}
    table = Benchmark.of_evidence(evidence, {"d": {"a": 0.5, "b": 0.6}}, "leep").table()
    for suffix in (".md", ".tex", ".html", ".csv", ".json", ".txt"):
        table.save(tmp_path / f"table{suffix}")
    assert "No method has a figure" in str(table)
    assert "source_probabilities" in str(table)
