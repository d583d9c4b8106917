"""`Describer`: a candidate's graph, multiply-accumulates and parameter count, through the store."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from modelselect.architectures.graph_json import to_json
from modelselect.architectures.trace import input_of, trace_and_count
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.calling import without_head
from modelselect.candidates.readers import FeatureMethod
from modelselect.errors import CandidateError, contained
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import Architecture
from modelselect.probe.image_parts import without_place
from modelselect.utils.eager import unmarked_kernels

if TYPE_CHECKING:
    import torch


MOST_TRACED = 200
"""Number of architectures that a process remembers: a listing of the Hub holds many copies of each."""

_TRACED: OrderedDict[Hashable, Architecture] = OrderedDict()


class Describer:
    """Finds one candidate's architecture in the store, or traces it, without weights where that is possible."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._keys = Keys(loader)
        self._store = loader.context.store

    def describe(self, *, may_load: bool = True) -> Architecture:
        """The architecture, as far as it is known.

        Args:
            may_load: whether the candidate may be loaded if nothing else knows its architecture.
        """
        key = self._keys.architecture()
        entry = self._store.get(key)
        described = self._trace(may_load) if entry is None else Architecture(**entry.metadata)
        if entry is None and described is not None:
            self._store.put(key, {}, asdict(described))
        described = described or Architecture()
        parameters = described.parameters or self._loader.candidate.metadata.get("parameters")
        return Architecture(described.graph, described.macs, parameters)

    def _trace(self, may_load: bool) -> Architecture | None:
        """The architecture, as the module shows it. For a module that cannot be traced, that is a lasting answer.

        None if there is no module to trace now. Another run may have one.
        """
        graph = macs = parameters = key = again = None
        with contextlib.suppress(Exception), contained():  # plugins and modules raise anything
            key = self._shared_key()
            if key in _TRACED:
                return _TRACED[key]
            with self._loader.putting_back(), unmarked_kernels():
                module, inputs, again = self._example(may_load)
                parameters = sum(p.numel() for p in module.parameters())
                traced, macs = trace_and_count(module, **inputs, again=again)
            graph = None if traced is None else to_json(traced)
        if parameters is None:
            return None
        found = Architecture(graph, macs, parameters)
        may_be_shared = again is not None or None not in (graph, macs)  # with other weights, the trace may not fail
        if key is not None and may_be_shared:
            _TRACED[key] = found
            if len(_TRACED) > MOST_TRACED:
                _TRACED.popitem(last=False)
        return found

    def _shared_key(self) -> Hashable:
        """The same for candidates whose modules without weights, and the inputs of these, are the same."""
        loader, known = self._loader, self._loader.candidate.metadata
        if loader.loaded is not None and not loader.is_own:
            return None
        with contextlib.nullcontext() if loader.is_own else loader.putting_back():
            text = loader.zoo.skeleton_key(loader.candidate, trust_remote_code=loader.context.trust_remote_code)
        if text is None:
            return None
        if loader.is_own:  # it is traced on rows of the probe, and as it is read
            return text, loader.context.whole.fingerprint, _body(loader.loaded or loader.backbone)
        size = known.get("input_size")
        return loader.zoo, text, known.get("modality"), None if size is None else tuple(size)

    def _example(self, may_load: bool) -> tuple[torch.nn.Module, dict[str, Any], Callable[[], torch.nn.Module] | None]:
        """A module and its inputs: the loaded one, else one without weights if the zoo makes such, else load one.

        Last what makes another one without weights; None for a module with weights, which is needed otherwise.
        """
        import torch

        loader, inputs = self._loader, input_of(self._loader.candidate)
        if loader.loaded is None:
            make = partial(loader.zoo.skeleton, loader.candidate, trust_remote_code=loader.context.trust_remote_code)
            skeleton = make()
            if skeleton is not None and (inputs := inputs or input_of(loader.zoo.in_detail(loader.candidate))):
                return skeleton, inputs, make
            if not may_load:
                raise CandidateError(f"{loader.candidate} may not be loaded to describe its architecture")
        backbone = loader.backbone
        if "example" in inputs:  # token ids: neither graph nor count may depend on how the probe's texts are padded
            return backbone.module, inputs, None
        items = map(loader.context.probe.item, range(2))
        rows = [backbone.preprocessing.prepare(without_place(item)) for item in items]
        body = _body(backbone)
        module = backbone.module if body is None else without_head(backbone.module, body)
        return module, {"example": backbone.preprocessing.finish(torch.stack(rows))}, None


def _body(backbone: Backbone) -> str | None:
    """The method that is all of the module that is used; None for the module itself."""
    read = backbone.read
    return read.method if isinstance(read, FeatureMethod) and not read.has_logits else None
