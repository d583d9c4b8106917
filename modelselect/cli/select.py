"""The command `select`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import VerboseFlag, meant, with_settings
from modelselect.cli.streams import answering, errors_are_shown_with_it, say_json
from modelselect.cli.terminal import agreed, check_writable, complain, console, note, print_table
from modelselect.evaluation.keywords import Keywords
from modelselect.evaluation.settings import RECIPE_PARTS
from modelselect.utils.text import counted, in_lines, printable

if TYPE_CHECKING:
    from modelselect.cli.winner import Destination
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.selection.plan import Plan

NAMED_COLUMNS = 10
"""With more columns than this, a table of estimators by estimators has numbers as headings."""


@with_settings(Keywords)
def select(
    dataset: Annotated[
        str, typer.Argument(help="A folder of class folders or of save_to_disk(), or the id of a dataset on the Hub.")
    ],
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            help="'resnet18.a1_in1k', 'timm:resnet18*', 'dir:models/*', ...; without any, they are chosen for you.",
            show_default=False,
        ),
    ] = None,
    further: Annotated[
        list[str] | None, typer.Option("--candidates", "-c", help="The same as an option.", show_default=False)
    ] = None,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Neither use a transfer history nor add to one.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, even if the candidates exceed --max-download or --max-time.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the run would download and compute, and stop.")
    ] = False,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Write the leaderboard to this file; '-' prints it.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Also write the answer as a web page. Without --json, the leaderboard is written next to it.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Fine-tune, and save the winner in this folder, for `modelselect predict`. Without --top-k, the first "
            "candidate is fine-tuned, and under a budget up to 3.",
            show_default=False,
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            help="Fine-tune as for --save, and push the winner to this model repository on the Hub: owner/name. A new "
            "repository is private.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: make a new repository public.")] = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Show small pictures of the dataset on the page of --report.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Also print how similarly the estimators rank.")
    ] = False,
    verbose: VerboseFlag = False,
    **options: Any,
) -> None:
    """Rank candidates for a dataset; fine-tune the top k. Without candidates, choose them."""
    from modelselect.cli.winner import Destination
    from modelselect.errors import InvalidInputError, NothingRankedError
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.selection import funnel, planning

    if agreement and json_path == Path("-"):
        raise InvalidInputError(
            "--agreement prints a table, and '--json -' prints JSON; leave out one, or give a file: --json FILE"
        )
    if thumbnails and report is None:
        raise InvalidInputError("--thumbnails applies to a page; add --report PAGE.html, or leave out --thumbnails")
    check_writable(json_path)
    plan_path = json_path
    if report is not None:
        from modelselect.report.page import check_drawable

        check_drawable()
        check_writable(report, "--report")
        if report.suffix not in (".html", ".htm"):
            raise InvalidInputError(f"--report is {str(report)!r}; expected a file name that ends in .html")
        if json_path is None:
            json_path = report.with_suffix(".json")
            check_writable(json_path, "--report: the leaderboard next to the page,")
    page = None if report is None else Page(report, dataset if thumbnails else None)
    destination = Destination(save, push, public, bool(options.get("trust_remote_code")))
    destination.check(options)
    settings = destination.settings(meant(options, Keywords))
    if no_history:
        settings["history"] = False
    for name in ("verify", *RECIPE_PARTS):
        if name in settings and not (settings.get("top_k") or settings.get("tune")):
            raise InvalidInputError(
                f"--{name} applies to fine-tuning, but no candidate is fine-tuned; add --top-k 3 (or more), --tune 8 "
                f"or --save FOLDER, or leave out --{name}"
            )
    if "confidence" in settings and "budget" not in settings:
        raise InvalidInputError(
            "--confidence applies to a budget; add --budget 20m (or another one), or leave out --confidence"
        )
    settings["confirm"] = lambda question: yes or agreed(question)
    named = [*(candidates or ()), *(further or ())] or None
    if dry_run:
        plan = planning.plan(dataset, named, **settings)
        _show_plan(plan, plan_path, settings)
        return
    try:
        board = funnel.select(dataset, named, **settings)
    except NothingRankedError as error:
        if isinstance(error.leaderboard, Leaderboard):
            _finish(error.leaderboard, settings, json_path, page)
        raise
    _finish(board, settings, json_path, page, destination, agreement=agreement)


def _print_agreement(board: Leaderboard) -> None:
    """Prints how similarly the estimators rank, without those that ranked nothing. Many columns get numbers."""
    table = board.estimator_agreement().dropna(how="all").dropna(how="all", axis="columns")
    if len(table) <= NAMED_COLUMNS:
        columns, names = list(table.columns), list(table.index)
    else:
        columns = [str(number) for number in range(1, len(table) + 1)]
        names = [f"{number} {name}" for number, name in zip(columns, table.index, strict=True)]
    cells = [["–" if value != value else f"{100 * value:.0f}" for value in row] for row in table.to_numpy().tolist()]
    print_table(["weighted Kendall x 100", *columns], [[name, *row] for name, row in zip(names, cells, strict=True)])


@dataclass(frozen=True)
class Page:
    """The web page that `--report` asks for.

    Attributes:
        path: the file.
        thumbnails: the dataset to show small pictures of, if any.
    """

    path: Path
    thumbnails: str | None


def _finish(
    board: Leaderboard,
    settings: Mapping[str, Any],
    json_path: Path | None,
    page: Page | None,
    kept: Destination | None = None,
    *,
    agreement: bool = False,
) -> None:
    """Writes the files, and then prints the answer: the terminal may fail. What fails is said, and costs nothing else.

    Raises:
        ModelSelectError: what failed last; of what failed before, there is a message.
    """
    from modelselect.errors import ModelSelectError

    said: list[str] = []
    failed: list[ModelSelectError] = []
    printed = json_path == Path("-")

    def save() -> None:
        if json_path is not None and not printed:
            board.save(json_path)
            said.append(f"leaderboard written to {json_path}")

    def keep() -> None:
        if kept is not None:
            said.extend(kept.keep(board))

    def draw() -> None:
        if page is not None:
            winner = None if kept is None else kept.saved
            board.report(page.path, board=None if printed else json_path, winner=winner, thumbnails=page.thumbnails)
            said.append(f"report written to {page.path}")

    def show() -> None:
        _print_board(board, settings, said, kept, as_json=printed, agreement=agreement)

    def go_on(step: Callable[[], None]) -> None:
        try:
            step()
        except ModelSelectError as error:
            failed.append(error)

    with contextlib.ExitStack() as ahead:  # the last one goes first, and each is called even if another is interrupted
        for step in (show, draw, keep, save):
            ahead.callback(go_on, step)
    for error in failed[:-1]:
        complain(str(error))
    if failed:
        raise failed[-1]


def _print_board(
    board: Leaderboard,
    settings: Mapping[str, Any],
    said: Sequence[str],
    kept: Destination | None,
    *,
    as_json: bool,
    agreement: bool,
) -> None:
    """Prints the table, what was written, and the answer: these are the last lines on the terminal."""
    from modelselect.ranking.notes import REMARKS, SAID, remarks_of
    from modelselect.ranking.table import rich_table
    from modelselect.report.answer import NOTHING_KEPT, closing_lines
    from modelselect.report.names import display_names, ranked_by

    said_before = SAID if settings.get("progress", True) else ()
    unsaid = [part for part in REMARKS if part not in said_before]
    if as_json:
        for remark in remarks_of(board, unsaid):
            typer.echo(remark, err=True)
        say_json(board.to_json())
    else:
        with answering():
            remarks = unsaid if errors_are_shown_with_it() else REMARKS
            table = rich_table(board, console().width, display_names(board), ranked_by(board), remarks)
            console().print(table)
        if reused := board.provenance.get("from_store"):
            note(f"{reused} of {counted(len(board.rows), 'candidate')} came from the store", settings)
        if agreement:
            _print_agreement(board)
    for line in said:
        note(line, settings)
    if not as_json:
        lines = closing_lines(board, NOTHING_KEPT if kept is None else kept.kept)
        with answering():
            typer.echo("\n".join(["", *in_lines(lines, console().width)]))


def _show_plan(plan: Plan, json_path: Path | None, settings: Mapping[str, Any]) -> None:
    from modelselect.store.files import write_text

    if json_path == Path("-"):
        for remark in plan.remarks:
            typer.echo(printable(remark), err=True)
        say_json(plan.to_json())
        return
    if json_path is not None:
        write_text(json_path, plan.to_json())
        note(f"plan written to {json_path}", settings)
    with answering():
        console().print(plan)
