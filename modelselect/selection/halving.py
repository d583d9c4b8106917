"""Scoring under a budget: ever larger probes for ever fewer candidates, until the first places are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from modelselect.budget.budget import DECISION_RESAMPLES, round_sizes
from modelselect.budget.chances import eliminated, win_probabilities
from modelselect.budget.meter import Gate, Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.results import Preview, ScoringResult
from modelselect.evaluation.standings import Standings, halved_totals, rank_rounds, stand
from modelselect.evaluation.task import ScoringTask
from modelselect.probe.nested import Nested, nest
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate
from modelselect.selection.forecast import (
    TRACING_SHARE,
    Forecast,
    PlannedRound,
    kept_for_verification,
    median_macs,
    plan_rounds,
)
from modelselect.utils.text import percent

Ended = Callable[[Candidate, ScoringResult | Failure], None]
Assess = Callable[[ScoringTask, Iterable[Candidate], int, Ended], Mapping[str, ScoringResult | Failure]]
"""Assesses candidates, taken one by one from so many at most, and tells of each whose work has ended."""


@dataclass(frozen=True)
class Scored:
    """What came of all rounds.

    Attributes:
        board: the ranking, without provenance.
        context: that of the last round.
        results: of each candidate in its last round, or why it has none.
        planned: the rounds as foreseen before the first.
        stages: what was done, as plain data.
        odds: how probable it is that the first is the best; None where nothing tells.
        forecast: of what candidates take.
    """

    board: Ranking
    context: EvaluationContext
    results: dict[str, ScoringResult | Failure]
    planned: tuple[PlannedRound, ...]
    stages: tuple[Mapping[str, Any], ...]
    odds: float | None
    forecast: Forecast


@dataclass
class SuccessiveHalving:
    """Scoring of a pool in rounds, under a budget.

    Attributes:
        context: on the whole probe.
        chosen: estimators that the ranking is by.
        methods: all estimators.
        meter: of the budget.
        confidence: with which the first places have to be decided.
        top_k: how many may be fine-tuned: so many places have to be decided, or the first.
        assess: does the work on candidates.
        workers: how many at a time.
    """

    context: EvaluationContext
    chosen: Sequence[Estimator]
    methods: Sequence[Estimator]
    meter: Meter
    confidence: float
    top_k: int
    assess: Assess
    workers: int = 1

    def score(self, pool: Sequence[Candidate], settled: Mapping[str, ScoringResult | Failure]) -> Scored:
        """Shows candidates as many rows as it takes to decide the first places, or as can be afforded.

        Args:
            pool: all candidates, in order.
            settled: of which it is known already why they have no scores.
        """
        probe, budget = self.context.probe, self.meter.budget
        looks = any(looks_at_rows(estimator) for estimator in self.chosen)
        parts = nest(probe, round_sizes(len(probe), probe.n_classes) if looks else [len(probe)])
        halves = [*nest(probe, [len(parts[0].rows) // 2]), *parts] if looks else [None]
        forecast = Forecast.of(budget, probe, self.context.compute.device)
        results = dict(settled)
        alive = [candidate for candidate in pool if candidate.id not in settled]
        rounds: list[Rung] = []
        stages: list[Mapping[str, Any]] = []
        planned: tuple[PlannedRound, ...] = ()
        while alive and len(rounds) < len(parts):
            number = len(rounds)
            begun, passed = self.meter.seconds, self.meter.passes
            this = self._prepared(parts[number], halves[number], forecast, alive, first=not rounds)
            if not rounds:
                rates = [forecast.row_seconds(f.macs) or None if f.passes else 0.0 for f in this.foreseen.values()]
                sizes = [len(part.rows) for part in parts]
                planned = plan_rounds(sizes, rates, budget, self._places, self._keep)
                alive.sort(key=this.price)  # so that what there is suffices for as many as possible
            elif fitting := self._fitting(alive, this):
                alive = fitting
            else:
                stages[-1] = {**stages[-1], "decision": f"{stages[-1]['decision']}; more rows cannot be afforded"}
                break
            found, refused = self._assessed(alive, this, forecast)
            found = {key: _with_costs_of(results.get(key), result) for key, result in found.items()}
            results |= found
            if not rounds:
                results |= {c.id: self._not_begun(this.price(c), none=not found) for c in alive if c.id not in found}
            reached = [c for c in pool if isinstance(found.get(c.id), ScoringResult)]
            if not reached:
                break
            this.standings = stand(reached, found, self.methods, self.chosen, this.task.context.resamples)
            rounds.append(this)
            alive, decision = self._decide(this, found, refused or len(rounds) == len(parts), len(parts))
            stages.append(
                {
                    "stage": "score",
                    "rows": this.rows,
                    "candidates": len(found),
                    "kept": len(alive) or len(reached),
                    "seconds": self.meter.seconds - begun,
                    "passes": self.meter.passes - passed,
                    "decision": decision + ("; the budget was used up" if refused else ""),
                }
            )
        return Scored(
            board=self._board(pool, results, rounds),
            context=rounds[-1].task.context if rounds else self.context,
            results=results,
            planned=planned,
            stages=tuple(stages),
            odds=rounds[-1].odds if rounds else None,
            forecast=forecast,
        )

    @property
    def _places(self) -> int:
        """That have to be decided."""
        return max(self.top_k, 1)

    @property
    def _keep(self) -> float:
        return kept_for_verification(self.meter.budget, self.top_k)

    def _prepared(
        self, part: Nested, half: Nested | None, forecast: Forecast, alive: Sequence[Candidate], *, first: bool
    ) -> Rung:
        """A round, with what is known of each candidate's work in it."""
        context = replace(
            self.context,
            probe=part.probe,
            nested=part,
            half=half,
            resamples=0 if half is None else self.context.resamples or DECISION_RESAMPLES,
            costs=self.context.costs and first,
        )
        task = ScoringTask(context)
        patience = self.meter.seconds + TRACING_SHARE * self.meter.budget.amount if first else math.inf
        timed = self.meter.budget.seconds is not None
        foreseen = {c.id: task.preview(c, trace=timed and self.meter.seconds < patience) for c in alive}
        typical = median_macs(each.macs for each in foreseen.values())
        return Rung(task, len(part.rows), foreseen, lambda c, f: forecast.price(c, f, len(part.rows), typical))

    def _fitting(self, alive: list[Candidate], this: Rung) -> list[Candidate]:
        """All of the candidates, best first, or the better half, or of that the better half, as can be afforded.

        Nobody where not even one more than there are places can be.
        """
        while sum(map(this.price, alive)) / self._parallel > self.meter.left - self._keep:
            if len(alive) <= self._places + 1:
                return []
            alive = alive[: max(math.ceil(len(alive) / 2), self._places + 1)]
        return alive

    @property
    def _parallel(self) -> int:
        return 1 if self.meter.budget.seconds is None else self.workers

    def _assessed(
        self, alive: Sequence[Candidate], this: Rung, forecast: Forecast
    ) -> tuple[Mapping[str, ScoringResult | Failure], bool]:
        """What became of those that could begin, and whether one could not."""
        gate = Gate(self.meter, self._keep, self._parallel)

        def ended(candidate: Candidate, result: ScoringResult | Failure) -> None:
            expected = gate.ended(candidate)
            if isinstance(result, ScoringResult):
                self.meter.passes += result.passes
                forecast.learn(candidate, result, this.rows, this.foreseen[candidate.id])
            elif self.meter.budget.seconds is None and result.stage != Stage.LIMIT:
                self.meter.passes += int(expected)  # how far it came, it cannot tell any more

        found = self.assess(this.task, gate.admit(alive, this.price), len(alive), ended)
        return found, gate.refused is not None

    def _not_begun(self, price: float, *, none: bool) -> Failure:
        told, left = self.meter.budget.told, max(self.meter.left - self._keep, 0.0)
        if none and not left:
            had = told(self.meter.budget.amount - self._keep)
            why = f"what the budget has for scoring ({had}) was gone before the first could begin. Give more"
        else:
            why = f"it takes about {told(price)}, and {told(left)} are left for scoring"
        return Failure(Stage.LIMIT, f"not begun: {why}")

    def _decide(
        self, this: Rung, found: Mapping[str, ScoringResult | Failure], last: bool, rounds: int
    ) -> tuple[list[Candidate], str]:
        """Who goes on to the next round, best first, and why; nobody where there is nothing more to decide."""
        standings = this.standings
        ranked = [i for i in np.argsort(-standings.totals, kind="stable") if not np.isnan(standings.totals[i])]
        if not ranked or not len(standings.replicates):
            return [], "scored on all rows"
        halved = halved_totals(standings, found, self.chosen)
        odds = win_probabilities(standings.totals, standings.replicates, halved, self._places, self.context.seed)
        this.chances = {c.id: float(p) for c, p in zip(standings.pool, odds.among, strict=True)}
        this.odds = first = float(odds.best[ranked[0]])
        sure = f"{percent(first)} sure of the first place"
        if len(ranked) <= self._places:
            return [], f"{sure}; no more candidates than places to decide"
        if first >= self.confidence:
            return [], f"{sure}: decided"
        if self.top_k > 1 and odds.decided >= self.confidence:
            return [], f"{sure}, {percent(odds.decided)} of which are the first {self.top_k}: decided"
        if last:
            return [], f"{sure}: open"
        risk = (1 - self.confidence) / 2 / (rounds - 1)
        gone = {ranked[i] for i in eliminated(odds.among[ranked], risk, self._places)}
        kept = [standings.pool[i] for i in ranked if i not in gone]
        if len(kept) <= self._places:
            return [], f"{sure}; all others have no chance any more: decided"
        return kept, f"{sure}; {len(gone)} of {len(ranked)} have no chance any more" if gone else sure

    def _board(
        self, pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure], rounds: Sequence[Rung]
    ) -> Ranking:
        """The ranking, with how many rows each candidate was shown, and why no more."""
        board = rank_rounds(pool, results, [each.standings for each in rounds])
        reached = {candidate.id: each for each in rounds for candidate in each.standings.pool}
        places = "the best" if self._places == 1 else f"among the best {self._places}"

        def told(row: RankedCandidate) -> RankedCandidate:
            if row.failure is not None or (its := reached.get(row.candidate.id)) is None:
                return row
            if its is rounds[-1] or row.rank is None:
                return replace(row, probe_rows=its.rows)
            chance = f"{percent(its.chances[row.candidate.id])} to be {places}"
            return replace(row, probe_rows=its.rows, stopped=f"stopped after {its.rows} rows: {chance}")

        return replace(board, rows=tuple(map(told, board.rows)))


