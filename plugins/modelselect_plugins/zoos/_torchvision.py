"""torchvision's classifiers: how they are built, prepared for and read, for the zoos that load them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate
from modelselect.candidates.backbone import Backbone, Preprocessing
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing, as_preprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import one_line, required

if TYPE_CHECKING:
    import torch

KEY = "torchvision"
"""In the `config.json` of a folder that `write_folder` has written: the name of the weights it was made from."""

_ARGUMENTS = {  # what torchvision's own builders set if they get weights; the auxiliary heads are for training
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": False},
}
_HEADS = {"squeezenet1_0": "classifier", "squeezenet1_1": "classifier"}  # others end in a linear layer


def write_folder(backbone: Backbone, folder: Path) -> None:
    """Writes a classifier with all its weights, so that `torchvision_folder` loads it without those of torchvision."""
    from safetensors.torch import save_model

    save_model(backbone.module, str(folder / "model.safetensors"))
    configuration = {KEY: backbone.candidate.name}
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


def torchvision_folder(path: Path, candidate: Candidate, weights_key: str) -> Backbone:
    """The classifier in a folder that `write_folder` has written. Nothing is downloaded.

    Raises:
        CandidateError: torchvision does not have the architecture, or the weights do not fit.
    """
    required("torchvision")
    from safetensors.torch import load_file

    name = json.loads((path / "config.json").read_bytes())[KEY]
    weights = dict(all_weights()).get(name)
    if weights is None:
        raise CandidateError(f"this version of torchvision has no weights {name!r}, which config.json names")
    return torchvision_backbone(
        candidate, name.split(".")[0], weights, load_file(path / "model.safetensors"), weights_key
    )


def torchvision_backbone(
    candidate: Candidate, model: str, weights: Any, state: dict[str, torch.Tensor], weights_key: str | None = None
) -> Backbone:
    """A classifier of torchvision with these values in its layers."""
    module = build(model, weights)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CandidateError(f"the weights do not fit the architecture ({one_line(error)})") from error
    module = module.float().eval()
    return Backbone(
        candidate=candidate,
        module=module,
        preprocessing=_preprocessing(weights),
        read=HeadInput(_HEADS.get(model) or _last_linear(module)),
        weights_key=weights_key or weights_digest(module, candidate.name),
    )


def all_weights() -> Iterator[tuple[str, Any]]:
    """(`model.WEIGHTS`, member of the weights enumeration) for every classifier.

    One of VGG's weights is left out: it is for detection, so it has no classes and its last layers have no values.
    """
    from torchvision import models

    for model in models.list_models(module=models):
        for weights in models.get_model_weights(model):
            if weights.meta["categories"]:
                yield f"{model}.{weights.name}", weights


def build(model: str, weights: Any) -> torch.nn.Module:
    from torchvision import models

    arguments = dict(_ARGUMENTS.get(model, {}))
    if model.startswith("vit_"):  # position embeddings have a fixed size
        arguments["image_size"] = weights.meta["min_size"][0]
    module: torch.nn.Module = models.get_model(
        model, weights=None, num_classes=len(weights.meta["categories"]), **arguments
    )
    return module


def _last_linear(module: torch.nn.Module) -> str:
    import torch

    *_, last = (name for name, submodule in module.named_modules() if isinstance(submodule, torch.nn.Linear))
    return str(last)


def _preprocessing(weights: Any) -> Preprocessing:
    transform = weights.transforms()
    side = one(transform.crop_size)
    expressed = ImagePreprocessing(
        size=(side, side),
        resize=one(transform.resize_size),
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
    return as_preprocessing(expressed, lambda image: transform(image.convert("RGB")), repr(transform))


def one(side: list[int]) -> int:
    """The side of a square, from a preset that gives only one side."""
    (length,) = side
    return length
