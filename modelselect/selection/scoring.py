"""The stage that scores candidates."""

from __future__ import annotations

from collections.abc import Iterable

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.task import ScoringTask
from modelselect.executor import Executor
from modelselect.host.host import Host
from modelselect.selection.halving import Ended
from modelselect.utils.progress import Progress


def score_candidates(
    host: Host,
    runner: Executor,
    task: ScoringTask,
    candidates: Iterable[Candidate],
    count: int,
    ended: Ended | None = None,
    *,
    bars: Progress,
) -> dict[str, ScoringResult | Failure]:
    """The assessment of each of at most `count` candidates, or why it has none, by id; `ended` is told of each."""
    results: dict[str, ScoringResult | Failure] = {}
    one_by_one = runner.sized(1) if task.context.costs else runner  # so that nothing else is at work while one is timed
    with bars.candidates("scoring", count) as advance:
        for outcome in one_by_one.map(task, candidates):
            candidate: Candidate = outcome.item
            result: ScoringResult | Failure = outcome.failure or outcome.value
            results[candidate.id] = result
            if ended is not None:
                ended(candidate, result)
            if isinstance(result, Failure):
                host.notify("candidate_failed", candidate=candidate, failure=result)
            else:
                host.notify("candidate_scored", candidate=candidate, scores=result.components)
            advance(candidate.id)
    return results
