"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TrustFlag = Annotated[bool, typer.Option("--trust-remote-code", help="Let candidates run code that they bring.")]
CacheOption = Annotated[Path | None, typer.Option("--cache-dir", help="Where evidence is kept.", show_default=False)]
