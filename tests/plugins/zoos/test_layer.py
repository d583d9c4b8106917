"""A layer of any zoo's model is a candidate: its features are what the layer gives, and only the place is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.expression import Expression
from modelselect.candidates.preprocessing import example_batch
from modelselect.errors import CandidateError, ExpressionError
from modelselect.host.host import get_host
from modelselect_plugins.sections.scores_by_layer import ScoresByLayer
from modelselect_plugins.zoos.layer import LayerZoo, blocks_of
from tests.evaluation.material import images, rank
from tests.plugins.zoos.text_models import text_folder, tokenizer

pytestmark = pytest.mark.usefixtures("cache")

TEXTS = ["the cat sat on the mat", "a", "dog ran " * 6]


def load(expression: str) -> Backbone:
    [candidate] = ms.search(expression)
    return get_host().zoo(candidate.zoo).load(candidate)


def close(given: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)


def test_a_layer_is_a_setting_of_a_name_in_any_zoo() -> None:
    [candidate] = ms.search("embedded:resnet.letters?layer=2")
    [whole] = ms.search("embedded:resnet.letters")
    assert candidate.id == f"layer:embedded:resnet.letters?layer=2@{whole.revision}"
    assert [each.id for each in ms.search(candidate.id)] == [candidate.id]
    assert candidate.metadata["parameters"] == whole.metadata["parameters"]
    assert candidate.metadata["source_classes"] == 0
    assert [each.name for each in ms.search("embedded:resnet.*?layer=*")][:4] == [
        f"embedded:resnet.letters?layer={number}" for number in (1, 2, 3, 4)
    ]
    assert Expression.parse("hub:?task=fill-mask&limit=3").zoo == "hub"


def test_a_query_is_asked_without_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    [whole] = ms.search("embedded:resnet.letters")
    asked: list[str] = []

    def search(self: ms.Zoo, pattern: str) -> list[ms.Candidate]:
        asked.append(pattern)
        return [whole]

    monkeypatch.setattr(type(get_host().zoo("hub")), "search", search)
    [found] = get_host().zoo("layer").search("hub:?task=fill-mask&limit=3&layer=2")
    assert asked == ["?limit=3&task=fill-mask"]
    assert found.name == "embedded:resnet.letters?layer=2"
    assert Expression.parse("hub:?task=fill-mask&layer=*") == Expression("layer", "hub:?task=fill-mask&layer=*")


@pytest.mark.parametrize("value", ["0", "x", "-1", "1.5", ""])
def test_a_layer_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ExpressionError, match="expected a number from 1, or \\* for all layers"):
        ms.search(f"embedded:resnet.letters?layer={value}")


def test_a_layer_that_is_not_there_costs_its_row() -> None:
    with pytest.raises(CandidateError, match="layer=9 is not there: the model has 4 layers"):
        load("embedded:resnet.letters?layer=9")


@pytest.mark.parametrize("name", ["resnet.letters", "vit.letters", "plain.letters"])
def test_features_are_the_mean_of_what_the_layer_gives(name: str) -> None:
    whole = load(f"embedded:{name}")
    batch = example_batch(whole.preprocessing)
    names = blocks_of(whole.module)
    for number, block in enumerate(names, 1):
        if number not in (1, len(names)):
            continue
        backbone = load(f"embedded:{name}?layer={number}")
        with torch.no_grad():
            features, logits = backbone.read(backbone.module, batch)
            hidden = batch
            for part, layer in whole.module.trunk.named_children():  # type: ignore[union-attr]
                hidden = layer(hidden)
                if f"trunk.{part}" == block:
                    break
        expected = hidden.mean((2, 3)) if hidden.dim() == 4 else hidden.mean(1) if hidden.dim() == 3 else hidden
        close(features, expected)
        assert logits is None


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_texts_are_pooled_at_a_layer_as_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    module = text_folder(tmp_path / "bert", num_hidden_layers=3)
    words = tokenizer()
    for number in (1, 3):
        backbone = load(f"dir:bert?layer={number}&pooling={pooling}")
        rows = torch.stack([backbone.preprocessing.prepare(text) for text in TEXTS])
        with torch.no_grad():
            features = backbone.read(backbone.module, backbone.preprocessing.finish(rows)).features
            for text, found in zip(TEXTS, features, strict=True):
                hidden = module(**words(text, return_tensors="pt"), output_hidden_states=True).hidden_states[number][0]
                expected = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1], "max": hidden.amax(0)}
                torch.testing.assert_close(found, expected[pooling], rtol=1e-4, atol=1e-5)


def test_a_pooling_of_the_end_alone_is_refused_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text_folder(tmp_path / "bert", "BertForSequenceClassification")
    with pytest.raises(
        CandidateError, match=r"the pooling 'head', which applies to its end only.*mean, cls, last, max"
    ):
        load("dir:bert?layer=1")


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("resnet18", 4), ("vit_tiny_patch16_224", 12), ("mobilenetv2_100", 7), ("swin_tiny_patch4_window7_224", 4)],
)
def test_the_layers_of_timm_are_its_stages_or_its_blocks(architecture: str, layers: int) -> None:
    module = get_host().zoo("timm").skeleton(ms.Candidate("timm", architecture))
    assert len(blocks_of(module)) == layers


def test_a_module_without_a_sequence_of_layers_says_so() -> None:
    with pytest.raises(CandidateError, match="Bilinear has no sequence of layers"):
        blocks_of(torch.nn.Bilinear(2, 2, 2))


def test_layers_are_ranked_fine_tuned_saved_and_used_again(tmp_path: Path) -> None:
    rows, labels = images(40)
    recipe = ms.FineTuning(epochs=1)
    board = rank("embedded:resnet.letters?layer=*", (rows, labels), estimators="logme", top_k=1, fine_tuning=recipe)
    assert len(board.ranked) == 4
    assert len({row.feature_dim for row in board.ranked}) > 1
    assert board.ranked[0].verified_accuracy is not None
    shallow, deep = (next(r for r in board.rows if f"layer={number}" in r.candidate.name) for number in (1, 4))
    assert shallow.macs < deep.macs  # type: ignore[operator]
    before = board.best.predict(rows[:6])
    board.best.save(tmp_path / "winner")
    again = ms.load(str(tmp_path / "winner"))
    assert again.class_names is not None
    with torch.no_grad():
        prepared = torch.stack([again.preprocessing.prepare(Image.fromarray(row)) for row in rows[:6]])
        logits = again.module(again.preprocessing.finish(prepared))
    np.testing.assert_allclose(logits.softmax(1).numpy(), before.probabilities, rtol=1e-4, atol=1e-6)
    [chart] = ScoresByLayer().blocks(board)
    assert len(chart.dots) == 4
    assert [dot.star for dot in chart.dots].count(True) == 1
    ms.testing.check_report_section(ScoresByLayer(), board)
    assert ScoresByLayer().blocks(rank("embedded:plain.letters", (rows, labels), estimators="logme")) == []


def test_the_zoo_of_layers_says_what_the_zoo_of_the_model_says() -> None:
    zoo = LayerZoo()
    [candidate] = zoo.search("embedded:plain.letters?layer=1")
    assert zoo.is_here(candidate)
    assert zoo.for_modality(candidate, "image").id == candidate.id
