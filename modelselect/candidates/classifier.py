"""Which part of a module is its classifier, from the outputs that a forward pass shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelselect.candidates.layouts import axis_after
from modelselect.candidates.readers import HeadInput
from modelselect.candidates.watching import Part, Seen
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch

HEADS = frozenset({"fc", "head", "heads", "classifier", "last_linear"})
"""Names of a classifier's submodule, in timm, torchvision and transformers."""

_PROJECTIONS = ("proj", "embed", "latent")
"""What the name of a last layer contains if the layer makes an embedding, not logits."""


def classifier(module: torch.nn.Module, seen: Seen, rows: torch.Tensor) -> HeadInput | None:
    """The reader by the classifier that makes the module's output; None if nothing shows one."""
    import torch

    layer = next((name for name, (output, _) in reversed(seen.layers.items()) if are_same(output, rows)), None)
    heads = {name: part for name, part in seen.parts.items() if not HEADS.isdisjoint(name.split("."))}
    for name, part in heads.items():
        replaced = isinstance(module.get_submodule(name), torch.nn.Identity) and _makes(part, rows)
        if replaced and (layer is None or _head_of(layer) != _head_of(name)):
            return HeadInput(name, has_logits=False)
    several = has_classes(module) and rows.shape[1] > 1
    if layer is not None:
        return HeadInput(layer, several and not _is_projection(layer), seen.layers[layer][1])
    for name, (output, axis) in reversed(seen.layers.items()):
        activation = None if _is_projection(name) else _activation(output, rows)
        if activation is not None:
            return HeadInput(name, several and activation != "sigmoid", axis, makes_logits=activation == "softmax")
    for name, part in reversed(heads.items()):  # the outermost first
        last = next((module.get_submodule(n) for n in reversed(seen.layers) if n.startswith(f"{name}.")), None)
        if part.given is not None and isinstance(last, torch.nn.Conv2d) and _makes(part, rows):  # it pools afterwards
            shape = tuple(part.given.shape)
            axis = axis_after(part.before, shape) if len(shape) > 3 else None
            return HeadInput(name, several, axis)
    return None


def makes_output(part: Part, output: Any) -> bool:
    """True if a submodule's output is the module's, or the logits that the module turns into probabilities."""
    if are_same(part.output, output):
        return True
    return _activation(_tensor_of(part.output), _tensor_of(output)) in ("softmax", "log_softmax")


def _activation(logits: Any, rows: Any) -> str | None:
    """The last step without weights from a layer's outputs (B, S) to a module's; None if it is none of these."""
    import torch

    both = isinstance(logits, torch.Tensor) and isinstance(rows, torch.Tensor)
    if not both or logits.shape != rows.shape or rows.dim() != 2 or rows.shape[1] < 2:
        return None
    steps = {
        "softmax": logits.softmax(1),
        "log_softmax": logits.log_softmax(1),
        "sigmoid": logits.sigmoid(),
        "temperature": logits * (rows.norm() / logits.norm()),
    }
    return next((name for name, made in steps.items() if torch.allclose(made, rows, rtol=1e-4, atol=1e-6)), None)


def _makes(part: Part, rows: torch.Tensor) -> bool:
    import torch

    output = part.output
    return isinstance(output, torch.Tensor) and output.dim() > 1 and are_same(one_row_each(output), rows)


def _head_of(name: str) -> str:
    """The outermost part of a name that is a classifier's; the name itself without one."""
    parts = name.split(".")
    place = next((number for number, part in enumerate(parts) if part in HEADS), len(parts) - 1)
    return ".".join(parts[: place + 1])


def _is_projection(name: str) -> bool:
    parts = name.split(".")
    classifies = any(part in HEADS or part.startswith("class") for part in parts)
    return not classifies and any(word in part for part in parts for word in _PROJECTIONS)


def ends_with(module: torch.nn.Module, width: int) -> bool:
    """True if the last matrix of the module makes this many numbers."""
    matrices = [parameter for parameter in module.parameters() if parameter.dim() == 2]
    return bool(matrices) and matrices[-1].shape[0] == width


def has_classes(module: Any) -> bool:
    return getattr(module, "num_classes", None) != 0


def one_row_each(output: torch.Tensor) -> torch.Tensor | None:
    """(B, D) from an output with one axis besides the batch that is longer than 1; None for maps and tokens."""
    if output.dim() < 2:
        raise CandidateError(f"the module returns the shape {tuple(output.shape)}; expected one row for each input")
    return output.flatten(1) if sum(side > 1 for side in output.shape[1:]) <= 1 else None


def are_same(one: Any, other: Any) -> bool:
    """True for the same object, and for equal tensors or logits."""
    import torch

    if one is other:
        return True
    one, other = _tensor_of(one), _tensor_of(other)
    both = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and one.shape == other.shape and torch.equal(one, other)


def _tensor_of(output: Any) -> Any:
    """The logits of a named output; else the output itself."""
    return output.get("logits", output) if isinstance(output, Mapping) else getattr(output, "logits", output)
