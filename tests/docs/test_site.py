"""The documentation site: it builds without a network and without a warning, and holds every page and public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.test_pages import PAGES
from tests.test_public_names import STUBS, face_of, handed_on

pytestmark = pytest.mark.slow

EXTERNAL = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?P<address>(?:https?:)?//[^\"]+)\"")
NO_NETWORK = """
import socket, sys
def refused(*arguments): raise OSError("the site is built without a network")
socket.socket.connect = socket.getaddrinfo = refused
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="Sphinx is not installed; pip install '.[docs]' brings it")
    pytest.importorskip("myst_parser", reason="myst-parser is not installed; pip install '.[docs]' brings it")
    pytest.importorskip("pydata_sphinx_theme", reason="the theme is not installed; pip install '.[docs]' brings it")
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    built = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, *options, str(REPOSITORY / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    docs = REPOSITORY / "docs"
    pages = [page.relative_to(docs).with_suffix(".html") for page in PAGES if page.is_relative_to(docs)]
    assert len(pages) > 50
    assert [str(page) for page in pages if not (site / page).is_file()] == []


def test_every_page_is_reached_through_the_navigation(site: Path) -> None:
    reached: set[Path] = set()
    ahead = {site / "index.html"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        navigation = re.findall(r"<nav\b.*?</nav>", page.read_text(encoding="utf-8"), re.DOTALL)
        links = re.findall(r'href="([^"#:]+\.html)', "".join(navigation))
        ahead |= {(page.parent / link).resolve() for link in links} - reached
    pages = [page for page in site.rglob("*.html") if "_modules" not in page.parts and "_static" not in page.parts]
    left = {str(page.relative_to(site)) for page in pages} - {str(page.relative_to(site)) for page in reached}
    assert left <= {"genindex.html", "search.html", "py-modindex.html"}


def test_every_public_name_is_in_the_index_of_objects(site: Path) -> None:
    content = (site / "objects.inv").read_bytes().split(b"\n", 4)[-1]
    objects = {line.split(" py:")[0] for line in zlib.decompress(content).decode().splitlines() if " py:" in line}
    known = {name.rpartition(".")[2] for name in objects}
    faces = {"archi2vec", "errors", "testing"}
    public = {name for stub in STUBS for name in handed_on(stub)[1]} - faces
    assert len(public) > 70
    assert sorted(public - known) == []
    assert {f"modelselect.{name}" for name in ("select", "Leaderboard", "testing.check_zoo")} <= objects
    assert [face_of(stub) for stub in STUBS if not any(name.startswith("modelselect.") for name in objects)] == []


def test_the_table_of_public_names_leads_to_their_docstrings(site: Path) -> None:
    page = (site / "reference" / "names.html").read_text(encoding="utf-8")
    assert 'href="api/select.html#modelselect.select"' in page
    assert 'href="api/testing.html#modelselect.testing.check_zoo"' in page


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    addresses = {
        address for page in site.rglob("*.html") for address in EXTERNAL.findall(page.read_text(encoding="utf-8"))
    }
    assert addresses == set()


def test_links_to_source_lead_to_copies_of_it(site: Path) -> None:
    page = (site / "explanation" / "architecture.html").read_text(encoding="utf-8")
    target = re.search(r'href="(\.\./_downloads/[^"]+README\.md)"', page)
    assert target is not None
    assert (site / "explanation" / target[1]).resolve().is_file()
    assert (site / "_modules" / "modelselect" / "selection" / "funnel.html").is_file()
