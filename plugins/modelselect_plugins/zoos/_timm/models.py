"""How timm builds, loads and describes a model."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate
from modelselect.candidates.backbone import Backbone, Preprocessing
from modelselect.candidates.metadata import source_classes
from modelselect.candidates.preprocessing import ImagePreprocessing, as_preprocessing, image_of
from modelselect.candidates.readers import PreLogits, WholeOutput
from modelselect.errors import CandidateError, did_you_mean
from modelselect_plugins.zoos._support import check_sides, one_line, required, sound, without_values
from modelselect_plugins.zoos._weights import WEIGHTS

if TYPE_CHECKING:
    import torch

DATASETS: Mapping[str, str] = {
    "bamboo": "Bamboo",
    "cc12m": "CC12M",
    "datacomp1b": "DataComp-1B",
    "datacompxl": "DataComp-XL",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DFNDR-2B",
    "ig1b": "Instagram-1B",
    "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "inw21k": "ImageNet-W21k",
    "jft": "JFT-300M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "laiona": "LAION-A",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "merged2b": "Merged-2B",
    "metaclip": "MetaCLIP",
    "metaclip2": "MetaCLIP-2",
    "openai": "WebImageText-400M",
    "sa1b": "SA-1B",
    "sat493m": "SAT-493M",
    "webli": "WebLI",
    "yfcc100m": "YFCC-100M",
    "yfcc15m": "YFCC-15M",
}
"""The datasets behind the parts of timm's tags."""

_OF_PLACES = frozenset({"custom_load", "file", "hf_hub_filename", "hf_hub_id", "source", "state_dict", "url"})
"""Fields of a `pretrained_cfg` that say where weights are: those of a folder are in the folder."""


def timm_backbone(candidate: Candidate, module: torch.nn.Module, weights_key: str) -> Backbone:
    """A model that timm has loaded from anywhere, with the preprocessing of its pre-trained configuration."""
    module = module.float().eval()
    return Backbone(
        candidate=candidate,
        module=module,
        preprocessing=_preprocessing(module),
        read=PreLogits.of(module) if hasattr(module, "forward_head") else WholeOutput(),
        weights_key=weights_key,
    )


def timm_folder(path: Path, candidate: Candidate, weights_key: str) -> Backbone:
    """The model in a folder of timm's `local-dir` form.

    Raises:
        CandidateError: timm does not have the architecture, or cannot load the weights.
    """
    timm = required("timm")
    architecture = json.loads((path / "config.json").read_bytes())["architecture"]
    if not timm.is_model(architecture):
        raise CandidateError(
            f"timm has no architecture {architecture!r}.{did_you_mean(architecture, timm.list_models())}"
        )
    name, arguments = _source(path)
    try:
        module: Any = _with_all_weights(name, arguments)
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        faults = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise CandidateError(
            f"the weights are not of the model that config.json describes ({architecture!r}): {faults[:160]}"
        ) from error
    outputs, trained = module.num_classes, module.pretrained_cfg.get("num_classes")
    if trained is not None and outputs not in (0, trained):  # timm then drops the classifier's weights
        raise CandidateError(
            f"the config.json builds a classifier of {outputs} classes, but the weights are for {trained} classes, so "
            "logits would come from a random layer"
        )
    return timm_backbone(candidate, module, weights_key)


