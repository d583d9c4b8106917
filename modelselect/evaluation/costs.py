"""`CostMeter`: what one candidate costs on this device, through the store, and whether the limits allow that."""

from __future__ import annotations

from dataclasses import asdict

from modelselect.errors import CandidateError, Failure, Stage, at
from modelselect.evaluation.description import Describer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import CostMeasurement
from modelselect.evaluation.timing import measure
from modelselect.extraction.extractor import choose_extractor
from modelselect.host.host import get_host
from modelselect.store.store import Store
from modelselect.utils.process_state import INTERPRETER_LOCK


class CostMeter:
    """Measures the costs of one candidate, or finds them in the store, and checks them against the context's limits."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._context = loader.context
        self._keys = Keys(loader)
        self._store = loader.context.store

    def check_parameters(self) -> None:
        """Raises CandidateError if the candidate has too many parameters, and its zoo does not know the number."""
        limits, loader = self._context.limits, self._loader
        if limits.max_parameters is None or loader.candidate.metadata.get("parameters") is not None:
            return
        parameters = Describer(loader).describe().parameters
        if parameters is None:
            parameters = sum(p.numel() for p in loader.backbone.module.parameters())
        refuse(limits.parameters_exceeded(parameters))

    def costs(self) -> tuple[CostMeasurement | Failure, bool]:
        """The costs, or why there are none, and whether the store had them.

        Raises:
            CandidateError: the candidate is too slow, or there is a limit and its costs cannot be measured.
        """
        limits = self._context.limits
        try:
            costs, reused = self._measured()
        except Exception as error:
            if limits.max_latency_ms is not None:
                raise
            return Failure.from_exception(Stage.COSTS, error), True
        refuse(limits.latency_exceeded(costs.latency_ms))
        return costs, reused

    def _measured(self) -> tuple[CostMeasurement, bool]:
        key = self._keys.costs()
        entry = self._store.get(key)
        if entry is not None:
            return CostMeasurement(**entry.metadata), True
        backbone, compute = self._loader.backbone, self._context.compute
        extractor = choose_extractor(get_host().extractors, backbone, compute.device, compute.extractor)
        with at(Stage.COSTS):
            with INTERPRETER_LOCK, self._store.lock(Store.key("costs", machine="this")):  # nothing else may run
                measured = measure(backbone, self._context.whole, extractor, compute)
            self._store.put(key, {}, asdict(measured))
        return measured, False


def refuse(reason: str | None) -> None:
    """Raises CandidateError with the reason why a candidate exceeds a limit, if there is one."""
    if reason is not None:
        with at(Stage.LIMIT):
            raise CandidateError(reason)
