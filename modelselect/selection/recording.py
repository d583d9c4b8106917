"""The stage that adds what a run found to the transfer history."""

from __future__ import annotations

from modelselect.evaluation.recall import record
from modelselect.evaluation.request import Request
from modelselect.evaluation.task import ScoringTask
from modelselect.selection.state import State


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
        record(task, request.history, state.ranking, state.results, state.fine_tuning, pieces=pieces, may_look=may_look)
    return state
