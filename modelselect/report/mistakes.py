"""What the winner confuses on the held-out rows, as blocks of a report."""

from __future__ import annotations

from collections.abc import Sequence

from modelselect.ranking.blocks import (
    HEAT_LEVELS,
    Block,
    Cell,
    Column,
    Folded,
    Gallery,
    Items,
    Picture,
    Table,
    Text,
    column_of_names,
    column_of_texts,
)
from modelselect.report.subject import Subject
from modelselect.utils.text import listed

MOST_CLASSES = 25
"""A matrix with more classes than this is not readable; the pairs that are confused most are listed instead."""

MOST_PAIRS, MOST_SHOWN = 15, 12

Count = tuple[int, int, int]
"""Class, predicted class, and number of rows."""


def mistakes(subject: Subject) -> list[Block]:
    """The confusions and the mistakes of the best candidate; empty if the board does not keep them."""
    board = subject.board
    confusion = board.best.confusion if board.ranked else ()
    names = subject.classes
    known = [each for each in confusion if all(0 <= label < len(names) for label in each[:2])]
    if not known:
        return []
    wrong = sorted((each for each in known if each[0] != each[1]), key=lambda each: -each[2])
    blocks: list[Block] = [Text(_sentence(known, wrong, names))]
    if len(names) <= MOST_CLASSES:
        blocks.append(_matrix(known, names))
    elif wrong:
        blocks.append(_pairs(wrong[:MOST_PAIRS], names))
    return [*blocks, *_examples(subject, names)]


def _sentence(known: Sequence[Count], wrong: Sequence[Count], names: Sequence[str]) -> str:
    total, missed = sum(rows for _, _, rows in known), sum(rows for _, _, rows in wrong)
    if not missed:
        return f"All {total:,} held-out rows are classified correctly."
    worst = listed([f"{names[label]} as {names[found]} ({rows})" for label, found, rows in wrong[:3]])
    return f"{missed:,} of {total:,} held-out rows are classified wrongly. Most often: {worst}."


def _matrix(known: Sequence[Count], names: Sequence[str]) -> Table:
    """A row for each class, and a column for each predicted class."""
    counts = {(label, found): rows for label, found, rows in known}
    totals = [sum(counts.get((label, found), 0) for found in range(len(names))) for label in range(len(names))]

    def cell(label: int, found: int) -> Cell:
        rows = counts.get((label, found), 0)
        level = round(HEAT_LEVELS * rows / totals[label]) if totals[label] else 0
        tone = f"{'heat' if label == found else 'cold'}-{max(level, 1)}" if rows else ""
        about = f"{names[label]}, predicted {names[found]}: {rows} of {totals[label]}"
        return Cell(str(rows) if rows else "", tone=tone, about=about if rows else "")

    columns = [column_of_names("is ↓ predicted →", names)]
    columns += [Column(name, [cell(label, found) for label in range(len(names))]) for found, name in enumerate(names)]
    return Table("Held-out rows by class and predicted class", columns, style="heat")


def _pairs(wrong: Sequence[Count], names: Sequence[str]) -> Table:
    return Table(
        "The pairs of classes that are confused most",
        [
            column_of_names("class", [names[label] for label, _, _ in wrong]),
            column_of_names("predicted", [names[found] for _, found, _ in wrong]),
            column_of_texts("rows", [str(rows) for _, _, rows in wrong]),
        ],
    )


def _examples(subject: Subject, names: Sequence[str]) -> list[Block]:
    named = [m for m in subject.board.best.mistakes if max(m[2:]) < len(names) and min(m[2:]) >= 0]
    if not named:
        return []
    pictures = subject.pictures.mistakes
    shown = [
        Picture(pictures[row], f"{names[label]}, predicted {names[found]}")
        for row, _, label, found in named
        if row in pictures
    ]
    lines = [(name, f"is {names[label]}, predicted {names[found]}") for _, name, label, found in named]
    gallery: list[Block] = [Gallery(shown)] if shown else []
    if len(lines) <= MOST_SHOWN:
        return [*gallery, Text("Examples of its mistakes:"), Items(lines)]
    first: list[Block] = [] if shown else [Text("Examples of its mistakes:"), Items(lines[:MOST_SHOWN])]
    rest = lines if shown else lines[MOST_SHOWN:]
    return [*gallery, *first, Folded(f"{len(rest)} {'' if shown else 'more '}mistakes by name", [Items(rest)])]
