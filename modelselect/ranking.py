"""Assessments in, rows in order out: scores combined over the pool, ranks, how sure they are, and what lies near."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelselect.assessment import Assessment
from modelselect.candidates import Candidate
from modelselect.errors import EvidenceError, Failure
from modelselect.estimator import Estimator, Vector, mean_rank, normalised_ranks
from modelselect.leaderboard import Leaderboard, Row
from modelselect.uncertainty import looks_at_rows, probabilities_best, probability_better, replicate

NEAREST_SHOWN = 3


def rank(
    pool: Sequence[Candidate],
    results: Mapping[str, Assessment | Failure],
    methods: Sequence[Estimator],
    chosen: Sequence[Estimator],
    resamples: int,
) -> Leaderboard:
    """Rows in order. Scores are combined over the whole pool, in the pool's order, whatever finished first."""
    components = {
        e.name: [r.components.get(e.name) if isinstance(r := results[c.id], Assessment) else None for c in pool]
        for e in methods
    }
    scores = {}
    for estimator in methods:
        try:
            scores[estimator.name] = combined(estimator, components[estimator.name])
        except Exception as error:  # of a plugin, perhaps: it costs this estimator's column
            scores[estimator.name] = np.full(len(pool), np.nan)
            failure = Failure.from_exception("combine", error)
            for result in results.values():
                if isinstance(result, Assessment) and result.components.pop(estimator.name, {}):
                    result.failures[estimator.name] = failure
            components[estimator.name] = [None] * len(pool)
    shown = [e for e in methods if e in chosen or not np.isnan(scores[e.name]).all()]
    totals = _totals(chosen, scores)
    ranks = _competition_ranks(totals)
    errors, replicates = _replicated(chosen, pool, results, components, resamples)
    total_errors, best = _deviations(replicates), probabilities_best(replicates)
    try:
        embeddings = _embed(pool, results)
    except Exception as error:  # an encoder that fails is no reason to lose the ranking
        embeddings = {}
        warnings.warn(f"no architecture vectors: {type(error).__name__}: {error}", stacklevel=2)
    rows = []
    for index, candidate in enumerate(pool):
        result = results[candidate.id]
        if isinstance(result, Failure):
            rows.append(Row(candidate, failure=result, parameters=candidate.metadata.get("parameters")))
            continue
        embedding, nearest, cluster = embeddings.get(candidate.id, (None, (), None))
        rows.append(
            Row(
                candidate,
                rank=ranks[index],
                score=None if ranks[index] is None else float(totals[index]),
                standard_error=_known(total_errors[index]),
                probability_best=None if _known(total_errors[index]) is None else float(best[index]),
                predicted_rank=ranks[index],
                scores={e.name: float(scores[e.name][index]) for e in shown if not np.isnan(scores[e.name][index])},
                standard_errors={name: float(e[index]) for name, e in errors.items() if not np.isnan(e[index])},
                components=result.components,
                failures={name: f for name, f in result.failures.items() if name in {e.name for e in chosen}},
                warnings=result.warnings,
                parameters=result.parameters,
                macs=result.macs,
                feature_dim=result.feature_dim,
                seconds=result.seconds,
                embedding=embedding,
                nearest=nearest,
                cluster=cluster,
                weights_key=None if candidate.revision else result.identity.removeprefix(f"{candidate.id}#") or None,
            )
        )
    order = sorted(range(len(rows)), key=lambda i: (rows[i].failure is not None, ranks[i] or len(rows) + 1, i))
    confidence = None
    if len(order) > 1 and not np.isnan(total_errors[order[:2]]).any():
        first, second = order[:2]
        confidence = probability_better(totals[first] - totals[second], replicates[:, first] - replicates[:, second])
    return Leaderboard(tuple(rows[i] for i in order), tuple(e.name for e in shown), confidence=confidence)


