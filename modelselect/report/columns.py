"""The columns of the leaderboard's table in a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from modelselect.candidates.candidate import license_of
from modelselect.errors import Stage
from modelselect.ranking.blocks import UNKNOWN, Cell, Column, Table
from modelselect.ranking.row import RankedCandidate
from modelselect.report.account import estimator_notes
from modelselect.report.costs import cost_of
from modelselect.report.decision import page_of
from modelselect.report.subject import Subject
from modelselect.utils.measures import Measure
from modelselect.utils.text import in_bytes, listed, short_chance, short_number

CANDIDATE = 1
"""The place of the column that names the rows."""

SHOWN_COLUMNS = 5

ABOUT = {
    "rank": "1 is best; equal scores share a rank",
    "score": "decides the rank of candidates that were not fine-tuned; higher is better",
    "brief accuracy": "after one epoch of fine-tuning, on rows that it had not trained on",
    "predicted rank": "by the score alone, before fine-tuning",
    "P(best)": "probability that it is the best of all after fine-tuning, by all evidence",
    "rank, 80% interval": "ranks that hold its true rank with a probability of 80%",
    "why": "what each piece of evidence adds, in deviations of the pool",
    "MACs": "multiply-accumulates for one input",
    "seconds": "time to extract and to score, when first computed",
    "latency": "from one prepared row to its features, on the device of this run",
    "throughput": "rows a second, in batches that fit",
    "memory": "weights, plus the peak for one row",
    "training memory": "that fine-tuning takes at most, as estimated from the architecture",
    "commercial use": "whether the licence allows it for a fine-tuned model",
    "context length": "tokens of the longest text that the model itself can take",
    "download": "bytes that a first download fetches",
    "probe rows": "number of rows that its scores come from",
}

VERIFIED = "on held-out rows, after fine-tuning, with its own 95% interval"
"""What the column with the result of fine-tuning is about, which has the name of the task's metric."""

Show = Callable[[Any], str]


def leaderboard_table(subject: Subject) -> Table:
    """All candidates with all that is known of them. Five columns are shown from the beginning."""
    board = subject.board
    known = [c for c in _columns(subject) if c.name in ("rank", "candidate", "status") or _holds_values(c)]
    names = {column.name for column in known}
    order = verified if (verified := _verified(subject)) in names else "score"
    fifth = "latency" if "latency" in names else "license"
    chances = ["P(best)"] if "P(best)" in names else []
    ordering = chances if order == "score" and chances else [order, *chances]
    first = ["rank", "candidate", *ordering, "parameters", fifth, "status"]
    chosen = [column for name in first for column in known if column.name == name][:SHOWN_COLUMNS]
    rest = [column for column in known if column not in chosen]
    notes, about = estimator_notes(board), {**ABOUT, verified: VERIFIED}
    columns = [
        *(replace(column, about=about.get(column.name, "")) for column in chosen),
        *(replace(column, shown=False, about=about.get(column.name) or notes.get(column.name, "")) for column in rest),
    ]
    tones = ["failed" if row.rank is None else "best" if i == 0 else "" for i, row in enumerate(board.rows)]
    return Table("Leaderboard", columns, CANDIDATE, "board", tones)


def _holds_values(column: Column) -> bool:
    return any(cell.sort for cell in column.cells)


