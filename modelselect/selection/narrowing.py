"""The stages before scoring: limits and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, InvalidInputError, Stage
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.recall import observe, recall_context, recalled_shortlist
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.task import ScoringTask
from modelselect.history.history import GivenHistory, History, open_history, open_or_warn
from modelselect.utils.progress import Progress


def history_for(given: GivenHistory, recall: int | None) -> History | None:
    """The history to go by and to add to; None where there is none, or none that can be read."""
    past = open_history(given)
    if recall is None:
        return None if past is None else open_or_warn(past)
    if past is None:
        raise InvalidInputError("recall goes by the transfer history, and history is False; give one, or no recall")
    return past


def prefilter(
    request: Request,
    context: EvaluationContext,
    history: History | None,
    bars: Progress,
) -> tuple[list[Candidate], dict[str, ScoringResult | Failure], dict[str, Any] | None, EvaluationContext]:
    """The cuts that load no candidate: limits, and recall by the history.

    Returns:
        The pool; why some of it have no scores, by id; the record of what was recalled; the context with the
        proxy, and with what the history knows if an estimator reads that.
    """
    chosen, pool = request.chosen, request.pool
    recall, proxy = request.settings.recall, request.settings.proxy
    settled = request.unsearched | over_limits(ScoringTask(context), pool, request.unsearched)
    recalled = None
    searched = [candidate for candidate in pool if candidate.id not in settled]
    if proxy is not None or any("proxy_features" in e.reads for e in chosen):
        context = replace(context, proxy=observe(ScoringTask(context), history, proxy))
    if history is not None and searched and (recall is not None or any("history" in e.reads for e in chosen)):
        task = ScoringTask(context)
        known = recall_context(task, history, searched, bars)
        if recall is not None:
            survivors, recalled = recalled_shortlist(task, known, searched, recall)
            kept = {candidate.id for candidate in survivors} | settled.keys()
            pool = [candidate for candidate in pool if candidate.id in kept]
        if any("history" in e.reads for e in chosen):
            context = replace(context, recall=known)
    return pool, settled, recalled, context


def over_limits(
    task: ScoringTask, pool: Sequence[Candidate], settled: Mapping[str, ScoringResult | Failure]
) -> dict[str, ScoringResult | Failure]:
    """The candidates that do not pass the limits, as far as can be told without loading them, by id."""
    limits = task.context.limits
    over_limits: dict[str, ScoringResult | Failure] = {}
    for candidate in pool if limits else ():
        if candidate.id not in settled:
            parameters = candidate.metadata.get("parameters")
            if parameters is None and limits.max_parameters is not None:
                parameters = task.preview(candidate).parameters
            if (reason := limits.foreseen(candidate, parameters)) is not None:
                over_limits[candidate.id] = Failure(Stage.LIMIT, reason)
    return over_limits
