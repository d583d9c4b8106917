"""Pairs of texts: classes and numbers, from a table with two columns of texts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import processors

import modelselect as ms
from modelselect.errors import DatasetError, InvalidInputError
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe
from tests.cli.conftest import run
from tests.plugins.zoos.text_models import WORDS, text_folder, tokenizer

pytestmark = pytest.mark.usefixtures("cache")


def pair_tokenizer() -> Any:
    """The tokenizer of the tiny models, with `[SEP]` between the texts of a pair."""
    made = tokenizer()
    ends = [(token, made.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    return made


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A table of pairs, how many words they share, and whether they share any."""
    rng = np.random.default_rng(0)
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sentence1", "sentence2", "likeness", "related"])
        for _ in range(60):
            first = rng.choice(WORDS[:12], 6, replace=False)
            second = np.where(rng.random(6) < 0.5, first, rng.choice(WORDS[12:30], 6, replace=False))
            shared = int((first == second).sum())
            table.writerow([" ".join(first), " ".join(second), shared + 0.5, "yes" if shared > 2 else "no"])
    return tmp_path / "pairs.csv"


@pytest.mark.parametrize(
    ("label", "kind", "metric"), [("likeness", "numbers", "r2"), ("related", "classes", "accuracy")]
)
def test_pairs_are_ranked_and_fine_tuned_for_classes_and_for_numbers(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str, kind: str, metric: str
) -> None:
    for seed in range(2):
        text_folder(tmp_path / "models" / f"bert{seed}", seed=seed)
        pair_tokenizer().save_pretrained(tmp_path / "models" / f"bert{seed}")
    board = tmp_path / "board.json"
    code, _, error = run(
        capsys, "select", pairs, f"dir:{tmp_path / 'models'}/*", "--task", "text-pair", "--label", label,
        "--input", "sentence1,sentence2", "-e", "logme,linear_probe", "--top-k", "1", "--epochs", "1",
        "--json", board, "--history", tmp_path / "history.sqlite", "-q",
    )  # fmt: skip
    assert code == 0, error
    loaded = ms.Leaderboard.load(board)
    assert len(loaded.ranked) == 2
    task = loaded.provenance["task"]
    assert (task["name"], task["targets"], task["metric"]) == ("text-pair", kind, metric)
    assert loaded.best.verified_accuracy is not None
    kept = {result.metric for result in ms.History(tmp_path / "history.sqlite").results()}
    assert kept == {f"text-pair-{kind}:{name}" for name in ("accuracy", "linear_probe", "logme")}


def test_pairs_with_classes_are_not_compared_with_pairs_with_numbers(pairs: Path) -> None:
    given: dict[str, Any] = {"input": ["sentence1", "sentence2"], "targets": None}
    datasets = {label: Probe.of(pairs, label=label, **given) for label in ("related", "likeness")}
    truth = {name: {"a": 0.5, "b": 0.6} for name in datasets}
    with pytest.raises(InvalidInputError, match="related: text-pair-classes, likeness: text-pair-numbers"):
        ms.benchmark("embedded:*", datasets, truth, task="text-pair", progress=False)


def test_rows_that_are_no_pairs_are_refused() -> None:
    probe = Probe.of(([f"text {row}" for row in range(8)], [0, 1] * 4))
    with pytest.raises(DatasetError, match="are no pairs of texts"):
        get_host().task("text-pair").of_rows(probe)
