"""A report as Markdown: the same head and the same sections as the page. Text from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modelselect.ranking.blocks import (
    Block,
    Cell,
    Chart,
    Code,
    Facts,
    Folded,
    Gallery,
    Intervals,
    Items,
    Table,
    Text,
)
from modelselect.report.decision import Decision, decision
from modelselect.report.names import dataset_name
from modelselect.report.sections import sections
from modelselect.report.subject import Subject
from modelselect.utils.text import escaped, printable


def markdown(subject: Subject) -> str:
    """The report. Pictures are left out."""
    parts = [f"# Which model to fine-tune on {escaped(dataset_name(subject.board))}", *_head(decision(subject))]
    for section in sections(subject):
        parts.append(f"## {escaped(section.title)}")
        parts += _blocks(section.blocks)
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(found: Decision) -> Iterator[str]:
    name = _linked(found.name, found.link)
    verdict = ", ".join(escaped(badge.text) for badge in found.badges)
    yield f"**{name}**: {escaped(found.number[0])} {escaped(found.number[1])}" + (f" ({verdict})" if verdict else "")
    yield from map(escaped, found.sentences)
    yield "\n".join(
        f"- **{tile.name}:** {escaped(tile.value)}" + (f" ({escaped(tile.note)})" if tile.note else "")
        for tile in found.tiles
    )


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Text(text):
                yield escaped(text)
            case Code(text, language):
                yield _fenced(text, language)
            case Facts(pairs) | Items(pairs):
                yield "\n".join(f"- **{escaped(name)}:** {escaped(text)}" for name, text in pairs)
            case Table():
                yield _table(block)
            case Intervals():
                lines = [f"- {escaped(line.name)}: {escaped(line.text)}" for line in block.lines]
                yield "\n".join([*lines, *([f"- {escaped(block.mark[1])}"] if block.mark else [])])
            case Chart():
                yield f"{escaped(block.name)}."
                yield from _blocks([block.numbers] if block.numbers else [])
            case Folded(summary, inner):
                yield f"### {escaped(summary)}"
                yield from _blocks(inner)
            case Gallery():
                continue


def _table(table: Table) -> str:
    head = " | ".join(escaped(column.name) or " " for column in table.columns)
    rule = " | ".join("--:" if column.numeric else "---" for column in table.columns)
    lines = [" | ".join(map(_cell, row)) for row in table.rows]
    return "\n".join(f"| {line} |" for line in (head, rule, *lines))


def _cell(cell: Cell) -> str:
    text = _linked(cell.text, cell.link)
    return f"{text} ({escaped(cell.note)})" if cell.note else text


def _linked(text: str, address: str | None) -> str:
    """The text, as a link if the address holds nothing that would end the link."""
    if address is None or not re.fullmatch(r"https://[\w./?&=%:@~+,;-]+", address):
        return escaped(text)
    return f"[{escaped(text)}]({address})"


def _fenced(text: str, language: str) -> str:
    """A block of code; its fence is longer than any row of backticks in the code."""
    shown = "\n".join(map(printable, text.split("\n")))
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"
