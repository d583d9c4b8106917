"""How many parameters timm's pre-trained models have, from a table: building 1,800 models to list them takes minutes.

`python tools/timm_parameters.py` writes the table anew from the installed timm.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("parameters.json")


def parameters(name: str) -> int | None:
    """Of `architecture.tag`; None where the table does not know it, such as in a later timm.

    >>> parameters("resnet18.a1_in1k")
    11689512
    """
    return _table().get(name)


@cache
def _table() -> dict[str, int]:
    architectures: dict[str, dict[str, int]] = json.loads(TABLE.read_bytes())["parameters"]
    return {
        f"{architecture}.{tag}" if tag else architecture: count
        for architecture, tags in architectures.items()
        for tag, count in tags.items()
    }
