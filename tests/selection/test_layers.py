"""The layer that a candidate is read at is chosen by the probe's rows, in one forward pass for all layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect_plugins.zoos.embedded import EmbeddedZoo
from tests.evaluation.material import images, rank
from tests.plugins.zoos.text_models import text_folder

pytestmark = pytest.mark.usefixtures("cache")

NETWORK = "embedded:resnet.letters"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each forward pass over a probe."""
    seen: list[int] = []
    extract = TorchExtractor.extract

    def counted(self: Any, backbone: Any, probe: ms.Probe, *others: Any, **named: Any) -> Any:
        seen.append(len(probe))
        return extract(self, backbone, probe, *others, **named)

    monkeypatch.setattr(TorchExtractor, "extract", counted)
    return seen


def hard(rows: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Images whose classes differ little, so that layers differ in how well they tell them apart."""
    labels = np.arange(rows) % 3
    pixels = np.random.default_rng(3).integers(0, 200, (rows, 32, 32, 3)) + 3 * labels[:, None, None, None]
    return pixels.astype(np.uint8), labels


def by_layer(dataset: Any, layers: int = 4) -> list[float]:
    """The linear probe of each layer, and of the end, from features that are computed one layer at a time."""
    names = [*(f"{NETWORK}?layer={number}" for number in range(1, layers + 1)), NETWORK]
    found = [ms.features(dataset, name, progress=False) for name in names]
    return [ms.score(each.features, each.labels, "linear_probe") for each in found]


def test_the_layer_that_is_chosen_is_ranked_by_the_default_with_a_history(tmp_path: Path) -> None:
    given: dict[str, Any] = {"history": tmp_path / "history.sqlite", "progress": False}
    for _ in range(2):
        board = ms.select(hard(), [f"{NETWORK}?layer=best", "embedded:resnet.textures"], **given)
        assert len(board.ranked) == 2
        assert {row.status for row in board.rows} == {"ok"}


def test_the_best_layer_is_the_one_whose_linear_probe_is_best() -> None:
    dataset = hard()
    board = rank(f"{NETWORK}?layer=best", dataset)
    values = by_layer(dataset)
    place = len(values) - 1 - int(np.argmax(values[::-1]))
    expected = f"layer:{NETWORK}?layer={place + 1}" if place < 4 else NETWORK
    assert len(set(values)) > 1
    assert board.best.candidate.unversioned_id == expected
    [scores] = board.provenance["layers"]["scores"].values()
    np.testing.assert_allclose(list(scores.values()), values)
    assert f"{NETWORK} is read at " in str(board)
    assert f"{values[place]:.3g}" in str(board)


def test_all_layers_share_one_forward_pass(passes: list[int]) -> None:
    dataset = images(40)
    for candidates in (f"{NETWORK}?layer=best", f"{NETWORK}?layer=*", NETWORK):
        rank(candidates, dataset)
    assert len(passes) == 1  # the end is there, too
    rank(f"{NETWORK}?layer=2", hard())
    assert len(passes) == 2


@pytest.mark.parametrize("name", ["resnet.letters", "vit.letters", "plain.letters"])
def test_a_shared_pass_gives_the_same_bits_as_a_pass_for_each_layer(name: str, tmp_path: Path) -> None:
    dataset = images(70)  # more than one batch
    names = [f"embedded:{name}?layer=*", f"embedded:{name}"]
    together = ms.features(dataset, names, cache_dir=tmp_path / "together", progress=False)
    assert len(together) > 3
    for key, found in together.items():
        plain = "embedded:" + key.removeprefix("layer:").removeprefix("embedded:").partition("@")[0]
        alone = ms.features(dataset, plain, cache_dir=tmp_path / "alone", progress=False)
        assert found.features.tobytes() == alone.features.tobytes()
        assert (found.source_probabilities is None) == (alone.source_probabilities is None)
        if alone.source_probabilities is not None:
            assert found.source_probabilities.tobytes() == alone.source_probabilities.tobytes()


@pytest.mark.parametrize(("kind", "expected"), [("BertModel", 1), ("BertForSequenceClassification", 2)])
def test_layers_of_texts_share_a_pass_and_give_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int], kind: str, expected: int
) -> None:
    monkeypatch.chdir(tmp_path)
    text_folder(tmp_path / "bert", kind, num_hidden_layers=3)
    dataset = (["the cat sat", "a dog ran on the mat", "dog", "cat on a mat"] * 5, [0, 1] * 10)
    names = ["dir:bert?layer=*&pooling=mean", "dir:bert?pooling=mean"]
    together = ms.features(dataset, names, cache_dir=tmp_path / "together", progress=False)
    assert len(together) == 4
    assert len(passes) == expected  # the end of a classifier has logits, which take a pass with its head
    for key, found in together.items():
        plain = key.removeprefix("layer:").partition("@")[0]
        alone = ms.features(dataset, plain, cache_dir=tmp_path / "alone", progress=False)
        assert found.features.tobytes() == alone.features.tobytes()
        assert (found.source_probabilities is None) == (alone.source_probabilities is None)


def test_the_rows_that_are_held_out_choose_no_layer(tmp_path: Path) -> None:
    probe, others = (ms.Probe.of(dataset, holdout=0.2) for dataset in (hard(), (images(90)[0], hard()[1])))
    first = rank(f"{NETWORK}?layer=best", probe)
    assert probe.holdout is not None
    probe.holdout = others.holdout
    second = rank(f"{NETWORK}?layer=best", probe, cache_dir=tmp_path)
    assert first.provenance["layers"] == second.provenance["layers"]
    assert first.best.candidate == second.best.candidate


def test_a_chosen_layer_is_fine_tuned_and_saved_as_that_layer(tmp_path: Path) -> None:
    dataset = hard()
    board = rank(f"{NETWORK}?layer=best", dataset, top_k=1, fine_tuning=ms.FineTuning(epochs=1))
    assert board.best.verified_accuracy is not None
    assert "best" not in board.best.candidate.id
    board.save(tmp_path / "board.json")
    again = ms.Leaderboard.load(tmp_path / "board.json")
    assert again.provenance["layers"]["chosen_by"] == "linear_probe"


@pytest.mark.parametrize("rounds", [False, True])
def test_layers_is_a_setting_for_every_candidate(rounds: bool) -> None:
    names = [NETWORK, "embedded:plain.letters"]
    best = rank(names, hard(), layers="best", rounds=rounds)
    assert len(best.rows) == 2
    assert len(best.provenance["layers"]["scores"]) == 2
    every = rank(names, hard(), layers="all", rounds=rounds)
    assert sum(NETWORK in row.candidate.id for row in every.rows) == 4


def test_numbers_and_sets_of_labels_choose_a_layer_too() -> None:
    rows, labels = hard(60)
    numbers = rank(f"{NETWORK}?layer=best", (rows, labels + 0.5), estimators="knn", task="regression")
    assert numbers.provenance["task"]["name"] == "regression"
    assert numbers.provenance["layers"]["chosen_by"] == "linear_probe"
    sets = np.stack([labels == 0, labels != 1], 1).astype(float)
    several = rank(f"{NETWORK}?layer=best", (rows, sets), estimators="knn", task="multi-label")
    assert len(several.ranked) == 1


def test_a_network_without_layers_is_read_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    import modelselect_plugins.zoos.layer as layers

    def none(_: Any) -> list[str]:
        raise CandidateError("no sequence of layers")

    monkeypatch.setattr(layers, "blocks_of", none)
    board = rank(f"{NETWORK}?layer=best", images(40))
    assert board.best.candidate.unversioned_id == NETWORK
    assert "has no sequence of layers" in str(board)


def test_a_layer_that_is_left_open_is_refused_where_nothing_can_choose() -> None:
    with pytest.raises(InvalidInputError, match=r"there are no labels.*or leave out layers= \(--layers\)"):
        rank(f"{NETWORK}?layer=best", ms.Probe.of((images(20)[0], [-1] * 20)), estimators="rankme")
    with pytest.raises(InvalidInputError, match=r"Leave out budget= \(--budget\)"):
        rank(f"{NETWORK}?layer=best", images(20), budget="20m")
    with pytest.raises(CandidateError, match=r"layer=best is not one layer: select\(\) chooses"):
        ms.features(images(20), f"{NETWORK}?layer=best", progress=False)
    with pytest.raises(InvalidInputError, match="layers is 'last'; expected 'best', 'all', or None"):
        rank(NETWORK, images(20), layers="last")


def test_a_model_that_cannot_be_built_costs_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise CandidateError("the file is damaged")

    monkeypatch.setattr(EmbeddedZoo, "skeleton", broken)
    board = rank([f"{NETWORK}?layer=best", NETWORK], images(40))
    assert [row.candidate.unversioned_id for row in board.ranked] == [NETWORK]
    assert "the file is damaged" in str(board.rows[-1].status)
