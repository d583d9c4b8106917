"""Scoring under a budget: ever larger probes for ever fewer candidates, until the first places are decided."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.assessment import COSTS, Assessment, Foreseen, VerificationWork, Work
from modelselect.budget import (
    DECISION_RESAMPLES,
    LEAST_EPOCHS,
    LEAST_SHARE_OF_EPOCHS,
    TRAINING_PASSES,
    VERIFICATION_SHARE,
    Budget,
    Gate,
    Meter,
    chances,
    hopeless,
    round_sizes,
)
from modelselect.candidates import Candidate
from modelselect.cost import decode_seconds, macs_per_second
from modelselect.errors import Failure
from modelselect.estimator import Estimator
from modelselect.leaderboard import LIMIT, Leaderboard, Row
from modelselect.probe.nested import Nested, nest
from modelselect.ranking import Standings, halved_totals, rank_rounds, stand
from modelselect.store import Store
from modelselect.uncertainty import looks_at_rows

if TYPE_CHECKING:
    from modelselect.probe import Probe
    from modelselect.verification import FineTuning

TRACING_SHARE = 0.1
"""Of the budget, at most, to find out how much arithmetic candidates are before the first of them begins."""

Ended = Callable[[Candidate, Assessment | Failure], None]
Assess = Callable[[Work, Iterable[Candidate], int, Ended], Mapping[str, Assessment | Failure]]
"""Assesses candidates, taken one by one from so many at most, and tells of each whose work has ended."""


@dataclass(frozen=True)
class PlannedRound:
    """A round as foreseen before the first.

    Attributes:
        rows: of its probe.
        candidates: that take part, if half go after each round.
        passes: rows passed forward.
        seconds: what that takes; None where no candidate's arithmetic is known.
    """

    rows: int
    candidates: int
    passes: int
    seconds: float | None


def plan_rounds(
    sizes: Sequence[int], row_seconds: Sequence[float | None], budget: Budget, places: int, keep: float
) -> tuple[PlannedRound, ...]:
    """What rounds a budget pays for, if half of the candidates go after each.

    Args:
        sizes: rows of the probes.
        row_seconds: of each candidate, to decode a row and pass it forward; 0 if it is in the store, None if unknown.
        budget: for all.
        places: that have to be decided; a round with no more candidates than these decides nothing.
        keep: what has to be left for fine-tuning, in the budget's unit.

    >>> plan_rounds([100, 200], [0.01, 0.01, 0.03, None], Budget(passes=650), places=1, keep=0)[-1]
    PlannedRound(rows=200, candidates=2, passes=200, seconds=3.3333333333333335)
    """
    known = [seconds for seconds in row_seconds if seconds is not None]
    mean = statistics.fmean(known) if known else None
    new = sum(seconds != 0 for seconds in row_seconds) / max(len(row_seconds), 1)
    left = budget.amount - keep
    rounds: list[PlannedRound] = []
    candidates, seen = len(row_seconds), 0
    for rows in sizes:
        each = (rows - seen) * new if budget.seconds is None else (rows - seen) * (mean or 0.0)
        affordable = candidates if each == 0 else min(candidates, int(left / each))
        if affordable <= (places if rounds else 0):
            break
        passes = round(affordable * (rows - seen) * new)
        seconds = None if mean is None else affordable * (rows - seen) * mean
        rounds.append(PlannedRound(rows, affordable, passes, seconds))
        left -= affordable * each
        candidates, seen = max(math.ceil(affordable / 2), min(places + 1, affordable)), rows
    return tuple(rounds)


def kept_for_verification(budget: Budget, top_k: int) -> float:
    """What of a budget scoring leaves alone."""
    return VERIFICATION_SHARE * budget.amount if top_k else 0.0


@dataclass
class Forecast:
    """What candidates will take of a budget: calculated from their arithmetic until they have been measured.

    Attributes:
        budget: in whose unit.
        macs_per_second: of the device.
        decoding: seconds for a row.
    """

    budget: Budget
    macs_per_second: float = 0.0
    decoding: float = 0.0
    _measured: dict[str, tuple[Assessment, int]] = field(default_factory=dict)
    _calculated: float = 0.0
    _taken: float = 0.0

    @classmethod
    def of(cls, budget: Budget, probe: Probe, device: str) -> Forecast:
        """Measures device and decoding, where the budget is one of time."""
        if budget.seconds is None:
            return cls(budget)
        return cls(budget, macs_per_second(device), decode_seconds(probe) / len(probe))

    def row_seconds(self, macs: float | None) -> float:
        """To decode a row and pass it forward, as calculated."""
        return 0.0 if macs is None or not self.macs_per_second else macs / self.macs_per_second + self.decoding

    def price(self, candidate: Candidate, foreseen: Foreseen, rows: int, typical_macs: float | None) -> float:
        """What a candidate will take to be scored on so many rows."""
        if self.budget.seconds is None:
            return foreseen.passes
        if candidate.id not in self._measured:
            slower = self._taken / self._calculated if self._calculated else 1.0
            return slower * foreseen.passes * self.row_seconds(foreseen.macs or typical_macs)
        before, rows_before = self._measured[candidate.id]
        rest = max(before.elapsed_seconds - before.forward_seconds, 0.0)  # loading, scores and resamples
        return (before.extraction_seconds * foreseen.passes + rest * rows) / rows_before

    def learn(self, candidate: Candidate, result: Assessment, rows: int, foreseen: Foreseen) -> None:
        """What it took after all."""
        if candidate.id not in self._measured and (calculated := foreseen.passes * self.row_seconds(foreseen.macs)):
            self._calculated += calculated
            self._taken += result.elapsed_seconds
        self._measured[candidate.id] = result, rows


@dataclass(frozen=True)
class Scored:
    """What came of all rounds.

    Attributes:
        board: the leaderboard, without provenance.
        work: that of the last round.
        results: of each candidate in its last round, or why it has none.
        planned: the rounds as foreseen before the first.
        stages: what was done, as plain data.
        odds: how probable it is that the first is the best; None where nothing tells.
        forecast: of what candidates take.
    """

    board: Leaderboard
    work: Work
    results: dict[str, Assessment | Failure]
    planned: tuple[PlannedRound, ...]
    stages: tuple[Mapping[str, Any], ...]
    odds: float | None
    forecast: Forecast


@dataclass
class Rounds:
    """Scoring of a pool in rounds, under a budget.

    Attributes:
        work: on the whole probe.
        chosen: estimators that the ranking is by.
        methods: all estimators.
        meter: of the budget.
        confidence: with which the first places have to be decided.
        top_k: how many may be fine-tuned: so many places have to be decided, or the first.
        assess: does the work on candidates.
        workers: how many at a time.
    """

    work: Work
    chosen: Sequence[Estimator]
    methods: Sequence[Estimator]
    meter: Meter
    confidence: float
    top_k: int
    assess: Assess
    workers: int = 1

    def score(self, pool: Sequence[Candidate], settled: Mapping[str, Assessment | Failure]) -> Scored:
        """Shows candidates as many rows as it takes to decide the first places, or as can be afforded.

        Args:
            pool: all candidates, in order.
            settled: of which it is known already why they have no scores.
        """
        probe, budget = self.work.probe, self.meter.budget
        looks = any(looks_at_rows(estimator) for estimator in self.chosen)
        parts = nest(probe, round_sizes(len(probe), probe.n_classes) if looks else [len(probe)])
        halves = [*nest(probe, [len(parts[0].rows) // 2]), *parts] if looks else [None]
        forecast = Forecast.of(budget, probe, self.work.device)
        results = dict(settled)
        alive = [candidate for candidate in pool if candidate.id not in settled]
        rounds: list[_Round] = []
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
            for candidate_id, result in found.items():
                _carry_costs(results.get(candidate_id), result)
            results |= found
            if not rounds:
                results |= {c.id: self._not_begun(this.price(c), none=not found) for c in alive if c.id not in found}
            reached = [c for c in pool if isinstance(found.get(c.id), Assessment)]
            if not reached:
                break
            this.standings = stand(reached, found, self.methods, self.chosen, this.work.resamples)
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
            work=rounds[-1].work if rounds else self.work,
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
    ) -> _Round:
        """A round, with what is known of each candidate's work in it."""
        work = replace(
            self.work,
            probe=part.probe,
            nested=part,
            half=half,
            resamples=0 if half is None else self.work.resamples or DECISION_RESAMPLES,
            costs=self.work.costs and first,
        )
        patience = self.meter.seconds + TRACING_SHARE * self.meter.budget.amount if first else math.inf
        timed = self.meter.budget.seconds is not None
        foreseen = {c.id: work.foresee(c, trace=timed and self.meter.seconds < patience) for c in alive}
        typical = _typical(each.macs for each in foreseen.values())
        return _Round(work, len(part.rows), foreseen, lambda c, f: forecast.price(c, f, len(part.rows), typical))

    def _fitting(self, alive: list[Candidate], this: _Round) -> list[Candidate]:
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
        self, alive: Sequence[Candidate], this: _Round, forecast: Forecast
    ) -> tuple[Mapping[str, Assessment | Failure], bool]:
        """What became of those that could begin, and whether one could not."""
        gate = Gate(self.meter, self._keep, self._parallel)

        def ended(candidate: Candidate, result: Assessment | Failure) -> None:
            expected = gate.ended(candidate)
            if isinstance(result, Assessment):
                self.meter.passes += result.passes
                forecast.learn(candidate, result, this.rows, this.foreseen[candidate.id])
            elif self.meter.budget.seconds is None and result.stage != LIMIT:
                self.meter.passes += int(expected)  # how far it came, it cannot tell any more

        found = self.assess(this.work, gate.admit(alive, this.price), len(alive), ended)
        return found, gate.refused is not None

    def _not_begun(self, price: float, *, none: bool) -> Failure:
        told, left = self.meter.budget.told, max(self.meter.left - self._keep, 0.0)
        if none and not left:
            had = told(self.meter.budget.amount - self._keep)
            why = f"what the budget has for scoring ({had}) was gone before the first could begin. Give more"
        else:
            why = f"it takes about {told(price)}, and {told(left)} are left for scoring"
        return Failure(LIMIT, f"not begun: {why}")

    def _decide(
        self, this: _Round, found: Mapping[str, Assessment | Failure], last: bool, rounds: int
    ) -> tuple[list[Candidate], str]:
        """Who goes on to the next round, best first, and why; nobody where there is nothing more to decide."""
        standings = this.standings
        ranked = [i for i in np.argsort(-standings.totals, kind="stable") if not np.isnan(standings.totals[i])]
        if not ranked or not len(standings.replicates):
            return [], "scored on all rows"
        halved = halved_totals(standings.pool, found, self.chosen)
        odds = chances(standings.totals, standings.replicates, halved, self._places, self.work.seed)
        this.chances = {c.id: float(p) for c, p in zip(standings.pool, odds.among, strict=True)}
        this.odds = first = float(odds.best[ranked[0]])
        sure = f"{_percent(first)} sure of the first place"
        if len(ranked) <= self._places:
            return [], f"{sure}; no more candidates than places to decide"
        if first >= self.confidence:
            return [], f"{sure}: decided"
        if self.top_k > 1 and odds.decided >= self.confidence:
            return [], f"{sure}, {_percent(odds.decided)} of which are the first {self.top_k}: decided"
        if last:
            return [], f"{sure}: open"
        risk = (1 - self.confidence) / 2 / (rounds - 1)
        gone = {ranked[i] for i in hopeless(odds.among[ranked], risk, self._places)}
        kept = [standings.pool[i] for i in ranked if i not in gone]
        if len(kept) <= self._places:
            return [], f"{sure}; all others have no chance any more: decided"
        return kept, f"{sure}; {len(gone)} of {len(ranked)} have no chance any more" if gone else sure

    def _board(
        self, pool: Sequence[Candidate], results: Mapping[str, Assessment | Failure], rounds: Sequence[_Round]
    ) -> Leaderboard:
        """The leaderboard, with how many rows each candidate was shown, and why no more."""
        board = rank_rounds(pool, results, [each.standings for each in rounds])
        reached = {candidate.id: each for each in rounds for candidate in each.standings.pool}
        places = "the best" if self._places == 1 else f"among the best {self._places}"

        def told(row: Row) -> Row:
            if row.failure is not None or (its := reached.get(row.candidate.id)) is None:
                return row
            if its is rounds[-1] or row.rank is None:
                return replace(row, probe_rows=its.rows)
            chance = f"{_percent(its.chances[row.candidate.id])} to be {places}"
            return replace(row, probe_rows=its.rows, stopped=f"stopped after {its.rows} rows: {chance}")

        return replace(board, rows=tuple(map(told, board.rows)))


