"""What one forward pass shows of a module: the inputs and outputs of its submodules."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from modelselect.candidates.layouts import LAST, Layer, layer_of, pool
from modelselect.candidates.modules import alone_with, dequantized, is_quantized

if TYPE_CHECKING:
    import torch


@dataclass
class Part:
    """A submodule in a forward pass.

    Attributes:
        given: its first tensor.
        alone: its input, if that is one argument, or a mapping of keyword arguments; else None.
        output: what it returned.
        before: the last layer before it whose layout is known.
    """

    given: torch.Tensor | None
    alone: Any
    output: Any
    before: Layer | None


@dataclass
class Seen:
    """What a forward pass shows.

    Attributes:
        output: of the module.
        last: the last layer whose layout is known.
        layers: (B, D) outputs of linear layers and convolutions, and the axis of their inputs' channels, by name.
        parts: the submodules that were asked for, by name, each after those inside it.
        ran: whether any submodule was called.
    """

    output: Any = None
    last: Layer | None = None
    layers: dict[str, tuple[torch.Tensor, int | None]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    ran: bool = False


def watch(
    module: torch.nn.Module,
    run: Callable[[], Any],
    is_kept: Callable[[str, torch.nn.Module], bool],
    compare: Callable[[str, torch.Tensor | None], None] | None = None,
) -> Seen:
    """What a forward pass shows.

    Args:
        module: the module.
        run: makes the forward pass, and returns its output.
        is_kept: whether to keep the inputs and outputs of a submodule, by its name.
        compare: gets the name and the input of each submodule before it runs.
    """
    import torch

    seen, before = Seen(), dict[str, Layer | None]()
    layers = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)

    def on_entry(name: str) -> Callable[..., None]:
        def enter(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            before[name] = seen.last
            if compare is not None:
                compare(name, first_tensor(arguments, named))

        return enter

    def on_exit(name: str, keep: bool) -> Callable[..., None]:
        def leave(part: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            seen.ran = True
            seen.last = layer_of(part, output) or seen.last
            if (isinstance(part, layers) or _is_quantized_layer(part)) and output.dim() > 1:
                axis = LAST if hasattr(part, "out_features") and output.dim() > 3 else None
                # a copy: the next layer may work in place
                seen.layers[name] = pool(dequantized(output), axis).clone(), axis
            if keep:
                alone = sole_input(part, arguments, named)
                seen.parts.pop(name, None)  # the last call counts, and its place in the order
                seen.parts[name] = Part(first_tensor(arguments, named), alone, output, before.get(name))

        return leave

    with alone_with(module):
        handles = []
        for name, part in submodules(module):
            if isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                continue
            handles.append(part.register_forward_pre_hook(on_entry(name), with_kwargs=True))
            handles.append(part.register_forward_hook(on_exit(name, is_kept(name, part)), with_kwargs=True))
        try:
            seen.output = run()
        finally:
            for handle in handles:
                handle.remove()
    return seen


@contextlib.contextmanager
def encoder_outputs(module: Any) -> Iterator[list[Any]]:
    """What the encoder below the head of a model of transformers gives, in each call of the model in this context."""
    seen: list[Any] = []
    with alone_with(module):
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            yield seen
        finally:
            handle.remove()


def submodules(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The submodules by name, without the module itself."""
    return ((name, submodule) for name, submodule in module.named_modules() if name)


def sole_input(part: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The input of a module, if that is one argument, or a mapping of keyword arguments; else None.

    One keyword argument that the module also takes by its place is one argument.
    """
    if arguments:
        return arguments[0] if len(arguments) == 1 and not named else None
    first = next(iter(inspect.signature(part.forward).parameters), None)
    return named[first] if first is not None and list(named) == [first] else named


def _is_quantized_layer(part: torch.nn.Module) -> bool:
    return is_quantized(part) and (hasattr(part, "out_features") or hasattr(part, "out_channels"))


def first_tensor(arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor | None:
    """The first tensor among the arguments of a module; None without one."""
    import torch

    return next((a for a in chain(arguments, named.values()) if isinstance(a, torch.Tensor)), None)
