"""Scoring under a budget: rungs of larger and larger probes for fewer and fewer candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from modelselect.budget.budget import DECISION_RESAMPLES, VERIFICATION_SHARE, round_sizes
from modelselect.budget.chances import eliminated, win_probabilities
from modelselect.budget.meter import Gate, Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.places import places_of
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import Preview, ScoringResult
from modelselect.evaluation.standings import Standings, halved_totals, rank_rounds, stand
from modelselect.evaluation.task import ScoringTask
from modelselect.evaluation.timing import score_seconds
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
    smallest_budget,
)
from modelselect.selection.scoring import ranked, rule_of, score_candidates
from modelselect.selection.state import Rounds, State
from modelselect.utils.text import percent


@dataclass
class SuccessiveHalving:
    """Scoring under a budget: all candidates on few rows, then the better ones on twice as many, and so on.

    After Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016.
    It differs from theirs in two points. Not always the better half goes on, but every candidate that may still be
    among the first, by `win_probabilities`. And it ends as soon as the first places are decided.

    Attributes:
        request: gives the confidence at which the first places are decided.
        state: the state before scoring, with the context of the whole probe.
        meter: says what is left of the budget.
    """

    request: Request
    state: State
    meter: Meter

    resamples: ClassVar[int] = DECISION_RESAMPLES
    """Number of resamples that a decision needs. It also needs the scores on half of the rows; 0 for neither."""

    def score(self) -> State:
        """Shows candidates as many rows as decide the first places, or as the budget allows."""
        pool = self.state.pool
        probe, budget = self._context.probe, self.meter.budget
        looks = any(looks_at_rows(estimator) for estimator in self.request.chosen)
        parts = nest(probe, round_sizes(len(probe), probe.n_classes) if looks else [len(probe)])
        halves: Sequence[Nested | None] = [None] * len(parts)
        if looks and self.resamples:
            halves = [*nest(probe, [len(parts[0].rows) // 2]), *parts]
        forecast = Forecast.of(budget, probe, self._context.compute.device)
        if budget.seconds is not None:
            scored = 1 if halves[0] is None else 2 + (self._context.resamples or self.resamples)
            forecast.scoring = scored * score_seconds(self.request.methods, len(parts[0].rows), probe.n_classes)
        results = dict(self.state.results)
        alive = self.state.unsettled
        rounds: list[Rung] = []
        stages: list[Mapping[str, Any]] = []
        planned: tuple[PlannedRound, ...] = ()
        while alive and len(rounds) < len(parts):
            number = len(rounds)
            rung = self._prepared(parts[number], halves[number], forecast, alive, first=not rounds)
            if not rounds:
                self.meter.begin()  # imports, reading and calibration are no part of the budget
            begun, passed = self.meter.seconds, self.meter.passes
            if not rounds:
                rates = [forecast.row_seconds(f.macs) or None if f.passes else 0.0 for f in rung.previews.values()]
                sizes = [len(part.rows) for part in parts]
                planned = plan_rounds(sizes, rates, budget, self._places, self._keep)
                alive.sort(key=rung.price)  # the cheapest first, so that the budget suffices for more of them
            elif fitting := self._fitting(alive, rung):
                alive = fitting
            else:
                stages[-1] = {**stages[-1], "decision": f"{stages[-1]['decision']}; more rows cannot be afforded"}
                break
            found, refused = self._scored(alive, rung, forecast)
            found = {key: _with_costs_of(results.get(key), result) for key, result in found.items()}
            results |= found
            if not rounds:
                results |= {c.id: self._not_begun(c, alive, rung, none=not found) for c in alive if c.id not in found}
            reached = [c for c in pool if isinstance(found.get(c.id), ScoringResult)]
            if not reached:
                break
            rung.standings = stand(reached, found, rule_of(self.request, rung.task.context))
            rounds.append(rung)
            alive, decision = self._decide(rung, found, refused or len(rounds) == len(parts), len(parts))
            stages.append(
                {
                    "stage": "score",
                    "rows": rung.rows,
                    "candidates": len(found),
                    "kept": len(alive) or len(reached),
                    "seconds": self.meter.seconds - begun,
                    "passes": self.meter.passes - passed,
                    "decision": decision + ("; the budget was used up" if refused else ""),
                }
            )
        state = replace(
            self.state,
            context=rounds[-1].task.context if rounds else self._context,
            results=results,
            rounds=Rounds(planned, tuple(stages), rounds[-1].first_place_holds if rounds else None, forecast),
        )
        return ranked(state, self._ranking(pool, results, rounds), [each.standings for each in rounds])

    @property
    def _context(self) -> EvaluationContext:
        return self.state.context

    @property
    def _places(self) -> int:
        """Number of places to decide."""
        return max(self.request.settings.top_k, 1)

    @property
    def _keep(self) -> float:
        return kept_for_verification(self.meter.budget, self.request.settings.fine_tunes)

    def _prepared(
        self, part: Nested, half: Nested | None, forecast: Forecast, alive: Sequence[Candidate], *, first: bool
    ) -> Rung:
        """A rung, with a preview of each candidate on it."""
        context = replace(
            self._context,
            probe=part.probe,
            nested=part,
            half=half,
            resamples=self._context.resamples or (0 if half is None else self.resamples),
            costs=self._context.costs and first,
        )
        task = ScoringTask(context)
        patience = self.meter.seconds + TRACING_SHARE * self.meter.budget.amount if first else math.inf
        timed = self.meter.budget.seconds is not None
        previews = {c.id: task.preview(c, trace=timed and self.meter.seconds < patience) for c in alive}
        typical = median_macs(each.macs for each in previews.values())
        return Rung(task, len(part.rows), previews, lambda c, f: forecast.price(c, f, len(part.rows), typical))

    def _fitting(self, alive: list[Candidate], rung: Rung) -> list[Candidate]:
        """The candidates that the budget pays for, best first: all, or the better half, or the better quarter, ...

        Empty if the budget does not pay for one more candidate than there are places to decide.
        """
        while sum(map(rung.price, alive)) / self._parallel > self.meter.left - self._keep:
            if len(alive) <= self._places + 1:
                return []
            alive = alive[: max(math.ceil(len(alive) / 2), self._places + 1)]
        return alive

    @property
    def _parallel(self) -> int:
        return 1 if self.meter.budget.seconds is None else self.request.runner.workers

    def _scored(
        self, alive: Sequence[Candidate], rung: Rung, forecast: Forecast
    ) -> tuple[Mapping[str, ScoringResult | Failure], bool]:
        """The results of the candidates that the budget let begin, and whether it refused one."""
        gate = Gate(self.meter, self._keep, self._parallel)

        def ended(candidate: Candidate, result: ScoringResult | Failure) -> None:
            expected = gate.ended(candidate)
            if isinstance(result, ScoringResult):
                self.meter.passes += result.passes
                forecast.learn(candidate, result, rung.rows, rung.previews[candidate.id])
            elif self.meter.budget.seconds is None and result.stage != Stage.LIMIT:
                self.meter.passes += int(expected)  # nobody knows how many passes a failed candidate made

        bar = self.state.bars.candidates("scoring", len(alive))
        found = score_candidates(self.request, rung.task, gate.admit(alive, rung.price), bar, ended)
        return found, gate.refused is not None

    def _not_begun(self, candidate: Candidate, alive: Sequence[Candidate], rung: Rung, *, none: bool) -> Failure:
        budget, left, prices = self.meter.budget, max(self.meter.left - self._keep, 0.0), list(map(rung.price, alive))
        amount = budget.format
        if none:
            enough = smallest_budget(budget, sum(prices) / self._parallel, self.request.settings.fine_tunes)
            what = f"scoring the smallest candidate on {rung.rows} rows takes about {amount(min(prices))}"
            half = f", and {percent(VERIFICATION_SHARE)} of it are kept for fine-tuning" if self._keep else ""
            return Failure(
                Stage.LIMIT,
                f"not begun: a budget of {budget} is too small: {what}{half}. The smallest budget that ranks all "
                f"{len(alive)} is about {amount(enough)}.",
            )
        why = f"scoring takes about {amount(rung.price(candidate))}, and {amount(left)} are left for scoring"
        return Failure(Stage.LIMIT, f"not begun: {why}")

    def _decide(
        self, rung: Rung, found: Mapping[str, ScoringResult | Failure], last: bool, rounds: int
    ) -> tuple[list[Candidate], str]:
        """The candidates that go on to the next rung, best first, and why; empty if nothing is left to decide."""
        standings = rung.standings
        order = [i for i in np.argsort(-standings.totals, kind="stable") if not np.isnan(standings.totals[i])]
        if not order or not len(standings.replicates):
            return [], "scored on all rows"
        halved = halved_totals(standings, found, rule_of(self.request, rung.task.context))
        odds = win_probabilities(standings.totals, standings.replicates, halved, self._places, self._context.seed)
        wanted = "first" if self._places == 1 else f"one of the first {self._places}"
        rung.reasons = {
            c.id: f"more rows would make it {wanted} with {percent(float(p))}"
            for c, p in zip(standings.pool, odds.among, strict=True)
        }
        rung.first_place_holds = first = float(odds.best[order[0]])
        sure = f"more rows would keep the first place with {percent(first)}"
        if len(order) <= self._places:
            return [], f"{sure}; no more candidates than places to decide"
        if first >= self.request.settings.confidence:
            return [], f"{sure}: decided"
        if self.request.settings.top_k > 1 and odds.decided >= self.request.settings.confidence:
            return [], f"{sure}, and the first {self.request.settings.top_k} with {percent(odds.decided)}: decided"
        if last:
            return [], f"{sure}: open"
        risk = (1 - self.request.settings.confidence) / 2 / (rounds - 1)
        gone = {order[i] for i in eliminated(odds.among[order], risk, self._places)}
        kept = [standings.pool[i] for i in order if i not in gone]
        if len(kept) <= self._places:
            return [], f"{sure}; all others have no chance any more: decided"
        return kept, f"{sure}; {len(gone)} of {len(order)} have no chance any more" if gone else sure

    def _ranking(
        self, pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure], rounds: Sequence[Rung]
    ) -> Ranking:
        """The ranking, with how many rows each candidate was shown, and why no more."""
        places = places_of(pool, results, self.request.store)
        board = rank_rounds(pool, results, [each.standings for each in rounds], places)
        reached = {candidate.id: each for each in rounds for candidate in each.standings.pool}

        def explained(row: RankedCandidate) -> RankedCandidate:
            if row.failure is not None or (its := reached.get(row.candidate.id)) is None:
                return row
            if its is rounds[-1] or row.rank is None:
                return replace(row, probe_rows=its.rows)
            why = its.reasons[row.candidate.id]
            return replace(row, probe_rows=its.rows, stopped=f"stopped after {its.rows} rows: {why}")

        return replace(board, rows=tuple(map(explained, board.rows)))


def _with_costs_of(before: ScoringResult | Failure | None, result: ScoringResult | Failure) -> ScoringResult | Failure:
    """The result of a later round, with the costs that were measured in the first one."""
    if not isinstance(before, ScoringResult) or not isinstance(result, ScoringResult):
        return result
    failures = {name: failure for name, failure in before.failures.items() if name == Stage.COSTS}
    return replace(
        result,
        costs=before.costs,
        training_memory_bytes=before.training_memory_bytes,
        failures=result.failures | failures,
    )


@dataclass
class Rung:
    """One round of scoring on one probe.

    Attributes:
        task: scores a candidate on this probe.
        rows: number of the probe's rows.
        previews: what scoring each candidate would take, by id.
        forecast: returns the price of a candidate, given its preview.
        standings: known after the round.
        reasons: why a candidate would be shown no more rows, by id; known after the round.
        first_place_holds: the probability that the first stays first on more rows; known after the round.
    """

    task: ScoringTask
    rows: int
    previews: Mapping[str, Preview]
    forecast: Callable[[Candidate, Preview], float]
    standings: Standings = field(init=False)
    reasons: Mapping[str, str] = field(default_factory=dict)
    first_place_holds: float | None = None

    def price(self, candidate: Candidate) -> float:
        """What scoring the candidate on this probe takes of the budget, as far as is known now."""
        return self.forecast(candidate, self.previews[candidate.id])
