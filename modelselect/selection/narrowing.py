"""The stages that leave candidates out before any is loaded: limits, and recall by the transfer history."""

from __future__ import annotations

from dataclasses import replace

from modelselect.errors import Failure, Stage
from modelselect.estimators.posterior import uses_history
from modelselect.evaluation.recall import observe, recall_context, recalled_shortlist
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.task import ScoringTask
from modelselect.history.recall import registered_recaller
from modelselect.selection.state import State


def within_limits(request: Request, state: State) -> State:
    """A candidate that exceeds a limit gets a failure that says so, as far as this is known without loading it."""
    limits, task = request.limits, ScoringTask(state.context)
    exceeding: dict[str, ScoringResult | Failure] = {}
    for candidate in state.unsettled if limits else ():
        parameters = candidate.metadata.get("parameters")
        if parameters is None and limits.max_parameters is not None:
            parameters = task.preview(candidate).parameters
        reason = limits.exceeded_before_loading(candidate, parameters)
        if reason is None and limits.max_training_memory is not None:
            reason = task.training_memory_exceeded(candidate)
        if reason is not None:
            exceeding[candidate.id] = Failure(Stage.LIMIT, reason)
    return replace(state, results={**state.results, **exceeding})


def recalled(request: Request, state: State) -> State:
    """The pool with the candidates that the transfer history expects most of, if recall is asked for.

    The context gets what estimators, and those that weigh evidence, read of the proxy and of the history.
    """
    history, settings = request.history, request.settings
    read = {field for estimator in request.chosen for field in estimator.reads}
    context = state.context
    if settings.proxy is not None or "proxy_features" in read:
        context = observe(context, history, settings)
    state = replace(state, context=context)
    readers = [estimator for estimator in request.chosen if uses_history(estimator)]
    if history is None or not state.unsettled or (settings.recall is None and not readers):
        return state
    task = ScoringTask(context)
    asked = readers if settings.recall is None else [*readers, registered_recaller()]
    known = recall_context(task, history, state.unsettled, asked, settings.described_recipe, state.bars)
    if settings.recall is not None:
        survivors, record = recalled_shortlist(task, known, state.unsettled, settings.recall)
        kept = {candidate.id for candidate in survivors} | state.results.keys()
        pool = tuple(candidate for candidate in state.pool if candidate.id in kept)
        state = replace(state, pool=pool, recalled=record)
    return replace(state, context=replace(context, recall=known)) if readers else state


def known_at_layers(request: Request, state: State) -> State:
    """What the history knows of the candidates, once layers are chosen: it was read for those that left them open."""
    history, settings = request.history, request.settings
    if state.layers is None or state.context.recall is None or history is None:
        return state
    readers = [estimator for estimator in request.chosen if uses_history(estimator)]
    task = ScoringTask(state.context)
    known = recall_context(task, history, state.unsettled, readers, settings.described_recipe, state.bars)
    return replace(state, context=replace(state.context, recall=known))
