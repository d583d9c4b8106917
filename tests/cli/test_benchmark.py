"""`modelselect benchmark` prints, writes and measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelselect.benchmarking.truth import read_truth
from modelselect.cli import app
from tests.benchmarking.conftest import EXPRESSIONS, MODELS, folder, made_up

pytestmark = pytest.mark.usefixtures("cache")


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        app.main(["benchmark", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_the_command_prints_and_writes_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = [folder(tmp_path / name, seed) for seed, name in enumerate(("one", "two", "three"))]
    truth = tmp_path / "truth.csv"
    random = np.random.default_rng(0)
    lines = [f"{d.name},{m},{random.integers(50, 99)}" for d in data for m in MODELS]
    truth.write_text("dataset,model,accuracy\n" + "\n".join(lines) + "\n")
    more = [word for expression in EXPRESSIONS[1:] for word in ("-c", expression)]
    arguments = [EXPRESSIONS[0], *data, *more, "--truth", truth, "-e", "logme,knn", "-q"]
    code, out, err = run(capsys, *arguments, "-o", tmp_path / "t.md", "-o", tmp_path / "t.html")
    assert code == 0, err
    assert "logme" in out
    assert "parameters (baseline)" in out
    assert "mean rank elsewhere" in out
    assert (tmp_path / "t.md").read_text().count("| logme |") == 1
    assert (tmp_path / "t.html").exists()
    code, out, _ = run(capsys, *arguments, "--json", "--measure", "top1_regret", "--save-truth", tmp_path / "saved.csv")
    assert json.loads(out)["measure"] == "top1_regret"
    assert read_truth(tmp_path / "saved.csv").accuracies == read_truth(truth).accuracies


def test_the_command_measures_the_truth_and_saves_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, saved = folder(tmp_path / "one", 1, test=True), tmp_path / "truth.csv"
    arguments = [EXPRESSIONS[0], data, "-c", EXPRESSIONS[1], "-e", "logme", "-q", "--resamples", 0]
    code, _, err = run(capsys, *arguments, "--verify", "head", "--epochs", 1, "--save-truth", saved)
    assert code == 0, err
    measured = read_truth(saved).accuracies
    assert measured.keys() == {"one"}
    assert measured["one"].keys() == set(EXPRESSIONS[:2])
    code, out, err = run(capsys, *arguments, "--truth", saved, "--json")
    assert code == 0, err
    assert json.loads(out)["truth"] == measured


def test_the_command_draws_other_probes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, truth = folder(tmp_path / "one", 1), tmp_path / "truth.csv"
    lines = [f"one,{model},{60 + index},50" for index, model in enumerate(MODELS[:3])]
    truth.write_text("\n".join(["dataset,model,accuracy,rows", *lines]))
    more = [word for expression in EXPRESSIONS[1:3] for word in ("-c", expression)]
    arguments = [EXPRESSIONS[0], data, *more, "--truth", truth, "-e", "logme", "-q"]
    code, out, err = run(capsys, *arguments, "--probe-sizes", "20,all", "--per-class", 5, "--seeds", 2)
    assert code == 0, err
    assert all(label in out for label in ("20 rows", "all rows", "5 rows per", "±"))
    assert "Another draw of the test rows would agree with this truth" in " ".join(out.split())
    assert "Win rates" not in out
    code, out, err = run(capsys, *arguments, "--detail", "--reference", "source_accuracy", "-o", tmp_path / "t.md")
    assert code == 0, err
    assert "Differences from source_accuracy" in out
    assert "### Win rates" in (tmp_path / "t.md").read_text()


def test_the_command_judges_scores_from_elsewhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    made_up().to_pandas().rename(columns={"accuracy": "top1"}).to_csv(path, index=False)
    code, out, err = run(capsys, "--scores", path, "--truth", path, "--column", "accuracy=top1", "--no-intervals")
    assert code == 0, err
    assert out.index("good") < out.index("bad") < out.index("parameters (baseline)")
    facts = tmp_path / "models.csv"
    facts.write_text("model,kind\nm0,CNN\nm1,ViT\n")
    columns = ["--column", "accuracy=top1", "--column", "family=kind"]
    code, out, err = run(capsys, "--scores", path, "--truth", path, *columns, "--models", facts, "--detail")
    assert code == 0, err
    assert "without ViT" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["embedded:*"], "expected candidates and datasets"),
        (["embedded:*", "data", "--measure", "tau"], "unknown measure 'tau'"),
        (["embedded:*", "data", "--truth", "t.csv", "--epochs", "3"], "--epochs applies to fine-tuning"),
        (["embedded:*", "data", "-o", "t.docx"], "expected .md"),
        (["--scores", "s.csv"], "--truth FILE.csv"),
        (["--scores", "s.csv", "--truth", "t.csv", "--column", "top1"], "--column is 'top1'"),
        (["--scores", "s.csv", "--truth", "t.csv", "--seeds", "3"], "leave out --probe-sizes, --per-class and --seeds"),
        (["embedded:*", "data", "--truth", "t.csv", "--models", "m.csv"], "--models describes the models of --scores"),
        (["embedded:*", "data", "--truth", "t.csv", "--per-class", "five"], "--per-class is 'five'; expected numbers"),
        (
            ["embedded:*", "data", "--truth", "t.csv", "--probe-sizes", "1"],
            "probe_sizes is 1; expected numbers of rows",
        ),
    ],
)
def test_wrong_use_is_said_in_one_message(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
