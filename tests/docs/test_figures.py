"""Every figure that `docs/figures.py` draws is there, and a page shows it next to the command."""

from __future__ import annotations

import pytest

from docs.figures import FIGURES
from modelselect.host.host import get_host
from tests.conftest import REPOSITORY

PAGES = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs" / "how-to").glob("*.md")]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_there_and_shown(name: str) -> None:
    _, path = FIGURES[name]
    assert path.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert path.stat().st_size < 400_000
    (page,) = [page for page in PAGES if f"]({path.name})" in page]
    assert "docs/figures.py" in page


def test_the_page_has_the_source_of_every_truth() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "reproduce-a-paper.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `truth:")}
    truths = {p.truth.name: p.truth for p in get_host().protocols.values() if p.truth is not None}
    assert rows.keys() == {f"truth:{name}" for name in truths}
    for name, truth in truths.items():
        row = rows[f"truth:{name}"]
        assert truth.commit in row
        assert truth.licence in row
        assert all(
            word.removeprefix("https://github.com/") in row for word in truth.source.split(",")[0].split(" and ")
        )
