"""The figures of a leaderboard, for notebooks and papers. See `Leaderboard.plot`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelselect.errors import InvalidInputError, did_you_mean
from modelselect.evidence.evidence import Evidence
from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.report.costs import costs_of
from modelselect.report.names import dataset_name, display_names
from modelselect.report.plots import (
    agreement_against_time,
    features_in_the_plane,
    new_figure,
    plain,
    scores_against_accuracies,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("cost", "scores", "time", "features")


@dataclass(frozen=True)
class PlotSettings:
    """What `Leaderboard.plot` draws with, beyond its kind.

    Attributes:
        cost: for `cost`, the cost.
        accuracies: for `scores` and `time`, the accuracy of each candidate by id or by name; None for those that the
            leaderboard holds.
        measure: for `time`, an attribute of `Agreement`.
        evidence: for `features`, the evidence of each candidate by id.
        plane: for `features`, `tsne` or `umap`.
        seed: for `features`, of the map into the plane.
    """

    cost: str = "parameters"
    accuracies: Mapping[str, float] | None = None
    measure: str = "weighted_kendall"
    evidence: Mapping[str, Evidence] | None = None
    plane: str = "tsne"
    seed: int = 0


def draw(board: Ranking, kind: str, settings: PlotSettings) -> Figure:
    """See `Leaderboard.plot`."""
    if kind == "cost":
        return _score_against_cost(board, settings.cost)
    if kind == "scores":
        return scores_against_accuracies(_points_of(board, settings.accuracies), board.measure)
    if kind == "time":
        return agreement_against_time(_points_of(board, settings.accuracies), _seconds_of(board), settings.measure)
    if kind == "features":
        return features_in_the_plane(_evidence_of(board, settings.evidence), settings.plane, settings.seed)
    raise InvalidInputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.{did_you_mean(str(kind), KINDS)}")


# --- score against cost -----------------------------------------------------------------------------------------------


def _score_against_cost(board: Ranking, cost: str) -> Figure:
    known = {each.key: each for each in costs_of(board)}
    if cost not in known:
        raise InvalidInputError(
            f"cost is {cost!r}; expected a cost that is known for at least two ranked candidates: "
            f"{', '.join(known) or 'there is none on this leaderboard'}"
        )
    called = display_names(board)
    rows = [i for i, row in enumerate(board.rows) if row.score is not None and known[cost].values[i]]
    x = [float(known[cost].values[i] or 0.0) for i in rows]
    y = [float(board.rows[i].score or 0.0) for i in rows]
    front = pareto_front(x, y)
    figure = new_figure(8, 5)
    axes = figure.subplots()
    errors = [board.rows[i].standard_error for i in rows]
    if any(error is not None for error in errors):
        axes.errorbar(x, y, [error or 0.0 for error in errors], fmt="none", ecolor="0.7", zorder=1)
    axes.scatter(x, y, color="0.6", label="candidates", zorder=2)
    axes.step([x[i] for i in front], [y[i] for i in front], where="post", color="C0", zorder=2)
    axes.scatter([x[i] for i in front], [y[i] for i in front], color="C0", label="Pareto front", zorder=3)
    for i in front:
        right = x[i] > (min(x) * max(x)) ** 0.5  # where there is more room to the left
        offset, side = ((-5, 4), "right") if right else ((5, -10), "left")
        axes.annotate(plain(called[rows[i]]), (x[i], y[i]), offset, textcoords="offset points", fontsize=8, ha=side)
    axes.set_xscale("log")
    axes.set_xlabel(known[cost].label)
    axes.set_ylabel("score")
    axes.legend(loc="lower right")
    return figure


# --- scores, accuracies and time --------------------------------------------------------------------------------------


def _points_of(board: Ranking, accuracies: Mapping[str, float] | None) -> dict[str, dict[str, Any]]:
    """By estimator and the board's dataset, the points of its candidates.

    Raises:
        InvalidInputError: fewer than two candidates have both a score and an accuracy.
    """
    known = _accuracies_of(board, accuracies)
    called, dataset = display_names(board), dataset_name(board)
    found: dict[str, dict[str, Any]] = {}
    for name in board.estimators:
        points = {
            called[i]: (row.scores[name], known[row.candidate.id])
            for i, row in enumerate(board.rows)
            if name in row.scores and row.candidate.id in known
        }
        if len(points) > 1:
            found[name] = {dataset: points}
    if not found:
        raise InvalidInputError(
            f"accuracies are known for {len(known)} of {len(board.rows)} candidates; expected two or more with a "
            "score. Fine-tune several with select(..., top_k=5), or give accuracies={candidate: accuracy}"
        )
    return found


def _accuracies_of(board: Ranking, given: Mapping[str, float] | None) -> dict[str, float]:
    """Accuracies from 0 to 1 by candidate id: the given ones, else those after fine-tuning.

    Raises:
        InvalidInputError: a name means no candidate.
    """
    if given is None:
        return {row.candidate.id: row.verified_accuracy for row in board.rows if row.verified_accuracy is not None}
    called = display_names(board)
    names = {
        name: row.candidate.id
        for i, row in enumerate(board.rows)
        for name in (row.candidate.id, row.candidate.unversioned_id, called[i])
    }
    unknown = [str(name) for name in given if str(name) not in names]
    if unknown:
        raise InvalidInputError(
            f"accuracies has {unknown[0]!r}, which is no candidate of this leaderboard; expected "
            f"{', '.join(called[:5])}.{did_you_mean(unknown[0], names)}"
        )
    scale = 100.0 if max(given.values(), default=0.0) > 1 else 1.0
    return {names[str(name)]: value / scale for name, value in given.items()}


def _seconds_of(board: Ranking) -> dict[str, float]:
    """The time of each estimator for one candidate.

    Raises:
        InvalidInputError: the leaderboard does not hold them.
    """
    about = record_of(board, "estimators")
    found = {
        name: float(known["seconds"])
        for name, known in about.items()
        if isinstance(known, Mapping) and isinstance(known.get("seconds"), int | float)
    }
    if not found:
        raise InvalidInputError("this leaderboard does not hold the times of its estimators; run select() again")
    return found


# --- features in the plane --------------------------------------------------------------------------------------------


def _evidence_of(board: Ranking, given: Mapping[str, Evidence] | None) -> dict[str, Evidence]:
    """The evidence by the candidate's name on the leaderboard, in the order of the ranking.

    Raises:
        InvalidInputError: none is given, or for no candidate of the leaderboard.
    """
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            "kind='features' needs the features: give evidence=ms.features(dataset, [row.candidate for row in "
            "board.ranked[:4]])"
        )
    found = {
        name: given[row.candidate.id]
        for name, row in zip(display_names(board), board.rows, strict=True)
        if row.candidate.id in given
    }
    if not found:
        raise InvalidInputError(
            f"evidence is of {', '.join(list(given)[:3]) or 'no candidate'}; expected the ids of candidates of this "
            f"leaderboard, such as {board.rows[0].candidate.id if board.rows else 'none'}"
        )
    return found
