"""What a ranking adds to the transfer history."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import ModelSelectError
from modelselect.estimators.estimator import Estimator
from modelselect.history.history import History
from modelselect.history.proxy import choose_proxy, describe_dataset
from modelselect.history.records import ACCURACY, Result
from modelselect.ranking.ranking import Ranking

if TYPE_CHECKING:
    from modelselect.evaluation.context import ScoringTask
    from modelselect.evaluation.results import ScoringResult


def record_run(
    history: History,
    board: Ranking,
    work: ScoringTask,
    chosen: Sequence[Estimator],
    assessed: Mapping[str, ScoringResult],
    fine_tuning: Mapping[str, Any] | None,
    *,
    may_look: bool = True,
) -> None:
    """Adds to the history what a run found. That it cannot be is a warning, and costs nothing else.

    Without `may_look` the proxy's features are only added where it has looked at the dataset already.
    """
    dataset = work.probe.fingerprint
    results, facts = results_of(board, dataset, kept_keys(chosen), work.seed, fine_tuning)
    if not results:
        return
    by_id = {row.candidate.unversioned_id: assessed.get(row.candidate.id) for row in board.rows}
    graphs = {c: found.graph for c in facts if (found := by_id[c]) is not None and found.graph is not None}
    try:
        history.describe_dataset(dataset, describe_dataset(work.probe))
        history.describe_candidates(facts, graphs)
        history.record(results)
        proxy = work.proxy or choose_proxy(work.probe, history)
        if proxy is not None and (may_look or not work.foresee(proxy, trace=False).passes):
            history.keep_proxy(dataset, proxy.id, work.features(proxy))
    except (ModelSelectError, OSError) as error:
        warnings.warn(f"nothing of this run was added to the transfer history: {error}", stacklevel=3)


def kept_keys(estimators: Sequence[Estimator]) -> dict[str, str]:
    """Keys of the estimators whose scores the history keeps, by name: each says something of this candidate alone."""
    return {e.name: e.key for e in estimators if not (e.is_static or e.relative or "history" in e.requires)}


def results_of(
    board: Ranking, dataset: str, keys: Mapping[str, str], seed: int, fine_tuning: Mapping[str, Any] | None
) -> tuple[list[Result], dict[str, dict[str, Any]]]:
    """What a leaderboard says that a history keeps: results, and what is known of each candidate, by its id.

    Args:
        board: whose rows.
        dataset: the probe's fingerprint.
        keys: of the estimators whose scores are kept, by name.
        seed: of the run.
        fine_tuning: the recipe of the verified accuracies, and by its `method` what was trained.
    """
    from modelselect.utils.versions import __version__

    provenance = {"source": "select", "modelselect": __version__}
    results, facts = [], {}
    for row in board.rows:
        if row.candidate.zoo == OWN_MODULES:  # whose names mean nothing in another run
            continue
        candidate = row.candidate.unversioned_id
        revision = {"revision": row.candidate.revision} if row.candidate.revision else {}
        for name, score in row.scores.items() if row.stopped is None else ():  # of fewer rows, that is another dataset
            if name in keys:
                settings = {"estimator": keys[name], "seed": seed, **revision}
                results.append(Result(candidate, dataset, name, score, settings, provenance))
        if row.verified_accuracy is not None:
            settings = {"fine_tuning": fine_tuning, "seed": seed, **revision}
            results.append(Result(candidate, dataset, ACCURACY, row.verified_accuracy, settings, provenance))
        measured = {"parameters": row.parameters, "macs": row.macs, "feature_dim": row.feature_dim}
        facts[candidate] = {**row.candidate.metadata, **{k: v for k, v in measured.items() if v is not None}}
    return results, facts
