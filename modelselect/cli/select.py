"""The command `select`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import CacheOption, TrustFlag
from modelselect.cli.terminal import check_writable, console, print_table

if TYPE_CHECKING:
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.selection.plan import Plan

NAMED_COLUMNS = 10
"""With more columns than these, a table of estimators by estimators has numbers above them."""


def select(
    dataset: Annotated[str, typer.Argument(help="A folder of class folders, or the id of a dataset on the Hub.")],
    candidates: Annotated[
        list[str], typer.Option("--candidates", "-c", help="'timm:resnet*', 'dir:models/*', ...; may be repeated.")
    ],
    estimators: Annotated[
        str | None,
        typer.Option("--estimators", "-e", help="Names, comma-separated, or all.", show_default="etran,knn,logme"),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many of the best to fine-tune.")] = 0,
    verify: Annotated[
        str | None, typer.Option(help="What fine-tuning trains: full, head or lora.", show_default="full")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of fine-tuning, at most.", show_default="20")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Of learning rates, for each.", show_default="1: no search")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better one, then stop.", show_default="never")
    ] = None,
    probe_size: Annotated[int, typer.Option(help="Rows that every candidate is shown, at most.")] = 2000,
    source: Annotated[str | None, typer.Option(help="A dataset like what they were pre-trained on.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    executor: Annotated[str, typer.Option(help="local, or process: a crash costs one candidate.")] = "local",
    batch_size: Annotated[
        int | None, typer.Option(help="Rows in a forward pass, to begin with.", show_default="what suits the device")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32; bfloat16 or float16 where the device has it.")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile every candidate first.")] = False,
    resamples: Annotated[int, typer.Option(help="For standard errors: 50 or so; 0 for none.")] = 0,
    cache_dir: CacheOption = None,
    trust_remote_code: TrustFlag = False,
    seed: Annotated[int, typer.Option(help="Of the probe, stochastic estimators and fine-tuning.")] = 0,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the leaderboard there; '-' prints it.", show_default=False)
    ] = None,
    max_corrupt: Annotated[float, typer.Option(help="Share of the rows that may be unreadable.")] = 0.1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would download and compute; do not.")
    ] = False,
    recall: Annotated[
        int | None, typer.Option(help="Keep so many, by the transfer history, before any download.", show_default=False)
    ] = None,
    history_path: Annotated[
        Path | None, typer.Option("--history", help="The transfer history; your own by default.", show_default=False)
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="A candidate to compare others with, for rsa and dds.", show_default=False)
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="Neither go by a history nor add to one.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="'20m', '50000 passes', '3 EUR at 1.20 EUR/h': what it may take.", show_default=False),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="With which the first place is decided, under a budget.", show_default="0.9")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="Measure latency, throughput and memory here.")] = False,
    max_parameters: Annotated[
        int | None, typer.Option(help="Leave out candidates with more parameters.", show_default=False)
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Leave out what takes longer for one row here.", show_default=False)
    ] = None,
    license: Annotated[
        list[str] | None,
        typer.Option("--license", help="Only with such a licence: mit, 'cc-by*'; may be repeated.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write the answer as a web page.", show_default=False)
    ] = None,
    agreement: Annotated[bool, typer.Option("--agreement", help="Also print how alike the estimators rank.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Rank candidates for a dataset; fine-tune the top k."""
    import modelselect as ms
    from modelselect.budget.budget import DEFAULT_CONFIDENCE
    from modelselect.errors import InvalidInputError, NothingRankedError

    if agreement and json_path == Path("-"):
        raise InvalidInputError("--agreement prints a table and '--json -' JSON; give one of them, or --json a file")
    check_writable(json_path)
    if report is not None:
        from modelselect.report.page import check_drawable

        check_drawable()
        check_writable(report, "--report")
        if report.suffix not in (".html", ".htm"):
            raise InvalidInputError(f"--report {str(report)!r}: it is a web page; expected a name that ends in .html")
    split = [] if estimators is None else [name.strip() for name in estimators.split(",") if name.strip()]
    names = None if estimators is None else split[0] if len(split) == 1 else split
    settings: dict[str, Any] = {
        "estimators": names,
        "probe_size": probe_size,
        "source": source,
        "device": device,
        "cache_dir": cache_dir,
        "trust_remote_code": trust_remote_code,
        "seed": seed,
        "precision": precision,
        "compile": compile,
        "max_corrupt": max_corrupt,
        "top_k": top_k,
        "verify": "full" if verify is None else verify,
        "recall": recall,
        "history": False if no_history else history_path,
        "proxy": proxy,
        "budget": budget,
        "max_parameters": max_parameters,
        "license": license or None,
    }
    recipe: dict[str, Any] = {"epochs": epochs, "trials": trials, "patience": patience}
    for name, value in ({"verify": verify} | recipe).items():
        if value is not None and not top_k:
            raise InvalidInputError(
                f"--{name} says how to fine-tune, and nothing would be: add --top-k 3, say, or leave it out"
            )
    if confidence is not None and budget is None:
        raise InvalidInputError("--confidence says when a budget may end early: add --budget 20m, or leave it out")
    fine_tuning = ms.FineTuning(**{name: value for name, value in recipe.items() if value is not None})
    if dry_run:
        with contextlib.redirect_stdout(sys.stderr):
            plan = ms.plan(dataset, candidates, fine_tuning=fine_tuning, **settings)
        _show_plan(plan, json_path)
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a candidate prints must not stand in the answer
            board = ms.select(
                dataset,
                candidates,
                fine_tuning=fine_tuning,
                executor=executor,
                batch_size=batch_size,
                resamples=resamples,
                confidence=DEFAULT_CONFIDENCE if confidence is None else confidence,
                costs=costs,
                max_latency_ms=max_latency_ms,
                progress=not quiet,
                **settings,
            )
    except NothingRankedError as error:
        if isinstance(error.leaderboard, ms.Leaderboard):
            _show_board(error.leaderboard, json_path, report)
        raise
    _show_board(board, json_path, report)
    if agreement:
        _print_agreement(board)


