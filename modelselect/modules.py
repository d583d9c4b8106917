"""Bare torch modules as candidates: what the caller built or loaded stands on the leaderboard beside the zoos'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from modelselect.backbone import (
    Backbone,
    CallablePreprocessing,
    reader_for_feature_method,
    reader_for_module,
    weights_digest,
)
from modelselect.candidates import Candidate, Zoo
from modelselect.errors import CandidateError, InvalidInputError

if TYPE_CHECKING:
    import torch

    from modelselect.probe import Probe

Transform = Callable[[Any], "torch.Tensor"]


class ModuleZoo(Zoo):
    """The modules of one call of `select()`, by the names they got there.

    Features are read from `forward_features` where the module has one, else from what its last linear layer or
    convolution is given, if that layer makes the output, else from the output itself.

    Args:
        modules: module and transform (None: rows go in as they are) by name.
        probe: any of its rows is the example that features are located with.
    """

    name = "module"

    def __init__(self, modules: dict[str, tuple[torch.nn.Module, Transform | None]], probe: Probe) -> None:
        self._modules = modules
        self._probe = probe

    def search(self, pattern: str) -> Iterable[Candidate]:
        for name, (module, _) in self._modules.items():
            metadata = {
                "architecture": type(module).__name__,
                "modality": self._probe.modality,
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
            }
            yield Candidate(self.name, name, weights_digest(module)[:16], metadata)

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        import torch

        module, transform = self._modules[candidate.name]
        module.eval()
        function = transform or as_tensor
        preprocessing = CallablePreprocessing(function, _transform_key(function, candidate))
        try:
            rows = [preprocessing.prepare(self._probe.item(i % len(self._probe))) for i in range(2)]
            example = torch.stack(rows)
        except Exception as error:
            raise CandidateError(
                f"its input cannot be prepared ({error}). Give the candidate as (module, transform), where transform "
                "turns one row into a tensor of one fixed shape."
            ) from error
        locate = reader_for_feature_method if hasattr(module, "forward_features") else reader_for_module
        try:
            read = locate(module, example)
        except CandidateError:
            raise
        except Exception as error:
            raise CandidateError(
                f"its forward pass on rows of shape {tuple(example.shape[1:])} raised {type(error).__name__}: {error}"
            ) from error
        return Backbone(candidate, module, preprocessing, read, weights_key=candidate.revision or "")


def as_named_modules(items: Iterable[Any]) -> dict[str, tuple[torch.nn.Module, Transform | None]]:
    """Modules, and tuples of module and transform, by the class's name, numbered where it occurs again.

    Raises:
        InvalidInputError: an item is neither.
    """
    named: dict[str, tuple[torch.nn.Module, Transform | None]] = {}
    for item in items:
        import torch

        module, transform = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if not isinstance(module, torch.nn.Module) or not (transform is None or callable(transform)):
            raise InvalidInputError(
                f"{item!r} is not a candidate; expected an expression such as 'timm:resnet*', a Candidate, a torch "
                "module, or a tuple of a torch module and a transform"
            )
        base, number = type(module).__name__, 1
        while (name := base if number == 1 else f"{base}-{number}") in named:
            number += 1
        named[name] = (module, transform)
    return named


def as_tensor(item: Any) -> torch.Tensor:
    """A row as it is: images as (C, H, W) floats in [0, 1], numbers as float32."""
    import numpy as np
    import torch

    if isinstance(item, torch.Tensor):
        return item
    if isinstance(item, str):
        raise InvalidInputError("text needs a transform that turns it into tensors")
    if hasattr(item, "convert"):  # a PIL image
        return torch.from_numpy(np.array(item.convert("RGB"))).permute(2, 0, 1).float() / 255
    return torch.as_tensor(np.asarray(item)).float()


def _transform_key(function: Transform, candidate: Candidate) -> str:
    """Nothing is known of a caller's function, so it is shared with nobody but the same module."""
    return "as_tensor" if function is as_tensor else f"callable:{candidate.id}:{function!r}"