def _carry_costs(before: Assessment | Failure | None, result: Assessment | Failure) -> None:
    """What was measured in the first round, into the result of a later one."""
    if isinstance(before, Assessment) and isinstance(result, Assessment):
        result.costs = before.costs
        result.failures |= {name: failure for name, failure in before.failures.items() if name == COSTS}


@dataclass
class _Round:
    """One round: `standings`, `chances` of a place by id, and `odds` of the first are known once it has been run."""

    work: Work
    rows: int
    foreseen: Mapping[str, Foreseen]
    forecast: Callable[[Candidate, Foreseen], float]
    standings: Standings = field(init=False)
    chances: Mapping[str, float] = field(default_factory=dict)
    odds: float | None = None

    def price(self, candidate: Candidate) -> float:
        """What the candidate's part in it takes of the budget, as far as is known now."""
        return self.forecast(candidate, self.foreseen[candidate.id])


# --- fine-tuning -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Affordable:
    """How much fine-tuning is left to do, and why so much.

    Attributes:
        top_k: candidates.
        settings: the recipe, with no more epochs than can be paid for.
        prices: in the budget's unit, by candidate id.
        passes: forward passes that each is worth.
        decision: why.
    """

    top_k: int
    settings: FineTuning
    prices: Mapping[str, float]
    passes: int
    decision: str


