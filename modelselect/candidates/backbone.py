"""A loaded candidate: its module, its preprocessing, and how features and source-class logits are read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modelselect.candidates.candidate import Candidate

if TYPE_CHECKING:
    import torch


class Outputs(NamedTuple):
    """What one forward pass says: `features` (B, D) and `logits` (B, S), None where there are no source classes."""

    features: torch.Tensor
    logits: torch.Tensor | None


class Preprocessing(Protocol):
    """One input (a PIL image, a text, an array) -> a tensor; then a batch of those -> what the module takes.

    The work is in two parts so that the first is done once and kept small: `prepare` decodes, resizes and crops, in
    uint8 where it can; `finish` turns a stacked batch, on the compute device, into the module's input.
    """

    @property
    def key(self) -> str:
        """Equal for two preprocessings exactly when they do the same; part of every stored number's identity."""
        ...

    def prepare(self, item: Any) -> torch.Tensor: ...

    def finish(self, batch: torch.Tensor) -> torch.Tensor: ...


class Reader(Protocol):
    """How to get `Outputs` from a module, in one forward pass where that is possible."""

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs: ...


@dataclass
class Backbone:
    """A candidate with its weights.

    Attributes:
        candidate: what was loaded.
        module: in evaluation mode, float32.
        preprocessing: of one input.
        read: how to get features and logits from the module.
        weights_key: digest of what was loaded (code and weights), so that changed weights never meet old evidence.
        source: sample of what it was pre-trained on, as `Probe.of` takes it, where the zoo has one at hand.
        class_names: of the logits that its module gives, in order, where it was fine-tuned and is ready to use.
    """

    candidate: Candidate
    module: torch.nn.Module
    preprocessing: Preprocessing
    read: Reader
    weights_key: str
    source: Any = None
    class_names: tuple[str, ...] | None = None
