"""Evidence: history, scores of the features and facts of the candidates, combined to one posterior. The default."""

from __future__ import annotations

import hashlib
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import modelselect
from modelselect.errors import NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Estimator, evaluate_member
from modelselect.estimators.posterior import Piece, Pool, normal_scores, posterior
from modelselect.evidence.evidence import Evidence as EvidenceFields
from modelselect_plugins.estimators._evidence import reliabilities
from modelselect_plugins.estimators._evidence.pieces import (
    Matrix,
    Vector,
    beyond_history,
    fact_piece,
    history_piece,
    probe_piece,
    similar_piece,
    similarity_kernel,
)
from modelselect_plugins.estimators._evidence.public_facts import imagenet_top1, public_qualities

PROBE = "evidence:probe"
"""The metric under which the transfer history keeps the piece `probe`, so that its reliability is measured again."""

MOST_OF_THE_POOL = 0.6
"""Share of the pool that must have a known accuracy on ImageNet, for this to be a piece of evidence."""

NEED_ROWS = ("logme", "ncti")
"""Members that are left out where the probe has fewer rows than half the pool's median feature dimension."""


def default_members() -> tuple[Estimator, ...]:
    """The estimators that the piece `probe` is made of."""
    from modelselect_plugins.estimators.etran import ETran
    from modelselect_plugins.estimators.linear_probe import LinearProbe
    from modelselect_plugins.estimators.logme import LogME
    from modelselect_plugins.estimators.ncti import NCTI

    return (ETran(), NCTI(), LogME(), LinearProbe())


class PooledEvidence(Estimator):
    """The posterior mean of a candidate's quality, from several pieces of evidence, each as reliable as it has proved.

    Scores of features mostly know which networks are good, and results on other datasets say as much. Facts such as the
    size add something. None of them wins alone; their sum does, and says how sure it is.

    In short: History, probe and size weighed into one posterior.

    Formula: every piece e is a normal score within the pool, with a reliability rho, the expected correlation with the
    accuracy after fine-tuning. `mean = sum of rho / (1 - rho²) e / L`, `L = 1 + sum of rho² / (1 - rho²)`, over the
    pieces that say something of the candidate. The pieces:

    - `probe`: the mean of the members' normal scores.
    - `history`: accuracies of the candidate on other datasets under the same fine-tuning recipe.
    - `similar`: for a candidate without results, those of similar candidates, by kernel ridge regression.
    - `size`: the logarithm of the number of parameters.
    - `imagenet`: the top-1 accuracy on ImageNet-1k, where it is known for most of the pool.
    - `quality`: what published fine-tunings say of the model.

    Reliabilities are shipped, and corrected by what the pieces proved worth on the user's own history. The more results
    on other datasets there are, and the more these agree, the less the facts and the probe add to them. A run adds what
    fine-tuning finds: the accuracy after one epoch is the piece `brief fine-tuning`.

    Args:
        members: the estimators of the piece `probe`; None: `etran`, `ncti`, `logme` and `linear_probe`.

    Components: those of the members, each under the name `member/component`, and `rows`, `dimension` and `parameters`.

    Limits: The score compares candidates of one pool; it is no accuracy. Where no piece says anything of a candidate,
    its score is 0, the mean of the pool.

    Code and paper: Our own method; the documentation shows how it was measured.

    Source: our own; `docs/explanation/default-estimators.md`.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> pool = [{"features": rng.normal(size=(100, 8)) + gap * labels[:, None], "labels": labels} for gap in (0, 1, 2)]
    >>> ms.score_pool(pool, "evidence").round(2).tolist()
    [-0.83, 0.0, 0.83]
    """

    name = "evidence"
    requires = frozenset()
    optional = frozenset({"features", "labels", "metadata"})
    citation = "modelselect: History, probe and facts of pre-trained models as evidence on one scale, 2026"
    cost = "iterative"
    relative = True
    stochastic = True

    def __init__(self, members: Sequence[Estimator] | None = None) -> None:
        self.members = members

    @property
    def key(self) -> str:
        """Identity, from the members' keys and what `score` returns of its own."""
        text = f"{self.version}:{[member.key for member in self._members]}"
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def _members(self) -> Sequence[Estimator]:
        return default_members() if self.members is None else self.members

    def score(self, evidence: EvidenceFields) -> Mapping[str, float]:
        components = {"rows": float(evidence.n_rows)}
        if evidence.features is not None:
            components["dimension"] = float(evidence.features.shape[1])
        parameters = _positive((evidence.metadata or {}).get("parameters"))
        if np.isfinite(parameters):
            components["parameters"] = parameters
        for member in self._members:
            try:
                found, _ = evaluate_member(member, evidence)  # `_probe` decides for the whole pool who has a vote
            except NotApplicableError:
                continue
            components |= {f"{member.name}/{name}": value for name, value in found.items()}
        wide = [name for name in NEED_ROWS if any(component.startswith(f"{name}/") for component in components)]
        if wide and components["rows"] < components["dimension"] / 2:
            warnings.warn(
                f"{components['rows']:.0f} rows are few for a network that describes each row by "
                f"{components['dimension']:.0f} numbers: the scores {' and '.join(wide)} say little then, and do not "
                "count if most candidates are like this one. You need not do anything, the other evidence still ranks. "
                f"With {math.ceil(components['dimension'] / 2)} labelled rows or more, these scores count, too.",
                ScoreWarning,
                stacklevel=2,
            )
        return components

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Vector:
        """(n,) posterior means without a history, and without facts other than the size."""
        return posterior(self.pieces(scores), len(scores)).mean

    def pieces(self, scores: Sequence[Mapping[str, float]], pool: Pool | None = None) -> Sequence[Piece]:
        """The pieces that say something of a candidate of this pool; see the class.

        Args:
            scores: the components of each candidate; `{}` for a candidate that was not scored.
            pool: the candidates' names, facts and history; None where they are not known.
        """
        accuracies, past = _results(pool, len(scores))
        pieces = [
            probe_piece(self._probe(scores), [[column] for column in past.T], accuracies, reliabilities.PROBE),
            fact_piece("size", np.log(_numbers(scores, pool, "parameters")), accuracies, reliabilities.SIZE),
        ]
        if pool is not None:
            pieces += _public_pieces(pool, accuracies)
        pieces = [piece for piece in pieces if np.isfinite(piece.values).any()]
        if np.isfinite(accuracies).any():
            history = history_piece(accuracies, posterior(pieces, len(scores)).mean)
            pieces = [history, *beyond_history(pieces, accuracies)]
            if pool is not None and not np.isfinite(history.values).all():
                pieces.append(similar_piece(history.values, _similarities(scores, pool)))
        return [piece for piece in pieces if np.isfinite(piece.values).any()]

    def recall(self, view: Any, proxy_features: Any = None, seed: int = 0) -> Mapping[str, Mapping[str, float]]:
        """Posterior mean and deviation of every candidate of the view's pool, before any of them is loaded.

        Args:
            view: a `modelselect.history.HistoryView`, about the pool and the dataset.
            proxy_features: not used.
            seed: not used; nothing is drawn.
        """
        pool = Pool(view.pool, tuple(view.candidate_facts.get(candidate, {}) for candidate in view.pool), view)
        found = posterior(self.pieces([{}] * len(view.pool), pool), len(view.pool))
        return {
            candidate: {self.name: float(mean), "deviation": float(np.sqrt(variance))}
            for candidate, mean, variance in zip(view.pool, found.mean, found.variance, strict=True)
        }

    def _probe(self, scores: Sequence[Mapping[str, float]]) -> list[Vector]:
        """(n,) by each member that has scores; NaN for a candidate without one."""
        rows, dimension = (np.array([each.get(name, np.nan) for each in scores]) for name in ("rows", "dimension"))
        known = np.isfinite(dimension)
        few = bool(known.any()) and np.median(rows[known]) < np.median(dimension[known]) / 2
        columns = []
        for member in self._members:
            own = [_of_member(each, member.name) for each in scores]
            there = [index for index, components in enumerate(own) if components]
            if there and not (few and member.name in NEED_ROWS):
                column = np.full(len(scores), np.nan)
                column[there] = member.combine([own[index] for index in there])
                columns.append(column)
        return columns


