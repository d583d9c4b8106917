"""Parameter counts of timm's pre-trained models, from a table: building 1,800 models to list them would take minutes.

`python tools/timm_parameters.py` updates the table from the installed timm.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("parameters.json")


def parameters(name: str) -> int | None:
    """The number of parameters of `architecture.tag`; None if the table lacks it, for example for a later timm.

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