def _with_costs_of(before: ScoringResult | Failure | None, result: ScoringResult | Failure) -> ScoringResult | Failure:
    """The result of a later round, with the costs that were measured in the first one."""
    if not isinstance(before, ScoringResult) or not isinstance(result, ScoringResult):
        return result
    failures = {name: failure for name, failure in before.failures.items() if name == Stage.COSTS}
    return replace(result, costs=before.costs, failures=result.failures | failures)


@dataclass
class Rung:
    """One round: `standings`, `chances` of a place by id, and `odds` of the first are known once it has been run."""

    task: ScoringTask
    rows: int
    foreseen: Mapping[str, Preview]
    forecast: Callable[[Candidate, Preview], float]
    standings: Standings = field(init=False)
    chances: Mapping[str, float] = field(default_factory=dict)
    odds: float | None = None

    def price(self, candidate: Candidate) -> float:
        """What the candidate's part in it takes of the budget, as far as is known now."""
        return self.forecast(candidate, self.foreseen[candidate.id])


def record(
    asked: object, meter: Meter, confidence: float, scored: Scored, stages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What was planned and what was done with a budget, as plain data for the provenance."""
    return {
        "asked": str(asked),
        "seconds": meter.budget.seconds,
        "passes": meter.budget.passes,
        "confidence": confidence,
        "sure_of_first": scored.odds,
        "planned": [asdict(each) for each in scored.planned],
        "stages": [dict(stage) for stage in (*scored.stages, *stages)],
        "spent": {"seconds": meter.seconds, "passes": meter.passes},
    }
