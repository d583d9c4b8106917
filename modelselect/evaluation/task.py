"""`ScoringTask`: what executors run on every candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.zoo import BYTES_PER_PARAMETER
from modelselect.errors import Failure, Stage, contained, stage_of
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.preview import graph_unloaded, passes_ahead, preview
from modelselect.evaluation.results import Preview, ScoringResult
from modelselect.evaluation.scoring import score
from modelselect.evaluation.training_memory import TrainingMemory
from modelselect.executor import Needs
from modelselect.extraction.devices import needs_of


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """Scores one candidate: evidence, then every estimator on it, all through the store. Called by executors."""

    result: ClassVar[type] = ScoringResult
    context: EvaluationContext
    _ahead: dict[str, Loader] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, candidate: Candidate) -> None:
        """Loads the candidate before its turn, if it will have to be loaded; see `Executor.map`."""
        loader = Loader(self.context, candidate)
        loader.load_ahead(lambda: passes_ahead(loader) > 0)
        self._ahead[candidate.id] = loader

    def preview(self, candidate: Candidate, *, trace: bool = True) -> Preview:
        """What scoring the candidate would take, without loading it.

        Args:
            candidate: what would be scored.
            trace: whether its architecture may be traced; False asks only its zoo and the store.
        """
        return preview(Loader(self.context, candidate), trace=trace)

    def training_memory_exceeded(self, candidate: Candidate) -> str | None:
        """Why fine-tuning the candidate takes too much memory, as far as this is known without loading it."""
        return TrainingMemory(Loader(self.context, candidate)).exceeded(may_load=False)

    def graph(self, candidate: Candidate) -> str | None:
        """The candidate's architecture as JSON; None if only the loaded candidate could say."""
        return graph_unloaded(Loader(self.context, candidate))

    def features(self, candidate: Candidate) -> NDArray[np.floating[Any]]:
        """(N, D) features of the probe, through the store: what a proxy sees of the dataset."""
        return Gatherer(Loader(self.context, candidate)).features()

    def needs(self, candidate: Candidate) -> Needs:
        """What scoring the candidate takes of a machine, as far as its number of parameters says."""
        parameters = candidate.metadata.get("parameters") or 0
        return needs_of(self.context.compute.device, BYTES_PER_PARAMETER * parameters, alone=self.context.costs)

    def blames(self, candidate: Candidate, failure: Failure) -> bool:
        """Whether one of the estimators ended the candidate's process; the task leaves it out from now on."""
        return self.context.underway is not None and self.context.underway.blames(candidate, failure)

    def __call__(self, candidate: Candidate) -> ScoringResult | Failure:
        loader = self._ahead.pop(candidate.id, None) or Loader(self.context, candidate)
        try:
            with contained():
                return score(loader)
        except Exception as error:
            return Failure.from_exception(stage_of(error, Stage.SCORE), error)
        finally:
            loader.put_back()