def affordable_fine_tuning(
    scored: Scored, meter: Meter, task: VerificationWork, *, top_k: int, confidence: float
) -> Affordable:
    """As many candidates as asked for and as many epochs as the recipe has, or fewer of both.

    Candidates are given up before epochs fall below a quarter of the recipe's: half-trained networks do not compare.
    What an earlier run with the same arguments has decided stays: after other epochs its accuracies would be others.

    Args:
        scored: what came of the rounds.
        meter: of the budget.
        task: what would be done with each.
        top_k: how many were asked for.
        confidence: with which the first place counts as decided.
    """
    rows, settings, probe = scored.board.ranked, task.settings, task.work.probe
    if top_k > 1 and scored.odds is not None and scored.odds >= confidence:
        return Affordable(0, settings, {}, 0, f"not needed: {_percent(scored.odds)} sure of the first place")
    typical = _typical([row.macs for row in rows])

    def row_price(row: Row) -> float:
        result = scored.results[row.candidate.id]
        if meter.budget.seconds is None or not isinstance(result, Assessment):
            return 1.0
        if result.extraction_rows:
            return result.extraction_seconds / result.extraction_rows
        return scored.forecast.row_seconds(row.macs or typical)

    once = fine_tuning_passes(replace(settings, epochs=1), task.method, probe)
    epoch = fine_tuning_passes(replace(settings, epochs=2), task.method, probe) - once

    def afforded(count: int, epochs: int, decision: str) -> Affordable:
        passes = once + (epochs - 1) * epoch
        prices = {row.candidate.id: row_price(row) * passes for row in rows[:count]}
        return Affordable(count, replace(settings, epochs=epochs), prices, passes, decision)

    store, key = Store(task.work.cache_dir), _decision_key(scored, meter, task, top_k)
    if (decided := store.get(key)) is not None:
        return afforded(**decided.metadata)
    least = min(settings.epochs, max(LEAST_EPOCHS, math.ceil(LEAST_SHARE_OF_EPOCHS * settings.epochs)))
    fewest = min(top_k, len(rows), 2)
    for count in range(min(top_k, len(rows)), fewest - 1, -1):
        price = sum(map(row_price, rows[:count]))
        left = meter.left - price * once
        epochs = affordable_epochs(left, price * epoch, settings.epochs)
        if left >= 0 and epochs >= least:
            what = f"{epochs} of {settings.epochs} epochs" if epochs < settings.epochs else "the whole recipe"
            decision: dict[str, Any] = {
                "count": count,
                "epochs": epochs,
                "decision": f"{count} of {top_k} candidates, {what}",
            }
            store.put(key, {}, decision)
            return afforded(**decision)
    told = meter.budget.told(max(meter.left, 0.0))
    some = "1 candidate" if fewest == 1 else f"{fewest} candidates"
    return Affordable(0, settings, {}, 0, f"{told} that are left do not pay for {some}")


