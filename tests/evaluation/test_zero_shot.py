"""Models of images and texts classify by the names of the classes: as transformers does, and next to the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.text_classifier import prompts_for
from modelselect.errors import InvalidInputError
from modelselect.host.host import get_host
from tests.evaluation.material import rank
from tests.plugins.zoos.image_models import SIDE, towers_folder

pytestmark = pytest.mark.usefixtures("cache")

NAMES = ["cat", "dog", "hill"]
PROMPT = "the {} sat on the mat"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dataset(rows: int = 36) -> tuple[list[Image.Image], list[str]]:
    pixels = np.random.default_rng(1).integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in pixels], [NAMES[row % 3] for row in range(rows)]


def logits(model: Any, folder: Path, images: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """What transformers itself computes for images and texts."""
    import transformers

    processor = transformers.AutoProcessor.from_pretrained(folder)
    length = "max_length" if model.config.model_type == "siglip" else True
    inputs = processor(text=texts, images=images, return_tensors="pt", padding=length, max_length=20, truncation=True)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        return model(**inputs).logits_per_image  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", ["CLIP", "Siglip", "ChineseCLIP", "AltCLIP"])
def test_logits_are_those_of_transformers(here: Path, family: str) -> None:
    model = towers_folder(here / "both", family)
    [candidate] = ms.search("dir:both")
    images, _ = dataset(6)
    texts = [PROMPT.replace("{}", name) for name in NAMES]
    expected = logits(model, here / "both", images, texts)
    classifier = get_host().zoo("directory").text_classifier(candidate, [[text] for text in texts])
    assert classifier is not None
    backbone = get_host().zoo("directory").load(candidate)
    rows = torch.stack([backbone.preprocessing.prepare(image) for image in images])
    with torch.no_grad():
        features = backbone.read(backbone.module, backbone.preprocessing.finish(rows)).features.numpy()
    np.testing.assert_allclose(classifier.logits(features), expected.numpy(), rtol=1e-3, atol=1e-3)


def test_the_board_shows_the_accuracy_that_transformers_gives(here: Path) -> None:
    model = towers_folder(here / "both", "CLIP")
    probe = ms.Probe.of(dataset())
    board = rank(["dir:both", "embedded:plain.letters"], probe, prompt=PROMPT)
    clip, other = sorted(board.rows, key=lambda row: row.candidate.zoo)
    texts = [PROMPT.replace("{}", str(name)) for name in probe.class_names]
    images = [probe.item(row) for row in range(len(probe))]
    expected = logits(model, here / "both", images, texts).argmax(1).numpy() == probe.labels
    assert clip.zero_shot_accuracy == pytest.approx(expected.mean())
    assert other.zero_shot_accuracy is None
    assert "classifies" in str(board)
    assert "by the names of the classes, untrained" in " ".join(str(board).split())
    frame = board.to_pandas()
    assert frame["zero_shot_accuracy"].notna().sum() == 1
    board.save(here / "board.json")
    assert ms.Leaderboard.load(here / "board.json").rows == board.rows
    again = rank(["dir:both", "embedded:plain.letters"], probe, prompt=PROMPT)
    assert again.rows == board.rows
    without = rank(["dir:both"], probe, prompt=None)
    assert without.rows[0].zero_shot_accuracy is None
    assert without.rows[0].score == clip.score


def test_several_prompts_are_averaged(here: Path) -> None:
    towers_folder(here / "both", "CLIP")
    [candidate] = ms.search("dir:both")
    zoo = get_host().zoo("directory")
    texts = ["a cat", "one dog ran"]
    first, second, both = (zoo.text_classifier(candidate, [each]) for each in (texts[:1], texts[1:], texts))
    assert first is not None
    assert second is not None
    assert both is not None
    mean = (first.texts + second.texts) / 2
    np.testing.assert_allclose(both.texts, mean / np.linalg.norm(mean), rtol=1e-5)
    assert prompts_for("hot_dog", ("a {}", "{}s")) == ["a hot dog", "hot dogs"]


def test_classes_without_names_and_other_tasks_have_no_such_accuracy(here: Path) -> None:
    towers_folder(here / "both", "CLIP")
    images, _ = dataset()
    for labels in (np.arange(36) % 3, np.linspace(0, 1, 36)):
        board = rank("dir:both", (images, labels), estimators="knn")
        assert board.rows[0].zero_shot_accuracy is None


def test_a_tower_alone_and_a_damaged_model_keep_their_scores(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towers_folder(here / "both", "CLIP")

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the tokenizer is gone")

    monkeypatch.setattr(type(get_host().zoo("directory")), "text_classifier", broken)
    board = rank("dir:both", dataset())
    assert board.rows[0].rank == 1
    assert board.rows[0].zero_shot_accuracy is None


@pytest.mark.parametrize("prompt", ["a photo", 3, ["{}", "none"]])
def test_a_prompt_without_a_place_for_the_class_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a text with \{\} in the place of the class"):
        rank("embedded:plain.letters", prompt=prompt)
