"""The command `demo`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from modelselect.cli.options import CacheOption, VerboseFlag
from modelselect.cli.streams import in_front


def demo(
    full: Annotated[bool, typer.Option("--full", help="Fine-tune all 12 to measure the shipped truth again.")] = False,
    json_path: Annotated[Path, typer.Option("--json", help="File for the leaderboard; '-' prints it.")] = Path(
        "demo-board.json"
    ),
    cache_dir: CacheOption = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: VerboseFlag = False,
) -> None:
    """Rank twelve embedded networks, and check the answer."""
    from modelselect.cli.demonstration import run

    with contextlib.nullcontext() if json_path == Path("-") else in_front():
        run(full=full, json_path=json_path, cache_dir=cache_dir, seed=seed, progress=not quiet)
