"""Cases of advice: what goes wrong, what the message says, and what the user types next."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.cli import app
from tests.benchmarking.conftest import folder, toy

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
KEYWORD = re.compile(r"\b([a-z_]+)=(?!=)")
LEFT_OUT = re.compile(r"leave (?:it |them )?out", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """Advice that is typed.

    Attributes:
        wrong: what the user typed: Python, or the words after `modelselect`.
        says: the advice, word for word as a part of the message.
        typed: what the user types next. It has the options or keywords that the advice names, and lacks those that the
            advice says to leave out.
        before: what was typed earlier, and works.
        shows: what the command that follows the advice prints; in Python an expression that then holds.
    """

    wrong: str
    says: str
    typed: str
    before: str = ""
    shows: str = ""

    def __str__(self) -> str:
        return re.sub(r"\W+", "-", self.says)[:60].strip("-")


def follows(case: Case, names: re.Pattern[str]) -> None:
    """Checks that what is typed next is what the advice says."""
    asked, *left_out = LEFT_OUT.split(case.says, maxsplit=1)
    given = set(names.findall(case.typed))
    assert set(names.findall(asked)) <= given, "the advice names what is not typed"
    assert not {name for part in left_out for name in names.findall(part)} & given, "what to leave out is typed"


def type_line(capsys: pytest.CaptureFixture[str], line: str, places: dict[str, Any]) -> tuple[int, str]:
    """Runs a command line; its exit code, and what it printed."""
    with pytest.raises(SystemExit) as stopped:
        app.main([word.format(**places) for word in shlex.split(line)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), " ".join((captured.out + captured.err).split())


def check_line(capsys: pytest.CaptureFixture[str], case: Case, places: dict[str, Any]) -> None:
    """Types the wrong line, reads the message, and types the line that it advises."""
    for line in filter(None, case.before.split("\n")):
        code, said = type_line(capsys, line, places)
        assert code == 0, said
    code, said = type_line(capsys, case.wrong, places)
    assert code != 0
    assert case.says.format_map(_Known(places)) in said, said
    follows(case, OPTION)
    code, said = type_line(capsys, case.typed, places)
    assert code == 0, said
    assert case.shows in said


def check_python(case: Case, places: dict[str, Any]) -> None:
    """Runs the wrong Python, reads the message, and runs the Python that it advises."""
    namespace = {"ms": ms, "np": np, "torch": torch, **places}
    exec(case.before, namespace)
    with pytest.raises(Exception) as raised:  # noqa: PT011 (the message is checked)
        exec(case.wrong, namespace)
    assert case.says in (said := " ".join(str(raised.value).split())), said
    follows(case, KEYWORD)
    exec(case.typed, namespace)
    assert eval(case.shows or "True", namespace)


class _Known(dict[str, Any]):
    """Braces that are no place stay as they are."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What cases may name: a folder of images, the same images as arrays, and a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "own.sqlite"))
    monkeypatch.setenv("MODELSELECT_ATLAS", str(tmp_path / "atlas.safetensors"))
    images, labels = toy(0)
    (tmp_path / "afile").write_text("this is no folder")
    return {"data": folder(tmp_path / "data", 0), "tmp": tmp_path, "images": images, "labels": labels}
