"""The command `predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelselect.cli.options import JsonFlag, TrustFlag
from modelselect.cli.terminal import print_json, print_table

NOTHING_PREDICTED = 1
"""The exit code if no input could be read."""


def predict(
    model: Annotated[
        str, typer.Argument(help="The folder that select --save wrote, or the repository that select --push made.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Image files, and folders of them. For a model of texts: files with a text in each line; '-' reads "
            "the lines from the standard input.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", help="A text; may be repeated.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Inputs in a forward pass; halved when memory runs out.")] = 32,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Images with more pixels than this are not read.", show_default="twice PIL's bound"),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Of a model of pixels: the folder that gets a mask for each image.", show_default=False),
    ] = None,
    trust_remote_code: TrustFlag = False,
) -> None:
    """Predict classes, numbers, labels, tags or masks of images or texts with a saved winner."""
    from modelselect.errors import InvalidInputError
    from modelselect.probe.rows import TEXT
    from modelselect.utils.target_kinds import PIXEL
    from modelselect.verification.answers import Answers
    from modelselect.verification.model import load
    from modelselect.verification.prediction import COLUMNS

    if not inputs and not text:
        raise InvalidInputError("there is nothing to predict; give image files, folders, or --text 'a text'")
    loaded = load(model, trust_remote_code=trust_remote_code)
    is_text = loaded.signature is not None and loaded.signature.modality == TEXT
    if text and loaded.signature is not None and not is_text:
        raise InvalidInputError(
            f"{model!r} takes {loaded.signature.modality}s, not texts; give files instead of --text"
        )
    if masks is not None and (loaded.signature is None or loaded.signature.unit != PIXEL):
        raise InvalidInputError(f"--masks is for models of pixels, and {model!r} is none; leave it out")
    given: list[Any] = [*(text or []), *_lines(inputs or [])] if is_text else list(inputs or [])
    found = loaded.predict(
        given, device=device, batch_size=batch_size, max_pixels=max_pixels, masks=False if masks is None else masks
    )
    if as_json:
        print_json(found.described())
    elif isinstance(found, Answers):
        print_table(list(found.headings), found.cells())
    else:
        print_table(COLUMNS, found.cells(), optional=1)
    if found.unreadable:
        typer.echo(f"{len(found.unreadable)} of {len(found)} inputs could not be read", err=True)
    if len(found.unreadable) == len(found):
        raise typer.Exit(NOTHING_PREDICTED)


def _lines(names: list[str]) -> list[str]:
    """The lines of text files, without empty ones."""
    from modelselect.errors import InvalidInputError

    found: list[str] = []
    for name in names:
        try:
            content = _standard_input() if name == "-" else Path(name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its content is no text in UTF-8"
            raise InvalidInputError(
                f"cannot read texts from {name!r}: {reason}; expected a file with a text in each line. A text itself "
                "is given with --text"
            ) from error
        found += [line for line in content.splitlines() if line.strip()]
    return found


def _standard_input() -> str:
    return "" if sys.stdin is None else sys.stdin.read()
