"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import modelselect
import modelselect_plugins

RUN_ELSEWHERE = {"modelselect.host.hookspecs"}
"""The hooks' examples define what they register: each has a test of its own."""

MODULES = [
    module.name
    for package in (modelselect, modelselect_plugins)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if module.name not in RUN_ELSEWHERE
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    output: list[str] = []
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(test, out=output.append)
    assert not runner.summarize(verbose=False).failed, "".join(output)
