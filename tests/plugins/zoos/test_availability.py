"""A zoo whose library is missing says so in `modelselect zoos`, with the command that mends it; the others go on."""

from __future__ import annotations

import json
import sys

import pytest

from modelselect.cli import app

NEEDS = {
    "checkpoint": ("torch", "torchvision"),
    "directory": ("torch", "timm", "transformers"),
    "embedded": ("torch",),
    "hub": ("huggingface_hub", "torch", "timm", "transformers"),
    "layer": (),
    "pytorchcv": (),
    "timm": ("timm",),
    "torchvision": ("torchvision",),
}


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        app.main(["zoos", "--json"])
    assert not stopped.value.code
    return {zoo["name"]: zoo["status"] for zoo in json.loads(capsys.readouterr().out)}


def test_every_zoo_can_be_used_where_everything_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys) == dict.fromkeys(NEEDS, "ok")


@pytest.mark.parametrize("library", sorted({library for needed in NEEDS.values() for library in needed}))
def test_what_is_missing_is_named_with_what_mends_it(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for zoo, text in status(capsys).items():
        if library in NEEDS[zoo]:
            assert text.startswith(f"{library} cannot be imported"), zoo
            assert "fix this with: pip install --upgrade " in text
            assert library in text.split("--upgrade ")[1].split()
        else:
            assert text == "ok"
