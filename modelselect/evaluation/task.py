"""`ScoringTask`: what executors run on every candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.loading import Assessor
from modelselect.evaluation.results import Preview, ScoringResult


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """Scores one candidate: evidence, then every estimator on it, all through the store. Called by executors."""

    context: EvaluationContext
    _ahead: dict[str, Assessor] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, candidate: Candidate) -> None:
        """Loads the candidate before its turn, if it will have to be loaded; see `Executor.map`."""
        assessor = Assessor(self.context, candidate)
        assessor.load_ahead()
        self._ahead[candidate.id] = assessor

    def preview(self, candidate: Candidate, *, trace: bool = True) -> Preview:
        """What scoring the candidate would take, without loading it.

        Args:
            candidate: what would be scored.
            trace: whether its architecture may be traced; False asks its zoo and the store alone.
        """
        return Assessor(self.context, candidate).preview(trace)

    def graph(self, candidate: Candidate) -> str | None:
        """The candidate's architecture as JSON; None where nobody knows it without loading the candidate."""
        return Assessor(self.context, candidate).graph_unloaded()

    def features(self, candidate: Candidate) -> NDArray[np.floating[Any]]:
        """(N, D) features of the probe, through the store: what a proxy sees of the dataset."""
        return Assessor(self.context, candidate).features()

    def __call__(self, candidate: Candidate) -> ScoringResult | Failure:
        assessor = self._ahead.pop(candidate.id, None) or Assessor(self.context, candidate)
        try:
            return assessor.assess()
        except Exception as error:
            return Failure.from_exception(assessor.stage, error)
