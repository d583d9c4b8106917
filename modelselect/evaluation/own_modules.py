"""Bare torch modules as candidates: the caller's own modules, on the same leaderboard as the zoos' candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Reader
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.inspection import READING, reader_for
from modelselect.candidates.modules import alone_with, device_of, half_or_double, weights_digest
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import OwnReader
from modelselect.candidates.zoo import OWN_MODULES, Zoo
from modelselect.errors import CandidateError, InvalidInputError, contained
from modelselect.probe.probe import Probe
from modelselect.utils.code import ModuleKey, code_key, module_key

if TYPE_CHECKING:
    import torch

Transform = Callable[[Any], "torch.Tensor"]

_SHOWN = 100
"""Characters of what is no candidate that a message shows."""

ROWS_TRIED = 8
"""Rows of the probe that distinguish one transform from another, if noise images cannot."""


@dataclass(frozen=True)
class OwnModule:
    """A caller's module.

    Attributes:
        module: the module that is ranked.
        transform: one row -> a tensor; None leaves rows as they are.
        read: gets features, or features and logits, from the module and a batch; None where the module shows them.
    """

    module: torch.nn.Module
    transform: Transform | None = None
    read: Callable[[Any, Any], Any] | None = None


class ModuleZoo(Zoo):
    """The modules of one call of `select()`, each under a name made from its class; see `reader_for`.

    Args:
        modules: the modules by name.
        probe: its rows are the examples by which features are located.
    """

    name = OWN_MODULES
    downloads = False

    def __init__(self, modules: dict[str, OwnModule], probe: Probe) -> None:
        self._modules = modules
        self._probe = probe
        self._refused: dict[str, CandidateError] = {}
        self._preprocessings: dict[str, CallablePreprocessing] = {}
        self._keys: dict[str, ModuleKey] = {}
        self._last_rows: tuple[str, torch.Tensor | None] = ("", None)

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """The caller's own modules, which `load` puts into evaluation mode."""
        return tuple(own.module for own in self._modules.values())

    def search(self, pattern: str) -> Iterable[Candidate]:
        """One candidate for each module; its revision is a digest of weights, code, settings, transform and reading.

        If there can be no digest, `load` raises the reason.
        """
        for name, own in self._modules.items():
            module = own.module
            metadata: dict[str, Any] = {"architecture": type(module).__name__, "modality": self._probe.modality}
            revision = None
            try:
                with contained():
                    metadata["parameters"] = sum(parameter.numel() for parameter in module.parameters())
                    preprocessing = self._preprocessings[name] = self._preprocessing(own.transform)
                    reading = READING if own.read is None else code_key(own.read)
                    with alone_with(module):  # or hooks of another thread would be in its key
                        key = self._keys[name] = module_key(module)
                        revision = weights_digest(module, key.digest, preprocessing.key, reading)[:16]
            except CandidateError as error:
                self._refused[name] = error
            except Exception as error:  # a caller's module or transform may raise anything
                self._refused[name] = CandidateError(
                    f"reading the module's weights, or transforming a row, raised {type(error).__name__}: {error}; "
                    "both have to work, since they distinguish this module from others"
                )
            yield Candidate(self.name, name, revision, metadata)

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        import torch

        if candidate.name in self._refused:
            raise self._refused[candidate.name]
        own = self._modules[candidate.name]
        module = own.module.eval()
        preprocessing = self._preprocessings.get(candidate.name) or self._preprocessing(own.transform)
        preprocessing = dataclasses.replace(preprocessing, dtype=half_or_double(module))
        try:
            example = preprocessing.finish(self._two_rows(preprocessing)).to(device_of(module))
        except Exception as error:
            raise CandidateError(
                f"the module's input cannot be prepared ({error}). Give the candidate as (module, transform), where "
                "transform turns one row into a tensor of one fixed shape."
            ) from error
        try:
            if own.read is None:
                read: Reader = reader_for(module, example)
            else:
                read = OwnReader(own.read)
                with torch.no_grad():
                    read(module, example)
        except CandidateError:
            raise
        except Exception as error:
            raise CandidateError(
                f"the module's forward pass on rows of shape {tuple(example.shape[1:])} raised "
                f"{type(error).__name__}: {error}{_advice(module, example)}"
            ) from error
        return Backbone(candidate, module, preprocessing, read, weights_key=candidate.revision or "")

    def skeleton_key(self, candidate: Candidate, *, trust_remote_code: bool = False) -> str | None:
        """The same for modules that differ only in the values of their weights, such as checkpoints of one training.

        None if a module may hold something that distinguishes it, and that no digest shows.
        """
        key = self._keys.get(candidate.name)
        if key is None or not key.is_whole:
            return None
        module = self._modules[candidate.name].module
        tensors = chain(module.named_parameters(), module.named_buffers())
        weights = [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors]
        kinds = sorted({id(type(part)) for part in module.modules()})
        return f"{key.digest} {self._preprocessings[candidate.name].key} {kinds} {weights}"

    def _two_rows(self, preprocessing: CallablePreprocessing) -> torch.Tensor:
        """Two rows of the probe, prepared once for modules in a row with the same preprocessing."""
        import torch

        key, rows = self._last_rows
        if key != preprocessing.key or rows is None:
            rows = torch.stack([preprocessing.prepare(self._probe.item(i % len(self._probe))) for i in range(2)])
            self._last_rows = preprocessing.key, rows
        return rows.clone()  # a module may change its input in place

    def _preprocessing(self, transform: Transform | None) -> CallablePreprocessing:
        """The transform, with a key of its code and of its results on noise, or on some of the probe's rows."""
        if transform is None:
            return CallablePreprocessing(as_tensor, "as_tensor")
        key = code_key(transform)
        if self._probe.modality == "image":
            try:
                return CallablePreprocessing.of(transform, key)
            except CandidateError:
                raise
            except Exception:  # the transform takes only images of the probe's size
                pass
        rows = (self._probe.item(index) for index in range(min(ROWS_TRIED, len(self._probe))))
        return CallablePreprocessing.of(transform, key, rows)


