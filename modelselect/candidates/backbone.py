"""A loaded candidate: its module, its preprocessing, and how features and source-class logits are read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modelselect.candidates.candidate import Candidate

if TYPE_CHECKING:
    import torch


class Outputs(NamedTuple):
    """The result of one forward pass: `features` (B, D), and `logits` (B, S) or None without source classes."""

    features: torch.Tensor
    logits: torch.Tensor | None


class Preprocessing(Protocol):
    """One input (a PIL image, a text, an array) -> a tensor; then a batch of tensors -> the module's input.

    There are two parts, so that the result of the first can be kept and is small: `prepare` decodes, resizes and crops,
    in uint8 if possible; `finish` turns a stacked batch into the module's input, on the compute device.
    """

    @property
    def key(self) -> str:
        """Equal for two preprocessings exactly if they do the same; a part of the key of every stored number."""
        ...

    def prepare(self, item: Any) -> torch.Tensor: ...

    def finish(self, batch: torch.Tensor) -> torch.Tensor: ...


class Reader(Protocol):
    """Gets `Outputs` from a module, in one forward pass where possible."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs: ...


class ReaderOfSeveral(Protocol):
    """Gets the `Outputs` of several candidates from the module that they are parts of, in one forward pass."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Sequence[Outputs]: ...


@dataclass
class Backbone:
    """A candidate with its weights.

    Attributes:
        candidate: the candidate that was loaded.
        module: in evaluation mode, float32.
        preprocessing: turns one input into a tensor for the module.
        read: gets features and logits from the module.
        weights_key: digest of code and weights, so that evidence of other weights is never reused.
        source: sample of the dataset it was pre-trained on, as `Probe.of` takes it, if the zoo has one; or a
            function without arguments that gives it, where it takes long to make.
        class_names: of the module's logits, in order, if it was fine-tuned and is ready to use.
        together: gives the candidates whose features the same forward pass gives; None if there are no others.
    """

    candidate: Candidate
    module: torch.nn.Module
    preprocessing: Preprocessing
    read: Reader
    weights_key: str
    source: Any = None
    class_names: tuple[str, ...] | None = None
    together: Callable[[], Together] | None = None


@dataclass(frozen=True)
class Together:
    """Several candidates whose features one forward pass gives: layers of one model, and its end.

    Attributes:
        backbone: the model, as it is loaded alone.
        read: gives the outputs of all parts.
        parts: the candidates as they are loaded alone, in the order of `read`. Only `candidate` and `weights_key` are
            read of them.
    """

    backbone: Backbone
    read: ReaderOfSeveral
    parts: tuple[Backbone, ...]


TOGETHER = "read_together_with"
"""The metadata of a candidate that a run reads together with others: the id of the model that they are layers of."""
