"""The test split is never used, and the holdout is the validation split or a part of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.probe.splits import check_wanted, choose_split, kind_of_split
from tests.probe.material import contents, folder_of, noise

# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_the_holdout_is_the_validation_split_where_there_is_one(tmp_path: Path, split: str) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / split, {"a": 2, "b": 1}, first=500)
    folder_of(tmp_path / "test", {"a": 9, "b": 9}, first=700)
    probe = Probe.of(tmp_path, holdout=0.2)
    assert probe.holdout is not None
    assert probe.holdout.labels is not None
    assert probe.holdout.labels.tolist() == [0, 0, 1]
    assert len(probe.training) == 12
    assert contents(probe.holdout) == [noise(500 + 97_000 + i).tobytes() for i in (0, 1)] + [
        noise(500 + 98_000).tobytes()
    ]
    assert Probe.of(tmp_path).holdout is None


def test_without_a_validation_split_the_holdout_is_cut_from_training_before_sampling(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 10})
    folder_of(tmp_path / "test", {"a": 5, "b": 5}, first=700)
    probe = Probe.of(tmp_path, size=9, holdout=0.2)
    assert probe.holdout is not None
    assert probe.holdout.labels is not None
    sampled, training, held_out = (set(contents(part)) for part in (probe, probe.training, probe.holdout))
    assert sampled < training
    assert not training & held_out
    everything = set(contents(Probe.of(tmp_path, size=None)))
    assert training | held_out == everything
    assert np.bincount(probe.holdout.labels).tolist() == [4, 2]
    assert probe.holdout.class_names == probe.class_names


@pytest.mark.parametrize("name", ["test", "Test", "testing"])
def test_a_dataset_of_test_rows_alone_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / name, {"a": 3, "b": 3})
    for dataset in (tmp_path, {name: (noise(0, (6, 4, 4)), [0, 1] * 3)}):
        with pytest.raises(DatasetError, match=r"test split .* rename .* or give \(inputs, labels\)"):
            Probe.of(dataset)


def test_the_test_split_cannot_be_asked_for_by_name_nor_by_its_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 3, "b": 3})
    folder_of(tmp_path / "test", {"a": 3, "b": 3})
    for arguments in ({"dataset": tmp_path, "split": "test"}, {"dataset": tmp_path / "test"}):
        with pytest.raises(DatasetError, match="test split"):
            Probe.of(**arguments)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="test split"):
        Probe.of("nobody/nothing", split="train+test[:10%]")


def test_a_split_can_be_named_and_a_wrong_name_is_met_with_a_suggestion(tmp_path: Path) -> None:
    for split in ("train", "extra"):
        folder_of(tmp_path / split, {"a": 2, "b": 2}, first=len(split))
    data = {split: (noise(len(split), (4, 4, 4)), [0, 1] * 2) for split in ("train", "extra")}
    assert Probe.of(data, split="extra").provenance["split"] == "extra"
    with pytest.raises(DatasetError, match="Did you mean 'train'"):
        Probe.of(data, split="trian")
    with pytest.raises(DatasetError, match="splits extra, other"):
        Probe.of({"extra": data["extra"], "other": data["train"]})


def test_validation_classes_that_training_lacks_are_an_error(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 2, "b": 2})
    folder_of(tmp_path / "val", {"a": 2, "bee": 2})
    with pytest.raises(DatasetError, match="classes that the training split lacks: bee"):
        Probe.of(tmp_path, holdout=0.1)


@pytest.mark.parametrize(
    ("splits", "chosen", "held_out"),
    [
        (("train", "train_extra", "test"), "train", None),
        (("train_sft", "test_sft"), "train_sft", None),
        (("train", "validation_matched", "test_matched"), "train", "validation_matched"),
        (("Training", "evaluation", "validation"), "Training", "validation"),
        (("dev", "test1"), "dev", None),
        (("trainval", "train", "val", "test2007"), "train", "val"),
    ],
)
def test_splits_are_chosen_by_words_and_the_plain_name_comes_first(
    splits: tuple[str, ...], chosen: str, held_out: str | None
) -> None:
    assert choose_split(splits, None, "data") == (chosen, held_out)


def test_several_training_splits_are_refused_and_the_one_named_in_the_advice_is_taken() -> None:
    data = {name: (noise(i, (4, 4, 4)), [0, 1] * 2) for i, name in enumerate(("train.X1", "train.X2"))}
    with pytest.raises(DatasetError, match=r"split='train\.X1' \(on the command line: --split train\.X1\)"):
        Probe.of(data)
    assert Probe.of(data, split="train.X1").provenance["split"] == "train.X1"


@pytest.mark.parametrize(
    "name", ["test", "TestSet", "test_matched", "imagenet-test", "PrivateTest", "held-out", "a+test[:5]"]
)
def test_names_of_test_splits_are_refused_wherever_the_word_stands(name: str) -> None:
    with pytest.raises(DatasetError, match="names a test split"):
        check_wanted(name)


def test_words_that_only_look_like_splits_are_none() -> None:
    for name in (
        "contest",
        "trains",
        "rain",
        "latest",
        "valley",
        "device",
        "attestation",
        "crash test",
        "train station",
    ):
        assert kind_of_split(name) is None
