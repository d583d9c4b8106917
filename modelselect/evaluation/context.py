"""`ScoringTask`: what executors run on every candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.candidates.zoo import Zoo
from modelselect.errors import Failure
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.loading import Assessor
from modelselect.evaluation.results import Preview, ScoringResult
from modelselect.extraction.extractor import BatchProgress
from modelselect.extraction.inputs import InputCache

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelselect.history.view import RecallContext
    from modelselect.probe.nested import Nested
    from modelselect.probe.probe import Probe


@dataclass
class ScoringTask:
    """Assesses one candidate: evidence, then every estimator on it, all through the store. Called by executors.

    Attributes:
        nested: where the probe is a part of a larger one, how its evidence is put together from blocks.
        half: about half of the probe's rows, on which to score as well.
        costs: whether to measure what a candidate costs on this device.
        limits: what it may cost.
    """

    probe: Probe
    source: Probe | None
    estimators: tuple[Estimator, ...]
    cache_dir: Path
    spool: InputCache
    device: str
    batch_size: int | None
    trust_remote_code: bool
    seed: int
    zoos: Mapping[str, Zoo]
    precision: str = "float32"
    compile: bool = False
    resamples: int = 0
    progress: BatchProgress | None = None
    recollection: RecallContext | None = None
    proxy: Candidate | None = None
    nested: Nested | None = None
    half: Nested | None = None
    costs: bool = False
    limits: Limits = field(default_factory=Limits)
    _ahead: dict[str, Assessor] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> Probe:
        """All rows that candidates may be shown."""
        return self.probe if self.nested is None else self.nested.whole

    def prepare(self, candidate: Candidate) -> None:
        """Loads the candidate ahead of its turn, if that will be needed; see `Executor.map`."""
        assessor = Assessor(self, candidate)
        assessor.load_ahead()
        self._ahead[candidate.id] = assessor

    def foresee(self, candidate: Candidate, *, trace: bool = True) -> Preview:
        """What assessing it would take, without loading it; without `trace`, as far as its zoo and the store say."""
        return Assessor(self, candidate).foresee(trace)

    def graph(self, candidate: Candidate) -> str | None:
        """Its architecture as JSON, as far as that can be told without loading it."""
        return Assessor(self, candidate).graph_unloaded()

    def features(self, candidate: Candidate) -> NDArray[np.floating[Any]]:
        """(N, D) of the probe, through the store: what a proxy sees of it."""
        found: NDArray[np.floating[Any]] = Assessor(self, candidate).features()
        return found

    def __call__(self, candidate: Candidate) -> ScoringResult | Failure:
        assessor = self._ahead.pop(candidate.id, None) or Assessor(self, candidate)
        try:
            return assessor.assess()
        except Exception as error:
            return Failure.from_exception(assessor.stage, error)
