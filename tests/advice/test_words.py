"""Whatever a message asks for exists: options, keywords, commands, extras. A keyword and its option stand together.

The messages are all texts of the code but docstrings. That the advice works is tested in this package's other modules.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import modelselect as ms
from modelselect.benchmarking.benchmark import Benchmark
from modelselect.cli import app
from modelselect.cli.options import option_name
from modelselect.evaluation.settings import Settings
from modelselect.host.host import get_host
from modelselect.leaderboard.leaderboard import Row
from modelselect.store.store import Store
from modelselect.verification import verify
from tests.conftest import REPOSITORY

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
KEYWORD = re.compile(r"(?<![\w?&./-])([a-z_]+)=(?!=)")
COMMAND = re.compile(r"`(?P<line>(?:modelselect|hf) [^`]+)`")
EXTRA = re.compile(r"modelselect-automl\[(?P<name>\w+)\]")
PIP = re.compile(r"pip install (?P<words>[^;)\n]*)")
OTHERS = re.compile(r"pip install [^;)\n]*|`ray start [^`]*`")
"""Commands of other programs, with options of their own."""

MARKUP = ("<!doctype html>", "<div ", "<td", "import timm", "from transformers import")
"""Texts with these words hold HTML, or Python of another library, and no advice of ours."""

OF_LIBRARIES = {"weights_only", "pretrained", "map_location"}
"""Keywords of functions of other libraries that messages write out."""

CALL = re.compile(r"[\w.]+\([^)]*\)")
"""A call in Python, written out: advice for those who write Python."""

ONE_FACE = (
    "modelselect/cli/",  # shown by the command line alone
    "modelselect/evaluation/keywords.py",  # TypeErrors of keywords, which the command line does not have
    "modelselect/evaluation/settings.py",  # TypeErrors of keywords, which the command line does not have
    "modelselect/probe/huggingface.py",
    "modelselect/probe/splits.py",
    "plugins/modelselect_plugins/estimators/",  # keywords of score(), which takes arrays
    "plugins/modelselect_plugins/zoos/_hub/query.py",  # parts of a query, such as limit=50
)
"""Files whose messages are shown to those who type commands alone, or to those who write Python alone."""


def texts(path: Path) -> Iterator[str]:
    """The texts in a module that are no docstrings; `{}` stands for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in alone or id(node) in parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def messages() -> list[tuple[str, str]]:
    """(file, text) of every text of some words."""
    files = [path for part in ("modelselect", "plugins") for path in sorted((REPOSITORY / part).rglob("*.py"))]
    files.remove(REPOSITORY / "modelselect" / "leaderboard" / "scripts.py")  # its texts are code for other libraries
    return [
        (path.relative_to(REPOSITORY).as_posix(), text)
        for path in files
        for text in texts(path)
        if len(text.split()) > 1 and not any(mark in text for mark in MARKUP)
    ]


MESSAGES = messages()


def commands() -> dict[str, Any]:
    """Every command by its words, such as `history import`."""
    shipped = {name: app.shipped_command(name) for name in app.SHIPPED}
    nested = {f"{name} {inner}": of for name in shipped for inner, of in getattr(shipped[name], "commands", {}).items()}
    return shipped | nested


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def keywords() -> set[str]:
    """The keywords of everything public: functions, classes and their methods, estimators, executors, queries."""
    public = [getattr(ms, name) for name in ms.__all__]
    for module in [*filter(inspect.ismodule, public), importlib.import_module("modelselect.history.importers")]:
        public += [value for name, value in vars(module).items() if not name.startswith("_")]
        public += [getattr(module, name) for name in getattr(module, "__all__", ())]
    host = get_host()
    public += [Benchmark, Row, Store, verify, *map(type, (*host.estimators.values(), *host.zoos.values()))]
    public += [type(host.executor(name)) for name in ("local", "process", "ray", "slurm")]
    found = set(ms.FineTuning.__dataclass_fields__)
    for item in public:
        methods = [v for n, v in inspect.getmembers(item) if not n.startswith("_")] if inspect.isclass(item) else []
        for each in filter(callable, [item, *methods]):
            try:
                found |= set(inspect.signature(each).parameters)
            except (TypeError, ValueError):
                continue
        if is_dataclass(item):
            found |= {each.name for each in fields(item)}
    return found