def _columns(subject: Subject) -> list[Column]:
    """The columns of the ranking, and licence, size and family where they are known."""
    board, rows, measure = subject.board, subject.board.rows, subject.board.measure

    def metadata(key: str) -> list[Any]:
        return [row.candidate.metadata.get(key) for row in rows]

    return [
        _numbers("rank", [row.rank for row in rows], str),
        _candidates(subject),
        _numbers("score", [row.score for row in rows], _plain, [row.standard_error for row in rows]),
        _barred(
            _numbers("P(best)", [r.probability_best if r.expectation is not None else None for r in rows], short_chance)
        ),
        Column("rank, 80% interval", tuple(map(_interval_cell, rows))),
        _words("why", [row.why for row in rows]),
        _barred(_numbers("brief accuracy", [row.brief_accuracy for row in rows], lambda value: f"{value:.1%}")),
        Column(_verified(subject), tuple(_verified_cell(row, measure) for row in rows)),
        _numbers(
            "predicted rank",
            [row.predicted_rank if row.verified_accuracy is not None else None for row in rows],
            str,
        ),
        *(
            _numbers(
                name,
                [row.scores.get(name) for row in rows],
                _plain,
                [row.standard_errors.get(name) for row in rows],
            )
            for name in board.estimators
            if name != "parameters"
        ),
        _barred(_numbers("parameters", [row.parameters for row in rows]), to_largest=True),
        _numbers("MACs", [row.macs for row in rows]),
        _barred(
            _numbers("latency", [row.latency_ms for row in rows], lambda value: f"{value:.3g} ms"), to_largest=True
        ),
        _numbers("throughput", [row.throughput for row in rows], lambda value: f"{value:.3g}/s"),
        _numbers("memory", [row.memory_bytes for row in rows], in_bytes),
        _numbers("zero-shot accuracy", [row.zero_shot_accuracy for row in rows], lambda value: f"{value:.1%}"),
        _numbers("training memory", [row.training_memory_bytes for row in rows], in_bytes),
        _numbers("download", [cost_of(row, "download_bytes") for row in rows], in_bytes),
        _numbers("feature width", [row.feature_dim for row in rows], str),
        _numbers("probe rows", [row.probe_rows for row in rows], str),
        _words("family", metadata("family")),
        _words("license", [row.license or license_of(row.candidate) for row in rows]),
        _words("commercial use", [_yes_or_no(row.commercial_use) for row in rows]),
        _numbers("context length", [board.value(row, "context_length") for row in rows], str),
        _words("languages", [board.value(row, "languages") for row in rows]),
        _numbers("seconds", [row.seconds or None for row in rows], lambda value: f"{value:.1f}"),
        Column("status", tuple(map(_status, rows)), numeric=False),
    ]


def _candidates(subject: Subject) -> Column:
    """The names, which lead to the candidates' pages. A candidate without a rank says why."""
    cells = []
    for name, row in zip(subject.called, subject.board.rows, strict=True):
        left_out = row.failure is not None and row.failure.stage == Stage.LIMIT
        note = "" if row.rank is not None else "excluded by a limit" if left_out else "failed"
        cells.append(Cell(name, name.lower(), link=page_of(row.candidate), note=note, about=row.candidate.id))
    return Column("candidate", cells, numeric=False)


def _numbers(
    name: str, values: Sequence[Any], show: Show = short_number, errors: Sequence[float | None] | None = None
) -> Column:
    cells = []
    for value, error in zip(values, errors or [None] * len(values), strict=True):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            cells.append(Cell(UNKNOWN))
        else:
            text = show(value)
            cells.append(Cell(text if error is None else f"{text} ± {error:.2g}", f"{float(value):.10g}"))
    return Column(name, cells)


def _barred(column: Column, *, to_largest: bool = False) -> Column:
    """The column with bars: of shares, or of the share of the largest value."""
    values = [float(cell.sort) if cell.sort else 0.0 for cell in column.cells]
    whole = max(values, default=0.0) if to_largest else 1.0
    cells = [
        replace(cell, bar=value / whole) if cell.sort and whole > 0 else cell
        for cell, value in zip(column.cells, values, strict=True)
    ]
    return replace(column, cells=cells)


def _words(name: str, values: Sequence[Any]) -> Column:
    cells = [Cell(str(value), str(value).lower()) if value else Cell(UNKNOWN) for value in values]
    return Column(name, cells, numeric=False)


def _yes_or_no(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _interval_cell(row: RankedCandidate) -> Cell:
    if row.expectation is None:
        return Cell(UNKNOWN)
    low, high = row.expectation.rank_interval
    return Cell(str(low) if low == high else f"{low} to {high}", f"{low:g}")


def _verified(subject: Subject) -> str:
    return f"verified {subject.board.metric}"


def _verified_cell(row: RankedCandidate, measure: Measure) -> Cell:
    if row.verified_accuracy is None:
        return Cell(UNKNOWN)
    low, high = row.verified_interval or (None, None)
    interval = "" if low is None or high is None else f"{measure.text(low)} to {measure.text(high)}"
    value = row.verified_accuracy
    return Cell(measure.text(value), repr(value), bar=min(max(value, 0.0), 1.0), note=interval)


def _status(row: RankedCandidate) -> Cell:
    if row.failure is not None and row.failure.stage == Stage.LIMIT:
        return Cell("excluded", "3 excluded", note=row.failure.reason)
    if row.failure is not None:
        return Cell(f"failed ({row.failure.stage})", "2 failed", note=row.failure.reason)
    reasons = [f"{name}: {failure.reason}" for name, failure in row.failures.items()]
    warned = [f"{name} warns: {text}" for name, text in row.warnings.items()]
    if reasons:
        return Cell(f"without {listed(list(row.failures))}", "1 without", note="; ".join(reasons + warned))
    if row.stopped:
        return Cell("ok, stopped early", "0 ok, stopped", note="; ".join([row.stopped, *warned]))
    return Cell("ok", "0 ok", note="; ".join(warned))
