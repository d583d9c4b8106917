"""`TrainingMemory`: what fine-tuning one candidate takes, through the store, and whether the limits allow that."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from modelselect.architectures.twin import make_twin
from modelselect.candidates.expression import LAYERS
from modelselect.errors import Stage, at, contained
from modelselect.evaluation.costs import refuse
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.probe.image_parts import without_place
from modelselect.store.store import Store
from modelselect.utils.process_state import unchanged
from modelselect.utils.versions import numeric_versions
from modelselect.verification.footprint import Run, peak_bytes, states_bytes

if TYPE_CHECKING:
    import torch


class TrainingMemory:
    """Estimates the memory of fine-tuning a candidate by the context's recipe, or finds the estimate in the store."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._context = loader.context
        self._store = Store(loader.context.cache_dir)

    def check(self) -> None:
        """Raises CandidateError if fine-tuning takes more memory than the limit, or if that cannot be known.

        A candidate that cannot be loaded raises what loading raises.
        """
        if self._context.limits.max_training_memory is not None:
            refuse(self.exceeded(may_load=True))

    def exceeded(self, *, may_load: bool) -> str | None:
        """Why fine-tuning takes too much memory; None if it does not, or if only the loaded candidate could say.

        Args:
            may_load: whether the candidate may be loaded. If that does not help either, the memory is unknown, which
                is a reason, too.
        """
        context, limits = self._context, self._context.limits
        recipe, method, device = context.recipe, context.method, context.compute.device
        rows = f"{recipe.batch_size} rows at a time"
        training = f"training its head with {rows}" if method == "head" else f"fine-tuning ({method}) with {rows}"
        parameters = self._loader.candidate.metadata.get("parameters")
        if isinstance(parameters, int) and self._loader.candidate.zoo != LAYERS:  # of a layer, only a part is trained
            least = states_bytes(parameters, recipe, method, device)
            if (reason := limits.training_memory_exceeded(training, least, or_more=True)) is not None:
                return reason
        needed = self.bytes(may_load=may_load)
        if needed is not None:
            return limits.training_memory_exceeded(training, needed)
        return "the memory that its fine-tuning takes is not known" if may_load else None

    def bytes(self, *, may_load: bool = True) -> int | None:
        """The most bytes that fine-tuning takes at one time; None if they are not known.

        Raises:
            Exception: the candidate may be loaded, and cannot be; another run may succeed, so nothing is stored.
        """
        context = self._context
        recipe, device = context.recipe, context.compute.kind
        key = Store.key(
            "training_memory",
            candidate=self._loader.candidate.id,
            zoo=Keys(self._loader).zoo_version,
            rows=context.whole.fingerprint if self._loader.is_own else None,
            batch_size=recipe.batch_size,
            optimizer=(recipe.optimizer, recipe.momentum > 0),
            validates=recipe.validates,
            precision=recipe.precision,
            lora_rank=recipe.lora_rank,
            method=context.method,
            device=device,
            versions=numeric_versions(),
        )
        if (entry := self._store.get(key)) is not None:
            return self._with_parts(entry.metadata["bytes"])
        needed: int | None = None
        with unchanged(imports=True):
            try:
                with at(Stage.LOAD):
                    found = self._module(may_load)
            except Exception:  # plugins raise anything, and some of that passes: no network, no free memory
                if may_load:
                    raise
                return None
            if found is None:
                return None
            with contextlib.suppress(Exception), contained():  # modules raise anything, each time
                needed = peak_bytes(*found, recipe, context.method, device)
        self._store.put(key, {}, {"bytes": needed})
        return self._with_parts(needed)

    def _with_parts(self, needed: int | None) -> int | None:
        """With what the outputs for the parts of inputs take, which are not stored with the rest."""
        context = self._context
        if needed is None or context.task is None or context.method == "head":
            return needed
        return needed + context.task.training_bytes(context.recipe.batch_size, context.probe.n_classes)

    def bytes_if_loadable(self) -> int | None:
        """`bytes`; None if the candidate cannot be loaded now."""
        with contextlib.suppress(Exception):
            return self.bytes()
        return None

    def _module(self, may_load: bool) -> tuple[torch.nn.Module, Run] | None:
        """The module without weights, and its forward pass; None if only the loaded candidate could say."""
        import torch

        loader, known = self._loader, self._loader.candidate.metadata
        size: tuple[int, ...] = known.get("input_size") or ()
        is_text = known.get("modality") == "text"

        def on_tokens(module: Any, rows: int) -> Any:
            return module(input_ids=torch.ones(rows, size[0], dtype=torch.long, device="meta"))

        def on_images(module: Any, rows: int) -> Any:
            return module(torch.zeros(rows, *size, device="meta"))

        if loader.loaded is None and size:
            skeleton = loader.zoo.skeleton(loader.candidate, trust_remote_code=loader.context.trust_remote_code)
            if skeleton is not None:
                return skeleton, on_tokens if is_text else on_images
        if not may_load and not loader.is_own:
            return None
        backbone = loader.backbone
        twin = make_twin(backbone.module, "meta", requires_grad=False)
        if is_text and size:
            return twin, on_tokens
        row = backbone.preprocessing.prepare(without_place(loader.context.probe.item(0)))
        shape = backbone.preprocessing.finish(row[None]).shape[1:]
        return twin, lambda module, rows: backbone.read(module, torch.zeros(rows, *shape, device="meta"))
