"""Updates the table of parameter counts of timm's pre-trained models: `python tools/timm_parameters.py`."""

from __future__ import annotations

import json
from typing import Any

import timm

from modelselect_plugins.zoos._timm.models import timm_skeleton
from modelselect_plugins.zoos._timm.parameters import TABLE


def write() -> None:
    """Counts every model on the meta device, once for all tags with the same shapes."""
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
