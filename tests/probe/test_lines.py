"""Text files of datasets: every form that reads lines refuses what is no file, and what has no end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.probe import lines
from modelselect.probe.lines import lines_of


def beir(folder: Path) -> Path:
    """Returns the file of judgements."""
    (folder / "qrels").mkdir(parents=True)
    for name, key in (("corpus", "d"), ("queries", "q")):
        rows = [json.dumps({"_id": f"{key}{number}", "text": f"{name} {number}"}) for number in range(4)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    path = folder / "qrels/train.tsv"
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{number}\td{number}\t1\n" for number in range(4)))
    return path


def conll(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "train.conll"
    path.write_text("a X\nb Y\n\n" * 4)
    return path


FORMS = {"beir": beir, "conll": conll}


def test_lines_are_those_of_python(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    content = "﻿a b\r\n\n\u2028c\x85d\re\x0cf\nlast"
    path.write_text(content, encoding="utf-8", newline="")
    with path.open(encoding="utf-8-sig") as file:
        assert list(lines_of(path)) == list(file)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "a folder, a pipe or a device|the folder .* holds|no images in"),
        (Path.mkdir, "a folder, a pipe or a device|the folder .* holds|no images in"),
        (lambda path: path.symlink_to(path), "symbolic links|the folder .* holds"),
        (lambda path: path.symlink_to("/dev/zero"), "a folder, a pipe or a device|the folder .* holds|no images in"),
        (lambda path: path.symlink_to("nothing"), "cannot be read|the folder .* holds"),
        (lambda path: path.write_bytes(b"\xff\xfe a"), "is not in UTF-8"),
    ],
)
def test_what_is_no_text_file_is_one_error(
    tmp_path: Path, form: str, make: Callable[[Path], object], said: str
) -> None:
    path = FORMS[form](tmp_path / "data")
    path.unlink()
    make(path)
    with pytest.raises(DatasetError, match=said):
        ms.Probe.of(tmp_path / "data")


@pytest.mark.parametrize("form", FORMS)
def test_a_line_without_an_end_is_not_read_to_its_end(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 10_000)
    path = FORMS[form](tmp_path / "data")
    with path.open("ab") as file:
        file.truncate(1 << 36)
    with pytest.raises(DatasetError, match=r"line \d+ of .* has more than 10,000 characters"):
        ms.Probe.of(tmp_path / "data")


def test_masks_that_are_loops_of_links_are_one_error(tmp_path: Path) -> None:
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
    for number in range(2):
        (tmp_path / f"images/{number}.png").write_bytes(b"")
        (tmp_path / f"masks/{number}.png").symlink_to(f"{number}.png")
    with pytest.raises(DatasetError, match=r"the mask of 0.png cannot be read \(Too many levels of symbolic links\)"):
        ms.Probe.of(tmp_path)
