"""Folders that `datasets` reads: nothing in them reaches another place, or keeps a run waiting."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from modelselect import Probe
from modelselect.errors import DatasetError
from modelselect.probe import dataset_folders

CSV = "text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(12))

_connected: list[Any] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        _connected.append(arguments)


sys.addaudithook(_note)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "data" / "train.csv").write_text(CSV)
    return tmp_path / "set"


def refusal(folder: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        Probe.of(folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "file",
    [
        "http://127.0.0.1:9/x.csv",
        "hf://datasets/a/b/x.csv",
        "zip://*.csv::http://127.0.0.1:9/x.zip",
        "../private.csv",
        "data/../../private.csv",
        "/etc/passwd",
        "~/x.csv",
    ],
)
def test_a_folder_that_names_other_places_reaches_none(folder: Path, name: str, file: str) -> None:
    (folder.parent / "private.csv").write_text(CSV)
    card = f"configs:\n- config_name: default\n  data_files: [data/*, '{file}']\n"
    (folder / name).write_text(card if name.endswith("yaml") else f"---\n{card}---\n")
    _connected.clear()
    assert f"names a file outside that folder ({file})" in refusal(folder)
    assert not _connected
    (folder / name).write_text((folder / name).read_text().replace(f", '{file}'", ""))
    assert len(Probe.of(folder)) == 12


def test_a_description_that_grows_without_bounds_is_refused(folder: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    (folder / "README.md").write_text("\n".join(["---", *lines, "configs: [*i, *i]", "---", ""]))
    assert "has more than 200,000 parts" in refusal(folder)


@pytest.mark.parametrize("text", ["configs: " + "[" * 5000 + "]" * 5000, "configs:\n" + "- " * 3000 + "x"])
def test_a_description_that_is_nested_deeply_is_refused_at_once(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(f"---\n{text}\n---\n")
    assert re.search("100 levels|cannot be read", refusal(folder))


def test_patterns_that_no_file_has_are_an_error(folder: Path) -> None:
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/*\n---\n")
    (folder / "data" / "train.csv").rename(folder / "data" / "train.zip")
    (folder / "other.csv").write_text(CSV)
    assert "cannot be read" in refusal(folder)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_saved_folder_with_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path, name: str, kind: str) -> None:
    import datasets

    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"text": list("abcdef"), "label": [0, 1] * 3}).save_to_disk(saved)
    (saved / name).unlink()
    (saved / name).symlink_to("/dev/zero") if kind == "device" else os.mkfifo(saved / name)
    if name == "state.json":  # what says that the folder is one of save_to_disk
        (saved / "dataset_dict.json").write_text('{"splits": ["."]}')
    assert f"{name} is a pipe or a device" in refusal(saved)


def test_descriptions_have_a_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n" + "x" * 1000)
    assert len(Probe.of(folder)) == 12
    monkeypatch.setattr(dataset_folders, "LARGEST_DESCRIPTION", 1000)
    assert "README.md has 1,021 bytes; expected at most 1,000" in refusal(folder)
