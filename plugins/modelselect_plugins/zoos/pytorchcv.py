"""The `pytorchcv` zoo: the classifiers of imgclsmob, such as `pytorchcv:resnext14_16x4d`.

The library (`pip install pytorchcv`) brings a table of its pre-trained networks, which is read without importing it.
Weights are on the releases of https://github.com/osmr/imgclsmob; only tensors are unpickled.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.error import URLError

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.inspection import reader_for
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing, example_batch
from modelselect.errors import CandidateError, ExpressionError
from modelselect.store.files import replacing
from modelselect.utils.paths import expanded
from modelselect_plugins.zoos._support import (
    is_glob,
    is_unsafe_pickle,
    matching,
    one_line,
    unknown_name,
    unsafe_pickle,
    without_values,
)

if TYPE_CHECKING:
    import torch

_LIBRARY = "pytorchcv"
_TABLE = Path("models", "common", "model_metainfos.csv")
_RELEASES = "https://github.com/osmr/imgclsmob/releases/download"

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SMALL = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
"""Mean and deviation of the inputs of networks for CIFAR and SVHN."""

_CLASSES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {"cifar100": (100, "CIFAR-100"), "cifar10": (10, "CIFAR-10"), "svhn": (10, "SVHN"), "cub": (200, "CUB-200-2011")}
)
"""By the end of a network's name, classes and data of pre-training; all others were trained on ImageNet-1k."""

_KINDS = ("in1k", "cf", "cub")
"""Classification, in the column of the table that says what a network was tested on."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A pre-trained network: number of parameters, name of the file of weights, its SHA-1, release, input."""

    parameters: int
    file: str
    digest: str
    release: str
    side: int
    scale: float


class PytorchcvZoo(Zoo):
    """The pre-trained classifiers of pytorchcv. The revision is the start of the SHA-1 of the file of weights."""

    name = "pytorchcv"

    def search(self, pattern: str) -> Iterable[Candidate]:
        known = _networks()
        if is_glob(pattern):
            return [_candidate(name, known[name]) for name in matching(pattern, known)]
        name, _, revision = pattern.partition("@")
        if name not in known:
            raise unknown_name(self.name, name, known)
        candidate = _candidate(name, known[name])
        if revision and revision != candidate.revision:
            raise ExpressionError(
                f"pytorchcv's weights of {name!r} have revision {candidate.revision} here, not {revision}. Use "
                f"'{candidate.id}', or install the version of pytorchcv with the other revision."
            )
        return [candidate]

    def is_here(self, candidate: Candidate) -> bool:
        known = _networks().get(candidate.name)
        return known is not None and (_folder() / known.file).is_file()

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        known = _networks().get(candidate.name)
        if known is None:
            raise CandidateError(f"this version of pytorchcv has no weights of {candidate.name!r}; search again")
        module = _built(candidate.name)
        state, needed = _state(known), module.state_dict()
        try:
            module.load_state_dict({name: tensor for name, tensor in state.items() if name in needed})
        except RuntimeError as error:
            raise CandidateError(f"the weights do not fit the architecture ({one_line(error)})") from error
        module = module.float().eval()
        preprocessing = _preprocessing(candidate.name, known)
        return Backbone(
            candidate=candidate,
            module=module,
            preprocessing=preprocessing,
            read=reader_for(module, example_batch(preprocessing)),
            weights_key=weights_digest(module, candidate.name),
        )

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        with without_values():
            return _built(candidate.name).eval()

    def availability(self) -> str | None:
        if _package() is None:
            return f"pytorchcv is not installed; install it with: pip install 'modelselect-automl[{_LIBRARY}]'"
        return None


def _package() -> Path | None:
    """The folder of the library; None if it is not installed."""
    found = importlib.util.find_spec(_LIBRARY)
    return None if found is None or found.origin is None else Path(found.origin).parent


