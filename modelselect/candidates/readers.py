"""How features and logits are read from a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Outputs, Reader
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HeadInput:
    """Features are the classifier's input; logits are the module's output. One forward pass.

    Attributes:
        head: name of the classifier's submodule.
        has_logits: False if the head is an identity or not a classifier of source classes.

    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 10)).eval()
    >>> features, logits = HeadInput("1")(module, torch.zeros(2, 8))
    >>> features.shape, logits.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
    """

    head: str
    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        captured: list[torch.Tensor] = []

        def capture(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = _first_tensor(arguments, named)
            if given is not None:  # a copy, because the head may work in place
                captured.append(pool(given).clone())

        handle = module.get_submodule(self.head).register_forward_pre_hook(capture, with_kwargs=True)
        try:
            output = call(module, batch)
        finally:
            handle.remove()
        if not captured:
            raise CandidateError(f"the forward pass never reached the classifier {self.head!r}")
        return Outputs(captured[-1], _logits(output) if self.has_logits else None)


@dataclass(frozen=True)
class FeatureMethod:
    """Features from `module.forward_features`, logits from calling the module: two forward passes."""

    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        features = pool(module.forward_features(batch))  # type: ignore[operator]
        return Outputs(features, _logits(module(batch)) if self.has_logits else None)


@dataclass(frozen=True)
class WholeOutput:
    """Features are the module's output; there are no source classes."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(pool(call(module, batch)), None)


def call(module: torch.nn.Module, batch: Any) -> Any:
    """The module's output for a batch: a tensor, or a mapping of keyword arguments."""
    return module(**batch) if isinstance(batch, Mapping) else module(batch)


def without_head(module: torch.nn.Module) -> torch.nn.Module:
    """A module whose forward pass is this module's `forward_features`: what runs if there is no head."""
    import torch

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.module.forward_features(batch)  # type: ignore[no-any-return, operator]

    return Body()


def pool(features: torch.Tensor) -> torch.Tensor:
    """(B, D) from a feature map (B, D, H, W) by the mean over positions, or from tokens (B, T, D) by their mean.

    >>> import torch
    >>> pool(torch.ones(2, 8, 7, 7)).shape, pool(torch.ones(2, 197, 8)).shape, pool(torch.ones(2, 8)).shape
    (torch.Size([2, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """
    if features.dim() < 2:
        raise CandidateError(f"features have shape {tuple(features.shape)}; expected one row for each input")
    if features.dim() == 2:
        return features
    return features.mean(1 if features.dim() == 3 else tuple(range(2, features.dim())))


def reader_for_feature_method(module: torch.nn.Module, example: torch.Tensor) -> Reader:
    """The one-pass reader of a module that has `forward_features` and returns source logits when called.

    Finds the submodule whose input equals the features on `example`, and hooks it. Without such a submodule, the reader
    takes two passes; if calling the module fails (no head), it reads features alone. If `forward_features` gives tokens
    (B, T, D) and there is a classifier, the features are the classifier's input.

    Args:
        module: in evaluation mode.
        example: a batch of at least two different inputs; noise is best, since it makes chance agreement unlikely.
    """
    import torch

    found: dict[bool, str] = {}  # by whether the agreement is exact
    with torch.no_grad():
        given_features = module.forward_features(example)  # type: ignore[operator]
        if given_features.dim() == 3:
            reader = reader_for_module(module, example)
            if isinstance(reader, HeadInput):
                return reader
        features = pool(given_features)

        def compare(name: str, given: torch.Tensor | None) -> None:
            if given is None or given.dim() < 2 or True in found:
                return
            pooled = pool(given)
            if pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4, atol=1e-5):
                found.setdefault(torch.equal(pooled, features), name)

        handles = [
            submodule.register_forward_pre_hook(
                lambda _, arguments, named, name=name: compare(name, _first_tensor(arguments, named)), with_kwargs=True
            )
            for name, submodule in module.named_modules()
            if name
        ]
        try:
            module(example)
        except Exception:  # a backbone without a head: only its features can be read
            return FeatureMethod(has_logits=False)
        finally:
            for handle in handles:
                handle.remove()
    if found:
        return HeadInput(found.get(True) or found[False])
    return FeatureMethod()


def reader_for_module(module: torch.nn.Module, example: Any) -> HeadInput | WholeOutput:
    """The reader of any module: the last linear layer or convolution is the classifier if its output is the module's.

    Otherwise the module's own output counts as features, without source classes. (An encoder that ends in a linear
    projection looks like a classifier; to avoid this, give a `Backbone` with `WholeOutput`.)

    Args:
        module: in evaluation mode; returns a tensor, or an object with `logits` like transformers' models.
        example: a batch of at least two different inputs: a tensor, or a mapping of keyword arguments.

    Raises:
        CandidateError: the module returns neither.
    """
    import torch

    outputs: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        handles = [
            submodule.register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, pool(output)))
            for name, submodule in module.named_modules()
            if name and isinstance(submodule, (torch.nn.Linear, torch.nn.Conv2d))
        ]
        try:
            result = _logits(call(module, example))
        finally:
            for handle in handles:
                handle.remove()
    for name, output in reversed(outputs.items()):
        if output.shape == result.shape and torch.equal(output, result):
            return HeadInput(name)
    return WholeOutput()


def _logits(output: Any) -> torch.Tensor:
    """(B, S) from the output of a classifier: a tensor, or an object with `logits`."""
    import torch

    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor):
        raise CandidateError(f"the module returns {type(output).__name__}; expected one tensor of logits or features")
    return pool(logits)


def _first_tensor(arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor | None:
    import torch

    return next((a for a in chain(arguments, named.values()) if isinstance(a, torch.Tensor)), None)
