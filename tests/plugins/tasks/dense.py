"""Networks of timm for parts of images: in a folder, and fine-tuned, with the weights that were kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.probe.grouped import Wholes
from modelselect.verification import FineTuning, verify
from modelselect.verification.results import Verified


class Tuned(NamedTuple):
    """What fine-tuning found, the kept weights, the network with them, and the held-out images."""

    verified: Verified
    kept: dict[str, np.ndarray]
    model: Any
    held: Wholes


def timm_folder(folder: Path, name: str, **settings: Any) -> Any:
    """A model of timm with random weights, in its own form."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **settings).eval()
    folder.mkdir(parents=True)
    size = list(model.pretrained_cfg["input_size"]) if "img_size" not in settings else [3, *[settings["img_size"]] * 2]
    described = {"input_size": size, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.875, "interpolation": "bicubic"}
    configuration = {"architecture": name, "num_classes": 5, "model_args": settings, "pretrained_cfg": described}
    (folder / "config.json").write_text(json.dumps(configuration))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    return model


def shown(images: list[np.ndarray], size: int, interpolation: str = "bicubic") -> torch.Tensor:
    """All images whole at the size of the input, normalised by 0.5 and 0.5."""
    way = Image.Resampling[interpolation.upper()]
    rows = [np.asarray(Image.fromarray(image).resize((size, size), way)) for image in images]
    return (torch.tensor(np.stack(rows)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def tuned(here: Path, method: str, class_names: list[str]) -> Tuned:
    """ResNet-10-T of random weights, fine-tuned briefly on the images in `data`."""
    timm_folder(here / "model", "resnet10t", in_chans=3)
    backbone = get_host().zoo("directory").load(ms.search("dir:model")[0])
    probe = ms.Probe.of(here / "data", holdout=0.25)
    assert probe.holdout is not None
    held = probe.holdout.wholes
    assert held is not None
    kept: dict[str, np.ndarray] = {}

    def keep(weights: Mapping[str, np.ndarray], known: Mapping[str, Any]) -> None:
        assert list(known["class_names"]) == class_names
        kept.update(weights)

    settings = FineTuning(epochs=2, batch_size=8, head_learning_rate=1e-2)
    verified = verify(backbone, probe.training, probe.holdout, settings, method=method, keep=keep)
    model: Any = backbone.module
    body = {key.removeprefix("body."): torch.tensor(value) for key, value in kept.items() if key.startswith("body.")}
    model.load_state_dict(body or model.state_dict())
    return Tuned(verified, kept, model, held)
