"""Tables in Markdown and LaTeX show every cell as text."""

from __future__ import annotations

import io
import re

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from tests.report.material import evil_board


def test_a_markdown_table_has_the_cells_and_no_markup_of_others() -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    board = ms.Leaderboard(
        (Row(ms.Candidate("shelf", "a|b_*c*`d`[x](http://y)"), rank=1, score=0.5), evil_board().rows[3]), ("logme",)
    )
    text = board.to_markdown()
    assert "<script" not in text
    console = Console(file=io.StringIO(), width=300, color_system=None)
    console.print(Markdown(text))
    rendered = console.file.getvalue()  # type: ignore[attr-defined]
    assert "shelf:a|b_*c*`d`[x](http://y)" in rendered


def test_a_latex_table_is_escaped_as_pandas_escapes_it() -> None:
    import pandas as pd

    name = r"a_b & 50% $x$ #1 {z} ~ ^ \input"
    lines = ms.Leaderboard((Row(ms.Candidate("shelf", name), rank=1, score=0.5),), ("logme",)).to_latex().splitlines()
    reference = pd.DataFrame({"x": [f"shelf:{name}"]}).to_latex(index=False, escape=True).splitlines()[4]
    plain = (
        lines[4].replace(r"\textasciitilde{}", r"\textasciitilde ").replace(r"\textasciicircum{}", r"\textasciicircum ")
    )
    plain = plain.replace(r"\textbackslash{}", r"\textbackslash ")
    assert re.sub(r"\s+", " ", reference.removesuffix(r" \\").replace(r"\space ", "")) in re.sub(r"\s+", " ", plain)
