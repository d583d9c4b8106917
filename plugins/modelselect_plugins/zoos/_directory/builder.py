"""Models whose folder brings code of its own, which runs only if the user trusts it."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate
from modelselect.candidates.backbone import Backbone, Reader
from modelselect.candidates.inspection import reader_for, reader_of_features
from modelselect.candidates.preprocessing import CallablePreprocessing, example_batch
from modelselect.errors import CandidateError, RemoteCodeError
from modelselect_plugins.zoos._support import one_line
from modelselect_plugins.zoos._weights import CONFIGURATION

if TYPE_CHECKING:
    import torch

from modelselect_plugins.zoos._directory.folder import Folder


def build(folder: Folder, candidate: Candidate, trust_remote_code: bool) -> Backbone:
    file, function = folder.builder
    if not trust_remote_code:
        raise RemoteCodeError(
            f"the model brings code of its own ({file.name}:{function}), which runs only with your permission: read "
            "the code, then pass trust_remote_code=True (on the command line: --trust-remote-code)"
        )
    module, transform, code_key = _run_builder(file, function, folder.path)
    preprocessing = CallablePreprocessing.of(transform, code_key)
    module = module.float().eval()
    backbone = Backbone(
        candidate=candidate,
        module=module,
        preprocessing=preprocessing,
        read=_reader(module, example_batch(preprocessing), folder.configuration),
        weights_key=folder.digest,
    )
    _check_widths(backbone, example_batch(preprocessing), folder.configuration)
    return backbone


def _run_builder(file: Path, function: str, folder: Path) -> tuple[torch.nn.Module, Callable[[Any], torch.Tensor], str]:
    """The function's result after checks, and the digest of its code."""
    import torch

    try:
        source = file.read_bytes()
        code_key = hashlib.sha256(source).hexdigest()
        made = getattr(_module_of(str(file), source, code_key), function)(str(folder))
    except (Exception, SystemExit) as error:
        raise CandidateError(f"the builder {file.name}:{function} failed ({one_line(error)})") from error
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module) and callable(made[1])):
        raise CandidateError(
            f"the builder {file.name}:{function} returned {type(made).__name__}; expected (torch.nn.Module, transform)"
        )
    if not hasattr(made[0], "forward_features"):
        raise CandidateError(f"the module built by {file.name}:{function} has no method `forward_features`")
    return *made, f"{code_key}:{function}"


def _module_of(path: str, source: bytes, digest: str) -> types.ModuleType:
    """The code as a module, run once for all folders that share it. Exactly the hashed bytes are run."""
    name = "modelselect_builder_" + hashlib.sha256(f"{path}:{digest}".encode()).hexdigest()[:16]
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__file__ = path
        sys.modules[name] = module  # for dataclasses and pickle
        try:
            exec(compile(source, path, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _reader(module: torch.nn.Module, example: torch.Tensor, configuration: Mapping[str, Any]) -> Reader:
    """The reader of a module, which agrees with the `num_features` and `num_classes` of `config.json`."""
    locate = reader_of_features if configuration.get("num_classes") == 0 else reader_for
    width = configuration.get("num_features")
    try:
        return locate(module, example, [width] if isinstance(width, int) else [])
    except CandidateError as error:
        raise CandidateError(
            "the builder's module does not show what its features are. Let `forward_features` return one row of "
            f"numbers for each image, or set num_features in {CONFIGURATION} to the width of the features"
        ) from error
    except Exception as error:
        raise CandidateError(f"`forward_features` failed on two images of noise ({one_line(error)})") from error


def _check_widths(backbone: Backbone, example: torch.Tensor, configuration: Mapping[str, Any]) -> None:
    """Refuses a model that differs from its configuration, because its scores could not be trusted."""
    import torch

    with torch.no_grad():
        features, logits = backbone.read(backbone.module, example)
    given = {"num_features": features.shape[1], "num_classes": 0 if logits is None else logits.shape[1]}
    for key, width in given.items():
        if configuration.get(key, width) != width:
            raise CandidateError(f"the {CONFIGURATION} says {key} {configuration[key]}, but its module gives {width}")
