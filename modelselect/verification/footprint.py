"""How much memory fine-tuning takes, estimated before anything is downloaded.

Two estimates: `states_bytes` from the number of parameters alone, which is the least that it can be, and `peak_bytes`
from a forward pass of the architecture without weights, in which operations have shapes and no values. A training
holds weights, gradients, the moments of the optimiser, and what each layer keeps of its input for the backward pass.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from modelselect.architectures.twin import tensors_in
from modelselect.candidates.classifier import HEADS
from modelselect.errors import CandidateError
from modelselect.extraction.devices import first_line
from modelselect.utils.shared import SharedChange
from modelselect.verification.recipe import METHODS, FineTuning

if TYPE_CHECKING:
    import torch

BYTES = 4
"""Of a weight: all candidates are loaded and trained in float32, whatever their files hold."""

AT_WORK = 2
"""Tensors of the largest size that an operation has at work next to what is kept: a result, or a gradient."""

CPU_SPREAD = 2.2
"""Memory that a processor takes for each byte of such tensors: its library copies them into other layouts, and freed
blocks stay in the heap. It was 1.9 to 2.6 in fine-tunings of convolutional networks and of a small transformer."""

Run = Callable[[Any, int], Any]
"""Makes a forward pass of a module on a batch of this number of rows, on the meta device."""


def states_bytes(parameters: int, settings: FineTuning, method: str, device: str = "cuda") -> int:
    """Bytes of weights, gradients and moments, without what layers keep: the least that fine-tuning takes.

    Args:
        parameters: of the candidate.
        settings: the recipe.
        method: what is trained; see `METHODS`. The adapters of LoRA count nothing.
        device: on a CPU the memory holds the pre-trained weights next to the copy that is trained.

    >>> states_bytes(1_000_000, FineTuning(), "full"), states_bytes(1_000_000, FineTuning(), "head")
    (16000000, 4000000)
    """
    copies = _weight_copies(settings, method, device)
    return BYTES * parameters * (copies + (1 + _moments(settings) if method == "full" else 0))


def least_bytes(parameters: int) -> dict[str, int]:
    """`states_bytes` of the default recipe, for each method."""
    return {method: states_bytes(parameters, FineTuning(), method) for method in METHODS}


def peak_bytes(module: torch.nn.Module, run: Run, settings: FineTuning, method: str, device: str) -> int:
    """Bytes that fine-tuning takes at most at one time, with the batches of the recipe.

    At the end of a forward pass everything is there that layers keep for the backward pass. The backward pass frees it
    layer by layer, while gradients arrive.

    Args:
        module: on the meta device; it is changed.
        run: how features are read from the module.
        settings: the recipe.
        method: what is trained; see `METHODS`.
        device: on a CPU the memory holds the pre-trained weights next to the copy that is trained.

    Raises:
        CandidateError: the module cannot be run without values.
    """
    weights = _bytes_of([*module.parameters(), *module.buffers()])
    try:
        trained, kept, largest = _forward(module, run, settings, method)
    except Exception as error:  # modules may raise anything
        raise CandidateError(
            f"the memory of training cannot be estimated: a forward pass without values raised {type(error).__name__} "
            f"({first_line(error)})"
        ) from error
    if settings.precision != "float32":
        kept, largest = kept // 2, largest // 2
    before = _weight_copies(settings, method, device) * weights + _moments(settings) * trained
    activations = kept + AT_WORK * largest
    spread = CPU_SPREAD if device.startswith("cpu") else 1.0
    return round(before + max(spread * activations, trained))


def _forward(module: torch.nn.Module, run: Run, settings: FineTuning, method: str) -> tuple[int, int, int]:
    """Bytes of what is trained, of what layers keep for the backward pass, and of the largest tensor that they make."""
    import torch

    handles: list[Any] = []
    module.train(method != "head")
    module.requires_grad_(method == "full")
    adapters = [
        tensor
        for layer in (_adaptable(module) if method == "lora" else ())
        for tensor in _adapted(layer, settings.lora_rank, handles)
    ]
    if method == "full":
        for name, part in module.named_children():
            if name in HEADS:  # the source classifier, which a new head replaces
                part.requires_grad_(False)
    kept: dict[int, tuple[torch.Tensor, int]] = {}
    own = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers(), *adapters]}  # noqa: SLF001 (none is public)
    largest = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # noqa: SLF001 (none is public)
            kept[storage._cdata] = tensor, storage.nbytes()  # noqa: SLF001 - the tensor stays, so no number is reused
        return tensor

    begun: set[torch.nn.Module] = set()
    ended: set[torch.nn.Module] = set()

    def begin(part: torch.nn.Module, _: Any) -> None:
        begun.add(part)

    def note(part: torch.nn.Module, _: Any, output: Any) -> None:
        nonlocal largest
        ended.add(part)
        largest = max([largest, *(tensor.numel() * tensor.element_size() for tensor in tensors_in(output))])

    handles += [part.register_forward_pre_hook(begin) for part in module.modules()]
    handles += [part.register_forward_hook(note) for part in module.modules()]
    try:
        with (
            _fused_attention(),
            torch.set_grad_enabled(method != "head"),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held),
        ):
            run(module, settings.batch_size)
    finally:
        for handle in handles:
            handle.remove()
    trained = [tensor for tensor in [*_reached(module, begun, ended), *adapters] if tensor.requires_grad]
    return _bytes_of(trained), sum(size for _, size in kept.values()), largest


def _reached(
    module: torch.nn.Module, begun: Collection[torch.nn.Module], ended: Collection[torch.nn.Module]
) -> list[torch.nn.Parameter]:
    """The parameters that the forward pass may have used: not those behind the layer at which it was stopped.

    A part may use the parameters of others inside it without calling them, as attention does. So what was not called
    counts, unless the part around it did not come to its end.
    """
    found: dict[int, torch.nn.Parameter] = {}
    complete: dict[str, bool] = {}
    for name, part in module.named_modules():
        around = complete.get(name.rpartition(".")[0], True)
        complete[name] = part in ended if part in begun else around
        if part in begun or around:
            found |= {id(tensor): tensor for tensor in part.parameters(recurse=False)}
    return list(found.values())


@contextlib.contextmanager
def _fused_attention() -> Iterator[None]:
    """In this context, attention is as fused kernels compute it, which keep its inputs and its output, and not the
    table of weights; for this thread alone.
    """
    with _ATTENTION.made():
        _THREAD.is_estimating = True
        try:
            yield
        finally:
            _THREAD.is_estimating = False


_THREAD = threading.local()


def _read_attention() -> Callable[..., torch.Tensor]:
    from torch.nn import functional

    return functional.scaled_dot_product_attention


def _set_attention(attention: Callable[..., torch.Tensor]) -> None:
    from torch.nn import functional

    functional.scaled_dot_product_attention = attention


def _fused(usual: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Attention that computes nothing, for threads that estimate memory; for others it is as usual."""
    import torch

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            output = query.new_empty((*query.shape[:-1], value.shape[-1]))
            context.save_for_backward(query, key, value, output)
            return output

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            return context.saved_tensors[:3]

    def attention(query: Any, key: Any, value: Any, *further: Any, **named: Any) -> torch.Tensor:
        if not getattr(_THREAD, "is_estimating", False):
            return usual(query, key, value, *further, **named)
        output: torch.Tensor = Fused.apply(query, key, value)
        return output

    return attention