def _networks() -> Mapping[str, _Known]:
    """The pre-trained classifiers by name, in the library's order.

    Raises:
        ExpressionError: the library is not installed, or is of a version without the table.
    """
    package = _package()
    if package is None:
        raise ExpressionError(
            f"the zoo {_LIBRARY!r} cannot be used here: pytorchcv is not installed; install it with: pip install "
            f"'modelselect-automl[{_LIBRARY}]'"
        )
    try:
        return _read(package / _TABLE)
    except (OSError, KeyError, ValueError) as error:
        raise ExpressionError(
            f"the zoo {_LIBRARY!r} cannot be used here: its table of networks cannot be read ({one_line(error)}); "
            "install another version with: pip install --upgrade pytorchcv"
        ) from error


@cache
def _read(table: Path) -> Mapping[str, _Known]:
    found = {}
    with io.StringIO(table.read_text(encoding="utf-8")) as file:
        for row in csv.DictReader(file):
            if row["test_dataset"] in _KINDS and row["checksum"] != "NA":
                name = row["model_name"]
                small = row["test_dataset"] == "cf"
                side = 32 if small else 224 if row["img_size"] == "NA" else int(row["img_size"])
                scale = 1.0 if small else 0.875 if row["img_scale"] == "NA" else float(row["img_scale"])
                file_name = f"{name}-{row['error_value']}-{row['checksum'][:8]}.pth"
                found[name] = _Known(
                    int(row["net_weights"]), file_name, row["checksum"], row["repo_release_tag"], side, scale
                )
    return MappingProxyType(found)


def _candidate(name: str, known: _Known) -> Candidate:
    classes, data = _source(name)
    facts = {
        "architecture": name,
        "family": name.split("_")[0].rstrip("0123456789"),
        "modality": "image",
        "parameters": known.parameters,
        "input_size": (3, known.side, known.side),
        "source_dataset": data,
        "source_classes": classes,
        "license": "mit",
        "url": "https://github.com/osmr/imgclsmob",
        "remote_code": False,
    }
    return Candidate("pytorchcv", name, known.digest[:8], facts)


def _source(name: str) -> tuple[int, str]:
    return next((known for end, known in _CLASSES.items() if name.endswith(f"_{end}")), (1000, "ImageNet-1k"))


def _preprocessing(name: str, known: _Known) -> ImagePreprocessing:
    mean, std = _SMALL if known.side == 32 else _IMAGENET
    return ImagePreprocessing(
        size=(known.side, known.side),
        resize=math.ceil(known.side / known.scale),
        interpolation="bilinear",
        mean=mean,
        std=std,
    )


def _built(name: str) -> torch.nn.Module:
    """The network without pre-trained weights.

    Raises:
        CandidateError: the library has no such network.
    """
    provider = importlib.import_module("pytorchcv.model_provider")
    try:
        module: torch.nn.Module = provider.get_model(name, pretrained=False)
    except ValueError as error:
        raise CandidateError(f"pytorchcv cannot build {name!r} ({one_line(error)})") from error
    return module


def _folder() -> Path:
    """Where the library keeps files of weights."""
    return expanded("~/.torch/models")


def _state(known: _Known) -> dict[str, torch.Tensor]:
    """The weights, from the library's folder or the network; only tensors are unpickled."""
    import torch

    path = _folder() / known.file
    if not path.is_file():
        _download(known, path)
    if hashlib.sha1(path.read_bytes()).hexdigest() != known.digest:
        raise CandidateError(f"the file {path} is damaged or of another version; delete it and run again")
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = unsafe_pickle(path.name) if is_unsafe_pickle(error) else f"{path} cannot be read ({one_line(error)})"
        raise CandidateError(reason) from error
    return state


def _download(known: _Known, path: Path) -> None:
    """The file of weights, out of its archive among the releases. Nothing else of the archive is written."""
    import torch

    url = f"{_RELEASES}/{known.release}/{known.file}.zip"
    archive = path.with_name(f"{path.name}.zip")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(archive), progress=False)
        with zipfile.ZipFile(archive) as content:
            weights = content.read(known.file)
        with replacing(path) as partial:  # a file that is cut off would count as the weights
            partial.write_bytes(weights)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CandidateError(
            f"the weights are not in {path.parent} and cannot be downloaded ({one_line(error)}). On a machine with a "
            f"network, download {url}, then unpack it into {path.parent}"
        ) from error
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise CandidateError(f"the archive {url} cannot be read ({one_line(error)})") from error
    finally:
        archive.unlink(missing_ok=True)


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [PytorchcvZoo()]
