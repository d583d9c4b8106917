"""From results to a ranking: scores combined over the pool, ranks, their certainty, and similar architectures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from modelselect.candidates.candidate import Candidate, download_bytes_of, license_of
from modelselect.candidates.licenses import commercial_use
from modelselect.errors import Failure, Stage, contained
from modelselect.estimators.estimator import Estimator, combined
from modelselect.estimators.posterior import Piece, Pool, Weigher, check_name, posterior
from modelselect.estimators.ranks import mean_rank, normalised_ranks, voters, with_ties
from modelselect.estimators.resampling import looks_at_rows, replicate
from modelselect.evaluation.blame import bounded, failure_of
from modelselect.evaluation.places import Place
from modelselect.evaluation.results import ScoringResult
from modelselect.evidence.linear_algebra import Vector
from modelselect.history.view import HistoryView
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate


@dataclass(frozen=True)
class Standings:
    """The scores of a pool on one probe. Arrays have one element for each candidate, in the pool's order.

    Attributes:
        pool: the candidates.
        ranked_by: names of the estimators that the ranking is by.
        left_out: those of them that the mean rank leaves out, since they say that a score of theirs is invalid.
        scores: (n,) by name, of these estimators and of others that gave any score; NaN for a missing score.
        failures: why an estimator could not combine the scores of the pool, by name.
        errors: (n,) standard errors, by name.
        totals: (n,) the numbers that decide the order; NaN for a candidate without one.
        replicates: (B, n) totals on other probes; B is 0 if none were asked for.
        pieces: the evidence that the totals are made of, (n,) each; empty if the estimators do not say.
    """

    pool: tuple[Candidate, ...]
    ranked_by: tuple[str, ...]
    left_out: frozenset[str]
    scores: Mapping[str, Vector]
    failures: Mapping[str, Failure]
    errors: Mapping[str, Vector]
    totals: Vector
    replicates: Vector
    pieces: tuple[Piece, ...] = ()

    @cached_property
    def deviations(self) -> Vector:
        """(n,) standard deviations of the totals; NaN where they are unknown."""
        return _deviations(self.replicates)


@dataclass(frozen=True)
class Rule:
    """What a pool is ranked by.

    Attributes:
        methods: all estimators: those that rank, and the static baselines.
        chosen: the estimators that rank.
        resamples: number of resamples of the rows that were scored, too.
        history: what the transfer history knows of the run; None without a history.
    """

    methods: Sequence[Estimator]
    chosen: Sequence[Estimator]
    resamples: int = 0
    history: HistoryView | None = None


def stand(pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure], rule: Rule) -> Standings:
    """Scores combined over the whole pool, in the pool's order and not in the order of finishing."""
    components = {e.name: _components(e, pool, results) for e in rule.methods}
    known = known_of(pool, results, rule.history)
    resamples = rule.resamples if any(looks_at_rows(estimator) for estimator in rule.chosen) else 0
    scores, columns, pieces, failures = {}, {}, {}, {}
    for estimator in rule.methods:
        name = estimator.name
        try:
            with bounded(estimator), contained():
                scores[name], pieces[name] = _weighed(estimator, components[name], known)
                if estimator in rule.chosen:
                    columns[name] = _replicated(estimator, pool, results, components[name], known, resamples)
        except Exception as error:  # a plugin may raise anything; only this estimator's column is lost
            scores[name], columns[name] = np.full(len(pool), np.nan), np.full((resamples, len(pool)), np.nan)
            pieces[name], failures[name] = (), failure_of(Stage.COMBINE, error, estimator)
    left_out = _left_out({e.name: scores[e.name] for e in rule.chosen}, pool, results)
    chosen = [e.name for e in rule.chosen]
    replicates = [_totals(left_out, {name: columns[name][b] for name in chosen}) for b in range(resamples)]
    return Standings(
        pool=tuple(pool),
        ranked_by=tuple(chosen),
        left_out=left_out,
        scores={e.name: scores[e.name] for e in rule.methods if e in rule.chosen or not np.isnan(scores[e.name]).all()},
        failures=failures,
        errors={e.name: _deviations(columns[e.name]) for e in rule.chosen if resamples and looks_at_rows(e)},
        totals=_totals(left_out, {name: scores[name] for name in chosen}),
        replicates=np.array(replicates).reshape(len(replicates), len(pool)),
        pieces=pieces[chosen[0]] if len(chosen) == 1 else (),
    )


