"""Tiny image models and models of two towers with random weights, as transformers 5 writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.plugins.zoos.text_models import SPECIAL, WORDS, tokenizer

SIDE = 32
_TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
VISION = {**_TOWER, "image_size": SIDE, "patch_size": 8}
TEXT = {
    **_TOWER,
    "vocab_size": len(SPECIAL) + len(WORDS),
    "max_position_embeddings": 20,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
SQUARE = {"height": SIDE, "width": SIDE}

TOWERS: dict[str, dict[str, Any]] = {
    "CLIP": {"projection_dim": 12},
    "Siglip": {},
    "ChineseCLIP": {"projection_dim": 12},
    "AltCLIP": {"projection_dim": 12},
    "CLIPSeg": {"projection_dim": 12},
    "Blip": {"projection_dim": 12},
    "Align": {},
}
"""Families of a vision tower and a text tower, and the settings of their configurations."""


def towers_folder(folder: Path, family: str, **vision: Any) -> Any:
    """A model of two towers with its processor, whose image processor is only in `processor_config.json`."""
    import transformers

    if family == "Align":
        vision = {"image_size": SIDE, "hidden_dim": 128, "width_coefficient": 0.1, "depth_coefficient": 0.1, **vision}
    text = TEXT | {"project_dim": 12} if family == "AltCLIP" else TEXT
    settings = {"vision_config": {**({} if family == "Align" else VISION), **vision}, "text_config": text}
    torch.manual_seed(0)
    configuration = getattr(transformers, f"{family}Config")(**settings, **TOWERS[family])
    model = getattr(transformers, f"{family}Model")(configuration).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # not so near zero that all rows are alike
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    processor_folder(folder, family, channels=int(vision.get("num_channels", 3)))
    return model


def processor_folder(folder: Path, family: str = "CLIP", channels: int = 3) -> None:
    """The image processor and the tokenizer of a family, as its processor writes them."""
    import transformers

    values = {"image_mean": [0.5] * channels, "image_std": [0.25] * channels, "size": SQUARE}
    if family in ("CLIP", "ChineseCLIP", "AltCLIP"):
        values["crop_size"] = SQUARE
    processors = {"AltCLIP": "CLIP", "CLIPSeg": "ViT", "Align": "EfficientNet"}
    images = getattr(transformers, f"{processors.get(family, family)}ImageProcessor")(**values)
    getattr(transformers, f"{family}Processor")(image_processor=images, tokenizer=tokenizer()).save_pretrained(folder)


def vit_folder(folder: Path, model: str = "ViTForImageClassification", **settings: Any) -> Any:
    """A tiny ViT without any file that describes images."""
    import transformers

    torch.manual_seed(0)
    module = getattr(transformers, model)(transformers.ViTConfig(**{**VISION, "num_labels": 5, **settings})).eval()
    module.save_pretrained(folder)
    return module
