"""Starting up is quick: nothing heavy is imported before it is needed, and the host never knows a plugin."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

HEAVY = ("torch", "torchvision", "timm", "transformers", "datasets", "gensim", "sklearn", "scipy", "pandas", "gudhi")
FOREIGN = ("modelselect_plugins", "torchvision", "timm", "transformers", "gudhi", "gensim", "karateclub")
WITH_TORCH = {"torch", "torchvision", "timm", "transformers", "datasets", "gensim", "sklearn"}
"""Libraries that import torch, or take as long."""
HELP_FACTOR = 1.6
"""`--help` takes 1.1 times as long as importing Typer alone; it took 2.2 times when it imported every command."""


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


SELECT = ["select", "images", "embedded:res*", "--json", "board.json", "--quiet"]
CHOOSE = ["select", "images", "--quiet"]

COMMANDS = """
import contextlib, io, json, sys
from modelselect.cli import app

loaded = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            app.main(words)
        except SystemExit as ended:
            if ended.code:
                raise
    loaded.append(sorted(sys.modules))
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def used_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a board and images of two classes: what is left by a user who has used each command."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("used")
    for row in range(24):
        path = folder / "images" / ("dark" if row % 2 else "light") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 20 + 5 * row).point(lambda value, row=row: value // (1 + row % 2)).save(path)
    for commands in (
        [["search", "timm:*"]],
        [["search", "torchvision:*"]],
        [["reproduce", "list"]],
        [SELECT, CHOOSE, ["zoos"]],
    ):
        run(commands, folder)  # a list is kept by a process that has imported no other
    return folder


def run(commands: list[list[str]], folder: Path) -> list[set[str]]:
    """The modules that are loaded after each command, all in one process, with the store in this folder."""
    own = {"MODELSELECT_CACHE": str(folder / "store"), "MODELSELECT_HISTORY": str(folder / "history.sqlite")}
    own["MODELSELECT_POOL"] = "embedded:res*"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | own | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    return [set(names) for names in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.slow
def test_a_command_that_needs_no_torch_imports_none(used_before: Path) -> None:
    commands = [
        ["--version"],
        ["estimators"],
        ["estimators", "logme"],
        ["history", "show"],
        ["plugins"],
        ["pools"],
        ["report", "board.json"],
        ["reproduce", "list"],
        ["search", "embedded:*"],
        ["search", "timm:resnet18*"],
        ["search", "torchvision:resnet18"],
        ["search", "resnet.letters"],
        SELECT,
        CHOOSE,
        ["store"],
        ["zoos"],
    ]
    loaded = zip(commands, run(commands, used_before), strict=True)
    assert {" ".join(words): names & WITH_TORCH for words, names in loaded if names & WITH_TORCH} == {}


@pytest.mark.slow
def test_a_run_from_the_store_imports_no_library_for_numbers_but_numpy(used_before: Path) -> None:
    (loaded,) = run([SELECT], used_before)
    unneeded = {
        "scipy",
        "torch",
        "sklearn",
        "gensim",
        "pandas",
        "filelock",
        "huggingface_hub.file_download",
    }
    assert loaded & unneeded == set()


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["search", "embedded:*"], ("pydantic", "rich.table", "modelselect_plugins.estimators")),
        (["pools"], ("pydantic", "modelselect_plugins.zoos", "modelselect_plugins.estimators")),
        (["tasks"], ("pydantic", "modelselect_plugins.zoos", "modelselect_plugins.protocols")),
        (["estimators"], ("pydantic", "modelselect_plugins.zoos", "modelselect_plugins.protocols")),
    ],
    ids=lambda given: given[0],
)
def test_a_command_imports_only_the_plugins_that_it_asks(
    words: list[str], unneeded: tuple[str, ...], tmp_path: Path
) -> None:
    (loaded,) = run([words], tmp_path)
    assert {name for name in loaded if name.startswith(unneeded)} == set()


def test_help_takes_hardly_longer_than_importing_typer(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    seconds: dict[str, list[float]] = {"-m modelselect --help": [], "-c import\ttyper": []}
    for turn in range(16):  # processor's time, in turn, and again while the machine is busy with other things
        if turn >= 4 and min(seconds["-m modelselect --help"]) < HELP_FACTOR * min(seconds["-c import\ttyper"]):
            break
        for command, found in seconds.items():
            begun = os.times()
            words = [word.replace("\t", " ") for word in command.split(" ")]
            subprocess.run([sys.executable, *words], capture_output=True, check=True, env=environment)
            ended = os.times()
            found.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    ours, typers = map(min, seconds.values())
    assert ours < HELP_FACTOR * typers, seconds


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
