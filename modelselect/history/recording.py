"""What a ranking adds to the transfer history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.estimators.estimator import Estimator
from modelselect.history.history import History
from modelselect.history.proxy import describe_dataset
from modelselect.history.records import ACCURACY, FINE_TUNING, TASK, Result, metric_of
from modelselect.host.defaults import CLASSIFICATION
from modelselect.probe.probe import Probe
from modelselect.ranking.ranking import Ranking
from modelselect.utils.versions import __version__


@dataclass(frozen=True)
class Run:
    """What the results of a run depend on, besides candidate and dataset.

    Attributes:
        keys: keys of the estimators whose scores the history keeps, by name.
        seed: the run's seed.
        fine_tuning: the recipe of the verified accuracies, whose `method` says what was trained; None if nothing was
            verified.
        pieces: values of the pieces of evidence, by metric and candidate id. Their reliability is measured on them.
        task: name of the task, with the kind of the targets where the task takes several. Metrics of other tasks than
            classification begin with it.
    """

    keys: Mapping[str, str]
    seed: int = 0
    fine_tuning: Mapping[str, Any] | None = None
    pieces: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    task: str = CLASSIFICATION


def record_run(history: History, board: Ranking, probe: Probe, graphs: Mapping[str, str], run: Run) -> bool:
    """Adds to the history what a run found, and returns whether there was anything to add.

    Args:
        history: the history to add to.
        board: the run's leaderboard.
        probe: what the candidates of the last round were shown.
        graphs: architectures as JSON, by candidate id without revision.
        run: what the results depend on.

    Raises:
        HistoryError, OSError: the history cannot be written.
    """
    results, metadata = results_of(board, probe.fingerprint, run)
    if results:
        history.describe_dataset(probe.fingerprint, describe_dataset(probe))
        history.describe_candidates(metadata, {name: graph for name, graph in graphs.items() if name in metadata})
        history.record(results)
    return bool(results)


def kept_keys(estimators: Sequence[Estimator]) -> dict[str, str]:
    """Keys of the estimators whose scores the history keeps, by name: their scores depend on one candidate alone."""
    return {e.name: e.key for e in estimators if not (e.is_static or e.relative or "history" in e.requires)}


def results_of(board: Ranking, dataset: str, run: Run) -> tuple[list[Result], dict[str, dict[str, Any]]]:
    """What a history keeps of a leaderboard: the results, and the metadata of each candidate by its id.

    Args:
        board: the run's leaderboard.
        dataset: the probe's fingerprint.
        run: what the results depend on.
    """
    provenance = {"source": "select", "modelselect": __version__}
    results, metadata = [], {}
    for row in board.rows:
        if row.candidate.zoo == OWN_MODULES:  # its name means nothing in another run
            continue
        candidate = row.candidate.unversioned_id
        its = {"seed": run.seed, **({"revision": row.candidate.revision} if row.candidate.revision else {})}
        its |= {} if run.task == CLASSIFICATION else {TASK: run.task}
        if row.stopped is None:  # fewer rows are another dataset
            for name, score in row.scores.items():
                if name in run.keys:
                    settings = {"estimator": run.keys[name], **its}
                    results.append(Result(candidate, dataset, metric_of(run.task, name), score, settings, provenance))
            for metric, values in run.pieces.items():
                if row.candidate.id in values:
                    value, kept = values[row.candidate.id], metric_of(run.task, metric)
                    results.append(Result(candidate, dataset, kept, value, its, provenance))
        if row.verified_accuracy is not None:
            settings = {FINE_TUNING: run.fine_tuning, **its}
            kept = metric_of(run.task, ACCURACY)
            results.append(Result(candidate, dataset, kept, row.verified_accuracy, settings, provenance))
        measured = {"parameters": row.parameters, "macs": row.macs, "feature_dim": row.feature_dim}
        metadata[candidate] = {**row.candidate.metadata, **{k: v for k, v in measured.items() if v is not None}}
    return results, metadata
