"""The command `new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from modelselect.cli.streams import say


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="estimator, zoo, task, extractor, executor, encoder, pool, protocol, section or command.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as my_estimator.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option(help="Where the package goes.", show_default="modelselect-NAME")
    ] = None,
    license: Annotated[str, typer.Option(help="MIT, BSD-3-Clause or Apache-2.0.")] = "MIT",
    author: Annotated[str, typer.Option(help="For the metadata and the licence.")] = "The authors",
) -> None:
    """Start a package with a plugin: module, tests, metadata and a workflow."""
    from modelselect.template.writing import write

    place = folder or Path(f"modelselect-{name.replace('_', '-')}")
    written = write(kind, name, place, license=license, author=author)
    for path in written:
        say(place / path)
    typer.echo(f"Next: cd {shlex.quote(str(place))} && pip install -e '.[dev]' && pytest", err=True)
