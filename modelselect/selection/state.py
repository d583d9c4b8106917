"""`State`: what a run of the funnel knows between two stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.outlook import Outlook
from modelselect.evaluation.results import ScoringResult, TuningResult
from modelselect.ranking.ranking import Ranking
from modelselect.selection.forecast import Forecast, PlannedRound
from modelselect.utils.progress import Progress


@dataclass(frozen=True)
class Rounds:
    """What was done under a budget.

    Attributes:
        planned: the rounds, as planned before the first.
        stages: what was done, as plain data.
        first_place_holds: the probability that the first by score stays first on more rows; None if unknown.
        forecast: what candidates take, as measured.
    """

    planned: tuple[PlannedRound, ...]
    stages: tuple[Mapping[str, Any], ...]
    first_place_holds: float | None
    forecast: Forecast


@dataclass(frozen=True, kw_only=True)
class State:
    """What a run knows so far. A stage takes a state and returns the next one; it changes none.

    Attributes:
        context: under which conditions candidates are evaluated; after scoring, those of the last round.
        bars: show progress.
        pool: the candidates that are left, in the order given.
        results: the result of scoring a candidate, or why it has no scores, by id.
        chosen: the record of how the candidates were chosen; None where the caller named all of them.
        recalled: the record of recall; None without recall.
        layers: the record of how layers were chosen; None where no candidate left its layer open.
        ranking: the candidates in order, without provenance.
        outlook: what all evidence so far says of the candidates; None before scoring, or if none has a score.
        tuned: the result of fine-tuning a candidate for one epoch, by id; empty without this stage.
        fine_tuning: the recipe that was used, as plain data; None if no fine-tuning was asked for.
        bound: what of the default recipe fits `max_time`, as plain data; None if all of it does, or if a recipe or a
            budget is given.
        rounds: what was done under the budget; None without one.
    """

    context: EvaluationContext
    bars: Progress
    pool: tuple[Candidate, ...]
    results: Mapping[str, ScoringResult | Failure]
    chosen: Mapping[str, Any] | None = None
    recalled: Mapping[str, Any] | None = None
    layers: Mapping[str, Any] | None = None
    ranking: Ranking = field(default_factory=Ranking.empty)
    outlook: Outlook | None = None
    tuned: Mapping[str, TuningResult] = field(default_factory=dict)
    fine_tuning: Mapping[str, Any] | None = None
    bound: Mapping[str, Any] | None = None
    rounds: Rounds | None = None

    @property
    def unsettled(self) -> list[Candidate]:
        """The candidates of the pool that have no result yet."""
        return [candidate for candidate in self.pool if candidate.id not in self.results]

    @property
    def brief(self) -> dict[str, float]:
        """The accuracy after one epoch of fine-tuning, from 0 to 1, by candidate id; see `Brief`."""
        return {key: result.brief.accuracy for key, result in self.tuned.items()}
