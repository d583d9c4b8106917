"""A leaderboard as one self-contained web page: markup, style, script, data and Bokeh in a file that loads nothing.

The template escapes every text, and the data block has no `<`. The page's Content-Security-Policy allows only the
page's own two scripts, by their digests, and no requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelselect.candidates.candidate import license_of
from modelselect.errors import InvalidInputError, Stage
from modelselect.ranking.notes import remarks_of, verification_text
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate
from modelselect.report import charts
from modelselect.report.account import (
    budget_table,
    citations_of,
    contribution_table,
    estimator_rank_table,
    provenance_tables,
)
from modelselect.report.answer import (
    NOTHING_KEPT,
    Kept,
    answer_text,
    cheaper_candidates,
    key_facts,
    left_out,
    loading_code,
)
from modelselect.report.costs import cost_of
from modelselect.report.map import Map
from modelselect.report.names import dataset_name, display_names, ranked_by
from modelselect.utils.text import in_bytes, listed, short_chance, short_number
from modelselect.utils.versions import __version__

UNKNOWN = "–"
FEW_ESTIMATORS = 5
"""The page shows the estimators' columns from the beginning if there are at most this many."""

HEAT_LEVELS = 8

LONG_NAME = 18
"""Length of a name, in characters, above which the column of names is wide."""

ABOUT = {
    "rank": "1 is best; equal scores share a rank",
    "score": "decides the rank of candidates that were not fine-tuned; higher is better",
    "brief accuracy": "after one epoch of fine-tuning, on rows that it had not trained on",
    "verified accuracy": "on held-out rows, after fine-tuning, with its own 95% interval",
    "predicted rank": "by the score alone, before fine-tuning",
    "P(best)": "probability that it is the best of all after fine-tuning, by all evidence",
    "rank, 80% interval": "ranks that hold its true rank with a probability of 80%",
    "why": "what each piece of evidence adds, in deviations of the pool",
    "MACs": "multiply-accumulates for one input",
    "seconds": "time to extract and to score, when first computed",
    "latency": "from one prepared row to its features, on the device of this run",
    "throughput": "rows a second, in batches that fit",
    "memory": "weights, plus the peak for one row",
    "download": "bytes that a first download fetches",
    "probe rows": "number of rows that its scores come from",
}


@dataclass(frozen=True)
class Cell:
    """The text of a cell, its sort key (empty sorts last), and lines that unfold below it."""

    text: str
    sort: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column of the page's table; the reader can show one that is not `shown`."""

    name: str
    cells: tuple[Cell, ...]
    numeric: bool = True
    shown: bool = True
    about: str = ""


def check_drawable() -> None:
    """Raises `InvalidInputError` if a library that draws the report is missing. Call it before the work."""
    if absent := missing():
        raise InvalidInputError(
            f"a report needs {' and '.join(absent)}; install with: pip install 'modelselect-automl[report]'"
        )


def missing() -> list[str]:
    """Names of the libraries that draw the report and are not installed."""
    return [name for name in ("bokeh", "jinja2") if find_spec(name) is None]


