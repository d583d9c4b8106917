"""What a plugin's section may hold: plain blocks, copied and checked, so that nothing in them is markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from modelselect.errors import NoExceptionError, PluginError
from modelselect.ranking import report_section
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection, section_of
from modelselect.report import (
    Axis,
    Cell,
    Chart,
    Code,
    Column,
    Dot,
    Facts,
    Folded,
    Gallery,
    Interval,
    Intervals,
    Items,
    Line,
    Picture,
    Table,
    Text,
)


class Given(ReportSection):
    """Gives what a test makes."""

    name = "given"
    title = "What was given"

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def blocks(self, board: Ranking) -> Sequence[Any]:
        return self.make()  # type: ignore[no-any-return]


def blocks_of(*given: Any) -> Sequence[Any]:
    section = section_of(Given(lambda: list(given)), Ranking(()))
    assert section is not None
    return section.blocks


CELLS = (Cell("1", bar=0.5, tone="heat-3", link="https://example.org/a?b=c", note="of 2"), Cell("2"))
EVERY_BLOCK = (
    Text("A text.", small=True),
    Code("print(1)", "python"),
    Facts((("name", "value"),)),
    Items((("name", "text"),)),
    Table("Numbers", (Column("a", CELLS), Column("b", CELLS, numeric=False)), style="bars"),
    Intervals("Places", (Interval("a", 0.5, 0.4, 0.6, "0.5"),), 0.0, 1.0, ((0.0, "0"), (1.0, "1")), (0.3, "chance")),
    Gallery((Picture("data:image/png;base64,AAAA", "a cat"),)),
    Chart("Points", Axis("x", ((0.0, "0"),)), Axis(), (Dot(0.1, 0.9, "a", star=True),), (Line(((0.0, 0.0),)),)),
    Folded("More", (Text("Inside."),), open=True, group="more"),
)


def test_every_block_is_copied_as_it_is() -> None:
    assert blocks_of(*EVERY_BLOCK) == EVERY_BLOCK


def test_a_section_has_the_name_of_its_plugin_as_address() -> None:
    section = section_of(Given(lambda: [Text("a")]), Ranking(()))
    assert section is not None
    assert (section.key, section.title, section.folded) == ("section-given", "What was given", False)
    assert section_of(Given(list), Ranking(())) is None


def test_texts_and_numbers_of_other_libraries_become_plain_ones() -> None:
    (text, table) = blocks_of(
        Text(np.str_("a")), Table("t", [Column("c", [Cell(Markup("<b>"), bar=np.float32(0.5))])], head=np.int64(0))
    )
    assert type(text.text) is str
    cell = table.columns[0].cells[0]
    assert type(cell.text) is str
    assert cell == Cell("<b>", bar=0.5)
    assert blocks_of(Text("caf\udce9")) == (Text("caf�"),)


class LooksSafe(Text):
    pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("<b>text</b>", r"blocks\(\)\[0\] is a str; expected one of Text, .*, from modelselect.report"),
        (LooksSafe("a"), "LooksSafe"),
        (Text(5), r"blocks\(\)\[0\].text is 5; expected a text"),  # type: ignore[arg-type]
        (Text("a", small="yes"), "expected True or False"),  # type: ignore[arg-type]
        (Facts("ab"), "is a str; expected a list"),  # type: ignore[arg-type]
        (Facts([("a", "b", "c")]), "expected 2 values"),  # type: ignore[list-item]
        (Code("a", "python\n# heading"), "expected the name of a language"),
        (Table("t", [Column("a", CELLS), Column("b", CELLS[:1])]), "columns of 1 and 2 cells"),
        (Table("t", []), "0 columns"),
        (Table("t", [Column("a", CELLS)], head=1), "head=1"),
        (Table("t", [Column("a", CELLS)], tones=["front"]), "1 tones; expected one for each of its 2 rows"),
        (Table("t", [Column("a", CELLS)], style="board"), "expected 'plain', 'bars' or 'heat'"),
        (Table("t", [Column("a", [Cell("a", link="javascript:alert(1)")])]), "begins with https://"),
        (Table("t", [Column("a", [Cell("a", bar=float("nan"))])]), "expected a finite number"),
        (Table("t", [Column("a", [Cell("a", tone='"><b>')])]), "heat-8"),
        (Gallery([Picture("https://example.org/a.png", "a")]), "a picture as a base64"),
        (Intervals("a", [], 1.0, 1.0, []), "expected low < high"),
        (Chart("a", Axis(), Axis(), []), "no dots"),
        (Chart("a", Axis(), Axis(), [Dot(1.5, 0.0, "a")]), "from 0 to 1"),
        (Chart("a", Axis(), Axis(), [Dot(0, 0, "a", colour="red;background:url(x)")]), "a colour such as"),
        (Chart("a", Axis(), Axis(), [Dot(0, 0, "a")], legend=[("a", "url(x)")]), "a colour such as"),
        (Chart("a", Axis(), Axis(), [Dot(0, 0, "a")], [Line([(0.0, 7.0)])]), "from 0 to 1"),
        (Folded("a", [Text("b"), None]), r"blocks\(\)\[0\].blocks\[1\] is a NoneType"),  # type: ignore[list-item]
    ],
)
def test_what_cannot_be_shown_is_refused_by_its_place(given: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        blocks_of(given)


def test_a_section_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_section, "MOST_VALUES", 100)
    monkeypatch.setattr(report_section, "MOST_CHARACTERS", 1000)
    with pytest.raises(PluginError, match="more than 100 texts"):
        blocks_of(*[Text("a")] * 101)
    with pytest.raises(PluginError, match="more than 1,000 characters"):
        blocks_of(Text("a" * 1001))
    folded: list[Any] = []
    folded.append(Folded("again", folded))
    with pytest.raises(PluginError, match="more than 100 texts"):
        blocks_of(*folded)
    with pytest.raises(PluginError, match="is a generator; expected a list"):
        section_of(Given(lambda: (Text("a") for _ in iter(int, 1))), Ranking(()))


def test_a_section_that_ends_the_process_only_fails() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(NoExceptionError):
        section_of(Given(leave), Ranking(()))
