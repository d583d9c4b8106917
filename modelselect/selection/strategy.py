"""`Strategy`: where a run with a budget, or in rounds, differs from others. No other code asks which one it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from modelselect.budget.budget import Budget
from modelselect.budget.meter import Meter
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.selection.halving import SuccessiveHalving
from modelselect.selection.rounds import score_in_rounds
from modelselect.selection.scoring import score_on_whole_probe
from modelselect.selection.state import State
from modelselect.selection.tuning import tune_best, tune_within_budget
from modelselect.selection.verifying import verify_best, verify_within_budget


class Strategy(Protocol):
    """How candidates are scored and fine-tuned."""

    def score(self, request: Request, state: State) -> State:
        """The state with results and a ranking."""

    def tune(self, request: Request, state: State) -> State:
        """The state with the accuracy of the best candidates after one epoch, in the order of what is then expected."""

    def verify(self, request: Request, state: State) -> State:
        """The state with the best candidates fine-tuned."""

    def account(self, request: Request, state: State) -> dict[str, Any] | None:
        """What was done with the budget, as plain data for the provenance; None without one."""

    @property
    def may_look(self) -> bool:
        """Whether a forward pass that only serves later runs may be made."""


class WholeProbe:
    """Without a budget: every candidate is scored on all rows, and all of the top k are fine-tuned."""

    may_look = True

    def score(self, request: Request, state: State) -> State:
        return score_on_whole_probe(request, state)

    def tune(self, request: Request, state: State) -> State:
        return tune_best(request, state) if request.settings.tune else state

    def verify(self, request: Request, state: State) -> State:
        return verify_best(request, state)

    def account(self, request: Request, state: State) -> None:
        return None


class InRounds(WholeProbe):
    """Without a budget, but more rows only for candidates that may still be first. Fine-tuning does not differ."""

    def score(self, request: Request, state: State) -> State:
        return score_in_rounds(request, state)


@dataclass(frozen=True)
class WithinBudget:
    """Under a budget: successive halving, then as much fine-tuning as the rest pays for, one epoch for more of them.

    Attributes:
        meter: says what is left.
    """

    meter: Meter
    may_look = False

    def score(self, request: Request, state: State) -> State:
        return SuccessiveHalving(request, state, self.meter).score()

    def tune(self, request: Request, state: State) -> State:
        return tune_within_budget(request, state, self.meter) if request.settings.fine_tunes else state

    def verify(self, request: Request, state: State) -> State:
        return verify_within_budget(request, state, self.meter)

    def account(self, request: Request, state: State) -> dict[str, Any]:
        assert state.rounds is not None
        budget = self.meter.budget
        return {
            "asked": str(request.settings.budget),
            "seconds": budget.seconds,
            "passes": budget.passes,
            "confidence": request.settings.confidence,
            "first_place_holds": state.rounds.first_place_holds,
            "planned": [asdict(each) for each in state.rounds.planned],
            "stages": [dict(stage) for stage in state.rounds.stages],
            "spent": {"seconds": self.meter.seconds, "passes": self.meter.passes},
        }


def strategy_of(settings: Settings) -> Strategy:
    """The strategy that the settings ask for."""
    if settings.budget is not None:
        return WithinBudget(Meter(Budget.of(settings.budget)))
    return InRounds() if settings.rounds else WholeProbe()
