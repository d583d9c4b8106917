"""How a ranking came about: evidence, budget, citations, provenance."""

from __future__ import annotations

import shlex
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from modelselect.ranking.ranking import Ranking, record_of
from modelselect.utils.text import duration, printable

LONGEST_LIST = 12
"""Maximum number of items that are shown of a list in the provenance. The rest is counted."""

Table = tuple[list[str], list[list[str]]]
"""Columns' names, and the rows' cells."""


def budget_table(board: Ranking) -> tuple[list[tuple[str, str]], dict[str, Table]]:
    """The record of the budget: its totals as (name, text), and tables of the stages done and of the rounds planned.

    Both are empty if the run had no budget.
    """
    account = record_of(board, "budget")
    tables = {key: value for key, value in account.items() if _is_table(value)}
    whole = {key: value for key, value in account.items() if key not in tables and value is not None}
    drawn = {}
    for key in sorted(tables, key=lambda key: key != "stages"):  # what was done, before what was planned
        columns = list(dict.fromkeys(name for stage in tables[key] for name in stage))
        cells = [[_amount(str(c), stage[c]) if c in stage else "" for c in columns] for stage in tables[key]]
        drawn[str(key)] = ([str(column) for column in columns], cells)
    return [(name, _amount(name, value)) for name, value in _spread(whole)], drawn


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(line, Mapping) for line in value)


def _amount(name: str, value: Any) -> str:
    """A quantity of the budget as text. The last word of its name gives the unit."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and name.endswith("seconds"):
        return duration(value)
    if number and 0 <= value <= 1 and isinstance(value, float):
        return f"{value:.0%}"
    return f"{value:,}" if isinstance(value, int) and number else _readable(value)


def estimator_rank_table(board: Ranking) -> dict[str, list[int | None]]:
    """The rank of each row by one estimator alone, by the estimator's name. 1 is best; equal scores share a rank.

    Estimators without a score are left out.
    """
    ranks: dict[str, list[int | None]] = {}
    for name in board.estimators:
        scores = [row.scores.get(name) for row in board.rows]
        known = sorted(score for score in scores if score is not None)
        if known:
            ranks[name] = [None if score is None else 1 + len(known) - bisect_right(known, score) for score in scores]
    return ranks


def contribution_table(board: Ranking) -> dict[str, list[float | None]]:
    """What each piece of evidence adds to what is expected of each row, by the piece's name; None where it is silent.

    The piece that moves most comes first. Empty if there are fewer than two pieces: one piece explains nothing.
    """
    found = [{} if row.expectation is None else row.expectation.contributions for row in board.rows]
    table = {name: [pieces.get(name) for pieces in found] for name in dict.fromkeys(n for each in found for n in each)}
    moved = {name: sum(abs(value) for value in column if value is not None) for name, column in table.items()}
    return {name: table[name] for name in sorted(table, key=lambda name: -moved[name])} if len(table) > 1 else {}


def citations_of(board: Ranking) -> dict[str, str]:
    """The work to cite for each estimator, in the order of the board; empty if the plugin names none."""
    about = record_of(board, "estimators")
    entries = {name: about.get(name) for name in board.estimators}
    return {name: str((isinstance(known, Mapping) and known.get("citation")) or "") for name, known in entries.items()}


def estimator_notes(board: Ranking) -> dict[str, str]:
    """What each estimator is, in one sentence, and the work to cite, as far as the board knows them."""
    about = record_of(board, "estimators")
    notes = {}
    for name in board.estimators:
        known = about.get(name)
        known = known if isinstance(known, Mapping) else {}
        parts = [str(known[key]) for key in ("about", "citation") if known.get(key)]
        if parts:
            notes[name] = " – ".join(parts)
    return notes


def command_of(board: Ranking, changes: Mapping[str, Sequence[str]] = MappingProxyType({})) -> str | None:
    """The command that repeats the run, for a shell; None if the run was started with Python objects.

    A board of somebody else may hold any text here. It is shown only if it is a command of modelselect.

    Args:
        board: what the run gave.
        changes: options with the values that they get in place of those of the run.
    """
    given = board.provenance.get("command")
    if not isinstance(given, list | tuple) or not all(isinstance(word, str) for word in given):
        return None
    if tuple(given[:2]) != ("modelselect", "select"):
        return None
    words = list(given)
    for option, values in changes.items():
        while option in words:
            place = words.index(option)
            del words[place : place + 2]
        words += [word for value in values for word in (option, value)]
    return shlex.join(printable(word) for word in words)


def provenance_tables(board: Ranking) -> dict[str, list[tuple[str, str]]]:
    """The provenance of the board as readable text: sections of (name, text)."""
    sections: dict[str, list[tuple[str, str]]] = {"run": []}
    for key, value in board.provenance.items():
        if key in ("estimators", "budget", "command"):  # other sections show these
            continue
        if isinstance(value, Mapping):
            sections[key] = list(_flat(value))
        else:
            sections["run"].append((key, _readable(value)))
    sections["estimators"] = [
        (str(name), ", ".join(f"{k}={v!r}" for k, v in given.items()) or "no parameters")
        for name, known in record_of(board, "estimators").items()
        if isinstance(known, Mapping) and isinstance(given := known.get("parameters"), Mapping)
    ]
    return {name: lines for name, lines in sections.items() if lines}


def _flat(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _readable(inner)) for name, inner in _spread(value)]


def _spread(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values. Each item of a small nested mapping has a line of its own."""
    lines: list[tuple[str, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and 0 < len(inner) <= LONGEST_LIST:
            lines += _spread(inner, f"{prefix}{key} › ")
        else:
            lines.append((f"{prefix}{key}", inner))
    return lines


def _readable(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return _readable([f"{key}: {inner}" for key, inner in value.items()])
    if isinstance(value, list | tuple):
        more = f" and {len(value) - LONGEST_LIST} more" if len(value) > LONGEST_LIST else ""
        return (", ".join(map(str, value[:LONGEST_LIST])) + more) or "none"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
