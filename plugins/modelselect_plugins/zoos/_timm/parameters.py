"""How many parameters timm's pre-trained models have, from a table: building 1,800 models to list them takes minutes.

`python -m modelselect_plugins.zoos._timm_parameters` writes the table anew from the timm that is installed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("timm_parameters.json")


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


def write() -> None:
    """Counts every model on the meta device, once for all tags that differ in nothing that shapes it."""
    import timm

    from modelselect_plugins.zoos.timm import timm_skeleton

    counted: dict[tuple[object, ...], int] = {}
    table: dict[str, dict[str, int]] = {}
    for name in timm.list_models(pretrained=True):
        architecture, _, tag = name.partition(".")
        configuration: Any = timm.models.get_pretrained_cfg(name)
        shape = (architecture, configuration.num_classes, tuple(configuration.input_size))
        if shape not in counted:
            counted[shape] = sum(parameter.numel() for parameter in timm_skeleton(name).parameters())
        table.setdefault(architecture, {})[tag] = counted[shape]
    rows = ",\n".join(f"{json.dumps(architecture)}:{json.dumps(tags)}" for architecture, tags in table.items())
    TABLE.write_text(f'{{"timm":"{timm.__version__}","parameters":{{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    write()
