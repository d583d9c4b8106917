"""Recall: what the transfer history says of a pool before any of it is loaded, and what a run leaves to the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from modelselect.candidates.candidate import Candidate
from modelselect.history.history import History
from modelselect.history.proxy import choose_proxy, describe_dataset, features_of_proxy
from modelselect.history.view import RecallContext
from modelselect.host.host import get_host

if TYPE_CHECKING:
    from modelselect.evaluation.context import ScoringTask
    from modelselect.history.view import HistoryView
    from modelselect.utils.progress import Progress

RECALL_ESTIMATOR = "fennec"


@runtime_checkable
class Recaller(Protocol):
    """An estimator that scores a whole pool from the history at once."""

    def recall(
        self, view: HistoryView, proxy_features: NDArray[Any] | None, seed: int = 0
    ) -> Mapping[str, Mapping[str, float]]: ...


def build_context(history: History, work: ScoringTask, pool: Sequence[Candidate], bars: Progress) -> RecallContext:
    """What the history knows that bears on this pool and this probe.

    No candidate is loaded: architectures are traced without weights where the history does not know them.
    """
    proxy = work.proxy or choose_proxy(work.probe, history)
    view = history.view(None if proxy is None else proxy.id)
    graphs = {}
    strangers = [c for c in pool if c.unversioned_id not in view.graphs]
    with bars.candidates("tracing", len(strangers)) as advance:
        for candidate in strangers:
            if (graph := work.graph(candidate)) is not None:
                graphs[candidate.unversioned_id] = graph
            advance(candidate.id)
    facts = {candidate.unversioned_id: dict(candidate.metadata) for candidate in pool}
    return RecallContext(view.about(facts, describe_dataset(work.probe), graphs), proxy)


def shortlist(
    recollection: RecallContext, work: ScoringTask, pool: Sequence[Candidate], keep: int
) -> tuple[list[Candidate], dict[str, Any]]:
    """The candidates that the history expects most of, in the pool's order, and the record of the choice.

    Raises:
        NotApplicableError: the history holds nothing to go by.
    """
    estimator = get_host().estimator(RECALL_ESTIMATOR)
    assert isinstance(estimator, Recaller)
    scores = estimator.recall(recollection.view, features_of_proxy(recollection, work), work.seed)
    expected = {c.id: scores[c.unversioned_id] for c in pool}
    order = sorted(pool, key=lambda c: -expected[c.id][RECALL_ESTIMATOR])  # equals stay in the pool's order
    kept = {candidate.id for candidate in order[:keep]}
    record = {
        "estimator": estimator.key,
        "history": recollection.view.digest,
        "proxy": None if recollection.proxy is None else recollection.proxy.id,
        "pool": len(pool),
        "kept": len(kept),
        "expected": {c.id: {k: round(v, 6) for k, v in expected[c.id].items()} for c in order},
    }
    return [candidate for candidate in pool if candidate.id in kept], record
