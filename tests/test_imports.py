"""Starting up is quick: nothing heavy is imported before it is needed, and the host never knows a plugin."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

HEAVY = ("torch", "torchvision", "timm", "transformers", "datasets", "gensim", "sklearn", "scipy", "pandas", "gudhi")
FOREIGN = ("modelselect_plugins", "torchvision", "timm", "transformers", "gudhi", "gensim", "karateclub")
HELP_SECONDS = 0.5


def loaded_after(code: str) -> set[str]:
    code += "; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import modelselect",
        "from modelselect.cli import app; app.app(['--help'], standalone_mode=False)",
        "from modelselect.host import get_host; get_host()",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert loaded_after(code).isdisjoint(HEAVY)


def test_help_is_there_in_half_a_second() -> None:
    seconds = []
    for _ in range(5):  # the processor's time and the fastest of some, since the machine may be busy with other things
        begun = os.times()
        subprocess.run([sys.executable, "-m", "modelselect", "--help"], capture_output=True, check=True)
        ended = os.times()
        seconds.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    assert min(seconds) < HELP_SECONDS, seconds


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", sorted((REPOSITORY / "modelselect").rglob("*.py")), ids=lambda p: p.stem)
def test_the_host_never_imports_a_plugin_or_a_model_library(path: Path) -> None:
    assert imported_by(path).isdisjoint(FOREIGN)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "plugins").rglob("estimators/*.py")), ids=lambda p: p.stem)
def test_an_estimator_loads_no_model_and_opens_no_file(path: Path) -> None:
    assert imported_by(path).isdisjoint({"timm", "torchvision", "transformers", "datasets", "huggingface_hub", "PIL"})
