"""`Describer`: a candidate's graph, multiply-accumulates and parameter count, through the store."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelselect.architectures.graph_json import to_json
from modelselect.architectures.trace import input_of, trace_and_count
from modelselect.candidates.readers import FeatureMethod, without_head
from modelselect.errors import CandidateError, contained
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import INTERPRETER_LOCK, Loader
from modelselect.evaluation.results import Architecture
from modelselect.store.store import Store
from modelselect.utils.eager import unmarked_kernels
from modelselect.utils.process_state import unchanged

if TYPE_CHECKING:
    import torch


class Describer:
    """Finds one candidate's architecture in the store, or traces it, without weights where that is possible."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._keys = Keys(loader)
        self._store = Store(loader.context.cache_dir)

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
        graph = macs = parameters = None
        with (
            INTERPRETER_LOCK,
            contextlib.suppress(Exception),
            contained(),
            unchanged(imports=True),
            unmarked_kernels(),
        ):  # plugins and modules raise anything
            module, inputs = self._example(may_load)
            parameters = sum(p.numel() for p in module.parameters())
            traced, macs = trace_and_count(module, **inputs)
            graph = None if traced is None else to_json(traced)
        return None if parameters is None else Architecture(graph, macs, parameters)

    def _example(self, may_load: bool) -> tuple[torch.nn.Module, dict[str, Any]]:
        """A module and its inputs: the loaded one, else one without weights if the zoo makes such, else load one."""
        import torch

        loader, inputs = self._loader, input_of(self._loader.candidate)
        if loader.loaded is None:
            skeleton = loader.zoo.skeleton(loader.candidate, trust_remote_code=loader.context.trust_remote_code)
            if skeleton is not None and (inputs := inputs or input_of(loader.zoo.in_detail(loader.candidate))):
                return skeleton, inputs
            if not may_load:
                raise CandidateError(f"{loader.candidate} may not be loaded to describe its architecture")
        backbone = loader.backbone
        if "example" in inputs:  # token ids: neither graph nor count may depend on how the probe's texts are padded
            return backbone.module, inputs
        rows = [backbone.preprocessing.prepare(loader.context.probe.item(index)) for index in range(2)]
        module, read = backbone.module, backbone.read
        if isinstance(read, FeatureMethod) and not read.has_logits:
            module = without_head(module, read.method)
        return module, {"example": backbone.preprocessing.finish(torch.stack(rows))}
