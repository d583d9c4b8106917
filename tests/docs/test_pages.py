"""Every page's code runs: Python blocks in order, in one namespace; command lines that need nothing from outside."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

import modelselect as ms
from modelselect.cli import app
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>python|bash)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)(?P<target>[^)#\s]+)")
OUTSIDE = ("path/to", "pip ", "git ", "demo", "store --evict", "hub:", "timm:*", "history mine")
"""What marks a command line that is not run here: it needs the reader's files, or has a test of its own."""

OF_THE_HUB = re.compile(r'"hub:|_hub\(')
"""Python that asks a Hub for something: run by tests/hub/test_pages.py."""


def blocks(page: Path, language: str) -> list[str]:
    return [match["code"] for match in BLOCK.finditer(page.read_text()) if match["language"] == language]


def page_id(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.fixture(scope="module")
def of_reproductions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the pages that reproduce a paper: they share the forward passes and the trained heads."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELSELECT_SHARED", raising=False)  # readers have no lab
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSELECT_ATLAS", str(tmp_path / "atlas.safetensors"))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_id)
def test_the_code_of_a_page_runs(page: Path, of_reproductions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "ms.reproduce(" in page.read_text():
        monkeypatch.setenv("MODELSELECT_CACHE", str(of_reproductions))
    module = ModuleType("a_readers_module")  # importable, so that what a page defines can be pickled
    monkeypatch.setitem(sys.modules, module.__name__, module)
    namespace = vars(module)
    for code in blocks(page, "python"):
        if "path/to" in code or OF_THE_HUB.search(code):
            compile(code, str(page), "exec")
            namespace["ms"] = ms
            continue
        exec(compile(code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")], ids=page_id)
def test_the_command_lines_of_a_page_run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "modelselect" and not any(mark in line for mark in OUTSIDE):
            with pytest.raises(SystemExit) as stopped:
                app.main(words[1:])
            assert not stopped.value.code, f"{line}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        assert (page.parent / match["target"]).exists(), match["target"]


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    ahead = {REPOSITORY / "docs" / "index.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        linked = {(page.parent / match["target"]).resolve() for match in LINK.finditer(page.read_text())}
        ahead |= {page for page in linked if page.suffix == ".md"} - reached
    assert [page_id(page) for page in PAGES if page not in reached and page.name != "README.md"] == []


def test_the_tables_about_the_default_are_those_that_the_benchmark_wrote() -> None:
    written = (REPOSITORY / "benchmarks" / "evidence.md").read_text().splitlines()
    page = (REPOSITORY / "docs" / "explanation" / "default-estimators.md").read_text().splitlines()
    figures = [line for line in page if re.match(r"\|.*\d\.\d\d.*\|$", line)]
    assert len(figures) > 30
    assert [line for line in figures if line not in written] == []


def test_the_map_of_each_section_has_all_its_pages() -> None:
    for section in ("how-to", "reference", "explanation"):
        folder = REPOSITORY / "docs" / section
        linked = {match["target"] for match in LINK.finditer((folder / "index.md").read_text())}
        assert [page.name for page in sorted(folder.glob("*.md")) if page.name not in linked | {"index.md"}] == []
