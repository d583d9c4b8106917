"""The command of a run means the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import ModelSelectError
from modelselect.evaluation.settings import Settings
from modelselect.selection.command import command_line
from modelselect.verification.recipe import FineTuning


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, []),
        ({"confirm": lambda question: True, "progress": False}, []),
        ({"top_k": 2, "fine_tuning": FineTuning(epochs=3)}, ["--top-k", "2", "--epochs", "3"]),
        ({"estimators": ("logme", "knn"), "costs": True}, ["--estimators", "logme,knn", "--costs"]),
        ({"history": False, "license": ["mit", "cc-*"]}, ["--no-history", "--license", "mit", "--license", "cc-*"]),
        (
            {"max_training_memory": 8_000_000_000, "max_download": 5e8},
            ["--max-training-memory", "8000000000B", "--max-download", "500000000B"],
        ),
        ({"max_training_memory": "device"}, ["--max-training-memory", "device"]),
        ({"input": ("a", "b"), "label": "c", "budget": "20m"}, ["--input", "a,b", "--label", "c", "--budget", "20m"]),
    ],
)
def test_every_setting_has_its_option(settings: dict[str, Any], words: list[str]) -> None:
    found = command_line(Settings(**settings), Path("photos"), "embedded:*")
    assert found is not None
    assert found[:5] == ["modelselect", "select", "photos", "-c", "embedded:*"]
    assert sorted(found[5:]) == sorted(words)


@pytest.mark.parametrize(
    ("settings", "dataset", "candidates"),
    [
        ({}, ([1, 2], [0, 1]), "embedded:*"),
        ({}, "photos", [ms.Candidate("timm", "a")]),
        ({"fine_tuning": FineTuning(batch_size=4)}, "photos", "embedded:*"),
    ],
)
def test_what_has_no_text_form_has_no_command(settings: dict[str, Any], dataset: Any, candidates: Any) -> None:
    assert command_line(Settings(**settings), dataset, candidates) is None


def test_the_words_of_a_command_are_read_back_as_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelselect.cli import app
    from modelselect.selection import funnel

    seen: dict[str, Any] = {}

    def note(dataset: Any, candidates: Any, **settings: Any) -> None:
        seen.update(settings, dataset=dataset, candidates=candidates)
        raise ModelSelectError("enough")

    monkeypatch.setattr(funnel, "select", note)
    settings = Settings(top_k=2, probe_size=None, estimators=("logme",), costs=True, seed=5, verify="head", resamples=4)
    words = command_line(settings, "photos", ["embedded:*"])
    assert words is not None
    with pytest.raises(SystemExit):
        app.main(words[1:])
    given = {name: value for name, value in seen.items() if name not in ("dataset", "candidates", "fine_tuning")}
    again = Settings(**given)
    assert (again.top_k, again.probe_size, again.costs, again.seed, again.verify) == (2, None, True, 5, "head")
    assert again.estimators in ("logme", ["logme"], ("logme",))
    assert (seen["dataset"], seen["candidates"]) == ("photos", ["embedded:*"])
