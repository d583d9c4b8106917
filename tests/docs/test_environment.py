"""Every environment variable that the code reads, or speaks of, stands on the page of environment variables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "environment.md"
SOURCES = [path for folder in ("modelselect", "plugins") for path in sorted((REPOSITORY / folder).rglob("*.py"))]
NAMED = re.compile(r"\b(?:MODELSELECT|HF|XDG|TORCH|PYTORCH|TRANSFORMERS|ACCELERATE|OMP|MKL|CUDA)_[A-Z_]+[A-Z]\b")
"""How a variable looks in text, in messages and where its name is kept in a constant."""


def read_in(source: str) -> set[str]:
    """The names that a module gives to `os.environ` or `os.getenv` as they are, and those that it names otherwise."""
    found = set(NAMED.findall(source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            asked: list[ast.expr] = [node.slice]
        elif isinstance(node, ast.Call) and re.match(r"os\.(environ\.\w+|getenv)$", ast.unparse(node.func)):
            asked = node.args[:1]
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            asked = [node.left]
        else:
            continue
        found |= {each.value for each in asked if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return found


def documented() -> set[str]:
    rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_variable_that_the_code_names_is_on_the_page() -> None:
    named = {path: read_in(path.read_text(encoding="utf-8")) for path in SOURCES}
    missing = {str(path.relative_to(REPOSITORY)): sorted(names - documented()) for path, names in named.items()}
    assert {path: names for path, names in missing.items() if names} == {}


def test_the_page_has_no_variable_of_modelselect_that_nobody_reads() -> None:
    named = set().union(*(read_in(path.read_text(encoding="utf-8")) for path in SOURCES))
    assert [name for name in documented() if name.startswith("MODELSELECT_") and name not in named] == []


@pytest.mark.parametrize(
    "source", ['os.environ["ONE"]', 'os.environ.get("ONE", "")', 'os.getenv("ONE")', '"ONE" in os.environ']
)
def test_a_variable_is_found_however_it_is_read(source: str) -> None:
    assert read_in(source) == {"ONE"}
    assert read_in('PATH_VARIABLE = "MODELSELECT_ANYTHING"') == {"MODELSELECT_ANYTHING"}


def test_no_source_is_overlooked() -> None:
    assert Path(REPOSITORY / "modelselect" / "store" / "files.py") in SOURCES
