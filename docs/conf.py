"""The documentation site: `sphinx-build -W docs build/site`. It needs the extra `docs`, and no network.

The pages are Markdown that reads well without the site, too. So no page holds a directive: what only the site needs is
added here, while a page is read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

import api  # noqa: E402
from modelselect.utils.versions import __version__  # noqa: E402

project = "modelselect"
author = "The modelselect authors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns: list[str] = []
myst_heading_anchors = 4
default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types
napoleon_google_docstring = True
napoleon_numpy_docstring = False
maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = f"modelselect {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {page: [] for page in ("index", "changes", "tutorial/*")}

LINK = re.compile(r"\]\((?P<page>[\w/-]+)\.md\)")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
PUBLIC_NAME = re.compile(r"^\| `(?P<name>\w+)` \|(?! as in)", re.MULTILINE)
ANY_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)#:\s]+)\)")
SECTIONS = (
    "First models <tutorial/rank-your-first-models>",
    "A reproduction <tutorial/reproduce-ncti>",
    "how-to/index",
    "reference/index",
    "explanation/index",
    "changes",
)


def on_site(docname: str, text: str) -> str:
    """The source of a page of the site, made from the source of the page in the repository."""
    text = _with_downloads(docname, text)
    if docname == "index":
        return f"{text}\n{_toctree(SECTIONS)}"
    if docname == "changes":
        return (FOLDER.parent / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    if docname == "reference/estimators":
        return f"{text}\n{_toctree(f'estimators/{page.stem}' for page in _pages(FOLDER / 'reference' / 'estimators'))}"
    if docname == "reference/names":
        return _with_links(text)
    return text + _navigation(docname.removesuffix("index"), text) if docname.endswith("/index") else text


def _navigation(folder: str, text: str) -> str:
    """A section's navigation: the links on its page, in their order and under their headings, and the other pages."""
    left = [page.stem for page in _pages(FOLDER / folder) if page.stem != "index"]
    first, *others = HEADING.split(text)
    trees = []
    for title, part in zip(["", *others[::2]], [first, *others[1::2]], strict=True):
        pages = [page for page in dict.fromkeys(LINK.findall(part)) if page in left]
        left = [page for page in left if page not in pages]
        entries = [entry for page in pages for entry in ([page, "api/index"] if page == "names" else [page])]
        trees.append(_toctree(entries, title))
    return "\n".join(["", *trees, _toctree(left)])


def _with_links(text: str) -> str:
    """The table of public names with a link from each name to its place in the API reference."""
    first, *others = HEADING.split(text)
    for index in range(1, len(others), 2):
        face = others[index - 1].strip("`")
        others[index] = PUBLIC_NAME.sub(rf"| {{py:obj}}`\g<name> <{face}.\g<name>>` |", others[index])
    return first + "".join(f"## {title}{part}" for title, part in zip(others[::2], others[1::2], strict=True))


def _with_downloads(docname: str, text: str) -> str:
    """Links to files of the repository that are no pages become links to copies of them."""

    def download(link: re.Match[str]) -> str:
        target = (FOLDER / docname).parent.joinpath(link["target"]).resolve()
        outside = target.is_file() and not target.is_relative_to(FOLDER)
        return f"{{download}}`{link['text']} <{link['target']}>`" if outside else link[0]

    return ANY_LINK.sub(download, text)


def _pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.md"))


def _toctree(entries: Iterable[str], caption: str = "") -> str:
    listed = "\n".join(entries)
    title = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{title}\n{listed}\n```\n" if listed else ""


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = on_site(docname, source[0])


def _write_api(app: Sphinx) -> None:
    """Writes the pages of the API reference, which the repository does not hold."""
    folder = FOLDER / "reference" / "api"
    folder.mkdir(exist_ok=True)
    written = {"index": api.index()} | {slug: api.page(slug) for slug in api.GROUPS}
    for slug, text in written.items():
        path = folder / f"{slug}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _keep_whole(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keeps napoleon from taking what stands before a colon in the first line for the type of an attribute."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # a comment


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _keep_whole, priority=400)
    app.connect("builder-inited", _write_api)
    app.connect("source-read", _read)
