"""The values of a ranking as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import COST_COLUMNS, EVIDENCE_COLUMNS, FIRST_COLUMNS, LAST_COLUMNS, RankedCandidate
from modelselect.utils.measures import Measure
from modelselect.utils.text import UNKNOWN, listed, short_chance, with_unit


def text_cells(ranking: Ranking) -> dict[str, list[str]]:
    """The text of every row, by column. Columns without a value are left out."""
    texts = {column: _column(ranking, column) for column in ranking.columns}
    return {c: column for c, column in texts.items() if c in FIRST_COLUMNS or any(t != UNKNOWN for t in column)}


def text_rows(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """The columns of `text_cells`, and the text of each row in them."""
    texts = text_cells(ranking)
    return list(texts), [[column[i] for column in texts.values()] for i in range(len(ranking.rows))]


def heading(column: str) -> str:
    """What a column is called in a table.

    >>> heading("verified_accuracy"), heading("probability_best")
    ('verified accuracy', 'P(best)')
    """
    return "P(best)" if column == "probability_best" else column.replace("_", " ")


def headings(ranking: Ranking, columns: Iterable[str]) -> list[str]:
    """What these columns of a ranking are called; the heading of a fine-tuned accuracy says what guessing gives."""
    verified = f"verified {ranking.metric}"
    if ranking.chance is not None:
        verified += f" (chance {ranking.measure.text(ranking.chance, 0)})"
    return [verified if column == "verified_accuracy" else heading(column) for column in columns]


def name_of(row: RankedCandidate) -> str:
    """The candidate's name without its revision."""
    return f"{row.candidate.zoo}:{row.candidate.name}"


def _column(ranking: Ranking, column: str) -> list[str]:
    if column == "candidate":
        names = [name_of(row) for row in ranking.rows]
        counts = Counter(names)
        return [name if counts[name] == 1 else row.candidate.id for name, row in zip(names, ranking.rows, strict=True)]
    measure = ranking.measure
    return [_text(row, column, ranking.value(row, column), measure) for row in ranking.rows]


def _text(row: RankedCandidate, column: str, value: Any, measure: Measure) -> str:
    if column == "status" and row.failures and row.failure is None:
        without = f"without {', '.join(row.failures)}"
        return without if row.stopped is None else f"{row.stopped}; {without}"
    if column == "rank" and row.verified_accuracy is not None and row.predicted_rank not in (None, row.rank):
        return f"{row.rank} ({row.predicted_rank})"
    if value is None:
        return UNKNOWN
    error = row.standard_error if column == "score" else row.standard_errors.get(column)
    if error is not None and column not in (*EVIDENCE_COLUMNS, *COST_COLUMNS, *LAST_COLUMNS):
        return f"{value:.4g} ± {error:.2g}"
    if column == "verified_accuracy" and row.verified_interval is not None:
        low, high = row.verified_interval
        return f"{measure.text(value)} [{measure.text(low)}, {measure.text(high)}]"
    if column == "verified_accuracy":
        return measure.text(value)
    if column in ("brief_accuracy", "zero_shot_accuracy"):
        return f"{value:.1%}"
    if column == "languages":
        return listed(str(value).split(", "))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _number(column, value)


def _number(column: str, value: Any) -> str:
    if column in ("parameters", "macs"):
        return with_unit(value)
    if column in ("memory_bytes", "training_memory_bytes", "download_bytes"):
        return f"{with_unit(value)}B"
    if column == "throughput" and value >= 1000:
        return with_unit(value)
    if column in ("latency_ms", "throughput"):
        return f"{value:.3g}"
    if column == "probability_best":
        return short_chance(value)
    if column == "seconds":
        return f"{value:.1f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
