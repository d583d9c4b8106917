"""What a ranking adds to the transfer history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.estimators.estimator import Estimator
from modelselect.history.history import History
from modelselect.history.proxy import describe_dataset
from modelselect.history.records import ACCURACY, FINE_TUNING, Result
from modelselect.probe.probe import Probe
from modelselect.ranking.ranking import Ranking
from modelselect.utils.versions import __version__


def record_run(
    history: History,
    board: Ranking,
    probe: Probe,
    estimators: Sequence[Estimator],
    graphs: Mapping[str, str],
    seed: int,
    fine_tuning: Mapping[str, Any] | None,
) -> bool:
    """Adds to the history what a run found, and returns whether there was anything to add.

    Args:
        history: the history to add to.
        board: the run's leaderboard.
        probe: what the candidates of the last round were shown.
        estimators: the estimators that scored the candidates.
        graphs: architectures as JSON, by candidate id without revision.
        seed: the run's seed.
        fine_tuning: the recipe of the verified accuracies; None if nothing was verified.

    Raises:
        HistoryError, OSError: the history cannot be written.
    """
    results, metadata = results_of(board, probe.fingerprint, kept_keys(estimators), seed, fine_tuning)
    if results:
        history.describe_dataset(probe.fingerprint, describe_dataset(probe))
        history.describe_candidates(metadata, {name: graph for name, graph in graphs.items() if name in metadata})
        history.record(results)
    return bool(results)


def kept_keys(estimators: Sequence[Estimator]) -> dict[str, str]:
    """Keys of the estimators whose scores the history keeps, by name: their scores depend on one candidate alone."""
    return {e.name: e.key for e in estimators if not (e.is_static or e.relative or "history" in e.requires)}


def results_of(
    board: Ranking, dataset: str, keys: Mapping[str, str], seed: int, fine_tuning: Mapping[str, Any] | None
) -> tuple[list[Result], dict[str, dict[str, Any]]]:
    """What a history keeps of a leaderboard: the results, and the metadata of each candidate by its id.

    Args:
        board: the run's leaderboard.
        dataset: the probe's fingerprint.
        keys: keys of the estimators whose scores are kept, by name.
        seed: the run's seed.
        fine_tuning: the recipe of the verified accuracies; its `method` says what was trained.
    """
    provenance = {"source": "select", "modelselect": __version__}
    results, metadata = [], {}
    for row in board.rows:
        if row.candidate.zoo == OWN_MODULES:  # its name means nothing in another run
            continue
        candidate = row.candidate.unversioned_id
        revision = {"revision": row.candidate.revision} if row.candidate.revision else {}
        for name, score in row.scores.items() if row.stopped is None else ():  # fewer rows are another dataset
            if name in keys:
                settings = {"estimator": keys[name], "seed": seed, **revision}
                results.append(Result(candidate, dataset, name, score, settings, provenance))
        if row.verified_accuracy is not None:
            settings = {FINE_TUNING: fine_tuning, "seed": seed, **revision}
            results.append(Result(candidate, dataset, ACCURACY, row.verified_accuracy, settings, provenance))
        measured = {"parameters": row.parameters, "macs": row.macs, "feature_dim": row.feature_dim}
        metadata[candidate] = {**row.candidate.metadata, **{k: v for k, v in measured.items() if v is not None}}
    return results, metadata
