"""The command `select`: what it passes on, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.benchmarking import running
from modelselect.cli import app
from modelselect.selection import funnel

REFUSED = [
    (["--executor", "nonsense"], "unknown executor 'nonsense'"),
    (["--batch-size", "0"], "batch_size is 0"),
    (["--resamples", "1"], "resamples is 1"),
    (["--max-latency-ms", "-1"], "max_latency_ms is -1.0"),
    (["--confidence", "2", "--budget", "1m"], "confidence is 2.0"),
    (["--estimators", " , "], "estimators is empty"),
]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        app.main([str(argument) for argument in arguments])
    assert stopped.value.code == app.EXIT_BAD_USAGE
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str, more: list[str]
) -> None:
    assert words in refusal(capsys, "select", tmp_path, "-c", "embedded:*", *arguments, *more)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The keywords that the command line passes on."""
    found: dict[str, Any] = {}

    def remember(*_: Any, **settings: Any) -> None:
        found.update(settings)
        raise ms.errors.InvalidInputError("enough")

    monkeypatch.setattr(funnel, "select", remember)
    monkeypatch.setattr(running, "benchmark", remember)
    return found


def test_what_is_left_out_is_left_to_the_settings(capsys: pytest.CaptureFixture[str], passed: dict[str, Any]) -> None:
    refusal(capsys, "select", "data", "-c", "embedded:*")
    assert passed == {"fine_tuning": ms.FineTuning()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--probe-size", "all"], {"probe_size": None}),
        (["--probe-size", "none"], {"probe_size": None}),
        (["--probe-size", "50"], {"probe_size": 50}),
        (["-e", "logme, knn"], {"estimators": ["logme", "knn"]}),
        (["-e", "all"], {"estimators": "all"}),
        (["--no-history"], {"history": False}),
        (["-q"], {"progress": False}),
        (["--license", "mit", "--license", "cc-by*"], {"license": ["mit", "cc-by*"]}),
        (["-k", "2", "--verify", "head", "--compile"], {"top_k": 2, "verify": "head", "compile": True}),
        (["--cache-dir", "store"], {"cache_dir": Path("store")}),
    ],
)
def test_options_become_keywords(
    capsys: pytest.CaptureFixture[str], passed: dict[str, Any], arguments: list[str], expected: dict[str, Any]
) -> None:
    refusal(capsys, "select", "data", "-c", "embedded:*", *arguments)
    assert passed == {"fine_tuning": ms.FineTuning()} | expected


def test_a_benchmark_takes_what_it_lacked(capsys: pytest.CaptureFixture[str], passed: dict[str, Any]) -> None:
    given = ["--precision", "bfloat16", "--batch-size", "8", "--compile", "--max-corrupt", "0.5"]
    refusal(capsys, "benchmark", "embedded:*", "data", "--truth", "truth.csv", *given)
    expected = {"precision": "bfloat16", "batch_size": 8, "compile": True, "max_corrupt": 0.5}
    assert {name: passed[name] for name in expected} == expected


def test_a_size_that_is_no_number_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--probe-size" in refusal(capsys, "select", "data", "-c", "embedded:*", "--probe-size", "some")
