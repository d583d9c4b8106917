"""The `torchvision` zoo: all its classification models and weights, such as `torchvision:resnet50.IMAGENET1K_V2`."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError, ExpressionError
from modelselect_plugins.zoos._support import (
    is_glob,
    keep_registry,
    kept_registry,
    matching,
    missing_library,
    one_line,
    required,
    torch_checkpoints,
    unknown_name,
    without_values,
)
from modelselect_plugins.zoos._torchvision import all_weights, build, one, torchvision_backbone, write_folder

if TYPE_CHECKING:
    import torch

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_DENSENET_OLD_KEY = re.compile(r"\.(norm|conv)\.([12])\.")
_MEBIBYTE = 2**20


class TorchvisionZoo(Zoo):
    """torchvision's registry. A model without a tag means its default weights; a glob matches all weights.

    The revision is the hash in the name of torchvision's file of weights.
    """

    name = "torchvision"

    def search(self, pattern: str) -> Iterable[Candidate]:
        known, defaults, _ = _registry()
        if is_glob(pattern):
            return [known[name] for name in matching(pattern, known)]
        name, _, revision = pattern.partition("@")
        model, _, tag = name.partition(".")
        if tag in ("", "DEFAULT"):
            name = defaults.get(model, name)
        if name not in known:
            raise unknown_name(self.name, name, {*known, *(n.split(".")[0] for n in known)})
        candidate = known[name]
        if revision and revision != candidate.revision:
            raise ExpressionError(
                f"torchvision's weights {name!r} have revision {candidate.revision} here, not {revision}. "
                f"Use '{candidate.id}', or install the version of torchvision with the other revision."
            )
        return [candidate]

    def architectures(self, pattern: str) -> Iterable[Candidate]:
        first: dict[str, Candidate] = {}
        for candidate in self.search(pattern):
            model = candidate.name.split(".")[0]
            first.setdefault(model, dataclasses.replace(candidate, name=model, revision=None))
        return first.values()

    def plain_names(self) -> Mapping[str, str]:
        known = _registry().candidates
        return {name: name for full in known for name in (full.split(".")[0], full)}

    def is_here(self, candidate: Candidate) -> bool:
        file = _registry().files.get(candidate.name)
        return file is not None and (torch_checkpoints() / file).is_file()

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        required("torchvision")
        weights = dict(all_weights()).get(candidate.name)
        if weights is None:
            raise CandidateError(f"this version of torchvision has no weights {candidate.name!r}; search again")
        state = _for_inference(_state(weights))
        return torchvision_backbone(candidate, candidate.name.split(".")[0], weights, state)

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:

        required("torchvision")
        architecture = candidate.name.split(".")[0]
        weights = next(w for name, w in all_weights() if candidate.name in (name, name.split(".")[0]))
        try:
            with without_values():
                return build(architecture, weights).eval()
        except NotImplementedError:  # a RegNet computes its widths with tensors, which would need values
            return build(architecture, weights).to("meta").eval()

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        write_folder(backbone, folder)
        return ""

    def availability(self) -> str | None:
        return missing_library("torchvision")


class _Registry(NamedTuple):
    """What torchvision knows: candidates by name, the default weights by model, and the file of weights by name."""

    candidates: Mapping[str, Candidate]
    defaults: Mapping[str, str]
    files: Mapping[str, str]


def _registry() -> _Registry:
    """The registry of torchvision; from the store, if torchvision is not imported: importing it takes seconds."""
    if "torchvision" not in sys.modules and (kept := kept_registry("torchvision", _from_json)) is not None:
        return kept
    required("torchvision")
    weights = dict(all_weights())
    found = {name: _candidate(name, each) for name, each in weights.items()}
    defaults = {n.split(".")[0]: n for n, each in weights.items() if each.name == type(each)["DEFAULT"].name}
    files = {name: _file_name(each) for name, each in weights.items()}
    document = {name: [name, each.revision, dict(each.metadata)] for name, each in found.items()}
    keep_registry("torchvision", {"candidates": document, "defaults": defaults, "files": files})
    return _Registry(found, defaults, files)


def _from_json(document: Mapping[str, Any]) -> _Registry | None:
    """None for a document of an earlier version, which does not name the files."""
    if "files" not in document:
        return None
    candidates = {name: _as_candidate(*known) for name, known in document["candidates"].items()}
    return _Registry(candidates, document["defaults"], document["files"])


def _as_candidate(name: str, revision: str | None, metadata: Mapping[str, Any]) -> Candidate:
    return Candidate("torchvision", name, revision, {**metadata, "input_size": tuple(metadata["input_size"])})


def _candidate(name: str, weights: Any) -> Candidate:
    model = name.split(".")[0]
    meta = weights.meta
    side = one(weights.transforms().crop_size)
    accuracy = meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    known = {
        "architecture": model,
        "family": type(weights).__module__.rsplit(".", 1)[-1],
        "modality": "image",
        "parameters": meta.get("num_params"),
        "input_size": (3, side, side),
        "source_dataset": "Instagram-3.6B -> ImageNet-1k" if "SWAG" in weights.name else "ImageNet-1k",
        "source_classes": len(meta["categories"]),
        "source_accuracy": accuracy,
        "macs": round(meta["_ops"] * 1e9) if "_ops" in meta else None,
        "size_bytes": round(meta["_file_size"] * _MEBIBYTE) if "_file_size" in meta else None,
        "license": meta.get("license"),
        "url": f"https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.{model}.html",
        "remote_code": False,
    }
    return Candidate(
        "torchvision", name, _hash_of(weights.url), {key: value for key, value in known.items() if value is not None}
    )


def _hash_of(url: str) -> str | None:
    """The start of the file's SHA-256, which is part of the file's name."""
    import torch

    found: re.Match[str] | None = torch.hub.HASH_REGEX.search(url.rsplit("/", 1)[-1])
    return found.group(1) if found else None


def _file_name(weights: Any) -> str:
    return str(weights.url).rsplit("/", 1)[-1]


def _state(weights: Any) -> dict[str, torch.Tensor]:
    """The weights, from torch's cache or the network; only tensors are unpickled."""
    import torch

    path = torch_checkpoints() / _file_name(weights)
    try:
        if not path.exists():  # `get_state_dict` would also download, but prints
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), _hash_of(weights.url), progress=False)
        state: dict[str, torch.Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CandidateError(
            f"the weights are not in the local cache and cannot be downloaded ({one_line(error)}). "
            f"On a machine with a network, download {weights.url}, then copy the file to {path.parent}"
        ) from error
    except Exception as error:
        raise CandidateError(
            f"the weights cannot be read ({one_line(error)}). If {path} is damaged, delete it and run again"
        ) from error
    return state


def _for_inference(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Removes the heads that only training uses, and renames DenseNet's old keys. Changes `state` in place."""
    for key in list(state):
        if key.startswith(_AUXILIARY):
            del state[key]
        elif (renamed := _DENSENET_OLD_KEY.sub(r".\1\2.", key)) != key:
            state[renamed] = state.pop(key)
    return state


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [TorchvisionZoo()]