def known_of(
    pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure], history: HistoryView | None
) -> Pool:
    """The names and facts of a pool, with what was measured while candidates were scored."""
    facts = []
    for candidate in pool:
        known = dict(candidate.metadata)
        if isinstance(result := results.get(candidate.id), ScoringResult):
            measured = {"parameters": result.parameters, "feature_dim": result.feature_dim}
            known |= {name: value for name, value in measured.items() if value is not None}
        facts.append(known)
    return Pool(tuple(candidate.unversioned_id for candidate in pool), tuple(facts), history)


def halved_totals(standings: Standings, results: Mapping[str, ScoringResult | Failure], rule: Rule) -> Vector:
    """(n,) the totals on half of the rows; NaN where they are not known."""
    pool, scores = standings.pool, {}
    known = known_of(pool, results, rule.history)
    for estimator in rule.chosen:
        if estimator.name in standings.failures:
            scores[estimator.name] = np.full(len(pool), np.nan)
            continue
        on_all = _components(estimator, pool, results)
        on_half = [
            r.halved.get(estimator.name) if isinstance(r := results[c.id], ScoringResult) else None for c in pool
        ]
        try:
            with bounded(estimator), contained():
                scores[estimator.name] = pool_scores(estimator, on_half if looks_at_rows(estimator) else on_all, known)
        except Exception:  # a plugin may raise anything; how far scores move is then not known
            scores[estimator.name] = np.full(len(pool), np.nan)
    return _totals(standings.left_out, scores)


def rank_rounds(
    pool: Sequence[Candidate],
    results: Mapping[str, ScoringResult | Failure],
    rounds: Sequence[Standings],
    places: Mapping[str, Place],
) -> Ranking:
    """The leaderboard after rounds in which fewer and fewer candidates were shown larger and larger probes.

    The candidates of the last round come first, by their scores in it. Then come those whose last round was the one
    before, and so on.

    Args:
        pool: all candidates.
        results: the result of each candidate in its last round, or why it has none.
        rounds: the standings of each round, the first round first.
        places: where candidates stand among the architectures, by id.
    """
    rows: dict[str, RankedCandidate] = {}
    for standings in reversed(rounds):
        here = {c.id for c in standings.pool if c.id not in rows and isinstance(results[c.id], ScoringResult)}
        ended = [i for i, candidate in enumerate(standings.pool) if candidate.id in here]
        ranks = _competition_ranks(standings.totals[ended])
        before = sum(row.rank is not None for row in rows.values())
        for rank, i in sorted(zip(ranks, ended, strict=True), key=lambda pair: (pair[0] or math.inf, pair[1])):
            candidate = standings.pool[i]
            if isinstance(result := results[candidate.id], ScoringResult):
                place = places.get(candidate.id, Place())
                rows[candidate.id] = _row(standings, i, None if rank is None else before + rank, result, place)
    for candidate in pool:
        if isinstance(failure := results[candidate.id], Failure):
            parameters = candidate.metadata.get("parameters")
            rows[candidate.id] = RankedCandidate(
                candidate, failure=failure, parameters=parameters, **_known_costs(candidate)
            )
    return Ranking(
        tuple(sorted(rows.values(), key=lambda row: (row.failure is not None, row.rank is None))),
        tuple(dict.fromkeys(name for standings in reversed(rounds) for name in standings.scores)),
    )


def _row(standings: Standings, i: int, rank: int | None, result: ScoringResult, place: Place) -> RankedCandidate:
    candidate = standings.pool[i]
    error = _known(standings.deviations[i])
    costs = result.costs
    uncombined = {name: failure for name, failure in standings.failures.items() if result.components.get(name)}
    failures = {**result.failures, **uncombined}
    warned = {
        name: f"left out of the mean rank: {text}" if name in standings.left_out else text
        for name, text in result.warnings.items()
        if name not in standings.left_out or name in result.invalid  # what else it warns of changes nothing
    }
    return RankedCandidate(
        candidate,
        rank=rank,
        score=None if rank is None else float(standings.totals[i]),
        standard_error=error,
        predicted_rank=rank,
        scores={name: float(column[i]) for name, column in standings.scores.items() if not np.isnan(column[i])},
        standard_errors={
            name: float(column[i]) for name, column in standings.errors.items() if not np.isnan(column[i])
        },
        components={name: found for name, found in result.components.items() if name not in standings.failures},
        failures={name: f for name, f in failures.items() if name in (*standings.ranked_by, Stage.COSTS)},
        warnings=warned,
        parameters=result.parameters,
        macs=result.macs,
        feature_dim=result.feature_dim,
        seconds=result.seconds,
        embedding=place.embedding,
        nearest=place.nearest,
        cluster=place.cluster,
        weights_key=None if candidate.revision else result.identity.removeprefix(f"{candidate.id}#") or None,
        latency_ms=None if costs is None else costs.latency_ms,
        throughput=None if costs is None else costs.throughput,
        memory_bytes=None if costs is None else costs.memory_bytes,
        training_memory_bytes=result.training_memory_bytes,
        zero_shot_accuracy=result.zero_shot_accuracy,
        **_known_costs(candidate),
    )


