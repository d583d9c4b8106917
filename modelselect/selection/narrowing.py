"""The stages before scoring: limits and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.errors import LIMIT, Failure, InvalidInputError
from modelselect.evaluation.context import ScoringTask
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.history.history import GivenHistory, open_history, open_or_warn
from modelselect.history.proxy import observe
from modelselect.history.recall import build_context, shortlist
from modelselect.utils.progress import Progress

if TYPE_CHECKING:
    from modelselect.history.history import History


def history_for(given: GivenHistory, recall: int | None) -> History | None:
    """The history to go by and to add to; None where there is none, or none that can be read."""
    past = open_history(given)
    if recall is None:
        return None if past is None else open_or_warn(past)
    if isinstance(recall, bool) or not isinstance(recall, int) or recall < 1:
        raise InvalidInputError(f"recall is {recall!r}; expected how many candidates to keep, or None for all")
    if past is None:
        raise InvalidInputError("recall goes by the transfer history, and history is False; give one, or no recall")
    return past


def prefilter(
    request: Request,
    work: ScoringTask,
    history: History | None,
    recall: int | None,
    proxy: str | Candidate | None,
    bars: Progress,
) -> tuple[list[Candidate], dict[str, ScoringResult | Failure], dict[str, Any] | None]:
    """The cuts that load no candidate: limits, and recall by the history.

    Returns:
        The pool; why some of it have no scores, by id; the record of what was recalled.
    """
    chosen, pool = request.chosen, request.pool
    settled = request.unsearched | over_limits(work.limits, work, pool, request.unsearched)
    recalled = None
    searched = [candidate for candidate in pool if candidate.id not in settled]
    if proxy is not None or any("proxy_features" in e.reads for e in chosen):
        observe(work, history, proxy)
    if history is not None and searched and (recall is not None or any("history" in e.reads for e in chosen)):
        work.recollection = build_context(history, work, searched, bars)
        if recall is not None:
            survivors, recalled = shortlist(work.recollection, work, searched, recall)
            kept = {candidate.id for candidate in survivors} | settled.keys()
            pool = [candidate for candidate in pool if candidate.id in kept]
        if not any("history" in e.reads for e in chosen):
            work.recollection = None  # large, and of no further use
    return pool, settled, recalled


def over_limits(
    limits: Limits, work: ScoringTask, pool: Sequence[Candidate], settled: Mapping[str, ScoringResult | Failure]
) -> dict[str, ScoringResult | Failure]:
    """The candidates that do not pass the limits, as far as can be told without loading them, by id."""
    over_limits: dict[str, ScoringResult | Failure] = {}
    for candidate in pool if limits else ():
        if candidate.id not in settled:
            parameters = candidate.metadata.get("parameters")
            if parameters is None and limits.max_parameters is not None:
                parameters = work.foresee(candidate).parameters
            if (reason := limits.foreseen(candidate, parameters)) is not None:
                over_limits[candidate.id] = Failure(LIMIT, reason)
    return over_limits