def affordable_epochs(left: float, price: float, most: int) -> int:
    """How many epochs, one of which is paid already, if each takes `price` of what is left.

    >>> affordable_epochs(10.0, 3.0, most=20), affordable_epochs(10.0, 0.0, most=20)
    (4, 20)
    """
    return most if not price else min(most, 1 + int(left / price))


def _decision_key(scored: Scored, meter: Meter, task: VerificationWork, top_k: int) -> str:
    """What the decision how much to fine-tune is kept under."""
    probe = task.work.whole
    return Store.key(
        "affordable",
        candidates=sorted(row.candidate.id for row in scored.board.rows),
        training=probe.training.fingerprint,
        holdout=probe.holdout and probe.holdout.fingerprint,
        settings=asdict(task.settings),
        method=task.method,
        top_k=top_k,
        budget=repr(meter.budget),
        seed=task.work.seed,
        device=task.work.device,
    )


def _typical(macs: Iterable[int | None]) -> float | None:
    known = [each for each in macs if each is not None]
    return statistics.median(known) if known else None


def fine_tuning_passes(settings: FineTuning, method: str, probe: Probe) -> int:
    """Forward passes that fine-tuning one candidate is worth, at most."""
    training, holdout = probe.provenance["training_rows"], probe.provenance["holdout"]["rows"]
    if method == "head":
        return int(training + holdout)
    return int(holdout + TRAINING_PASSES * settings.trainings * settings.epochs * training)


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


def _percent(probability: float) -> str:
    """`97%`, `0.2%`, `less than 0.1%`, `more than 99.9%`.

    >>> _percent(0.973), _percent(0.002), _percent(0.0)
    ('97%', '0.2%', 'less than 0.1%')
    """
    if probability < 0.001:
        return "less than 0.1%"
    if probability > 0.999:
        return "more than 99.9%"
    return f"{probability:.1%}" if min(probability, 1 - probability) < 0.02 else f"{probability:.0%}"
