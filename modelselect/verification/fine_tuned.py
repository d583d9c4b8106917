"""Fine-tuned weights: read from the store, and loaded into a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.candidates.backbone import Backbone, Reader
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError
from modelselect.probe.rows import IMAGE
from modelselect.store.store import Store
from modelselect.utils.target_kinds import ROW
from modelselect.verification.parts import PartLogits, task_of_parts
from modelselect.verification.signature import Signature

if TYPE_CHECKING:
    import torch

KIND = "fine_tuned"
"""Kind of the store's entries that hold fine-tuned weights."""

_BODY, HEAD_PREFIX = "body.", "head."


@dataclass(frozen=True)
class FineTuned:
    """Fine-tuned weights, and the classes that they are for.

    Attributes:
        weights: `head.weight` (classes, D), `head.bias` (classes,), and, unless only the head was trained, the
            backbone's weights by name, with the prefix `body.`.
        class_names: of the logits, in order.
        method: which weights were trained; see `METHODS`.
        signature: what the model takes and what its answers mean; None if an earlier version kept the weights.
    """

    weights: Mapping[str, Any]
    class_names: tuple[str, ...]
    method: str
    signature: Signature | None = None

    @classmethod
    def of(cls, key: str, places: Sequence[str | os.PathLike[str] | None]) -> FineTuned:
        """From the first of these stores that has them.

        Raises:
            CandidateError: no store has them.
        """
        stores = [Store(place) for place in dict.fromkeys(places)]
        for store in stores:
            if (entry := store.get(key)) is not None:
                known = entry.metadata
                names, signature = tuple(known["class_names"]), Signature.of_description(known)
                return cls(entry.arrays, names, known["method"], signature)
        raise CandidateError(
            f"the fine-tuned weights ({key}) are not in {' or '.join(str(store.path) for store in stores)}: they were "
            "evicted, or the candidate was fine-tuned on another machine. To make them again, run select() again with "
            "the same arguments: what is still in the store is not computed again. If they are in another store, "
            "give the store's folder with load(cache_dir=...). Or load the pre-trained weights with "
            "load(fine_tuned=False)."
        )

    def signature_for(self, candidate: Candidate) -> Signature:
        """What the model takes and answers; of weights of earlier versions, as far as the candidate shows it."""
        modality = str(candidate.metadata.get("modality") or IMAGE)
        return self.signature or Signature(self.class_names, modality)

    def put_into(self, module: torch.nn.Module) -> None:
        """Loads the backbone's weights into its module.

        Raises:
            CandidateError: the weights belong to another module.
        """
        body = {name.removeprefix(_BODY): value for name, value in self.weights.items() if name.startswith(_BODY)}
        if not body:
            return
        try:
            module.load_state_dict({name: _tensor(value) for name, value in body.items()})
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise CandidateError(
                f"the fine-tuned weights do not fit the module that the zoo loads ({reason}). Run select() again"
            ) from error

    def head(self) -> torch.nn.Linear:
        """The linear head, from (N, D) features to (N, classes) logits.

        Raises:
            CandidateError: the weights hold none.
        """
        import torch

        found = [self.weights.get(f"{HEAD_PREFIX}{name}") for name in ("weight", "bias")]
        if found[0] is None or found[1] is None or found[0].ndim != 2 or found[1].shape != found[0].shape[:1]:
            raise CandidateError(
                f"the fine-tuned weights hold no head; expected {HEAD_PREFIX}weight (classes, D) and {HEAD_PREFIX}bias "
                "(classes,). Save the winner again with board.best.save(), or --save"
            )
        weight, bias = map(_tensor, found)
        head = torch.nn.Linear(weight.shape[1], weight.shape[0])
        head.load_state_dict({"weight": weight, "bias": bias})
        return head.eval()

    def on(self, backbone: Backbone, weights_key: str) -> Backbone:
        """The fine-tuned backbone with its head: the module gives logits of `class_names`. Takes over the module."""
        self.put_into(backbone.module)
        reads: Reader = HeadInput("head")
        if self.signature is not None and self.signature.unit != ROW:
            backbone, reads = task_of_parts(self.signature.unit).training(backbone), PartLogits()
        return Backbone(
            backbone.candidate,
            classifier(backbone.module, backbone.read, self.head()),
            backbone.preprocessing,
            reads,
            weights_key,
            class_names=self.class_names,
        )


def classifier(body: torch.nn.Module, read: Reader, head: torch.nn.Linear) -> torch.nn.Module:
    """A module from a batch of the body to (N, classes) logits, or (N, ..., classes) of parts of rows."""
    import torch

    class Classifier(torch.nn.Module):
        """A head on the features of a body."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = body, head

        def forward(self, batch: Any) -> torch.Tensor:
            logits: torch.Tensor = self.head(read(self.body, batch).features)
            return logits

    return Classifier().eval()


def _tensor(value: Any) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(value))
