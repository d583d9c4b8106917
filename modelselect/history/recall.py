"""Recall: what the transfer history says about a pool before any of its candidates is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from modelselect.candidates.candidate import Candidate
from modelselect.errors import PluginError
from modelselect.estimators.estimator import Estimator, Recaller
from modelselect.history.proxy import describe_dataset
from modelselect.history.records import FINE_TUNING, recipe_of
from modelselect.history.view import HistoryView, RecallContext
from modelselect.host.defaults import RECALL_ESTIMATOR
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe


def build_context(
    view: HistoryView,
    proxy: Candidate | None,
    probe: Probe,
    pool: Sequence[Candidate],
    graphs: Mapping[str, str],
    fine_tuning: Mapping[str, Any] | None = None,
) -> RecallContext:
    """What the history knows about this pool and this probe.

    Args:
        view: a view of the history, with the features of the proxy.
        proxy: the candidate whose features stand for a dataset; None if there is none for such data.
        probe: the dataset that is asked about.
        pool: the candidates that are to be ranked.
        graphs: architectures that the history does not know, as JSON, by candidate id without revision.
        fine_tuning: the run's recipe and its method, as the history keeps them; None if there is none.
    """
    metadata = {candidate.unversioned_id: dict(candidate.metadata) for candidate in pool}
    recipe = recipe_of({FINE_TUNING: fine_tuning})
    about = view.about(metadata, describe_dataset(probe), graphs, recipe)
    return RecallContext(replace(about, dataset=probe.fingerprint), proxy)


def registered_recaller() -> Estimator:
    """The estimator that reduces a pool. `shortlist` checks that this estimator can recall."""
    return get_host().estimator(RECALL_ESTIMATOR)


def shortlist(
    context: RecallContext, pool: Sequence[Candidate], keep: int, proxy_features: NDArray[Any] | None, seed: int
) -> tuple[list[Candidate], dict[str, Any]]:
    """The candidates that the history expects most of, in the pool's order, and the record of the choice.

    Args:
        context: what the history knows about the pool.
        pool: the candidates.
        keep: how many to keep.
        proxy_features: (N, P) of the probe, by the context's proxy; None without a proxy, or if the estimator does not
            read them.
        seed: the estimator's seed.

    Raises:
        NotApplicableError: the history holds nothing that says something about the pool.
        PluginError: the registered estimator cannot recall.
    """
    name = RECALL_ESTIMATOR
    estimator = registered_recaller()
    if not isinstance(estimator, Recaller):
        raise PluginError(
            f"the estimator {name!r} cannot recall: {type(estimator).__name__} has no method recall(). Register "
            f"one that fulfils modelselect.estimators.estimator.Recaller under the name {name!r}, or leave recall out"
        )
    scores = estimator.recall(context.view, proxy_features, seed)
    expected = {c.id: scores[c.unversioned_id] for c in pool}
    order = sorted(pool, key=lambda c: -expected[c.id][name])  # equals stay in the pool's order
    kept = {candidate.id for candidate in order[:keep]}
    record = {
        "estimator": estimator.key,
        "history": context.view.digest,
        "proxy": None if context.proxy is None or proxy_features is None else context.proxy.id,
        "pool": len(pool),
        "kept": len(kept),
        "expected": {c.id: {k: round(v, 6) for k, v in expected[c.id].items()} for c in order},
    }
    return [candidate for candidate in pool if candidate.id in kept], record
