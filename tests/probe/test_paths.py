"""Strings that are paths of image files are read as images; strings that only look like paths are texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import contents, folder_of


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six images of each of two classes, named as seen from the working directory."""
    folder_of(tmp_path / "pets", {"cat": 6, "dog": 6})
    monkeypatch.chdir(tmp_path)
    return [f"pets/{label}/{i}.png" for label in ("cat", "dog") for i in range(6)]


def labels_of(files: list[str]) -> list[str]:
    return [Path(file).parent.name for file in files]


def refusal(data: Any, **named: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        Probe.of(data, **named)
    return str(caught.value)


def test_lists_and_columns_of_paths_are_the_images_of_the_folder(images: list[str]) -> None:
    folder = Probe.of("pets")
    absolute, labels = [str(Path(file).absolute()) for file in images], labels_of(images)
    for data in (
        (images, labels),
        (absolute, labels),
        ([Path(file) for file in images], labels),
        (np.array(images), labels),
        (pd.Series(images), pd.Series(labels)),
        (pd.DataFrame({"file": images}), labels),
        pd.DataFrame({"path": absolute, "label": labels}),
        pd.DataFrame({"file": [Path(file) for file in images], "label": labels}),
        datasets.Dataset.from_dict({"image": images, "label": labels}),
    ):
        probe = Probe.of(data)
        assert probe.modality == "image"
        assert contents(probe) == contents(folder)
        assert probe.fingerprint == folder.fingerprint


def test_missing_files_are_rows_that_cannot_be_read(images: list[str]) -> None:
    probe = Probe.of(([*images, "pets/cat/99.png"], [*labels_of(images), "cat"]))
    assert probe.skipped == (("row 12 (99.png)", "no such file"),)
    listed = pd.DataFrame({"path": [*images, "pets/cat/99.png"], "label": [*labels_of(images), "cat"]})
    assert Probe.of(listed).skipped == probe.skipped
    table = pd.DataFrame({"path": [*images, None], "label": [*labels_of(images), "cat"]})
    assert Probe.of(table).skipped == (("row 12", "missing"),)


def test_paths_of_which_none_exists_are_refused_and_the_advice_works(
    images: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, labels = [file.removeprefix("pets/") for file in images], labels_of(images)
    message = refusal((data, labels))
    assert f"such as 'cat/0.png', but no such file is in {tmp_path}" in message
    assert Probe.of(pd.DataFrame({"name": data, "label": labels}), input="name").modality == "text"
    monkeypatch.chdir("pets")
    assert Probe.of((data, labels)).modality == "image"


def test_addresses_are_to_be_downloaded_and_a_mix_is_refused(images: list[str]) -> None:
    labels = labels_of(images)
    web = [f"https://example.org/{i}.jpg?size=small" for i in range(12)]
    assert "Download the images, and give their paths" in refusal((web, labels))
    assert "column 'image' are addresses" in refusal(pd.DataFrame({"image": web, "label": labels}))
    assert "a mix: 11 are paths of image files" in refusal(([*images[:-1], "a picture of a dog"], labels))
    assert "a mix" in refusal(([*images[:-1], web[0]], labels))


def test_paths_of_files_that_are_no_images_are_refused(images: list[str], tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("a text")
    assert "paths of files that are not read here" in refusal(([f"{i}.txt" for i in range(4)], [0, 1] * 2))


@pytest.mark.parametrize(
    "texts",
    [
        ["see cat 1.png", "then dog 2.png"],
        ["cats/or", "dogs/and"],
        ["https://example.org/a", "https://example.org/b"],
        ["cat.png", "the cat is in cat.png"],
        ["/", "."],
        ["a\0b", "c" * 5000],
    ],
)
def test_texts_that_only_look_like_paths_are_texts(texts: list[str]) -> None:
    assert Probe.of((texts, [0, 1])).modality == "text"
