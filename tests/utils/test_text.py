"""Numbers are short for people to read, and escaped text is never markup."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modelselect.errors import Failure, Stage
from modelselect.utils.text import (
    chance_text,
    duration,
    escaped,
    in_bytes,
    latex_escaped,
    listed,
    percent,
    printable,
    short_number,
    with_unit,
)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "less than 0.1%"),
        (0.0009, "less than 0.1%"),
        (0.001, "0.1%"),
        (0.0199, "2.0%"),
        (0.02, "2%"),
        (0.5, "50%"),
        (0.976, "98%"),
        (0.985, "98.5%"),
        (0.999, "99.9%"),
        (0.9991, "more than 99.9%"),
        (1.0, "more than 99.9%"),
    ],
)
def test_a_percentage_has_a_decimal_near_both_ends_alone(probability: float, text: str) -> None:
    assert percent(probability) == text


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "less than 1%"), (0.01, "1%"), (0.876, "88%"), (0.99, "99%"), (0.9901, "more than 99%")],
)
def test_an_estimated_chance_is_never_certain(probability: float, text: str) -> None:
    assert chance_text(probability) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (7.4, "7"),
        (999, "999"),
        (1000, "1k"),
        (1234, "1.23k"),
        (999_000, "999k"),
        (999_999, "1M"),
        (1_000_000, "1M"),
        (25_600_000, "25.6M"),
        (4_100_000_000, "4.1G"),
    ],
)
def test_a_count_has_three_digits_and_a_unit(count: float, text: str) -> None:
    assert with_unit(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (0.000123456, "0.000123"),
        (12.5, "12.5"),
        (999, "999"),
        (999.9, "1k"),
        (1000, "1k"),
        (1_234_567, "1.23M"),
        (4_100_000_000, "4.1G"),
        (2_500_000_000_000, "2.5T"),
    ],
)
def test_a_value_has_three_digits_and_a_unit_where_it_is_large(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (512, "512 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (2.5e12, "2.5 TB")]
)
def test_bytes_have_a_space_before_their_unit(value: float, text: str) -> None:
    assert in_bytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.0, "0 s"),
        (0.123, "0.12 s"),
        (99.0, "99 s"),
        (99.9, "100 s"),
        (100.0, "2 min"),
        (7199.0, "120 min"),
        (7200.0, "2.0 h"),
        (9000.0, "2.5 h"),
    ],
)
def test_a_duration_is_in_seconds_minutes_or_hours(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("items", "most", "text"),
    [
        (["a"], 3, "a"),
        (["a", "b"], 3, "a and b"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 3, "a, b, c and 1 more"),
        (["a", "b", "c", "d"], 4, "a, b, c and d"),
        (["a", "b", "c"], 1, "a and 2 more"),
    ],
)
def test_a_list_is_read_as_a_sentence_and_says_how_many_are_left_out(items: list[str], most: int, text: str) -> None:
    assert listed(items, most) == text


def test_control_characters_are_replaced_and_all_others_stay() -> None:
    assert printable("a\x1b[31mb\nc\u202ed") == "a\ufffd[31mb\ufffdc\ufffdd"
    assert printable("Zoë 模型 ±–") == "Zoë 模型 ±–"
    assert printable("30\u202f000\u00a0rows\u2028") == "30 000 rows\ufffd"
    assert Failure(Stage.RUN, "30\u202f000\u00a0rows\u2028").reason == "30 000 rows\ufffd"


# --- escaping --------------------------------------------------------------------------------------------------------

MARKUP = st.text(st.one_of(st.sampled_from("\\`*_{}[]()|~#!$<>&\"'-+.:;/ax1 \n\x1b–±"), st.characters()))


def test_markdown_is_escaped_as_written_here() -> None:
    assert escaped("a|b_*c*`d`[x](http://y)") == r"a\|b\_\*c\*\`d\`\[x\](http://y)"
    assert escaped("<b>&amp;</b>") == "&lt;b&gt;&amp;amp;&lt;/b&gt;"


@given(MARKUP)
def test_markdown_shows_the_escaped_text_in_one_cell(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(f"| a | b |\n| - | - |\n| x{escaped(text)}y | z |\n")
    cells = [inside for before, inside in itertools.pairwise(tokens) if before.type == "td_open"]
    assert len(cells) == 2
    assert {child.type for child in cells[0].children or ()} <= {"text", "text_special"}
    assert "".join(child.content for child in cells[0].children or ()) == f"x{printable(text)}y"


COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"$\pm$": "±",
    **{rf"\{character}": character for character in "{}&%$#_"},
}


def test_latex_is_escaped_as_written_here() -> None:
    assert latex_escaped(r"a_b & 50% $x$ #1 {z}") == r"a\_b \& 50\% \$x\$ \#1 \{z\}"
    assert latex_escaped(r"\input~^<>") == (
        r"\textbackslash{}input\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}"
    )
    assert latex_escaped("1–2 ± 3") == r"1--2 $\pm$ 3"


@given(MARKUP)
def test_latex_reads_the_escaped_text_back(text: str) -> None:
    shown = latex_escaped(text)
    commands = "|".join(re.escape(command) for command in COMMANDS)
    assert not set("\\{}~^<>&%$#_") & set(re.sub(commands, "", shown))
    read = re.sub(commands, lambda found: COMMANDS[found[0]], shown)
    assert read == printable(text).replace("–", "--")
