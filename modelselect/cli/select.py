"""The command `select`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import EpochsOption, PatienceOption, TrialsOption, meant, with_settings
from modelselect.cli.terminal import check_writable, console, print_table
from modelselect.evaluation.settings import Keywords
from modelselect.utils.text import printable

if TYPE_CHECKING:
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
        list[str], typer.Option("--candidates", "-c", help="'timm:resnet*', 'dir:models/*', ...; may be repeated.")
    ],
    epochs: EpochsOption = None,
    trials: TrialsOption = None,
    patience: PatienceOption = None,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Neither use a transfer history nor add to one.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the run would download and compute, and stop.")
    ] = False,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Write the leaderboard to this file; '-' prints it.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write the answer as a web page.", show_default=False)
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Show small pictures of the dataset on the page of --report.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Also print how similarly the estimators rank.")
    ] = False,
    **options: Any,
) -> None:
    """Rank candidates for a dataset; fine-tune the top k."""
    from modelselect.errors import InvalidInputError, NothingRankedError
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.selection import funnel, planning
    from modelselect.verification.recipe import FineTuning

    if agreement and json_path == Path("-"):
        raise InvalidInputError(
            "--agreement prints a table, and '--json -' prints JSON; leave out one, or give a file: --json FILE"
        )
    check_writable(json_path)
    if report is not None:
        from modelselect.report.page import check_drawable

        check_drawable()
        check_writable(report, "--report")
        if report.suffix not in (".html", ".htm"):
            raise InvalidInputError(f"--report is {str(report)!r}; expected a file name that ends in .html")
    settings = meant(options, Keywords)
    if no_history:
        settings["history"] = False
    recipe: dict[str, Any] = {"epochs": epochs, "trials": trials, "patience": patience}
    for name, value in ({"verify": settings.get("verify")} | recipe).items():
        if value is not None and not (settings.get("top_k") or settings.get("tune")):
            raise InvalidInputError(
                f"--{name} applies to fine-tuning, but no candidate is fine-tuned; add --top-k 3 (or more) or "
                f"--tune 8, or leave out --{name}"
            )
    if "confidence" in settings and "budget" not in settings:
        raise InvalidInputError(
            "--confidence applies to a budget; add --budget 20m (or another one), or leave out --confidence"
        )
    settings["fine_tuning"] = FineTuning(**{name: value for name, value in recipe.items() if value is not None})
    if dry_run:
        with contextlib.redirect_stdout(sys.stderr):
            plan = planning.plan(dataset, candidates, **settings)
        _show_plan(plan, json_path)
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):  # candidates may print; the answer must hold nothing else
            board = funnel.select(dataset, candidates, **settings)
    except NothingRankedError as error:
        if isinstance(error.leaderboard, Leaderboard):
            _show_board(error.leaderboard, json_path, report, dataset if thumbnails else None)
        raise
    _show_board(board, json_path, report, dataset if thumbnails else None)
    if agreement:
        _print_agreement(board)


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


def _show_board(
    board: Leaderboard, json_path: Path | None, report: Path | None = None, thumbnails: str | None = None
) -> None:
    from modelselect.ranking.notes import remarks_of

    if json_path == Path("-"):
        for remark in remarks_of(board):
            typer.echo(remark, err=True)
        typer.echo(board.to_json(), nl=False)
    else:
        console().print(board)
        if reused := board.provenance.get("from_store"):
            typer.echo(f"{reused} of {len(board.rows)} candidates came from the store", err=True)
        if json_path is not None:
            board.save(json_path)
            typer.echo(f"leaderboard written to {json_path}", err=True)
    if report is not None:  # last: a page that cannot be drawn costs nothing else
        board.report(report, thumbnails=thumbnails)
        typer.echo(f"report written to {report}", err=True)


def _show_plan(plan: Plan, json_path: Path | None) -> None:
    if json_path == Path("-"):
        for remark in plan.remarks:
            typer.echo(printable(remark), err=True)
        typer.echo(plan.to_json(), nl=False)
        return
    console().print(plan)
    if json_path is not None:
        json_path.write_text(plan.to_json(), encoding="utf-8")
        typer.echo(f"plan written to {json_path}", err=True)
