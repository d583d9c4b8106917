"""Values that stay as they were typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from modelselect.cli.values import as_typed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [[], None, "x", None, None, False]),
        (["a", "b"], [["a", "b"], None, "x", None, None, False]),
        (["--text", "1", "--kept", "y"], [[], "1", "y", None, None, False]),
        (["--count", "3", "--path", "p", "--flag"], [[], None, "x", 3, Path("p"), True]),
    ],
)
def test_a_command_gets_the_values_that_typer_gives(words: list[str], expected: list[Any]) -> None:
    got: list[list[Any]] = []

    def command(
        names: Annotated[list[str] | None, typer.Argument()] = None,
        text: str | None = None,
        kept: str = "x",
        count: int | None = None,
        path: Path | None = None,
        flag: bool = False,
    ) -> None:
        got.append([names or [], text, kept, count, path, flag])

    for change in (lambda given: given, as_typed):
        app = typer.Typer(add_completion=False)
        app.command()(command)
        change(typer.main.get_command(app)).main(words, standalone_mode=False)
    assert got == [expected, expected]


def test_a_value_of_another_type_is_refused_as_typer_does() -> None:
    def command(count: int) -> None: ...

    app = typer.Typer(add_completion=False)
    app.command()(command)
    with pytest.raises(SystemExit) as ended:
        as_typed(typer.main.get_command(app)).main(["three"])
    assert ended.value.code == 2
