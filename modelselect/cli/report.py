"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelselect.cli import history
from modelselect.cli.streams import say

PLOTS = ("cost", "scores", "time")
"""Kinds of `Leaderboard.plot` that need nothing but the leaderboard."""


def report(
    source: Annotated[str, typer.Argument(metavar="BOARD", help="A file that select --json wrote, or hub:owner/name.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write: .html, .md, .csv or .tex.", show_default="BOARD.html"),
    ] = None,
    atlas_path: Annotated[
        Path | None, typer.Option("--atlas", help="Draw the map over this atlas.", show_default="your own, if any")
    ] = None,
    script: Annotated[
        str | None,
        typer.Option(
            "--script",
            help="Print a script that fine-tunes the winner with transformers, timm or autogluon.",
            show_default=False,
        ),
    ] = None,
    thumbnails: Annotated[
        str | None,
        typer.Option(
            "--thumbnails",
            metavar="DATASET",
            help="Show small pictures of this dataset, which select was given; none without it: data may be private.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a figure instead, such as figure.png.", show_default=False)
    ] = None,
    plot_kind: Annotated[
        str, typer.Option("--plot-kind", help="What --plot shows: cost (score against parameters), scores or time.")
    ] = "cost",
    push: Annotated[
        str | None,
        typer.Option("--push", help="Push to this dataset repository on the Hub: owner/name.", show_default=False),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository on the Hub private.")] = False,
) -> None:
    """Write a leaderboard as a web page, as Markdown, as a table or as a figure; or push it to the Hub."""
    from modelselect.cli.terminal import check_plot
    from modelselect.errors import InvalidInputError
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.store.files import write_text

    check_plot(plot)
    name = source.removeprefix(history.HUB)
    board = Leaderboard.load(source) if name == source else Leaderboard.from_hub(name)
    if script is not None:
        say(board.script(script), nl=False)
        return
    if plot is not None:
        if plot_kind not in PLOTS:
            raise InvalidInputError(f"--plot-kind is {plot_kind!r}; expected one of {', '.join(PLOTS)}")
        board.plot(kind=plot_kind).savefig(plot, dpi=110)
        typer.echo(f"plot written to {plot}", err=True)
        if output is None and push is None:
            return
    if push is not None:
        typer.echo(f"pushed: {board.push_to_hub(push, private=private or None)}", err=True)
        if output is None:
            return
    stem = Path(source).with_suffix("") if name == source else Path(Path(name).name)
    path = stem.with_name(f"{stem.name}.html") if output is None else output
    tables = {".csv": board.to_csv, ".tex": board.to_latex}
    if path.suffix in (".html", ".md"):
        board.report(path, atlas=atlas_path, board=source if name == source else None, thumbnails=thumbnails)
    elif path.suffix in tables:
        write_text(path, tables[path.suffix]())
    else:
        raise InvalidInputError(f"--output {str(path)!r} ends in {path.suffix!r}; expected .html, .md, .csv or .tex")
    typer.echo(f"written to {path}", err=True)
