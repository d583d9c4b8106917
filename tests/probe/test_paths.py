"""Texts are told from paths of image files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelselect.errors import DatasetError
from modelselect.probe.paths import image_paths
from tests.probe.material import folder_of


def test_names_of_image_files_that_exist_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(str(path) for path in folder_of(tmp_path, {"a": 3}).rglob("*.png"))
    names = [os.path.relpath(path, tmp_path) for path in files]
    assert image_paths(files)
    assert image_paths([Path(path) for path in files])
    assert image_paths([*files, None, str(tmp_path / "missing.png")])
    assert image_paths(names, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert image_paths(names)


@pytest.mark.parametrize("values", [[], [None], ["a text", "b.png"], ["x" * 10_000, "a\0b"], [3, 4]])
def test_other_values_are_no_paths(values: list[Any]) -> None:
    assert not image_paths(values)


def test_files_that_do_not_exist_are_named_and_the_advice_finds_them(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 3})
    inputs = ["0.png", "1.png"]
    with pytest.raises(DatasetError, match=r"no file '0\.png' \(row 0\).*os\.path\.join\(FOLDER, name\)"):
        image_paths(inputs)
    FOLDER = tmp_path / "a"
    assert image_paths([os.path.join(FOLDER, name) for name in inputs])
    with pytest.raises(DatasetError, match=r"on the web, such as 'https://a\.b/c\.jpg' in row 0"):
        image_paths(["https://a.b/c.jpg"])