_ATTENTION = SharedChange(_read_attention, _set_attention, _fused)
"""Modules of torch and of other libraries find attention under this name, so only the name can be changed."""


def _adaptable(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that get adapters: the linear ones, or, without any, the convolutions that are not grouped."""
    import torch

    layers = [part for name, part in module.named_modules() if HEADS.isdisjoint(name.split("."))]
    linear: list[torch.nn.Module] = [part for part in layers if type(part) is torch.nn.Linear]
    return linear or [part for part in layers if type(part) is torch.nn.Conv2d and part.groups == 1]


def _adapted(layer: Any, rank: int, handles: list[Any]) -> list[torch.nn.Parameter]:
    """The two matrices of an adapter of the layer, whose output it adds to."""
    import torch

    if isinstance(layer, torch.nn.Linear):
        down: torch.nn.Module = torch.nn.Linear(layer.in_features, rank, bias=False, device="meta")
        up: torch.nn.Module = torch.nn.Linear(rank, layer.out_features, bias=False, device="meta")
    else:
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        down = torch.nn.Conv2d(layer.in_channels, rank, *shape, bias=False, device="meta")
        up = torch.nn.Conv2d(rank, layer.out_channels, 1, bias=False, device="meta")
    handles.append(layer.register_forward_hook(lambda _, given, output: output + up(down(given[0])) * 2.0))
    return [*down.parameters(), *up.parameters()]


def _bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _moments(settings: FineTuning) -> int:
    """Tensors of the size of the weights that the optimiser keeps."""
    return 2 if settings.optimizer == "adamw" else int(settings.momentum > 0)


def _weight_copies(settings: FineTuning, method: str, device: str) -> int:
    """Copies of the weights: the one that is used and, on a CPU, the pre-trained one and that of the best epoch."""
    if not device.startswith("cpu"):
        return 1
    return 2 + int(settings.validates and method != "head")
