"""The `timm` zoo: every architecture and pre-trained tag of timm, such as `timm:resnet18.a1_in1k`."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.metadata import source_classes
from modelselect.candidates.modules import weights_digest
from modelselect.errors import CandidateError
from modelselect_plugins.zoos import _export
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos._support import is_glob, missing_library, one_line, required, sound
from modelselect_plugins.zoos._timm.models import source_dataset, timm_backbone, timm_skeleton
from modelselect_plugins.zoos._timm.parameters import parameters
from modelselect_plugins.zoos._timm.registry import Configuration, registry

if TYPE_CHECKING:
    import torch

_WEIGHTS = "model.safetensors"
"""The file of weights of a model on the Hub, unless timm says otherwise."""


class TimmZoo(Zoo):
    """timm's registry. An architecture without a tag means its default tag; a glob matches all pre-trained tags."""

    name = "timm"

    def search(self, pattern: str) -> Iterable[Candidate]:
        known = registry()
        names = known.matching(pattern) if is_glob(pattern) else [known.full_name(pattern)]
        return [_candidate(name, known.configurations[name]) for name in names]

    def architectures(self, pattern: str) -> Iterable[Candidate]:
        if not is_glob(pattern):
            return self.search(pattern)
        known = registry()
        return [_candidate(name, known.configurations[name]) for name in fnmatch.filter(known.architectures, pattern)]

    def plain_names(self) -> Mapping[str, str]:
        return {name: name for full in registry().pretrained for name in (full.split(".")[0], full)}

    def is_here(self, candidate: Candidate) -> bool:
        if (timm := sys.modules.get("timm")) is not None:  # which answers for one name at once
            its = timm.models.get_pretrained_cfg(candidate.name)
            return its is not None and _file_here(its.hf_hub_id, its.hf_hub_filename) is not None
        known = registry().configurations.get(candidate.name)
        return known is not None and _file_here(known.hub_id, known.hub_file) is not None

    def is_reachable(self) -> bool:
        return client.is_reachable()

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        timm = required("timm")
        try:
            overlay = _weights(timm.models.get_pretrained_cfg(candidate.name))
            module = timm.create_model(candidate.name, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:
            raise CandidateError(_why_not_loaded(candidate, error)) from error
        return timm_backbone(candidate, module, weights_digest(module, candidate.name))

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        return timm_skeleton(candidate.name)

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        return _export.export(backbone, head, class_names, folder)

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        return _export.bundle(backbone, folder)

    def availability(self) -> str | None:
        return missing_library("timm")


def _candidate(name: str, configuration: Configuration) -> Candidate:
    architecture, _, tag = name.partition(".")
    known = {
        "architecture": architecture,
        "family": configuration.family,
        "modality": "image",
        "parameters": parameters(name),
        "input_size": configuration.input_size,
        "source_dataset": source_dataset(tag),
        "source_classes": source_classes(tag, configuration.classes),
        "license": configuration.license,
        "url": configuration.url,
        "remote_code": False,
    }
    return Candidate("timm", name, metadata=sound(known))


def _weights(configuration: Any) -> dict[str, str]:
    """Makes timm read the file from the Hub's cache; timm itself would first ask the network, with long timeouts.

    Empty if timm has to find the weights itself, because they are not on the Hub or not in safetensors.
    """
    if not configuration.hf_hub_id or configuration.custom_load:
        return {}
    name, file = configuration.hf_hub_id, configuration.hf_hub_filename or _WEIGHTS
    path = _file_here(name, file)
    if path is None:
        found = client.info(name)
        digests = client.digests(found)
        if file not in digests or not file.endswith(".safetensors"):
            return {}
        path = client.download(name, str(found.sha), file, digests[file])
    return {"file": str(path)} if file.endswith(".safetensors") else {}


def _file_here(hub_id: str | None, file: str | None) -> Path | None:
    """The file of weights in the Hub client's cache; None if it is not there."""
    held = None if not hub_id else client.cached(hub_id)
    path = None if held is None else held / (file or _WEIGHTS)
    return path if path is not None and path.is_file() else None


def _why_not_loaded(candidate: Candidate, error: Exception) -> str:
    if client.from_hub(error):
        hub_id = str(candidate.metadata.get("url", candidate.name)).removeprefix("https://huggingface.co/")
        return f"the weights cannot be downloaded: {client.why(error, hub_id)}"
    return f"timm cannot load it ({one_line(error)})"


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [TimmZoo()]
