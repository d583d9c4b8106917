"""`Outlook`: what all evidence of a run says of its candidates. Each stage of the run adds what it has found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modelselect.estimators.estimator import Estimator
from modelselect.estimators.posterior import (
    BRIEF,
    EARLIER,
    Piece,
    Posterior,
    anchored,
    correlation,
    normal_scores,
    posterior,
    remeasured,
    sole_weigher,
)
from modelselect.evaluation.standings import Standings
from modelselect.evidence.linear_algebra import Vector
from modelselect.history.view import HistoryView
from modelselect.ranking.expectation import Expectation
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate

SCORE_RELIABILITY = 0.5
"""The correlation that a score is expected to have with the accuracy after fine-tuning, if its estimator does not say
more. The estimators of this package have 0.4 to 0.7 on published tables."""

BRIEF_METRIC = "evidence:brief"
"""The metric under which the transfer history keeps the accuracies after one epoch."""

BRIEF_RELIABILITY = 0.75
"""The correlation that the accuracy after one epoch is expected to have with that after fine-tuning."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """The posterior of the candidates that have a score.

    Attributes:
        candidates: ids, in the order of the posterior's arrays.
        posterior: of these candidates.
        pieces: the values of the pieces of evidence, by name, (n,) each; NaN where a piece says nothing. After several
            rounds, those of the last round.
    """

    candidates: tuple[str, ...]
    posterior: Posterior
    pieces: Mapping[str, Vector] = field(default_factory=dict)

    @classmethod
    def of(cls, rounds: Sequence[Standings], seed: int = 0) -> Outlook | None:
        """The outlook after rounds of scoring, the first round first; None if no candidate has a score.

        A later round compares only the better candidates. So its posterior is moved and scaled to what the rounds
        before expected of these candidates.
        """
        outlook: Outlook | None = None
        for standings in rounds:
            if (found := _of_round(standings, seed)) is not None:
                outlook = found if outlook is None else _continued(outlook, found)
        return outlook

    def among(self, candidates: Collection[str]) -> Outlook | None:
        """The outlook without other candidates than these; None if no candidate is left."""
        places = [place for place, candidate in enumerate(self.candidates) if candidate in candidates]
        if not places:
            return None
        before = self.posterior
        contributions = {name: column[places] for name, column in before.contributions.items()}
        return Outlook(
            tuple(self.candidates[place] for place in places),
            Posterior(before.mean[places], before.variance[places], contributions, before.seed),
            {name: column[places] for name, column in self.pieces.items()},
        )

    def with_brief(
        self, accuracies: Mapping[str, float], rows: Mapping[str, int], reliability: float = BRIEF_RELIABILITY
    ) -> Outlook:
        """The outlook after some candidates were fine-tuned for one epoch.

        The reliability shrinks with the share of the differences between accuracies that the choice of rows explains:
        after few steps all candidates may be near guessing, and their order is then chance.

        Args:
            accuracies: by candidate id, from 0 to 1.
            rows: number of rows that each was measured on.
            reliability: that of accuracies on many rows.
        """
        measured, counts = self._in_order(accuracies), self._in_order(rows)
        known = np.isfinite(measured)
        if known.sum() < 2:
            return self
        shares = np.clip(measured[known], 0, 1)  # R² may be below 0
        error = float(np.mean(shares * (1 - shares) / counts[known]))
        spread = float(measured[known].var())
        reliability *= np.sqrt(max(0.0, 1 - error / spread)) if spread > 0 else 0.0
        values = anchored(measured, self.posterior.mean)
        found = self.posterior.with_piece(Piece(BRIEF, values, reliability))
        return replace(self, posterior=found, pieces={**self.pieces, BRIEF: values})

    def with_accuracies(self, accuracies: Mapping[str, float], rows: int, error: float | None = None) -> Outlook:
        """The outlook after some candidates were fine-tuned.

        Args:
            accuracies: by candidate id, from 0 to 1; or another metric.
            rows: number of rows that each was measured on.
            error: the mean standard error of another metric; None for the binomial one of accuracies.
        """
        return replace(self, posterior=self.posterior.with_accuracies(self._in_order(accuracies), rows, error))

    def recorded(self, chosen: Sequence[Estimator]) -> dict[str, dict[str, float]]:
        """The values whose reliability later runs measure, by metric and candidate id.

        These are the pieces `probe` and `BRIEF`. The others are facts of candidates, or results that the history has.
        """
        weigher = sole_weigher(chosen)
        kept = {BRIEF: BRIEF_METRIC} | ({} if weigher is None else {"probe": f"{weigher.name}:probe"})
        return {
            metric: {c: float(v) for c, v in zip(self.candidates, self.pieces[name], strict=True) if np.isfinite(v)}
            for name, metric in kept.items()
            if name in self.pieces
        }

    def _in_order(self, values: Mapping[str, float] | Mapping[str, int]) -> Vector:
        return np.array([values.get(candidate, np.nan) for candidate in self.candidates], dtype=np.float64)

    def ordered(self, ranking: Ranking, *, scored: bool) -> Ranking:
        """The ranking in the order of what is expected, which it shows.

        Args:
            ranking: before any accuracy of verification.
            scored: whether the score of a row is what is expected of it.
        """
        mean = {c: float(m) for c, m in zip(self.candidates, self.posterior.mean, strict=True)}
        rows = []
        for row in ranking.ranked:
            own = mean[row.candidate.id]
            rank = 1 + sum(other > own for other in mean.values())
            rows.append(replace(row, rank=rank, predicted_rank=rank, score=own if scored else row.score))
        rows.sort(key=lambda row: row.rank or 0)
        rest = [row for row in ranking.rows if row.rank is None]
        return self.shown_on(replace(ranking, rows=(*rows, *rest)))

    def shown_on(self, ranking: Ranking) -> Ranking:
        """The ranking with what is expected of each candidate. Its confidence is that of the first place."""
        best, intervals = self.posterior.probability_best, self.posterior.rank_intervals()
        places = {candidate: i for i, candidate in enumerate(self.candidates)}

        def expected(row: RankedCandidate) -> RankedCandidate:
            if row.rank is None or (i := places.get(row.candidate.id)) is None:
                return row
            contributions = {
                name: float(column[i])
                for name, column in self.posterior.contributions.items()
                if np.isfinite(column[i])
            }
            low, high = (int(rank) for rank in intervals[i])
            deviation = float(np.sqrt(self.posterior.variance[i]))
            expectation = Expectation(float(self.posterior.mean[i]), deviation, (low, high), contributions)
            return replace(row, expectation=expectation, probability_best=float(best[i]))

        rows = tuple(map(expected, ranking.rows))
        confidence = rows[0].probability_best if len([row for row in rows if row.expectation is not None]) > 1 else None
        return replace(ranking, rows=rows, confidence=confidence)


def brief_reliability(history: HistoryView | None) -> float:
    """The reliability of an accuracy after one epoch, corrected by what such accuracies proved worth in the history.

    The shipped one is a little below what was measured: on six language models and eight tasks, accuracies after 500
    steps of fine-tuning correlate by 0.77 with the final ones. After 100 steps it is 0.65, and after 50 steps 0.07.
    """
    if history is None:
        return BRIEF_RELIABILITY
    pairs = zip(history.performance(BRIEF_METRIC, "raw").T, history.measured().T, strict=True)
    return remeasured(BRIEF_RELIABILITY, (correlation(brief, normal_scores(measured)) for brief, measured in pairs))


def _of_round(standings: Standings, seed: int) -> Outlook | None:
    there = np.flatnonzero(~np.isnan(standings.totals))
    if not len(there):
        return None
    pieces = standings.pieces or [Piece("score", normal_scores(standings.totals), SCORE_RELIABILITY)]
    taken = [
        Piece(piece.name, piece.values[there], np.broadcast_to(piece.reliability, piece.values.shape)[there])
        for piece in pieces
    ]
    names = tuple(standings.pool[i].id for i in there)
    return Outlook(names, posterior(taken, len(there), seed), {piece.name: piece.values for piece in taken})


def _continued(outlook: Outlook, later: Outlook) -> Outlook:
    """The outlook with that of a later round. All candidates of the later round are in the outlook."""
    places = [outlook.candidates.index(candidate) for candidate in later.candidates]
    before, after = outlook.posterior, later.posterior
    expected, spread = before.mean[places], float(after.mean.std())
    scale = min(float(expected.std()) / spread, 1.0) if spread > 0 else 1.0
    mean, variance = before.mean.copy(), before.variance.copy()
    moved = float(expected.mean() - scale * after.mean.mean())
    mean[places] = moved + scale * after.mean
    variance[places] = scale**2 * after.variance
    found = {name: scale * values for name, values in after.contributions.items()}
    found[EARLIER] = np.full(len(places), moved)
    names = dict.fromkeys((*before.contributions, *found))
    contributions = {name: before.contributions.get(name, np.full(len(mean), np.nan)).copy() for name in names}
    for name, column in contributions.items():
        column[places] = found.get(name, np.full(len(places), np.nan))
    pieces = {name: np.full(len(mean), np.nan) for name in later.pieces}
    for name, column in pieces.items():
        column[places] = later.pieces[name]
    return Outlook(outlook.candidates, Posterior(mean, variance, contributions, before.seed), pieces)