def html(board: Ranking, plane: Map | None = None, kept: Kept = NOTHING_KEPT) -> str:
    """The page, with the map of architectures if there is one. See `Leaderboard.report`."""
    import bokeh
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    called = display_names(board)
    cost, verified, curves = charts.cost_chart(board), charts.verified_chart(board), charts.curves_chart(board)
    drawn_map, legend = (None, []) if plane is None else charts.map_chart(board, plane)
    data = {
        "charts": {
            name: item
            for name, item in {
                "cost": cost and cost[0],
                "verified": verified,
                "curves": curves and curves[0],
                "map": drawn_map,
            }.items()
            if item
        },
        "costs": cost[1] if cost else {},
    }
    spent, stages = budget_table(board)
    choices = next(iter(cost[1].values())) if cost else {}
    library = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    drawing = library.read_text(encoding="utf-8") if data["charts"] else ""
    script = _asset("script.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    ranks = estimator_rank_table(board)
    sentences = answer_text(board)
    return environment.from_string(_asset("page.html.jinja")).render(
        policy=_policy(script, drawing),
        style=Markup(_asset("style.css")),
        script=Markup(script),
        drawing=Markup(drawing),
        data=Markup(in_script(data)),
        dataset=dataset_name(board),
        headline=sentences[0],
        remarks=remarks_of(board),
        doubts=sentences[1:],
        code=loading_code(board.best, kept) if board.ranked else None,
        best_id=board.best.candidate.id if board.ranked else "",
        ids=[row.candidate.id for row in board.rows],
        failed=[row.rank is None for row in board.rows],
        called=called,
        left_out=left_out(board),
        facts=key_facts(board),
        smaller=cheaper_candidates(board),
        spent=spent,
        stages=stages,
        long=max(map(len, called), default=0) > LONG_NAME,
        columns=table_columns(board, called),
        ranked=len(board.ranked),
        notes=_warnings(board),
        qualities=list(cost[1]) if cost else [],
        costs=choices,
        verified=_verified_facts(board, called),
        has_verified=verified is not None,
        verified_any=any(row.verified_accuracy is not None for row in board.rows),
        curves=[] if curves is None else [(name, f"swatch-curve-{i}") for i, (name, _) in enumerate(curves[1])],
        curve_measure="" if curves is None else curves[2],
        has_map=drawn_map is not None,
        on_atlas=plane is not None and len(plane.background) > 0,
        background=0 if plane is None else len(plane.background),
        unplaced=[] if plane is None else [called[i] for i in range(len(called)) if i not in plane.rows],
        legend=legend,
        pieces=_pieces(board),
        ranks={name: [(rank, _heat(rank, column)) for rank in column] for name, column in ranks.items()},
        agreement=_agreement(board),
        provenance=provenance_tables(board),
        citations={name: text for name, text in citations_of(board).items() if text},
        version=__version__,
        swatches=[
            *((colour, f"swatch-{index}") for index, (_, colour, _) in enumerate(legend)),
            *((colour, f"swatch-curve-{index}") for index, (_, colour) in enumerate(curves[1] if curves else [])),
        ],
    )


def in_script(data: Any) -> str:
    r"""JSON that may stand inside a script element: nothing in it ends the element or opens a comment.

    >>> print(in_script({"name": "</script>"}))
    {"name": "\u003c/script>"}
    """
    return json.dumps(data, allow_nan=False, ensure_ascii=False, default=str).replace("<", "\\u003c")


def table_columns(board: Ranking, called: list[str]) -> list[Column]:
    """The columns of the page's table: those of the ranking, and licence, size and family where they are known."""
    methods = ranked_by(board)
    rows = board.rows

    def metadata(key: str) -> list[Any]:
        return [row.candidate.metadata.get(key) for row in rows]

    columns = [
        _numbers("rank", [row.rank for row in rows], str),
        Column("candidate", tuple(Cell(name, name.lower()) for name in called), numeric=False),
        _numbers("score", [row.score for row in rows], _plain, [row.standard_error for row in rows]),
        _numbers(
            "P(best)", [row.probability_best if row.expectation is not None else None for row in rows], short_chance
        ),
        Column("rank, 80% interval", tuple(map(_interval_cell, rows))),
        _words("why", [row.why for row in rows], shown=False),
        _numbers("brief accuracy", [row.brief_accuracy for row in rows], lambda value: f"{value:.1%}"),
        Column("verified accuracy", tuple(map(_verified_cell, rows))),
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
                shown=name in methods and 1 < len(methods) <= FEW_ESTIMATORS,
            )
            for name in board.estimators
            if name != "parameters"
        ),
        _numbers("parameters", [row.parameters for row in rows]),
        _numbers("MACs", [row.macs for row in rows]),
        _numbers("latency", [row.latency_ms for row in rows], lambda value: f"{value:.3g} ms"),
        _numbers("throughput", [row.throughput for row in rows], lambda value: f"{value:.3g}/s"),
        _numbers("memory", [row.memory_bytes for row in rows], in_bytes),
        _numbers("download", [cost_of(row, "download_bytes") for row in rows], in_bytes),
        _numbers("feature width", [row.feature_dim for row in rows], str),
        _numbers("probe rows", [row.probe_rows for row in rows], str),
        _words("family", metadata("family")),
        _words("license", [row.license or license_of(row.candidate) for row in rows]),
        _numbers("seconds", [row.seconds or None for row in rows], lambda value: f"{value:.1f}"),
        Column("status", tuple(_status(row) for row in rows), numeric=False),
    ]
    always = ("rank", "candidate", "status")
    return [
        Column(c.name, c.cells, c.numeric, c.shown, ABOUT.get(c.name, ""))
        for c in columns
        if c.name in always or any(cell.sort for cell in c.cells)
    ]


def _asset(name: str) -> str:
    return (resources.files("modelselect.report") / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts if text]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _numbers(
    name: str,
    values: list[Any],
    show: Any = None,
    errors: list[float | None] | None = None,
    *,
    shown: bool = True,
) -> Column:
    cells = []
    for value, error in zip(values, errors or [None] * len(values), strict=True):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            cells.append(Cell(UNKNOWN, ""))
        else:
            text = (show or short_number)(value)
            cells.append(Cell(text if error is None else f"{text} ± {error:.2g}", repr(float(value))))
    return Column(name, tuple(cells), shown=shown)


