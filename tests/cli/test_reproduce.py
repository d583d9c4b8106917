"""`modelselect reproduce` lists published experiments, runs them, and writes figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelselect.cli import app
from modelselect.host.host import get_host

pytestmark = pytest.mark.usefixtures("cache")


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        app.main(["reproduce", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_the_list_has_every_experiment_with_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    listed = json.loads(out)
    experiments = [(p.name, e.where) for p in get_host().protocols.values() for e in p.experiments]
    assert [(row["name"], row["where"]) for row in listed] == experiments
    assert {row["state"] for row in listed} == {"runs here", "needs downloads", "cannot"}
    assert run(capsys, "list")[1].count("blog-cifar10") == 2


def test_an_experiment_runs_on_a_stand_in_and_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELSELECT_SHARED", raising=False)
    files = ["-o", tmp_path / "figures.md", "--plot", tmp_path / "figure.png"]
    code, out, err = run(capsys, "blog-cifar10", "--scale", "small", "--quiet", "--device", "cpu", *files)
    assert code == 0, err
    assert "NCTI" in out
    assert "A stand-in: 4 embedded networks" in out
    assert "| NCTI | mean |" in (tmp_path / "figures.md").read_text()
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_bad_usage_is_said_before_the_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "blog-cifar10", "--scale", "small", "-o", tmp_path / "figures.docx")
    assert code == 2
    assert "expected .md" in err
    code, _, err = run(capsys, "blog-cifar11")
    assert code == 2
    assert "blog-cifar10" in err
    code, _, err = run(capsys, "itm")
    assert code == 2
    assert "To download: 9 candidates" in " ".join(err.split())