def _print_agreement(board: Leaderboard) -> None:
    """How alike the estimators rank, those that ranked nothing left out; columns are numbered where they are many."""
    table = board.estimator_agreement().dropna(how="all").dropna(how="all", axis="columns")
    if len(table) <= NAMED_COLUMNS:
        columns, names = list(table.columns), list(table.index)
    else:
        columns = [str(number) for number in range(1, len(table) + 1)]
        names = [f"{number} {name}" for number, name in zip(columns, table.index, strict=True)]
    cells = [["–" if value != value else f"{100 * value:.0f}" for value in row] for row in table.to_numpy().tolist()]
    print_table(["weighted Kendall x 100", *columns], [[name, *row] for name, row in zip(names, cells, strict=True)])


def _show_board(board: Leaderboard, json_path: Path | None, report: Path | None = None) -> None:
    for line in _what_was_left_out(board):
        typer.echo(line, err=True)
    if json_path == Path("-"):
        typer.echo(board.to_json(), nl=False)
    else:
        console().print(board)
        if reused := board.provenance.get("from_store"):
            typer.echo(f"{reused} of {len(board.rows)} candidates came from the store", err=True)
        if json_path is not None:
            board.save(json_path)
            typer.echo(f"leaderboard written to {json_path}", err=True)
    if report is not None:  # last: a page that cannot be drawn costs nothing else
        board.report(report)
        typer.echo(f"report written to {report}", err=True)


def _show_plan(plan: Plan, json_path: Path | None) -> None:
    if json_path == Path("-"):
        typer.echo(plan.to_json(), nl=False)
        return
    console().print(plan)
    if json_path is not None:
        json_path.write_text(plan.to_json(), encoding="utf-8")
        typer.echo(f"plan written to {json_path}", err=True)


def _what_was_left_out(board: Leaderboard) -> list[str]:
    """What of the dataset was not used: a ranking on the rest must not pass for one on all."""
    from modelselect.utils.text import printable

    dataset = board.provenance.get("dataset", {})
    lines = []
    if skipped := dataset.get("skipped"):
        some = "; ".join(printable(f"{name} ({reason})") for name, reason in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        lines.append(f"{len(skipped)} files or rows could not be read and were left out: {some}{more}")
    absent = [*dataset.get("classes_without_images", []), *dataset.get("classes_without_rows", [])]
    if absent:
        lines.append(f"classes without a row that can be read: {', '.join(map(printable, absent))}")
    return lines
