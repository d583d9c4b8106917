"""Datasets by name: from a folder of the user, else from the Hub."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.probe.named import DATASETS, find_dataset


def test_a_folder_of_the_user_takes_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "pets" / "train" / label).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((8, 8, 3), 40 * number + (label == "dog"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / "train" / label / f"{number}.png")
    monkeypatch.setenv("MODELSELECT_DATA", str(tmp_path))
    probe = ms.Probe.of("data:pets")
    assert (probe.name, len(probe), probe.class_names) == ("pets", 6, ("cat", "dog"))
    assert find_dataset("data:pets").is_here
    assert not find_dataset("data:dtd").is_here


def test_the_columns_of_the_hub_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.delenv("MODELSELECT_DATA", raising=False)
    asked = []

    def load(path: str, config: str | None) -> SimpleNamespace:
        asked.append(path)
        image = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
        rows = {"img": [image] * 4, "fine_label": [0, 1, 0, 1], "coarse_label": [0, 0, 0, 0]}
        made = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())
        splits = datasets.DatasetDict({"train": made, "test": made})
        return SimpleNamespace(cache_dir=tmp_path, download_and_prepare=lambda: None, as_dataset=lambda split: splits)

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    probe = ms.Probe.of("data:cifar100")
    assert asked == ["uoft-cs/cifar100"]
    assert (probe.name, probe.provenance["split"]) == ("cifar100", "train")
    assert sorted(probe.labels.tolist()) == [0, 0, 1, 1]


def test_what_cannot_be_used_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELSELECT_DATA", raising=False)
    with pytest.raises(DatasetError, match=r"no copy on the Hub is known.*MODELSELECT_DATA.*'voc2007'"):
        ms.Probe.of("data:voc2007")
    with pytest.raises(DatasetError, match=r"no dataset 'data:cifar'.*cifar10"):
        ms.Probe.of("data:cifar")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A folder in the layout of PASCAL VOC. 1: an image has the label; -1: it has not; 0: difficult, so not known."""
    root = tmp_path / "voc2007"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    said = {"cat": ["1", "-1", "0", "1"], "dog": ["-1", "1", "1", "1"]}
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(root / "JPEGImages" / f"00000{number}.jpg")
    for label, values in said.items():
        lines = [f"00000{number} {value}" for number, value in enumerate(values)]
        for split in ("trainval", "test"):
            (root / "ImageSets" / "Main" / f"{label}_{split}.txt").write_text("\n".join(lines))
    return root


def test_voc2007_is_read_in_the_layout_of_its_authors(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_DATA", str(tmp_path))
    probe = ms.Probe.of("data:voc2007")
    assert probe.target_names == ("cat", "dog")
    assert probe.provenance["split"] == "train"
    assert np.nan_to_num(np.asarray(probe.targets), nan=-1).tolist() == [[1, 0], [0, 1], [-1, 1], [1, 1]]


def test_a_label_of_voc_is_read_alone(voc: Path) -> None:
    probe = ms.Probe.of(voc, label="cat")
    assert (probe.class_names, len(probe)) == (("0", "1"), 4)
    assert sorted(probe.labels.tolist()) == [-1, 0, 1, 1]  # the difficult image is not labelled
    assert ms.Probe.of(voc, label=("dog", "cat")).target_names == ("dog", "cat")
    assert ms.Probe.of(voc, label="cat, dog").target_names == ("cat", "dog")


def test_columns_that_voc_does_not_have_are_refused(voc: Path) -> None:
    with pytest.raises(DatasetError, match=r"label='cta' is not a label.*Did you mean 'cat'.*Labels: cat, dog"):
        ms.Probe.of(voc, label="cta")
    with pytest.raises(DatasetError, match=r"input='file' names a column.*Leave out input="):
        ms.Probe.of(voc, input="file")


def test_every_named_dataset_can_be_found_or_says_why_not() -> None:
    for name, dataset in DATASETS.items():
        assert dataset.expression == f"data:{name}"
        assert bool(dataset.hub) != bool(dataset.obstacle)
        assert dataset.classes > 1 < dataset.rows