def _with_all_weights(name: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """The model with weights for all layers, whatever the folder's `model_args` say.

    Raises:
        RuntimeError: layers have no weights, as torch says it.
    """
    import torch

    create = required("timm").create_model
    try:
        module: torch.nn.Module = create(name, pretrained=True, pretrained_strict=True, **arguments)
        return module
    except TypeError as error:  # a few builders, such as those of MobileNetV3 and DLA, set it themselves
        if "pretrained_strict" not in str(error):
            raise
    module, again = (create(name, pretrained=True, **arguments) for _ in range(2))
    others = again.state_dict()  # layers without weights are random, so they differ
    random = [key for key, tensor in module.state_dict().items() if not torch.equal(tensor, others[key])]
    if random:
        raise RuntimeError(f"state_dict:\n\tMissing key(s): {', '.join(random)}")
    return module


def folder_skeleton(path: Path) -> torch.nn.Module:
    """The architecture of a folder of timm's `local-dir` form, without weights."""
    name, arguments = _source(path)
    return timm_skeleton(name, **arguments)


def folder_skeleton_key(path: Path) -> str:
    """What `folder_skeleton` depends on: the configuration, without the names of classes."""
    configuration = json.loads((path / "config.json").read_bytes())
    for part in (configuration, configuration.get("pretrained_cfg") or {}):
        for name in ("label_names", "label_descriptions"):
            part.pop(name, None)
    return json.dumps(configuration, sort_keys=True)


def _source(path: Path) -> tuple[str, dict[str, Any]]:
    """What `timm.create_model` takes for a folder: its name, or where timm would refuse a key of it, the contents."""
    configuration = json.loads((path / "config.json").read_bytes())
    pretrained = configuration.get("pretrained_cfg") or configuration
    fields = {field.name for field in dataclasses.fields(required("timm").models.PretrainedCfg)}
    if set(pretrained) <= fields | {"num_features", "labels", "model_args"}:
        return f"local-dir:{path}", {}
    known = {name: value for name, value in pretrained.items() if name in fields and name not in _OF_PLACES}
    known |= {name: configuration[name] for name in ("num_classes", "label_names") if name in configuration}
    known |= {"architecture": configuration["architecture"], "file": str(path / WEIGHTS)}
    pooling = {name: configuration[name] for name in ("global_pool",) if name in configuration}
    given = configuration.get("model_args") or {}
    foreign = sorted(set(given) & set(inspect.signature(required("timm").create_model).parameters))
    if foreign:
        raise CandidateError(
            f"model_args of the config.json has {', '.join(foreign)}, which is for whoever builds the model and could "
            "name other weights. Leave it out"
        )
    return configuration["architecture"], {"pretrained_cfg": known, **pooling, **given}


def configured(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A candidate's metadata from timm's `config.json`; old files have no separate `pretrained_cfg`."""
    pretrained = configuration.get("pretrained_cfg") or configuration
    tag, size = pretrained.get("tag"), pretrained.get("input_size")
    classes = configuration.get("num_classes", pretrained.get("num_classes"))
    known = {
        "architecture": configuration["architecture"],
        "modality": "image",
        "feature_dim": configuration.get("num_features"),
        "input_size": None if size is None else tuple(size),
        "source_dataset": source_dataset(tag),
        "source_classes": None if classes is None else source_classes(tag, classes),
        "license": pretrained.get("license"),
        "remote_code": False,
    }
    return sound(known)


def timm_skeleton(name: str, **arguments: Any) -> torch.nn.Module:
    """The architecture on the meta device. `name` and more are arguments of `timm.create_model`."""
    timm = required("timm")
    try:
        with without_values():
            module: torch.nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:
        raise CandidateError(f"timm cannot build {name!r} without weights ({one_line(error)})") from error
    return module.eval()


def source_dataset(tag: str | None) -> str | None:
    """The training datasets in a timm tag, in order of training; None if the tag names no known dataset.

    >>> source_dataset("augreg_in21k_ft_in1k")
    'ImageNet-21k -> ImageNet-1k'
    """
    found = [DATASETS[part] for part in (tag or "").split("_") if part in DATASETS]
    return " -> ".join(dict.fromkeys(found)) or None


def _preprocessing(module: torch.nn.Module) -> Preprocessing:
    data = required("timm").data
    settings = data.resolve_model_data_config(module)
    check_sides(settings["input_size"])
    channels = settings["input_size"][0]
    if channels not in (1, 3):
        raise CandidateError(
            f"the network takes images of {channels} channels, but rows are shown in 3 (RGB) or 1 (grey)"
        )
    transform = data.create_transform(**settings, is_training=False)
    mode = "L" if channels == 1 else "RGB"
    code_key = "timm:" + json.dumps(settings, sort_keys=True)
    return as_preprocessing(_expressed(settings), lambda image: transform(image_of(image).convert(mode)), code_key)


def _expressed(settings: Mapping[str, Any]) -> ImagePreprocessing | None:
    """The evaluation transform as `ImagePreprocessing`; None if that cannot express it."""
    channels, height, width = settings["input_size"]
    squash = settings["crop_mode"] == "squash"
    centre = settings["crop_mode"] == "center" and height == width
    if not (squash or centre) or {len(settings["mean"]), len(settings["std"])} != {channels} or channels not in (1, 3):
        return None
    resized = math.floor(height / settings["crop_pct"]), math.floor(width / settings["crop_pct"])
    return ImagePreprocessing(
        size=(height, width),
        resize=resized if squash else resized[0],
        interpolation=settings["interpolation"],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        channels=channels,
    )