def _words(name: str, values: list[Any], *, shown: bool = True) -> Column:
    cells = tuple(Cell(str(v), str(v).lower()) if v else Cell(UNKNOWN, "") for v in values)
    return Column(name, cells, numeric=False, shown=shown)


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _interval_cell(row: RankedCandidate) -> Cell:
    if row.expectation is None:
        return Cell(UNKNOWN, "")
    low, high = row.expectation.rank_interval
    return Cell(str(low) if low == high else f"{low} to {high}", repr(float(low)))


def _verified_cell(row: RankedCandidate) -> Cell:
    if row.verified_accuracy is None:
        return Cell(UNKNOWN, "")
    low, high = row.verified_interval or (None, None)
    interval = "" if low is None or high is None else f" [{low:.1%}, {high:.1%}]"
    return Cell(f"{row.verified_accuracy:.1%}{interval}", repr(row.verified_accuracy))


def _status(row: RankedCandidate) -> Cell:
    if row.failure is not None and row.failure.stage == Stage.LIMIT:
        return Cell("excluded", "3 excluded", (row.failure.reason,))
    if row.failure is not None:
        return Cell(f"failed ({row.failure.stage})", "2 failed", (row.failure.reason,))
    reasons = tuple(f"{name}: {failure.reason}" for name, failure in row.failures.items())
    warned = tuple(f"{name} warns: {text}" for name, text in row.warnings.items())
    if reasons:
        return Cell(f"without {listed(list(row.failures))}", "1 without", reasons + warned)
    if row.stopped:
        return Cell("ok, stopped early", "0 ok, stopped", (row.stopped, *warned))
    return Cell("ok", "0 ok", warned)


def _warnings(board: Ranking) -> list[str]:
    """For each estimator that warned: the number of candidates, and the first warning."""
    notes = []
    for name in board.estimators:
        warned = [row.warnings[name] for row in board.rows if name in row.warnings]
        if warned:
            notes.append(f"{name}, for {len(warned)} of {len(board.rows)} candidates: {warned[0]}")
    return notes


def _verified_facts(board: Ranking, called: list[str]) -> dict[str, Any] | None:
    """How well the score predicted the accuracy of the fine-tuned candidates."""
    found = board.verification
    if found is None:
        return None
    rows = [i for i, row in enumerate(board.rows) if row.verified_accuracy is not None and row.score is not None]
    predicted = min(rows, key=lambda i: board.rows[i].predicted_rank or len(board.rows))
    return {
        "n": found.n,
        "predicted": called[predicted],
        "reached": f"{board.rows[predicted].verified_accuracy or 0.0:.1%}",
        "verdict": verification_text(found),
        "kendall": f"{found.weighted_kendall:+.2f}",
    }


def _pieces(board: Ranking) -> dict[str, list[tuple[str, str]]]:
    """(text, class) of what each piece of evidence adds to each row, and of their sum; empty for fewer than two."""
    table = contribution_table(board)
    if not table:
        return {}
    rows = [[value for value in row if value is not None] for row in zip(*table.values(), strict=True)]
    table = {**table, "together": [sum(row) if row else None for row in rows]}
    largest = max((abs(value) for column in table.values() for value in column if value is not None), default=0.0)

    def cell(value: float | None) -> tuple[str, str]:
        return ("", "") if value is None else (f"{value:+.2f}", _signed_class(value, largest))

    return {name: [cell(value) for value in column] for name, column in table.items()}


def _heat(rank: int | None, column: list[int | None]) -> int | None:
    """From 0 for the last rank of a column to HEAT_LEVELS for the first."""
    if rank is None:
        return None
    last = max(r for r in column if r is not None)
    return HEAT_LEVELS if last == 1 else round(HEAT_LEVELS * (last - rank) / (last - 1))


def _agreement(board: Ranking) -> dict[str, list[tuple[str, str]]]:
    """(text, class) of each estimator's agreement with the others, by name; estimators without any are left out."""
    if len(board.estimators) < 2:
        return {}
    table = board.estimator_agreement().dropna(how="all").dropna(how="all", axis="columns")
    rows = {}
    for name, values in zip(table.index, table.to_numpy().tolist(), strict=True):
        rows[str(name)] = [
            (UNKNOWN, "") if value != value else (f"{100 * value:.0f}", _signed_class(value)) for value in values
        ]
    return rows if len(rows) > 1 else {}


def _signed_class(value: float, largest: float = 1.0) -> str:
    """The colour of a number from -largest to largest."""
    level = round(HEAT_LEVELS * abs(value) / largest) if largest > 0 else 0
    return f"{'heat' if value >= 0 else 'cold'}-{level}"