def _known_costs(candidate: Candidate) -> dict[str, Any]:
    license = license_of(candidate)
    return {
        "license": license,
        "commercial_use": commercial_use(license),
        "download_bytes": download_bytes_of(candidate),
    }


def _components(
    estimator: Estimator, pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure]
) -> list[Mapping[str, float] | None]:
    """The components that an estimator found for each candidate; None where it has no score."""
    return [r.components.get(estimator.name) if isinstance(r := results[c.id], ScoringResult) else None for c in pool]


def _totals(left_out: frozenset[str], scores: Mapping[str, Vector]) -> Vector:
    """The numbers that decide the order: the scores of the one estimator, or the mean rank by several."""
    if len(scores) == 1:
        return with_ties(*scores.values())
    return mean_rank({name: normalised_ranks(column) for name, column in scores.items() if name not in left_out})


def _left_out(
    scores: Mapping[str, Vector], pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure]
) -> frozenset[str]:
    """Names of the estimators that the mean rank leaves out, since a score of theirs in this pool is invalid."""
    found = [result for candidate in pool if isinstance(result := results[candidate.id], ScoringResult)]
    invalid = frozenset[str]().union(*(result.invalid for result in found))
    return frozenset(scores) - frozenset(voters(scores, invalid))


def pool_scores(estimator: Estimator, components: Sequence[Mapping[str, float] | None], known: Pool) -> Vector:
    """(n,) scores over the pool; NaN for a candidate without components.

    Raises:
        EvidenceError: the estimator did not return a finite number for each. It may also raise anything else.
    """
    return _weighed(estimator, components, known)[0]


def _weighed(
    estimator: Estimator, components: Sequence[Mapping[str, float] | None], known: Pool
) -> tuple[Vector, tuple[Piece, ...]]:
    """(n,) scores over the pool and the pieces of evidence that they are made of, (n,) each; NaN without components.

    There are no pieces if the estimator weighs none, or if no candidate has components.

    Raises:
        EvidenceError: the estimator did not return a finite number for each candidate.
        InvalidInputError: the pieces do not fit. The estimator may also raise anything else.
    """
    if not isinstance(estimator, Weigher):
        return combined(estimator, components), ()
    scores, whole = np.full(len(components), np.nan), []
    there = [index for index, given in enumerate(components) if given is not None]
    if not there:
        return scores, ()
    pieces = list(estimator.pieces([given for given in components if given is not None], known.take(there)))
    scores[there] = posterior(pieces, len(there)).mean
    for piece in pieces:
        check_name(piece.name)
        values, reliability = np.full((2, len(components)), np.nan)
        values[there], reliability[there] = piece.values, piece.reliability
        whole.append(Piece(piece.name, values, reliability))
    return scores, tuple(whole)


def _replicated(
    estimator: Estimator,
    pool: Sequence[Candidate],
    results: Mapping[str, ScoringResult | Failure],
    components: Sequence[Mapping[str, float] | None],
    known: Pool,
    resamples: int,
) -> Vector:
    """(resamples, n) scores of an estimator on other probes; NaN where unknown."""
    replicates: list[Sequence[Mapping[str, float] | None]] = []
    for candidate, given in zip(pool, components, strict=True):
        result = results[candidate.id]
        resampled = result.resampled.get(estimator.name) if isinstance(result, ScoringResult) else None
        if given is None or not looks_at_rows(estimator):
            replicates.append([given] * resamples)
        else:
            replicates.append(replicate(given, resampled) if resampled else [None] * resamples)
    return np.array([pool_scores(estimator, each, known) for each in zip(*replicates, strict=True)])


def _deviations(replicates: Vector) -> Vector:
    """(n,) standard deviations of (B, n) replicates; NaN where there are none."""
    return np.std(replicates, axis=0, ddof=1) if len(replicates) else np.full(replicates.shape[1], np.nan)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _competition_ranks(totals: np.ndarray[Any, np.dtype[np.float64]]) -> list[int | None]:
    """1 for the highest; equal totals share the best of their ranks; None where there is no total."""
    return [None if np.isnan(t) else 1 + int((totals > t).sum()) for t in totals]
