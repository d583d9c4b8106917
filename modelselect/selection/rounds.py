"""Scoring in rounds without a budget: ever more rows for the better half of the candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from modelselect.budget.budget import Budget, round_sizes
from modelselect.budget.meter import Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.selection.forecast import PlannedRound, plan_rounds
from modelselect.selection.halving import Rung, SuccessiveHalving
from modelselect.selection.state import State

ENDLESS = Budget(passes=10**18)
"""More forward passes than any run makes."""

SPARE = 2
"""Candidates that go on besides those for the places. With one, the first place was another more often."""


def score_in_rounds(request: Request, state: State) -> State:
    """Scores all candidates on few rows, and the better half of them on twice as many, until all rows are used."""
    return BetterHalf(request, state, Meter(ENDLESS)).score()


def planned_rounds(request: Request, row_seconds: Sequence[float | None]) -> tuple[PlannedRound, ...]:
    """The rounds of `score_in_rounds`.

    Args:
        request: gives the rows, the estimators and the number of places.
        row_seconds: as for `plan_rounds`.
    """
    probe, places = request.probe, max(request.settings.top_k, 1)
    looks = any(looks_at_rows(estimator) for estimator in request.chosen)
    sizes = round_sizes(len(probe), probe.n_classes) if looks else [len(probe)]
    return plan_rounds(sizes, row_seconds, ENDLESS, places, keep=0.0, spare=SPARE)


class BetterHalf(SuccessiveHalving):
    """The rounds of `SuccessiveHalving`, all paid for, in which the better half goes on: at least two more than places.

    This is the algorithm as published. It takes no resamples to decide: these would cost more than the forward passes
    of small networks. In simulations, the first of all candidates was in the better half more reliably than among those
    with scores near the best.
    """

    resamples: ClassVar[int] = 0

    def _decide(
        self, rung: Rung, found: Mapping[str, ScoringResult | Failure], last: bool, rounds: int
    ) -> tuple[list[Candidate], str]:
        totals = rung.standings.totals
        order = [i for i in np.argsort(-totals, kind="stable") if not np.isnan(totals[i])]
        kept = max(math.ceil(len(order) / 2), self._places + SPARE)
        rung.reasons = {
            rung.standings.pool[i].id: f"place {place} of {len(order)}" for place, i in enumerate(order, start=1)
        }
        if last or not order:
            return [], "scored on all rows"
        return [rung.standings.pool[i] for i in order[:kept]], f"the better {min(kept, len(order))} go on"
