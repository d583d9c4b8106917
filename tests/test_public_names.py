"""What is public is written down: the names of every face, every error and every hook."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from docs.api import MODULES
from modelselect import errors
from modelselect.host import hookspecs
from modelselect.host.validation import KINDS
from tests.conftest import REPOSITORY

STUBS = sorted((REPOSITORY / "modelselect").rglob("__init__.pyi"))
REFERENCE = REPOSITORY / "docs" / "reference"
ENTRY = re.compile(r"^\| `(?P<name>\w+)[^`]*`", re.MULTILINE)


def face_of(stub: Path) -> str:
    return ".".join(stub.parent.relative_to(REPOSITORY).parts)


def entries(page: str, heading: str = "") -> list[str]:
    """What stands first in the rows of the tables of a page of the reference, or of its section of that heading."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    section = next(part for part in f"\n{text}".split("\n## ") if part.startswith(heading)) if heading else text
    return ENTRY.findall(section)


def handed_on(stub: Path) -> tuple[list[str], list[str]]:
    """The names that a stub imports, and those in its `__all__`."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imported = [a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    listed = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    return sorted(imported), sorted(listed)


@pytest.mark.parametrize("stub", STUBS, ids=face_of)
def test_a_face_has_the_names_of_its_stub(stub: Path) -> None:
    imported, listed = handed_on(stub)
    face = importlib.import_module(face_of(stub))
    assert imported == listed == sorted(face.__all__)
    assert [name for name in listed if not hasattr(face, name)] == []


@pytest.mark.parametrize("stub", STUBS, ids=face_of)
def test_the_reference_lists_the_names_of_a_face(stub: Path) -> None:
    assert sorted(entries("names.md", f"`{face_of(stub)}`")) == handed_on(stub)[1]


def test_the_reference_lists_no_face_that_is_not_there() -> None:
    headings = re.findall(r"^## `([\w.]+)`", (REFERENCE / "names.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted([*map(face_of, STUBS), *MODULES])


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_lists_the_public_names_of_a_module(module: str) -> None:
    assert sorted(entries("names.md", f"`{module}`")) == sorted(MODULES[module])
    assert [name for name in MODULES[module] if not hasattr(importlib.import_module(module), name)] == []


AUTHORS_PAGES = sorted((REPOSITORY / "docs" / "how-to").glob("write-a*.md"))
TEMPLATES = sorted((REPOSITORY / "modelselect" / "template" / "files").rglob("*.py.template"))
IMPORT = re.compile(r"^ *from (?P<module>modelselect[.\w]*) import \(?(?P<names>[\w, ]+)", re.MULTILINE)


@pytest.mark.parametrize("path", [*AUTHORS_PAGES, *TEMPLATES], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_authors_are_shown_public_names_alone(path: Path) -> None:
    for match in IMPORT.finditer(path.read_text(encoding="utf-8")):
        public = set(MODULES.get(match["module"]) or importlib.import_module(match["module"]).__all__)
        assert {name.strip() for name in match["names"].split(",")} <= public, match[0]


def test_the_reference_lists_every_error() -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [name for name in kinds if not re.search(rf"\b{name}`", page)] == []


def test_the_reference_has_an_entry_for_every_hook() -> None:
    hooks = [name for name, member in vars(hookspecs).items() if hasattr(member, "modelselect_spec")]
    assert len(hooks) >= len(KINDS)
    assert sorted(entries("hooks.md")) == sorted(hooks)


def test_every_hook_has_a_page() -> None:
    """How to register each kind, and how to listen to a run: pages that show the hook in code that runs."""
    how_to = REPOSITORY / "docs" / "how-to"
    pages = [path.read_text(encoding="utf-8") for path in (*how_to.glob("write-a*.md"), how_to / "listen-to-a-run.md")]
    hooks = [name for name in vars(hookspecs) if name.startswith("modelselect_")]
    assert len(hooks) > len(KINDS)
    assert [hook for hook in hooks if not any(f"def {hook}(" in page for page in pages)] == []
