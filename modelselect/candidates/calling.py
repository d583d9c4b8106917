"""How a module is called, and the one tensor that it returns."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelselect.candidates.layouts import FIRST, LAST
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch


def call(module: Any, batch: Any) -> Any:
    """The module's output for a batch: a tensor, or a mapping of keyword arguments.

    Token ids of an encoder whose `config` names the padding come with a mask of the padding. An encoder whose `config`
    asks for tuples is asked for named outputs.
    """
    named = {} if getattr(getattr(module, "config", None), "return_dict", True) else {"return_dict": True}
    if isinstance(batch, Mapping):
        return module(**batch, **named)
    mask = token_mask(module, batch)
    return module(batch, **named) if mask is None else module(batch, attention_mask=mask, **named)


def token_mask(module: Any, batch: Any) -> torch.Tensor | None:
    """True for token ids (B, T) that are not padding, if the module says which id that is and takes a mask."""
    import torch

    padding = getattr(getattr(module, "config", None), "pad_token_id", None)
    if not isinstance(batch, torch.Tensor) or batch.is_floating_point() or batch.dim() != 2 or type(padding) is not int:
        return None
    if not is_encoder(module) or "attention_mask" not in inspect.signature(module.forward).parameters:
        return None
    return (batch != padding).long()


def is_encoder(module: Any) -> bool:
    """True for a model of transformers, by the facts that each of them has."""
    return isinstance(getattr(module, "base_model_prefix", None), str) and hasattr(module, "config")


def without_head(module: torch.nn.Module, method: str = "forward_features") -> torch.nn.Module:
    """A module whose forward pass is this method of the module: what runs if there is no head."""
    import torch

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return getattr(self.module, method)(batch)  # type: ignore[no-any-return]

    return Body()


def one_tensor(output: Any, module: Any) -> torch.Tensor:
    """The tensor that a module returns: alone, in a sequence of one, as `logits`, or as the only (B, D) tensor.

    Also the one value of a mapping, if the module is a graph that was cut to return intermediate features by name.

    Raises:
        CandidateError: there is another number of tensors; the message says how to choose one.
    """
    import torch

    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    output = output if logits is None else logits
    if isinstance(output, list | tuple) and len(output) == 1:
        (output,) = output
    if isinstance(output, Mapping) and len(output) == 1 and isinstance(module, torch.fx.GraphModule):
        (output,) = output.values()
    if isinstance(output, torch.Tensor):
        return output
    pairs = _parts(output)
    if len(pairs) == 1 and pairs[0][1].dim() == 2:
        return pairs[0][1]
    if not pairs:
        raise CandidateError(
            f"the module returns {described(output)}; expected one tensor of features or logits. Give a module that "
            "returns features, such as the backbone inside it"
        )
    listed = ", ".join(f"{place} of shape {tuple(tensor.shape)}" for place, tensor in pairs)
    # most likely rows, and more numbers than there are classes
    place, tensor = max(reversed(pairs), key=lambda pair: (pair[1].dim() == 2, pair[1].dim() == 2 and pair[1].shape[1]))
    raise CandidateError(
        f"the module returns {type(output).__name__}; expected one tensor, but there are {listed}. Say which one holds "
        "the features: give the candidate as (module, transform, read), for example with read = lambda module, batch: "
        f"{pooling(f'module(batch){place}', tensor.dim())}"
        + (" (or .mean((1, 2)) where the channels come last)" if tensor.dim() == 4 else "")
    )


def _parts(output: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors in an output, each with the Python code that gets it."""
    import torch

    if isinstance(output, Mapping):
        named = [(f"[{key!r}]", value) for key, value in output.items()]
    elif isinstance(output, list | tuple):
        named = [(f"[{number}]", value) for number, value in enumerate(output)]
    else:
        named = [(f".{name}", value) for name, value in vars(output).items()] if hasattr(output, "__dict__") else []
    return [(place, value) for place, value in named if isinstance(value, torch.Tensor) and value.dim() > 0]


def pooling(expression: str, dimensions: int, axis: int | None = None) -> str:
    """The expression for the mean over all axes but the batch's and the channels'; for the default axis, see `pool`."""
    axis = (LAST if dimensions == 3 else FIRST) if axis is None else axis
    places = tuple(place for place in range(1, dimensions) if place != axis % dimensions)
    return f"{expression}.mean({places if len(places) > 1 else places[0]})" if places else expression


def described(output: Any) -> str:
    shape = getattr(output, "shape", None)
    if shape is not None:
        return f"a tensor of shape {tuple(shape)}"
    inner = f" of {type(output[0]).__name__}" if isinstance(output, list | tuple) and output else ""
    return f"{type(output).__name__}{inner}"
