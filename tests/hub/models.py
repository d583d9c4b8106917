"""Tiny models of real architectures, as their libraries write them: the files of a repository, by path."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

SIDE = 32


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@cache
def timm_files(architecture: str = "test_vit", seed: int = 0, classes: int = 12) -> dict[str, bytes]:
    """As `timm.models.save_for_hf` writes them; the image size is small."""
    import timm
    import torch

    torch.manual_seed(seed)
    module = timm.create_model(architecture, num_classes=classes).eval()
    module.pretrained_cfg.update(num_classes=classes, tag="made_here")
    with tempfile.TemporaryDirectory() as folder:
        timm.models.save_for_hf(module, folder, safe_serialization=True)
        return files_of(Path(folder))


@cache
def image_files(kind: str, seed: int = 0) -> dict[str, bytes]:
    """As `save_pretrained` writes a model of `vit`, `swin`, `convnext`, `dinov2`, `resnet`, `beit` or `clip`."""
    import torch
    import transformers as t

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        _IMAGE_MODELS[kind](t).eval().save_pretrained(folder)
        if kind == "clip":
            processor = t.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
        else:
            processor = t.ViTImageProcessor(size={"height": SIDE, "width": SIDE})
        processor.save_pretrained(folder)
        return files_of(Path(folder))


@cache
def text_files(kind: str = "bert", seed: int = 0) -> dict[str, bytes]:
    """As `save_pretrained` writes a `bert` or `distilbert` encoder with a tokenizer of common English words."""
    import torch
    import transformers as t

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "is", "it", "good", "bad"]
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocab.txt")
        vocabulary.write_text("\n".join([*words, *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), *"abcdefghij"]))
        tokenizer = t.BertTokenizer(str(vocabulary))
        tokenizer.save_pretrained(folder)
        size = {"vocab_size": len(tokenizer)}
        if kind == "bert":
            small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
            module: Any = t.BertModel(t.BertConfig(**small, **size))
        else:
            module = t.DistilBertModel(t.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, **size))
        module.eval().save_pretrained(folder)
        return files_of(Path(folder))


def pickled(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same model with its weights as torch pickles them."""
    import torch
    from safetensors.torch import load

    buffer = io.BytesIO()
    torch.save(load(files["model.safetensors"]), buffer)
    return {k: v for k, v in files.items() if k != "model.safetensors"} | {"pytorch_model.bin": buffer.getvalue()}


def sharded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same model with its weights in two files and an index."""
    from safetensors.torch import load, save

    state = load(files["model.safetensors"])
    names = sorted(state)
    halves = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    shards = {file: save({n: state[n] for n in part}, {"format": "pt"}) for file, part in halves.items()}
    index = {"metadata": {}, "weight_map": {n: file for file, part in halves.items() for n in part}}
    rest = {k: v for k, v in files.items() if k != "model.safetensors"}
    return {**rest, **shards, "model.safetensors.index.json": json.dumps(index).encode()}


def _clip(t: Any) -> Any:
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
    return t.CLIPModel(t.CLIPConfig(vision_config={**tower, "image_size": SIDE, "patch_size": 8}, text_config=text))


_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_IMAGE = {"image_size": SIDE, "patch_size": 8}
_IMAGE_MODELS: dict[str, Callable[[Any], Any]] = {
    "vit": lambda t: t.ViTForImageClassification(t.ViTConfig(**_VIT, **_IMAGE, num_labels=7)),
    "swin": lambda t: t.SwinForImageClassification(
        t.SwinConfig(image_size=SIDE, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    ),
    "convnext": lambda t: t.ConvNextForImageClassification(
        t.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], num_labels=5)
    ),
    "dinov2": lambda t: t.Dinov2Model(
        t.Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, **_IMAGE)
    ),
    "resnet": lambda t: t.ResNetForImageClassification(
        t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=6)
    ),
    "beit": lambda t: t.BeitForImageClassification(t.BeitConfig(**_VIT, **_IMAGE, num_labels=4)),
    "clip": _clip,
}
IMAGE_KINDS = tuple(_IMAGE_MODELS)
