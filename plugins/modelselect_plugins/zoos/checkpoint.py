"""The `checkpoint` zoo: weights of known architectures, such as `checkpoint:moco.pth.tar?architecture=resnet50`.

A file of weights alone does not say how to build its network; the architecture is named in the expression. Training
scripts put names before those of the network (`module.encoder_q.`, `backbone.`, ...); the zoo finds them. Only tensors
are unpickled. Networks that published benchmarks use are known by name: `checkpoint:moco-v2`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput, WholeOutput
from modelselect.errors import CandidateError, ExpressionError, did_you_mean
from modelselect.utils.paths import expanded
from modelselect_plugins.zoos._support import (
    first_missing,
    is_glob,
    is_unsafe_pickle,
    matching,
    one_line,
    required,
    split_settings,
    torch_checkpoints,
    unknown_name,
    unsafe_pickle,
    with_settings,
    without_values,
)

if TYPE_CHECKING:
    import torch

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIDE, _RESIZE = 224, 256
_INSIDE = ("state_dict", "model", "model_state_dict", "teacher", "network")
"""Keys under which training scripts keep the weights; the first that holds tensors by name counts."""

_FOLLOWED = (
    ".encoder_q.",
    "encoder_q.",
    ".base_encoder.",
    "base_encoder.",
    "online",
    "teacher",
    "student",
    "backbone.",
)
"""Parts of prefixes, the better first: which copy of a network counts where a file holds two."""

_FACEBOOK = "https://dl.fbaipublicfiles.com"
_DROPBOX = "https://www.dropbox.com/sh/87d24jqsl6ra7t2"
_PARC = (
    "https://gtvault-my.sharepoint.com/:u:/g/personal/jhoffman68_gatech_edu/"
    "EQLLyM-kQsBNqYYWjW-l6NMBSCCuOouP8tStz5vOqutJYg, 'All Trained Models' of https://github.com/dbolya/parc"
)
_PARC_NETWORKS = {  # width of the features, and parameters without the classifier
    "resnet50": (2048, 23_508_032),
    "resnet18": (512, 11_176_512),
    "googlenet": (1024, 5_599_904),
    "alexnet": (4096, 57_003_840),
}
_PARC_SOURCES = {
    "nabird": 555,
    "oxford_pets": 37,
    "cub200": 200,
    "caltech101": 101,
    "stanford_dogs": 120,
    "voc2007": 21,
    "cifar10": 10,
}
_SALESFORCE = "https://storage.googleapis.com/sfr-pcl-data-research/PCL_checkpoint"


@dataclass(frozen=True, slots=True)
class _Known:
    """A network of published benchmarks.

    Attributes:
        url: of the file, which is downloaded.
        place: where the weights are, if they cannot be downloaded as a file that PyTorch reads.
        convert: how they become such a file.
        architecture: of torchvision or timm.
        normalise: whether inputs are normalised with ImageNet's mean and deviation.
        parameters: of the network, without its head if that is left out.
        classes: of the head, if it is kept, so that there are source classes.
        data: what it was trained on.
    """

    url: str = ""
    place: str = ""
    convert: str = ""
    architecture: str = "resnet50"
    normalise: bool = True
    parameters: int = 23_508_032
    classes: int = 0
    data: str = "ImageNet-1k, without labels"


def _of_parc(architecture: str, source: str) -> _Known:
    """A network that the authors of PARC trained."""
    (width, parameters), classes = _PARC_NETWORKS[architecture], _PARC_SOURCES[source]
    return _Known(
        place=_PARC,
        convert=f"download the archive by hand, and take models/{architecture}/{architecture}_{source}.pth out of it",
        architecture=architecture,
        parameters=parameters + (width + 1) * classes,
        classes=classes,
        data=source,
    )


_KNOWN: Mapping[str, _Known] = MappingProxyType(
    {
        "byol": _Known(
            place="https://storage.googleapis.com/deepmind-byol/checkpoints/pretrain_res50x1.pkl",
            convert="it is a pickle of JAX; github.com/linusericsson/ssl-transfer has a script that converts it",
        ),
        "deepcluster-v2": _Known(f"{_FACEBOOK}/deepcluster/deepclusterv2_800ep_pretrain.pth.tar"),
        "infomin": _Known(place=f"{_DROPBOX}/AAAzMTynP3Qc8mIE4XWkgILUa/InfoMin_800.pth", convert="download it by hand"),
        "insdis": _Known(place=f"{_DROPBOX}/AACcsSIt1_Njv7GsmsuzZ6Sta/InsDis.pth", convert="download it by hand"),
        "moco-v1": _Known(f"{_FACEBOOK}/moco/moco_checkpoints/moco_v1_200ep/moco_v1_200ep_pretrain.pth.tar"),
        "moco-v2": _Known(f"{_FACEBOOK}/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar"),
        "moco-v3-vit-b16": _Known(
            f"{_FACEBOOK}/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar",
            architecture="vit_base_patch16_224",
            parameters=85_798_656,
        ),
        "pcl-v1": _Known(f"{_SALESFORCE}/PCL_v1_epoch200.pth.tar"),
        "pcl-v2": _Known(f"{_SALESFORCE}/PCL_v2_epoch200.pth.tar"),
        "pirl": _Known(place=f"{_DROPBOX}/AADN4jKnvTI0U5oT6hTmQZz8a/PIRL.pth", convert="download it by hand"),
        "sela-v2": _Known(f"{_FACEBOOK}/deepcluster/selav2_400ep_pretrain.pth.tar"),
        "simclr-v1": _Known(
            place="https://storage.cloud.google.com/simclr-gcs/checkpoints/ResNet50_1x.zip",
            convert="it is a checkpoint of TensorFlow; github.com/tonylins/simclr-converter converts it",
            normalise=False,
        ),
        "simclr-v2": _Known(
            place="https://console.cloud.google.com/storage/browser/simclr-checkpoints/simclrv2/pretrained/r50_1x_sk0",
            convert="it is a checkpoint of TensorFlow; give its tensors the names of torchvision's resnet50",
            normalise=False,
        ),
        "swav": _Known(f"{_FACEBOOK}/deepcluster/swav_800ep_pretrain.pth.tar"),
        **{
            f"parc-{architecture}-{source}": _of_parc(architecture, source)
            for architecture in _PARC_NETWORKS
            for source in _PARC_SOURCES
        },
    }
)


class CheckpointZoo(Zoo):
    """Files of weights: known self-supervised networks by name, and any file with `?architecture=NAME`.

    The architecture is a name of torchvision, or else of timm. `&prefix=PREFIX` says what stands before the names of
    the network's tensors, where the file holds several networks. Classifiers and projection heads are left out, so
    there are no source classes. The revision of a file is a digest of its content.
    """

    name = "checkpoint"
    aliases = ("ckpt",)

    def search(self, pattern: str) -> Iterable[Candidate]:
        name, settings = split_settings(pattern)
        if is_glob(name) and not settings:
            return [_known_candidate(known) for known in matching(name, _KNOWN)]
        if name in _KNOWN and not settings:
            return [_known_candidate(name)]
        return [_file_candidate(pattern)]

    def plain_names(self) -> Mapping[str, str]:
        return {name: name for name in _KNOWN}

    def is_here(self, candidate: Candidate) -> bool:
        name, settings = split_settings(candidate.name)
        return bool(settings) or _file_of(name).is_file()

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        name, settings = split_settings(candidate.name)
        known = _KNOWN.get(name, _Known(architecture=settings.get("architecture", "")))
        path = expanded(name) if settings else _downloaded(name)
        if settings and candidate.revision is not None and candidate.revision != _digest(path):
            raise CandidateError(f"the file {path} has changed since the candidate was found; search again")
        module = _classifier(known.architecture, known.classes) if known.classes else _headless(known.architecture)
        _load_into(module, _state(path), path, settings.get("prefix"))
        module = module.float().eval()
        return Backbone(
            candidate=candidate,
            module=module,
            preprocessing=_preprocessing(known.normalise),
            read=HeadInput(_last_linear(module)) if known.classes else WholeOutput(),
            weights_key=weights_digest(module, known.architecture),
        )

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        name, settings = split_settings(candidate.name)
        architecture = settings.get("architecture") or _KNOWN[name].architecture
        classes = 0 if settings else _KNOWN[name].classes
        with without_values():
            return (_classifier(architecture, classes) if classes else _headless(architecture)).eval()

    def availability(self) -> str | None:
        return first_missing("torch", "torchvision")


def _known_candidate(name: str) -> Candidate:
    known = _KNOWN[name]
    facts = {
        "architecture": known.architecture,
        "family": "vision_transformer" if known.architecture.startswith("vit") else known.architecture.rstrip("0158"),
        "modality": "image",
        "parameters": known.parameters,
        "input_size": (3, _SIDE, _SIDE),
        "source_dataset": known.data,
        "source_classes": known.classes,
        "url": known.url or known.place,
        "remote_code": False,
    }
    return Candidate("checkpoint", name, None, facts)


def _file_candidate(pattern: str) -> Candidate:
    required("torch")
    name, settings = split_settings(pattern)
    unknown = sorted(settings.keys() - {"architecture", "prefix"})
    if "architecture" not in settings or unknown:
        if expanded(name).is_file():
            raise ExpressionError(
                f"{pattern!r} does not say how to build the network; write {name}?architecture=NAME, where NAME is an "
                "architecture of torchvision or timm, such as resnet50. A prefix may follow: &prefix=module.encoder_q."
            )
        raise unknown_name("checkpoint", name, _KNOWN)
    path = expanded(name)
    if not path.is_file():
        raise ExpressionError(f"there is no file {name!r} here ({Path.cwd()})")
    architecture = settings["architecture"]
    with without_values():
        module = _headless(architecture)
    facts = {
        "architecture": architecture,
        "modality": "image",
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "input_size": (3, _SIDE, _SIDE),
        "source_classes": 0,
        "size_bytes": path.stat().st_size,
        "remote_code": False,
    }
    return Candidate("checkpoint", with_settings(name, settings), _digest(path), facts)


def _headless(architecture: str) -> torch.nn.Module:
    """The network of a name of torchvision, or of timm, without its classifier.

    Raises:
        ExpressionError: neither library has the name.
    """
    import torch
    from torchvision import models

    if architecture in models.list_models(module=models):
        module = _classifier(architecture)
        parent, _, own = _last_linear(module).rpartition(".")
        setattr(module.get_submodule(parent), own, torch.nn.Identity())
        return module
    import timm

    if architecture in timm.list_models(architecture):
        made: torch.nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0)
        return made
    hint = did_you_mean(architecture, models.list_models(module=models))
    raise ExpressionError(f"neither torchvision nor timm has an architecture {architecture!r}.{hint}")


def _classifier(architecture: str, classes: int = 1000) -> torch.nn.Module:
    """The whole network of a name of torchvision."""
    from torchvision import models

    arguments: dict[str, Any] = {"num_classes": classes}
    if architecture in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": False}
    module: torch.nn.Module = models.get_model(architecture, weights=None, **arguments)
    return module


def _last_linear(module: torch.nn.Module) -> str:
    import torch

    *_, last = (name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear))
    return str(last)


def _state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if is_unsafe_pickle(error):
            raise CandidateError(unsafe_pickle(path.name)) from error
        raise CandidateError(f"the file {path} cannot be read ({one_line(error)})") from error
    while isinstance(content, dict):
        tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
        inside = next((content[key] for key in _INSIDE if isinstance(content.get(key), dict)), None)
        if inside is None or tensors:
            return tensors
        content = inside
    raise CandidateError(f"the file {path} holds {type(content).__name__}; expected tensors by name")


def _load_into(module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, prefix: str | None) -> None:
    """Loads the tensors whose names are a prefix and a name of the network.

    Raises:
        CandidateError: the file lacks tensors of the network under every prefix, or under the given one.
    """
    needed = module.state_dict()

    def lacking(before: str) -> list[str]:
        return [
            name
            for name, tensor in needed.items()
            if not name.endswith("num_batches_tracked")
            and (before + name not in state or state[before + name].shape != tensor.shape)
        ]

    first = next(iter(needed))
    found = {name[: -len(first)] for name in state if name.endswith(first)} if prefix is None else {prefix}
    whole = [before for before in found if not lacking(before)]
    if not whole:
        nearest = min(sorted(found), key=lambda before: len(lacking(before)), default="")
        absent = lacking(nearest)
        raise CandidateError(
            f"the file {path.name} does not fit the architecture: it lacks {len(absent)} of {len(needed)} tensors, "
            f"such as {nearest}{absent[0]}. It holds {', '.join(list(state)[:3])}, ..."
        )
    chosen = min(sorted(whole), key=_place)
    module.load_state_dict({name: state.get(chosen + name, tensor) for name, tensor in needed.items()})


def _place(prefix: str) -> int:
    return next((number for number, part in enumerate(_FOLLOWED) if part in prefix), len(_FOLLOWED))


def _preprocessing(normalise: bool) -> ImagePreprocessing:
    return ImagePreprocessing(
        size=(_SIDE, _SIDE),
        resize=_RESIZE,
        interpolation="bilinear",
        mean=_MEAN if normalise else (0.0, 0.0, 0.0),
        std=_STD if normalise else (1.0, 1.0, 1.0),
    )


def _file_of(name: str) -> Path:
    """Where torch keeps the file of a known network, whether it is there or not."""
    known = _KNOWN[name]
    return torch_checkpoints() / (known.url.rsplit("/", 1)[-1] if known.url else f"{name}.pth")


def _downloaded(name: str) -> Path:
    """The file of a known network, from torch's cache or the network."""
    import torch

    if name not in _KNOWN:
        raise unknown_name("checkpoint", name, _KNOWN)
    known, path = _KNOWN[name], _file_of(name)
    if path.is_file():
        return path
    if not known.url:
        raise CandidateError(
            f"the weights have to be made first: {known.convert} ({known.place}). Then put them at {path}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(known.url, str(path), progress=False)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CandidateError(
            f"the weights are not in the local cache and cannot be downloaded ({one_line(error)}). On a machine with a "
            f"network, download {known.url}, then copy the file to {path.parent}"
        ) from error
    return path


def _digest(path: Path) -> str:
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [CheckpointZoo()]
