"""What tests of the funnel share."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect.host.host import get_host
from tests.conftest import REPOSITORY
from tests.selection.material import stripes


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripes(tmp_path_factory.mktemp("stripes"))


PLUGIN = """
import modelselect
from tests.selection.material import Flaky

@modelselect.hookimpl
def modelselect_register_zoos():
    return [Flaky()]
"""


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The flaky zoo as an installed plugin."""
    with installed("flaky", PLUGIN, tmp_path, monkeypatch):
        yield


@contextlib.contextmanager
def installed(name: str, plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The source of a plugin as that of a distribution, so that worker processes find it, too."""
    site = tmp_path / "site"
    info = site / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}_plugin.py").write_text(plugin)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[modelselect]\n{name} = {name}_plugin\n")
    paths = [str(site), str(REPOSITORY)]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("MODELSELECT_PLUGIN_SECONDS", "300")  # it imports torch
    get_host.cache_clear()
    yield
    get_host.cache_clear()


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that were passed forward, by candidate, as extractors were asked to."""
    counted: Counter[str] = Counter()
    whole = TorchExtractor.extract

    def counting(self: Any, backbone: Any, probe: Any, *more: Any, **settings: Any) -> Any:
        counted[backbone.candidate.id] += len(probe)
        return whole(self, backbone, probe, *more, **settings)

    monkeypatch.setattr(TorchExtractor, "extract", counting)
    return counted
