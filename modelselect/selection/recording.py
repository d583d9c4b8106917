"""The stage that adds what a run found to the transfer history."""

from __future__ import annotations

from modelselect.evaluation.recall import record
from modelselect.evaluation.request import Request
from modelselect.evaluation.task import ScoringTask
from modelselect.selection.state import State

FIRST_TIME = (
    "The results of this run are now in the transfer history, {}: later runs rank better with it. It stays on this "
    "machine. history=False (--no-history) keeps no results."
)
"""What the run says that makes the history, if the caller named none."""


def recorded(request: Request, state: State, *, may_look: bool) -> State:
    """Adds what the run found to the history, if there is one, and returns the same state.

    Args:
        request: has the history.
        state: the state after verification.
        may_look: whether the proxy may see the dataset now; False adds its features only if they are in the store.
    """
    if request.history is not None:
        task = ScoringTask(state.context)
        pieces = {} if state.outlook is None else state.outlook.recorded(request.chosen)
        unasked = request.settings.history is None and not request.history.path.exists()
        record(task, request.history, state.ranking, state.results, state.fine_tuning, pieces=pieces, may_look=may_look)
        if unasked and request.history.path.exists():
            state.bars.say(FIRST_TIME.format(request.history.path))
    return state
