"""The shipped protocols: the experiments of five documents on transferability, from the TOML files of this folder.

The tables next to them hold published facts only: accuracies after fine-tuning, and figures of agreement. Each file
names the source, the commit and the licence that the source states.
"""

from __future__ import annotations

from pathlib import Path

from modelselect import hookimpl
from modelselect.protocols import Protocol, read_protocols, read_truths

DOCUMENTS = ("ncti", "blog", "itm", "persistence", "fennec")
"""The files, in the order in which `modelselect reproduce list` shows them."""


@hookimpl
def modelselect_register_protocols() -> list[Protocol]:
    folder = Path(__file__).parent
    truths = read_truths(folder / "truth.toml")
    return [protocol for name in DOCUMENTS for protocol in read_protocols(folder / f"{name}.toml", truths)]