def ways(options: dict[str, str], name: str) -> set[str]:
    """The options that set a keyword: its own, and the one that switches it off."""
    return {options[name], f"--no-{name}"}


def settings_of_candidates() -> set[str]:
    """What stands after the `?` of a candidate expression: `dir:bert?pooling=cls`, `hub:?limit=20`."""
    texts_ = importlib.import_module("modelselect_plugins.zoos._transformers.texts")
    query = importlib.import_module("modelselect_plugins.zoos._hub.query")
    layer = importlib.import_module("modelselect_plugins.zoos.layer")
    source = "".join(inspect.getsource(module) for module in (texts_, query, layer))
    return {"key", *re.findall(r"\"([a-z_]+)\"", source)}


def test_there_are_messages_to_read() -> None:
    assert len(MESSAGES) > 1000
    assert sum(bool(OPTION.search(text)) for _, text in MESSAGES) > 30
    assert sum(bool(KEYWORD.search(text)) for _, text in MESSAGES) > 40


def test_every_option_that_a_message_names_is_an_option_of_a_command() -> None:
    known = {"--help"}.union(*map(options_of, commands().values()))
    wrong = [
        (file, name) for file, text in MESSAGES for name in OPTION.findall(OTHERS.sub("", text)) if name not in known
    ]
    assert wrong == []


def test_every_keyword_that_a_message_names_is_one_of_a_public_function() -> None:
    known = keywords() | settings_of_candidates() | OF_LIBRARIES
    columns = {"accuracy", "value", "model", "family", "charset"}  # --column accuracy=top1, and charset of HTTP
    found = [(file, name) for file, text in MESSAGES for name in KEYWORD.findall(text)]
    assert [(file, name) for file, name in found if name not in known | columns] == []


def test_a_message_that_names_a_keyword_names_its_option_too_and_the_other_way_round() -> None:
    options = {field.name: option_name(field) for field in fields(Settings) if field.metadata["option"] is not None}
    wrong = []
    for file, text in MESSAGES:
        if file.startswith(ONE_FACE) or "Probe.of(" in text:
            continue
        asked = {name for name in KEYWORD.findall(CALL.sub("", text)) if name in options and f"{name}={{}}" not in text}
        named = set(OPTION.findall(text))
        wrong += [(file, f"{name}= without {options[name]}") for name in asked if not ways(options, name) & named]
        wrong += [
            (file, f"{option} without {name}=")
            for name, option in options.items()
            if option in named and f"{name}=" not in text
        ]
    assert wrong == []


def test_every_command_that_a_message_names_is_there() -> None:
    lines = {match["line"] for _, text in MESSAGES for match in COMMAND.finditer(text)}
    assert {line.split()[0] for line in lines} == {"modelselect", "hf"}
    for line in lines:
        program, *words = shlex.split(line)
        known = commands() if program == "modelselect" else commands_of_the_hub()
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
        assert name is not None, line
        assert {word for word in words if word.startswith("-")} <= options_of(known[name]), line


def commands_of_the_hub() -> dict[str, Any]:
    """The commands of huggingface_hub's `hf`."""
    from huggingface_hub.cli.hf import app as hub

    found = {}
    for name, command in hub.commands.items():
        found[name] = command
        found |= {f"{name} {inner}": each for inner, each in getattr(command, "commands", {}).items()}
    return found


def test_every_extra_that_a_message_tells_to_install_is_one_of_ours() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {name for _, text in MESSAGES for name in EXTRA.findall(text)}
    assert named
    assert named <= set(project["optional-dependencies"])


def test_pip_takes_what_a_message_tells_to_type() -> None:
    from pip._internal.commands import create_command

    lines = [match["words"] for _, text in MESSAGES for match in PIP.finditer(text)]
    assert len(lines) > 4
    for line in lines:
        _, packages = create_command("install").parse_args(shlex.split(line.replace("{}", "something")))
        assert packages, line