def as_named_modules(items: Iterable[Any]) -> dict[str, OwnModule]:
    """Modules, and tuples of module, transform and reader, by the name of the class, with a number if it occurs again.

    Raises:
        InvalidInputError: an item is neither.
    """
    named: dict[str, OwnModule] = {}
    for item in items:
        import torch

        module, *functions = item if isinstance(item, tuple) and 2 <= len(item) <= 3 else (item,)
        if not isinstance(module, torch.nn.Module) or not all(f is None or callable(f) for f in functions):
            shown = " ".join(repr(item).split())  # of a module it has many lines
            given = shown if len(shown) <= _SHOWN else f"a {type(item).__name__}"
            raise InvalidInputError(
                f"{given} is not a candidate; expected an expression such as 'timm:resnet18*', a Candidate, a torch "
                "module, a tuple (module, transform), or a tuple (module, transform, read)"
            )
        module = unwrapped(module)
        base, number = type(module).__name__, 1
        while (name := base if number == 1 else f"{base}-{number}") in named:
            number += 1
        named[name] = OwnModule(module, *functions)
    return named


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside the wrappers that `torch.compile` and data parallelism put around it."""
    import torch

    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        parts = dict(module.named_children())
        if isinstance(module, wrappers):
            module = module.module
        elif list(parts) == ["_orig_mod"]:  # compiled
            module = parts["_orig_mod"]
        else:
            return module


def _advice(module: Any, example: torch.Tensor) -> str:
    """What to give instead: of a model of images and texts one tower, or rows of another form."""
    import torch

    if example.dtype == torch.uint8:
        return ". The rows are uint8; let the transform return floats, such as transform(image).float() / 255"
    if example.dim() == 5 and example.shape[1] == 1:
        return ". Let the transform return one row without an axis for the batch, such as transform(image)[0]"
    if example.dim() == 4 and example.shape[-1] in (1, 3) and example.shape[1] not in (1, 3):
        return ". Let the transform return the channels first, such as transform(image).permute(2, 0, 1)"
    if hasattr(module, "vision_model") and hasattr(module, "text_model"):
        return ". To rank images, give its vision tower: module.vision_model"
    return ""


def as_tensor(item: Any) -> torch.Tensor:
    """A row without a transform: images as (C, H, W) floats in [0, 1], numbers as float32."""
    import numpy as np
    import torch

    if isinstance(item, torch.Tensor):
        return item
    if isinstance(item, str):
        raise InvalidInputError(
            "text needs a transform: give the candidate as (module, transform), where transform turns a text into a "
            "tensor"
        )
    if hasattr(item, "convert"):  # a PIL image
        return torch.from_numpy(np.array(item.convert("RGB"))).permute(2, 0, 1).float() / 255
    return torch.as_tensor(np.asarray(item)).float()