def combined(estimator: Estimator, components: Sequence[Mapping[str, float] | None]) -> Vector:
    """(n,) scores from the components of a pool's candidates; NaN for a candidate that has none.

    Raises:
        EvidenceError: the estimator did not give a finite number for each; it may raise anything else besides.
    """
    column = np.full(len(components), np.nan)
    there = [index for index, given in enumerate(components) if given is not None]
    if there:
        combined = np.asarray(estimator.combine([given for given in components if given is not None]), np.float64)
        if combined.shape != (len(there),) or not np.isfinite(combined).all():
            raise EvidenceError(
                f"{estimator.name} combined the scores of {len(there)} candidates to {combined!r}; expected one finite "
                "number for each. Report this to the estimator's author."
            )
        column[there] = combined
    return column


def _totals(chosen: Sequence[Estimator], scores: Mapping[str, Vector]) -> Vector:
    """What the ranking is by: the one estimator's scores, or the mean of the ranks by several."""
    if len(chosen) == 1:
        return scores[chosen[0].name]
    return mean_rank({e.name: normalised_ranks(scores[e.name]) for e in chosen})


def _replicated(
    chosen: Sequence[Estimator],
    pool: Sequence[Candidate],
    results: Mapping[str, Assessment | Failure],
    components: Mapping[str, Sequence[Mapping[str, float] | None]],
    resamples: int,
) -> tuple[dict[str, Vector], Vector]:
    """Standard errors by estimator, (n,) each, and the (B, n) totals on other probes; NaN where there is none.

    B is 0 where none of the estimators looks at the probe's rows.
    """
    if not any(looks_at_rows(estimator) for estimator in chosen):
        resamples = 0
    columns = {}
    for estimator in chosen:
        replicates: list[Sequence[Mapping[str, float] | None]] = []
        for candidate, given in zip(pool, components[estimator.name], strict=True):
            result = results[candidate.id]
            resampled = result.resampled.get(estimator.name) if isinstance(result, Assessment) else None
            if given is None or not looks_at_rows(estimator):
                replicates.append([given] * resamples)
            else:
                replicates.append(replicate(given, resampled) if resampled else [None] * resamples)
        columns[estimator.name] = np.array([combined(estimator, each) for each in zip(*replicates, strict=True)])
    errors = {e.name: _deviations(columns[e.name]) for e in chosen if resamples and looks_at_rows(e)}
    totals = [_totals(chosen, {name: column[b] for name, column in columns.items()}) for b in range(resamples)]
    return errors, np.array(totals).reshape(resamples, len(pool))


def _deviations(replicates: Vector) -> Vector:
    """(n,) standard deviations of (B, n) replicates; NaN where there are none."""
    return np.std(replicates, axis=0, ddof=1) if len(replicates) else np.full(replicates.shape[1], np.nan)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _competition_ranks(totals: np.ndarray[Any, np.dtype[np.float64]]) -> list[int | None]:
    """1 for the highest; equal totals share the best of their ranks; None where there is no total."""
    return [None if np.isnan(t) else 1 + int((totals > t).sum()) for t in totals]


def _embed(
    pool: Sequence[Candidate], results: Mapping[str, Assessment | Failure]
) -> dict[str, tuple[tuple[float, ...], tuple[tuple[str, float], ...], int]]:
    """archi2vec vector, nearest architectures and cluster of every candidate that has a graph, by id."""
    from modelselect import archi2vec

    graphs = {
        candidate.id: archi2vec.from_json(result.graph)
        for candidate in pool
        if isinstance(result := results[candidate.id], Assessment) and result.graph is not None
    }
    if len(graphs) < 2:
        return {}
    ids = list(graphs)
    vectors = archi2vec.embed(list(graphs.values()))
    clusters = archi2vec.clusters(vectors, max(round(math.sqrt(len(ids) / 2)), 1)).tolist()  # the rule of thumb
    answer = {}
    for index, candidate_id in enumerate(ids):
        near = archi2vec.nearest(vectors, index, min(NEAREST_SHOWN, len(ids) - 1))
        answer[candidate_id] = (
            tuple(float(v) for v in vectors[index]),
            tuple((ids[other], float(similarity)) for other, similarity in near),
            clusters[index],
        )
    return answer
