"""A module's architecture as a graph: the operations that data passes through, found without weights.

The graph is the first half of archi2vec (Bai et al., "Pre-Trained Model Recommendation for Downstream Fine-tuning",
section 3.2): one suitable input runs through the module, and the structure is derived from the output back to the
input along the gradient's path. Here the run is on PyTorch's meta device, which has shapes but no values, so that an
architecture needs neither its download nor its memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelselect.architectures.counting import counting
from modelselect.architectures.operations import LAYOUT, LOOKUPS, operation_name
from modelselect.architectures.twin import level_backends, make_twin, tensors_in
from modelselect.candidates.candidate import Candidate
from modelselect.errors import CandidateError, InvalidInputError

if TYPE_CHECKING:
    import networkx
    import torch
    from torch.autograd.graph import Node

INPUT_SIZE = (3, 224, 224)
"""Default input: channels, height, width of an image."""

BATCH_SIZE = 2
"""Batch size of the traced input: more than one, so that no operation drops the batch axis."""


def trace(
    module: torch.nn.Module,
    input_size: Sequence[int] = INPUT_SIZE,
    *,
    example: Any = None,
    device: str = "meta",
) -> networkx.DiGraph[int]:
    """The directed acyclic graph of the operations through which data flows from the module's input to its output.

    A node is an operation; an edge leads from an operation to one that takes its result. Nodes are numbered 0..n-1 in
    topological order, the same in every run; the attribute `operation` is the type, in an open vocabulary
    (`operation_name`). Operations on parameters only (a transposition, for example) are not data flow and have no node.
    Copies that only change the memory layout have no node either, since they differ between backends. Modules that take
    token ids start at their embedding lookups.

    The given module is left unchanged: its weights, mode and gradients are neither read nor changed. A copy without
    weights runs in evaluation mode, as in feature extraction: no dropout, no auxiliary training heads.

    Args:
        module: on any device, including the meta device; parameters may be frozen. It takes tensors and returns
            tensors, alone or in tuples, lists, mappings or dataclasses.
        input_size: shape of one input without the batch axis: (channels, height, width) of an image.
        example: what to call the module with, instead of `input_size`: a tensor, a tuple of positional arguments, or
            a mapping of keyword arguments, with the batch axis; on the meta device only shapes and dtypes matter. For
            a text module from transformers, `{"input_ids": torch.ones(2, 16, dtype=torch.long)}`: only token ids,
            since the module reads the values of a mask.
        device: `"cpu"` runs on values, for modules whose flow depends on them (they fail on the meta device).

    Raises:
        CandidateError: the forward pass fails, or has no differentiable path from the input to the output.

    Source: Bai et al., section 3.2 and table 6. The table's 37 names and ours:

    - `XBackward0`, `XBackward1` are `X` here: `AdaptiveAvgPool2D`, `AdaptiveMaxPool2D`, `Add`, `Addmm`, `AvgPool2D`,
      `AvgPool3D`, `Cat`, `ConstantPadNd`, `Convolution`, `Div`, `Expand`, `Hardtanh`, `IndexSelect`, `Max`,
      `MaxPool2DWithIndices`, `Mean`, `Mul`, `Pow`, `Prelu`, `Relu`, `Repeat`, `Sigmoid`, `Slice`, `Softmax`,
      `SplitWithSizes`, `Squeeze`, `Sum`, `T`, `Transpose`, `Unsqueeze`, `UpsampleBilinear2D`, `UpsampleNearest2D`,
      `View`.
    - `NativeBatchNormBackward0` is `BatchNorm`, `ReshapeAliasBackward0` is `View`.
    - `Variable` (a parameter) and `CloneBackward0` (a copy in memory) are left out, as described above; so is `T` where
      it transposes a weight.

    >>> import torch
    >>> block = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    >>> graph = trace(block, (3, 32, 32))
    >>> [operation for _, operation in graph.nodes(data="operation")]
    ['Convolution', 'BatchNorm', 'Relu']
    >>> list(graph.edges)
    [(0, 1), (1, 2)]
    """
    inputs = _inputs(module, input_size, example)
    return _graph(make_twin(module, device, requires_grad=_are_tokens(inputs)), inputs, device)


def trace_skeleton(
    module: torch.nn.Module, input_size: Sequence[int] = INPUT_SIZE, *, example: Any = None
) -> networkx.DiGraph[int]:
    """`trace` of a module without weights that is not needed otherwise: no copy is made, and the module is changed.

    Args:
        module: as made by a zoo's `skeleton`. A module with weights is copied, as in `trace`.
        input_size: as for `trace`.
        example: as for `trace`.

    Raises:
        CandidateError: as `trace` does.

    >>> import torch
    >>> trace_skeleton(torch.nn.Linear(4, 2, device="meta"), (4,)).nodes(data="operation")
    NodeDataView({0: 'Addmm'}, data='operation')
    """
    inputs = _inputs(module, input_size, example)
    return _graph(_prepared(module, inputs, is_spare=True), inputs, "meta")


def _prepared(module: torch.nn.Module, inputs: Any, *, is_spare: bool) -> torch.nn.Module:
    """A module without weights that is ready to run: the given one if nobody needs it, else a copy."""
    tokens = _are_tokens(inputs)
    tensors = (tensor for part in module.modules() for tensor in tensors_in(list(vars(part).values())))
    if not is_spare or not all(tensor.is_meta for tensor in tensors):
        return make_twin(module, "meta", requires_grad=tokens)
    module.eval().requires_grad_(tokens)
    level_backends(module)
    return module


def _are_tokens(inputs: Any) -> bool:
    return any(not (tensor.is_floating_point() or tensor.is_complex()) for tensor in tensors_in(inputs))


def _graph(twin: torch.nn.Module, inputs: Any, device: str) -> networkx.DiGraph[int]:
    sources: list[Node] = []
    output = _run(twin, _on_device(inputs, device, sources), device, differentiable=True)
    return _derived(output, sources, type(twin).__name__, tokens=_are_tokens(inputs))


def _derived(output: Any, sources: list[Node], name: str, *, tokens: bool) -> networkx.DiGraph[int]:
    """The graph, derived from what a differentiable run gives back to `sources`, where the inputs start."""
    import networkx

    ends = [tensor.grad_fn for tensor in tensors_in(output) if tensor.grad_fn is not None]
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    origins: dict[Node, list[int]] = {}  # for each autograd node with data, the graph's nodes whose result it holds
    for node in _inputs_first(ends):
        if node in sources:
            origins[node] = []
            continue
        operation = operation_name(node.name())
        givers = [giver for giver, _ in node.next_functions if giver is not None and giver in origins]
        if not givers and not (tokens and operation in LOOKUPS):
            continue
        taken = list(dict.fromkeys(origin for giver in givers for origin in origins[giver]))
        if operation in LAYOUT:
            origins[node] = taken
            continue
        index = graph.number_of_nodes()
        graph.add_node(index, operation=operation)
        graph.add_edges_from((origin, index) for origin in taken)
        origins[node] = [index]
    if not graph:
        raise CandidateError(
            f"{name} has no differentiable path from its input to its output, so its architecture "
            "cannot be traced. Its forward() returns its input or a constant, detaches, or runs under "
            "torch.no_grad() or torch.inference_mode(); change forward() to avoid this."
        )
    return graph


def count_macs(module: torch.nn.Module, input_size: Sequence[int] = INPUT_SIZE, *, example: Any = None) -> int | None:
    """Multiply-accumulates of one input, counted on the meta device; None if the module cannot be run there.

    Counts the multiplications of convolutions, matrix products and attention, as `torch.utils.flop_counter` does;
    elementwise operations (normalisation, activations) are not counted.

    Args:
        module: as for `trace`.
        input_size: as for `trace`.
        example: as for `trace`; its leading axis is the batch, and the result is for one input.

    >>> import torch
    >>> count_macs(torch.nn.Linear(128, 10), (128,))
    1280
    """
    inputs = _inputs(module, input_size, example)
    with contextlib.suppress(CandidateError):
        twin = make_twin(module, "meta", requires_grad=False)
        with counting() as counter:
            _run(twin, _on_device(inputs, "meta"), "meta", differentiable=False)
            return counter.of_one(inputs)
    return None


def trace_and_count(
    module: torch.nn.Module,
    input_size: Sequence[int] = INPUT_SIZE,
    *,
    example: Any = None,
    again: Callable[[], torch.nn.Module] | None = None,
) -> tuple[networkx.DiGraph[int] | None, int | None]:
    """`trace_somewhere` and `count_macs` in one run on the meta device; None for what cannot be found out.

    Args:
        module: as for `trace`.
        input_size: as for `trace`.
        example: as for `count_macs`.
        again: makes another such module. With it, the given one is not needed otherwise, as for `trace_skeleton`.

    >>> import torch
    >>> graph, macs = trace_and_count(torch.nn.Linear(128, 10), (128,))
    >>> graph.nodes[0], macs
    ({'operation': 'Addmm'}, 1280)
    """
    inputs = _inputs(module, input_size, example)
    tokens, sources = _are_tokens(inputs), list[Any]()
    with contextlib.suppress(CandidateError):
        runnable = _prepared(module, inputs, is_spare=again is not None)
        with counting() as counter:
            output = _run(runnable, _on_device(inputs, "meta", sources), "meta", differentiable=True)
            return _derived(output, sources, type(runnable).__name__, tokens=tokens), counter.of_one(inputs)
    module = module if again is None else again()
    macs = count_macs(module, input_size, example=example)
    with contextlib.suppress(CandidateError):
        return trace(module, input_size, example=example, device="cpu"), macs
    return None, macs


def _inputs(module: torch.nn.Module, input_size: Sequence[int], example: Any) -> tuple[Any, ...] | Mapping[str, Any]:
    """Arguments of the call, by position or by name, on no particular device yet."""
    import torch

    if example is None:
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        return (torch.empty(BATCH_SIZE, *input_size, dtype=dtype, device="meta"),)
    if isinstance(example, torch.Tensor):
        return (example,)
    if isinstance(example, (tuple, Mapping)) and next(tensors_in(example), None) is not None:
        return example
    raise InvalidInputError(
        f"example is {type(example).__name__}; expected a tensor, a tuple of positional arguments or a mapping of "
        "keyword arguments, with at least one tensor in it"
    )


def _on_device(inputs: Any, device: str, sources: list[Node] | None = None) -> Any:
    """The same arguments on `device`. With `sources`, floating-point ones start a gradient path, added to `sources`."""
    import torch

    if isinstance(inputs, torch.Tensor):
        moved = inputs.detach()
        if inputs.is_meta:  # zeros_like would import sympy
            made = torch.empty if device == "meta" else torch.zeros
            moved = made(inputs.shape, dtype=inputs.dtype, device=device)
        moved = moved.to(device)
        if sources is None or not (moved.is_floating_point() or moved.is_complex()):
            return moved
        with torch.inference_mode(False), torch.enable_grad():
            source = (
                moved.clone().requires_grad_().clone()
            )  # not a leaf, so that a module may change its input in place
        assert source.grad_fn is not None
        sources.append(source.grad_fn)
        return source
    if isinstance(inputs, Mapping):
        return {name: _on_device(value, device, sources) for name, value in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return tuple(_on_device(value, device, sources) for value in inputs)
    return inputs


def _run(module: torch.nn.Module, inputs: Any, device: str, *, differentiable: bool) -> Any:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(differentiable))
        stack.enter_context(torch.device(device))  # for tensors that forward() creates
        # Fused attention differs between backends and is missing on the meta device; the plain formula never differs.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        try:
            return module(**inputs) if isinstance(inputs, Mapping) else module(*inputs)
        except Exception as error:  # a module's forward pass may raise anything
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(inputs))
            raise CandidateError(
                f"{type(module).__name__} cannot be run on the {device} device with input of shape {shapes} "
                f"({type(error).__name__}: {' '.join(str(error).split())[:300]}). Give the input_size or example that "
                "the module expects"
                + (
                    '; if its flow depends on values, trace it with archi2vec.trace(..., device="cpu").'
                    if device == "meta"
                    else "."
                )
            ) from error


def _inputs_first(ends: Iterable[Node]) -> Iterator[Node]:
    """Every autograd node that leads to `ends`, each after its inputs. Not recursive, because networks are deep."""
    done: set[Node] = set()
    stack = [(end, False) for end in reversed(list(ends))]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded:
            done.add(node)
            yield node
            continue
        stack.append((node, True))
        stack.extend((giver, False) for giver, _ in reversed(node.next_functions) if giver is not None)


TEXT_TOKENS = 128
"""Number of tokens of the text for tracing and counting multiply-accumulates: attention grows with its square."""


def input_of(candidate: Candidate) -> dict[str, Any]:
    """Arguments of `trace` and `count_macs` for a candidate: its `input_size`, or an `example` if it reads text.

    A text has `TEXT_TOKENS` tokens, or the candidate's maximum if that is less. Empty if the size is not known.

    >>> input_of(Candidate("shelf", "net", metadata={"input_size": (3, 32, 32)}))
    {'input_size': (3, 32, 32)}
    >>> input_of(Candidate("shelf", "bert", metadata={"modality": "text", "input_size": (512,)}))["example"].shape
    torch.Size([2, 128])
    """
    import torch

    size = candidate.metadata.get("input_size")
    if size is None:
        return {}
    if candidate.metadata.get("modality") == "text":
        return {"example": torch.ones(BATCH_SIZE, min(size[0], TEXT_TOKENS), dtype=torch.long)}
    return {"input_size": tuple(size)}


def trace_somewhere(module: torch.nn.Module, **inputs: Any) -> networkx.DiGraph[int]:
    """`trace` on the meta device or, for modules whose flow depends on values (DeBERTa), on values.

    Args:
        module: as for `trace`. A module without weights runs on zeros.
        inputs: as returned by `input_of`.

    Raises:
        CandidateError: both fail.
    """
    try:
        return trace(module, **inputs)
    except CandidateError:
        return trace(module, **inputs, device="cpu")