def _of_member(components: Mapping[str, float], member: str) -> dict[str, float]:
    prefix = f"{member}/"
    return {name.removeprefix(prefix): value for name, value in components.items() if name.startswith(prefix)}


def _numbers(scores: Sequence[Mapping[str, float]], pool: Pool | None, name: str, fact: str = "") -> Vector:
    """(n,) a number above 0 of each candidate, from its facts or else its components; NaN where it is not known.

    `fact` is the name among the facts, if it differs from that of the component.
    """
    facts: Sequence[Mapping[str, Any]] = [{}] * len(scores) if pool is None else pool.facts
    known = [_positive(given.get(fact or name)) for given in facts]
    measured = [_positive(given.get(name)) for given in scores]
    return np.where(np.isfinite(known), known, measured)


def _positive(value: Any) -> float:
    """The value as a number above 0; NaN if it is none. A zoo or another person's history may give anything."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value <= sys.float_info.max else np.nan


def _results(pool: Pool | None, count: int) -> tuple[Matrix, Matrix]:
    """(n, D) accuracies of the candidates on other datasets under one recipe, and (n, D) their pieces `probe` there."""
    if pool is None or pool.history is None:
        return np.full((count, 0), np.nan), np.full((count, 0), np.nan)
    view = pool.history
    places = [view.positions[candidate] for candidate in pool.candidates]
    return view.measured()[places], view.performance(PROBE, "raw")[places]


def _public_pieces(pool: Pool, accuracies: Matrix) -> list[Piece]:
    """What is published of the models: accuracy on ImageNet-1k, where most of the pool has one, and fine-tunings."""
    pieces = []
    imagenet = np.array([imagenet_top1(c, facts) for c, facts in zip(pool.candidates, pool.facts, strict=True)])
    if np.isfinite(imagenet).mean() > MOST_OF_THE_POOL:
        pieces.append(fact_piece("imagenet", imagenet, accuracies, reliabilities.IMAGENET))
    modalities = [str(facts["modality"]) for facts in pool.facts if facts.get("modality")]
    quality = public_qualities(pool.candidates, max(modalities, key=modalities.count, default="image"))
    if np.isfinite(quality).sum() >= 2:
        pieces.append(Piece("quality", normal_scores(quality), reliabilities.QUALITY))
    return pieces


def _similarities(scores: Sequence[Mapping[str, float]], pool: Pool) -> Matrix:
    """(n, n) by size, width of the features, input size, family and name."""
    sides = [fact.get("input_size") for fact in pool.facts]
    numbers = np.column_stack(
        [
            np.log(_numbers(scores, pool, "parameters")),
            _numbers(scores, pool, "dimension", fact="feature_dim"),
            np.array([_positive(side[-1] if isinstance(side, Sequence) and side else side) for side in sides]),
        ]
    )
    families = [str(fact.get("family") or name) for fact, name in zip(pool.facts, pool.candidates, strict=True)]
    return similarity_kernel(numbers, families, pool.candidates)


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [PooledEvidence()]
