"""How features and logits are read from a module: a small class for each way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Outputs, Reader
from modelselect.candidates.calling import call, described, one_tensor, token_mask
from modelselect.candidates.layouts import LAST, declared_axis, pool, stated_axis
from modelselect.candidates.metadata import source_classes
from modelselect.candidates.modules import alone_with, dequantized
from modelselect.candidates.watching import encoder_outputs, first_tensor, sole_input
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HeadInput:
    """Features are the classifier's input; logits are the module's output. One forward pass.

    Attributes:
        head: name of the classifier's submodule.
        has_logits: False if the head is an identity or not a classifier of source classes.
        axis: of the channels in the classifier's input, if that is not one row for each input; see `pool`.
        makes_logits: True if the logits are the head's own output, because the module makes probabilities of them.

    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 10)).eval()
    >>> features, logits = HeadInput("1")(module, torch.zeros(2, 8))
    >>> features.shape, logits.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
    """

    head: str
    has_logits: bool = True
    axis: int | None = None
    makes_logits: bool = False

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        captured: list[torch.Tensor] = []
        made: list[torch.Tensor] = []

        def capture(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = first_tensor(arguments, named)
            if given is not None:  # a copy, because the head may work in place
                captured.append(pool(dequantized(given), self.axis).clone())

        head = module.get_submodule(self.head)
        with alone_with(module):
            handles = [head.register_forward_pre_hook(capture, with_kwargs=True)]
            if self.makes_logits:  # a copy, because the activation may work in place
                handles.append(head.register_forward_hook(lambda _head, _given, output: made.append(output.clone())))
            try:
                output = call(module, batch)
            finally:
                for handle in handles:
                    handle.remove()
        if not captured:
            raise CandidateError(f"the forward pass never reached the classifier {self.head!r}")
        if not self.has_logits:
            return Outputs(captured[-1], None)
        return Outputs(captured[-1], pool(dequantized(made[-1]) if made else one_tensor(output, module)))


@dataclass(frozen=True)
class FeatureMethod:
    """Features from a method of the module, logits from calling the module: two forward passes.

    Attributes:
        has_logits: False if the module has no classifier.
        axis: of the channels in the result of the method; see `pool`.
        method: name of the method.
    """

    has_logits: bool = True
    axis: int | None = None
    method: str = "forward_features"

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        features = pool(one_tensor(getattr(module, self.method)(batch), module), self.axis)
        return Outputs(features, pool(one_tensor(module(batch), module)) if self.has_logits else None)


@dataclass(frozen=True)
class WholeOutput:
    """Features are the module's output; there are no source classes.

    Attributes:
        axis: of the channels in the output; see `pool`.
    """

    axis: int | None = None

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(pool(one_tensor(call(module, batch), module), self.axis), None)


@dataclass(frozen=True)
class OwnFeatures:
    """Features are the module's output as it is; there are no source classes."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(module(batch), None)


@dataclass(frozen=True)
class PreLogits:
    """Features are the pre-logits; logits are computed from the same pass through the body.

    `HeadInput` does not suffice: some heads have several classifiers, or normalise between pre-logits and logits.

    Attributes:
        has_logits: False if the module has no classifier of source classes.
        axis: of the channels in pre-logits that the module does not pool; see `pool`.
    """

    has_logits: bool = True
    axis: int | None = None

    @classmethod
    def of(cls, module: Any) -> PreLogits:
        """As the module's own facts say: its number of classes, its classifier, its tag, its output format."""
        classes = getattr(module, "num_classes", None)
        tag = (getattr(module, "pretrained_cfg", None) or {}).get("tag")
        known = classes is None or source_classes(tag, classes) > 1
        return cls(known and not _has_identity(module), LAST if stated_axis(module) == LAST else None)

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        body = module.forward_features(batch)
        features = pool(module.forward_head(body, pre_logits=True), self.axis)
        return Outputs(features, pool(module.forward_head(body), self.axis) if self.has_logits else None)


def _has_identity(module: Any) -> bool:
    """True if the classifier of the module is an identity."""
    import torch

    try:
        heads = module.get_classifier()
    except Exception:  # there is none, or the caller has replaced its place
        return False
    return any(isinstance(head, torch.nn.Identity) for head in (heads if isinstance(heads, tuple) else (heads,)))


@dataclass(frozen=True)
class EncoderOutput:
    """Features from the output of the encoder below the head: its pooled output, else its class token, else the mean.

    Of token ids, the features are the mean over the tokens that are not padding. If each token sees only those before
    it, they are the last one's.

    Attributes:
        pooled: False if the encoder's pooler has no trained weights, or is not to be read.
        class_token: True if the first token represents the image.
        has_logits: True if the module's output has logits of source classes.
        last: True if the last token represents the text.
    """

    pooled: bool
    class_token: bool
    has_logits: bool
    last: bool = False

    def __call__(self, module: Any, batch: Any) -> Outputs:
        with encoder_outputs(module) as seen:
            output = call(module, batch)
        return self.outputs_of(module, batch, seen[-1] if seen else output, output)

    def outputs_of(self, module: Any, batch: Any, encoded: Any, output: Any) -> Outputs:
        """From the encoder's output and the module's."""
        return Outputs(self._features(module, encoded, batch), pool(output.logits) if self.has_logits else None)

    def _features(self, module: Any, output: Any, batch: Any) -> torch.Tensor:
        import torch

        pooled = getattr(output, "pooler_output", None)
        if self.pooled and pooled is not None:
            return pool(pooled)
        hidden = getattr(output, "last_hidden_state", None)
        if hidden is None:
            hidden = one_tensor(getattr(output, "feature_maps", output), module)
        if self.class_token and hidden.dim() == 3:
            return hidden[:, 0]
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else token_mask(module, batch)
        if self.last and hidden.dim() == 3:
            places = torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape[:2])
            places = places if mask is None else places * mask
            return hidden[torch.arange(len(hidden), device=hidden.device), places.amax(1)]
        if mask is not None and hidden.shape[:2] == mask.shape:
            weights = mask[..., None].to(hidden.dtype)
            return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return pool(hidden, declared_axis(module, tuple(hidden.shape)))


@dataclass(frozen=True)
class Within:
    """What another reader gets from a submodule whose output is the module's output.

    Attributes:
        part: name of the submodule.
        read: the reader of the submodule.
    """

    part: str
    read: Reader

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        inner, given = module.get_submodule(self.part), []

        def stop(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given.append(sole_input(inner, arguments, named))
            raise _Reached

        handle = inner.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            call(module, batch)
        except _Reached:
            pass
        finally:
            handle.remove()
        if not given:
            raise CandidateError(f"the forward pass never reached the submodule {self.part!r}")
        return self.read(inner, given[-1])


class _Reached(Exception):  # noqa: N818 - no error
    """Ends a forward pass where the input of a submodule is known."""


@dataclass(frozen=True)
class OwnReader:
    """The caller's own function of a module and a batch: it returns (B, D) features, or these and (B, S) logits."""

    function: Callable[[Any, Any], Any]

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        import torch

        given = self.function(module, batch)
        features, logits = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        for what, tensor in (("features", features), ("logits", logits)):
            if tensor is None and what == "logits":
                continue
            if not isinstance(tensor, torch.Tensor) or tensor.dim() != 2 or len(tensor) != len(batch):
                raise CandidateError(
                    f"`read` returns {what} as {described(tensor)}; expected a tensor with one row of numbers for "
                    f"each of the {len(batch)} inputs"
                )
        return Outputs(features, logits)
