"""The sections of a report, in order. The page and the Markdown show the same ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import Failure, Stage
from modelselect.ranking.blocks import (
    HEAT_LEVELS,
    UNKNOWN,
    Block,
    Cell,
    Code,
    Column,
    Facts,
    Folded,
    Gallery,
    Items,
    Picture,
    Section,
    Table,
    Text,
    column_of_names,
)
from modelselect.ranking.notes import verification_text
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection, section_of
from modelselect.report import charts
from modelselect.report.account import (
    budget_table,
    citations_of,
    command_of,
    contribution_table,
    estimator_notes,
    estimator_rank_table,
    provenance_tables,
)
from modelselect.report.answer import is_of_boxes, left_out, loading_code, telling_apart
from modelselect.report.columns import leaderboard_table
from modelselect.report.mistakes import mistakes
from modelselect.report.subject import Subject
from modelselect.utils.text import printable

MOST_ROWS = 50
"""Number of candidates in the tables below the leaderboard."""

MOST_CLASSES = 60
"""Number of classes whose rows are counted one by one."""

MOST_LINES = 100
"""Number of candidates in a list of those that were left out."""

FEW = 6
"""Fewer candidates that were left out, and this number of classes, are listed without a fold."""

Maker = Callable[[Subject], Section | None]

_logger = logging.getLogger(__name__)


def sections(subject: Subject) -> list[Section]:
    """The sections that have something to say of this board; those of plugins stand before the provenance."""
    found = [make(subject) for make in SECTIONS]
    found += [added_section(added, owner, subject.board) for added, owner in subject.added]
    found += [make(subject) for make in LAST_SECTIONS]
    return [section for section in found if section is not None]


def added_section(added: ReportSection, owner: str, board: Ranking) -> Section | None:
    """The section of a plugin. Where it cannot be made, the section says why; the report goes on."""
    try:
        return section_of(added, board)
    except Exception as error:
        reason = f"{Failure.from_exception(Stage.RUN, error).reason} (from {owner})"
        _logger.warning("the report section %r could not be made: %s", added.name, printable(reason))
        return Section(f"section-{added.name}", added.name, [Text(f"This section could not be made: {reason}.")])


def use_section(subject: Subject) -> Section | None:
    """How to load the winner, how to tell it apart from others, and how to run the selection again."""
    board, blocks = subject.board, list[Block]()
    if board.ranked and (code := _loading(subject)) is not None:
        blocks += [Text("Load it in Python:"), Code(code, "python")]
    elif board.ranked and board.best.candidate.zoo == OWN_MODULES:
        blocks.append(Text(f"{board.best.candidate.id} is a module that was given to select(): use it as it is."))
    text, _, means = (telling_apart(board, subject.kept) or "").partition("\n")
    blocks += [Text(text)] if text else []
    blocks += [Code(means.strip(), "bash")] if means else []
    if (command := command_of(board)) is not None:
        blocks.append(Folded("Run the selection again", [Code(command, "bash")]))
    return Section("use", "Use it", blocks) if blocks else None


def _loading(subject: Subject) -> str | None:
    return loading_code(subject.board.best, subject.kept, of_boxes=is_of_boxes(subject.board))


def leaderboard_section(subject: Subject) -> Section:
    """The table, and what is not in order with its rows."""
    board, blocks = subject.board, list[Block]([leaderboard_table(subject)])
    for group, rows in left_out(board).items():
        listed: list[Block] = [Items(rows[:MOST_LINES])]
        if len(rows) > MOST_LINES:
            listed.append(Text(f"The table has {len(rows) - MOST_LINES:,} more.", small=True))
        blocks.append(Folded(f"{len(rows)} {group}", listed, open=len(rows) < FEW))
    if notes := _warnings(board):
        blocks.append(Folded(f"{len(notes)} estimator{'s warn' if len(notes) > 1 else ' warns'}", [Items(notes)]))
    return Section("table", "Leaderboard", blocks)


def accuracy_section(subject: Subject) -> Section | None:
    """The accuracies of the fine-tuned candidates, and how well the score predicted them."""
    board = subject.board
    listed = charts.accuracy_list(board)
    if listed is None:
        return None
    blocks: list[Block] = [listed]
    if (found := board.verification) is not None:
        blocks.append(
            Text(
                f"{verification_text(found, board.measure)} Score and {board.metric} of the {found.n} fine-tuned "
                f"models agree with a weighted Kendall of {found.weighted_kendall:+.2f}. Two intervals may overlap "
                "although one candidate is probably better: P(best) in the leaderboard compares all of them."
            )
        )
    title = board.measure.heading
    return Section("verified", f"{title} after fine-tuning", blocks, short=title)


def mistakes_section(subject: Subject) -> Section | None:
    """What the winner confuses."""
    blocks = mistakes(subject)
    if not blocks:
        return None
    return Section("mistakes", f"What {subject.called[0]} gets wrong", blocks, short="Mistakes")


def cost_section(subject: Subject) -> Section | None:
    """Quality against each cost."""
    found = charts.cost_charts(subject.board)
    if not found:
        return None
    folded = [Folded(name, [chart], open=i == 0, group="cost") for i, (name, chart) in enumerate(found)]
    text = "The line connects the candidates that no other candidate beats in both quality and cost. ★ is the winner."
    return Section("cost", "Quality and cost", [Text(text), *folded])


def curves_section(subject: Subject) -> Section | None:
    """The learning curves."""
    chart = charts.curves_chart(subject.board)
    return None if chart is None else Section("curves", "Learning curves", [Text(f"{chart.name}."), chart])


def why_section(subject: Subject) -> Section | None:
    """What each piece of evidence adds to each candidate."""
    board = subject.board
    table = contribution_table(board)
    if not table:
        return None
    rows = [i for i, row in enumerate(board.rows) if row.rank is not None][:MOST_ROWS]
    sums = [[value for value in row if value is not None] for row in zip(*table.values(), strict=True)]
    table = {**table, "together": [sum(row) if row else None for row in sums]}
    largest = max((abs(c[i] or 0.0) for c in table.values() for i in rows), default=0.0) or 1.0

    def cell(value: float | None) -> Cell:
        return Cell("") if value is None else Cell(f"{value:+.2f}", bar=value / largest)

    columns = [_names(subject, rows)]
    columns += [Column(name, [cell(column[i]) for i in rows]) for name, column in table.items()]
    text = (
        "What each piece of evidence adds to what is expected of a candidate, in deviations of the pool: a bar to the "
        "right moves it up, a bar to the left moves it down. An empty cell means that the piece says nothing of it."
    )
    if any(row.verified_accuracy is not None for row in board.rows):
        text += (
            " The sum is what was expected before fine-tuning; P(best) and the intervals of the ranks also contain "
            "what was measured after it."
        )
    blocks: list[Block] = [Text(text), Table("Pieces of evidence", columns, style="bars"), *_more(board, rows)]
    return Section("why", "Why this order", blocks, short="Why")


def dataset_section(subject: Subject) -> Section | None:
    """The rows of each class, with some pictures if the user wants them."""
    blocks: list[Block] = []
    counts = subject.class_rows
    if counts:
        fewest, most = min(counts), max(counts)
        each = f"{most:,} each" if fewest == most else f"{fewest:,} to {most:,} each"
        blocks.append(Text(f"{sum(counts):,} labelled rows of {len(counts):,} classes were shown, {each}."))
        order = sorted(range(len(counts)), key=lambda k: -counts[k])[:MOST_CLASSES]
        columns = [
            column_of_names("class", [subject.classes[k] for k in order]),
            Column("rows", [Cell(f"{counts[k]:,}", bar=counts[k] / most if most else 0.0) for k in order]),
        ]
        table: Block = Table("Rows of each class", columns, style="bars")
        few = len(counts) <= FEW
        blocks.append(table if few else Folded(f"Rows of {len(order)} classes", [table]))
    for name, pictures in subject.pictures.classes.items():
        blocks.append(Gallery([Picture(address, name) for address in pictures]))
    return Section("dataset", "The data", blocks, short="Data") if blocks else None


def budget_section(subject: Subject) -> Section | None:
    """What the budget paid for."""
    spent, stages = budget_table(subject.board)
    blocks: list[Block] = [Facts(spent)] if spent else []
    for i, (name, (columns, rows)) in enumerate(stages.items()):
        texts = [column_of_names(column, [row[k] for row in rows]) for k, column in enumerate(columns)]
        blocks.append(Folded(name, [Table(f"{name} of the budget", texts)], open=i == 0))
    return Section("budget", "What the budget paid for", blocks, short="Budget") if blocks else None


def estimators_section(subject: Subject) -> Section | None:
    """How each estimator ranks the candidates, and how similarly they rank."""
    board, ranks = subject.board, estimator_rank_table(subject.board)
    if not ranks:
        return None
    rows = [i for i, row in enumerate(board.rows) if row.rank is not None][:MOST_ROWS]
    about = estimator_notes(board)
    columns = [_names(subject, rows)]
    for name, column in ranks.items():
        cells = [Cell(str(column[i] or ""), tone=_heat(column[i], column)) for i in rows]
        columns.append(Column(name, cells, about=about.get(name, "")))
    blocks: list[Block] = [
        Text("1, in the strongest colour, is the estimator's first choice. An empty cell means that it has no score."),
        Table("Ranks by estimator", columns, style="heat"),
        *_more(board, rows),
    ]
    if agreement := _agreement(board, about):
        text = (
            "How similarly they rank: the weighted Kendall × 100 of each pair. 100 is the same order, −100 the "
            "reverse. Estimators that agree need not be right."
        )
        blocks += [Text(text), agreement]
    return Section("estimators", "How each estimator ranks", blocks, folded=True, short="Estimators")


def map_section(subject: Subject) -> Section | None:
    """The map of the architectures."""
    plane = subject.plane
    if plane is None:
        return None
    atlas = f" Grey: {len(plane.background)} other architectures of the atlas." if len(plane.background) else ""
    text = (
        "Candidates with similar architectures are close to each other, by their archi2vec vectors. Candidates of one "
        f"architecture share one point. ★ is the winner.{atlas}"
    )
    blocks: list[Block] = [Text(text)]
    for i, (name, chart) in enumerate(charts.map_charts(subject.board, plane)):
        blocks.append(Folded(name, [chart], open=i == 0, group="map"))
    if len(plane.rows) > charts.MOST_DOTS:
        blocks.append(Text(f"The map shows {charts.MOST_DOTS} of {len(plane.rows):,} candidates.", small=True))
    places = set(plane.rows)
    if unplaced := [name for i, name in enumerate(subject.called) if i not in places]:
        names = unplaced if len(unplaced) <= MOST_ROWS else [*unplaced[:MOST_ROWS], f"{len(unplaced) - MOST_ROWS} more"]
        blocks.append(Text(f"Not on the map: {', '.join(names)}.", small=True))
    return Section("map", "Map of the architectures", blocks, folded=True, short="Map")


def provenance_section(subject: Subject) -> Section:
    """All that is needed to repeat the run."""
    tables = provenance_tables(subject.board)
    blocks: list[Block] = [Folded(name, [Facts(lines)], open=name == "run") for name, lines in tables.items()]
    return Section(
        "provenance", "Provenance", blocks or [Text("This leaderboard has no provenance.")], folded=bool(blocks)
    )


def citations_section(subject: Subject) -> Section | None:
    """The works to cite."""
    cited = [(name, text) for name, text in citations_of(subject.board).items() if text]
    return Section("citations", "Citations", [Facts(cited)], folded=True) if cited else None


SECTIONS: tuple[Maker, ...] = (
    use_section,
    leaderboard_section,
    accuracy_section,
    mistakes_section,
    cost_section,
    curves_section,
    why_section,
    dataset_section,
    budget_section,
    estimators_section,
    map_section,
)
"""What makes the sections, in the order of the report."""

LAST_SECTIONS: tuple[Maker, ...] = (provenance_section, citations_section)
"""What makes the sections after those of plugins."""


def _names(subject: Subject, rows: Sequence[int]) -> Column:
    ids = [row.candidate.id for row in subject.board.rows]
    cells = [Cell(subject.called[i], subject.called[i].lower(), about=ids[i]) for i in rows]
    return Column("candidate", cells, numeric=False)


def _more(board: Ranking, rows: Sequence[int]) -> list[Block]:
    """The number of candidates that a table leaves out."""
    missing = len(board.ranked) - len(rows)
    return [Text(f"The leaderboard above has {missing} more candidates.", small=True)] if missing > 0 else []


def _warnings(board: Ranking) -> list[tuple[str, str]]:
    """For each estimator that warned: the number of candidates, and the first warning."""
    notes = []
    for name in board.estimators:
        warned = [row.warnings[name] for row in board.rows if name in row.warnings]
        if warned:
            notes.append((name, f"for {len(warned)} of {len(board.rows)} candidates: {warned[0]}"))
    return notes


def _heat(rank: int | None, column: Sequence[int | None]) -> str:
    """A class from `heat-0` for the last rank of a column to the strongest for the first."""
    if rank is None:
        return ""
    last = max(other for other in column if other is not None)
    return f"heat-{HEAT_LEVELS if last == 1 else round(HEAT_LEVELS * (last - rank) / (last - 1))}"


def _agreement(board: Ranking, about: dict[str, str]) -> Table | None:
    """Each estimator's agreement with the others; estimators without any are left out."""
    if len(board.estimators) < 2:
        return None
    table = board.estimator_agreement().dropna(how="all").dropna(how="all", axis="columns")
    names = [str(name) for name in table.index]
    if len(names) < 2:
        return None

    def cell(value: float) -> Cell:
        if value != value:
            return Cell(UNKNOWN)
        return Cell(f"{100 * value:.0f}", tone=f"{'heat' if value >= 0 else 'cold'}-{round(HEAT_LEVELS * abs(value))}")

    columns = [Column("estimator", [Cell(name, about=about.get(name, "")) for name in names], numeric=False)]
    for name, values in zip(names, table.to_numpy().T.tolist(), strict=True):
        columns.append(Column(name, [cell(value) for value in values], about=about.get(name, "")))
    return Table("Agreement of the estimators", columns, style="heat")
