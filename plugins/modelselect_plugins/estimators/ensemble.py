"""Ensemble: the mean rank of a candidate over several estimators (Borda, 1784), plain or with learned weights."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

import modelselect
from modelselect.errors import InvalidInputError, InvalidScoreWarning, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Estimator, evaluate_member
from modelselect.estimators.ranks import mean_rank, normalised_ranks, voters
from modelselect.evidence.evidence import Evidence

Ranks = NDArray[np.float64]

_INVALID = "invalid"
"""The component of a member that says that its score is invalid."""


def default_members() -> tuple[Estimator, ...]:
    """The members of an ensemble that is given none: they agreed best with accuracies on the embedded networks."""
    from modelselect_plugins.estimators.etran import ETran
    from modelselect_plugins.estimators.knn import KNN
    from modelselect_plugins.estimators.logme import LogME

    return (ETran(), KNN(), LogME())


class Ensemble(Estimator):
    """The (weighted) mean of the normalised ranks that the members give each candidate of a pool.

    Estimators err in different ways, and the mean of their rankings errs less than most of them. Each member ranks the
    candidates from 0 (worst) to 1 (best), and ties share their mean. Ranks make scores of any scale comparable, and
    limit the effect of outliers.

    In short: The mean rank by several estimators of your choice.

    Formula: `sum over members m of w_m rank_m / sum of w_m`, for each candidate over the members that score it. A
    member that cannot score a candidate has no vote on it.

    Args:
        members: estimators with different names; None: `default_members()`.
        weights: by member's name, not negative; a missing weight is 0. None: all equal. `learn_weights` learns weights
            from known results.

    Components: those of the members, each under the name `member/component`, and `member/invalid` for a member that
    says that its score of this candidate does not compare candidates (`logme` with no more rows than dimensions). The
    evidence must hold all fields that the members require.

    Limits: A member that says of one candidate that its score is invalid has no vote in that pool, unless a candidate
    would have no rank otherwise. In a pool of two candidates, ranks are only 0 and 1, and the distance between
    candidates is lost. Members that err alike (for example `sfda` and `fda`) count twice but add information once.
    Weights learned from few datasets overfit; `learn_weights` reports their results on datasets that they were not
    learned from.

    Code and paper: The plain mean is Borda's count. The weights are our addition: non-negative least squares on the
    ranks of the truth.

    Source: the Borda count.

    >>> import modelselect as ms
    >>> from modelselect_plugins.estimators.knn import KNN
    >>> from modelselect_plugins.estimators.centroid import Centroid
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> pool = [{"features": rng.normal(size=(100, 8)) + gap * labels[:, None], "labels": labels} for gap in (0, 1, 2)]
    >>> ms.score_pool(pool, Ensemble([KNN(), Centroid()])).tolist()
    [0.0, 0.5, 1.0]
    """

    name = "ensemble"
    citation = "J.-C. de Borda: Mémoire sur les élections au scrutin, Histoire de l'Académie royale des sciences, 1784"
    cost = "iterative"
    relative = True
    version = 2

    def __init__(self, members: Sequence[Estimator] | None = None, weights: Mapping[str, float] | None = None) -> None:
        self.members = members
        self.weights = weights

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]  # of each instance its members'
        """What all members together require."""
        return frozenset[str]().union(*(member.requires for member in self._members))

    @property
    def stochastic(self) -> bool:  # type: ignore[override]  # of each instance its members'
        """True if a member is."""
        return any(member.stochastic for member in self._members)

    @property
    def key(self) -> str:
        """Identity, from the members' keys: a new version of a member, or other default members, give a new one."""
        weights = None if self.weights is None else sorted(self.weights.items())
        text = f"{self.version}:{[member.key for member in self._members]}:{weights}"
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def _members(self) -> Sequence[Estimator]:
        members = default_members() if self.members is None else self.members
        names = [member.name for member in members]
        if len(set(names)) < len(names) or not names:
            raise InvalidInputError(
                f"an ensemble needs members with names of their own, and got {', '.join(names) or 'none'}"
            )
        return members

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        components, refusals, invalid, scored = {}, [], [], 0
        for member in self._members:
            try:
                found, reason = evaluate_member(member, evidence)
            except NotApplicableError as refusal:
                refusals.append(str(refusal))
                continue
            scored += 1
            components.update({f"{member.name}/{name}": value for name, value in found.items()})
            if reason:
                components[f"{member.name}/{_INVALID}"] = 1.0
                invalid.append(reason)
        if not components:
            raise NotApplicableError(f"no member of the ensemble applies: {'; '.join(refusals)}")
        if invalid and len(invalid) == scored:
            warnings.warn(" ".join(invalid), InvalidScoreWarning, stacklevel=2)
        elif invalid:
            warnings.warn(f"left out of the mean rank: {' '.join(invalid)}", ScoreWarning, stacklevel=2)
        return components

    def combine(self, scores: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Mean normalised rank of each candidate, between 0 and 1."""
        ranks = {member.name: self._ranks(member, scores) for member in self._members}
        weighted = {name: column for name, column in ranks.items() if self.weights is None or self.weights.get(name)}
        invalid = [name for name in ranks if any(f"{name}/{_INVALID}" in components for components in scores)]
        return mean_rank({name: ranks[name] for name in voters(weighted or ranks, invalid)}, self.weights)

    def _ranks(self, member: Estimator, scores: Sequence[Mapping[str, float]]) -> Ranks:
        """(n,) normalised ranks by one member, NaN where it has no score."""
        prefix = f"{member.name}/"
        own = [
            {
                name.removeprefix(prefix): value
                for name, value in each.items()
                if name.startswith(prefix) and name != f"{prefix}{_INVALID}"
            }
            for each in scores
        ]
        scored = [index for index, components in enumerate(own) if components]
        combined = np.full(len(scores), np.nan)
        if scored:
            combined[scored] = member.combine([own[index] for index in scored])
        return normalised_ranks(combined)


@dataclass(frozen=True, slots=True)
class LearnedWeights:
    """The result of `learn_weights`.

    Attributes:
        weights: by member, learned from all datasets, for use on other datasets.
        held_out: by dataset, the weights learned from the *other* datasets.
        agreement: by dataset, the weighted Kendall correlation of the ensemble with its `held_out` weights.
        plain_agreement: by dataset, that of equal weights, which learned weights should exceed.
    """

    weights: Mapping[str, float]
    held_out: Mapping[str, Mapping[str, float]]
    agreement: Mapping[str, float]
    plain_agreement: Mapping[str, float]


def learn_weights(scores: Mapping[str, Mapping[str, ArrayLike]], truth: Mapping[str, ArrayLike]) -> LearnedWeights:
    """Weights for an ensemble from known results, judged by leaving one dataset out.

    The weights are the non-negative least squares solution from the members' normalised ranks to those of the truth,
    over all candidates of the datasets learned from, divided by their sum; all equal where none helps.

    Args:
        scores: by dataset and member, (n,) combined scores of the candidates; NaN where a member has none.
        truth: by dataset, (n,) results (accuracies after fine-tuning) of the same candidates, in the same order.

    Raises:
        InvalidInputError: fewer than two datasets, or lengths or members that differ.

    >>> truth = {"cars": [1, 2, 3, 4], "pets": [4, 3, 2, 1], "food": [1, 3, 2, 4]}
    >>> scores = {name: {"good": values, "bad": [-v for v in values]} for name, values in truth.items()}
    >>> learned = learn_weights(scores, truth)
    >>> learned.weights["good"], round(learned.agreement["pets"], 6)
    (1.0, 1.0)
    """
    _check(scores, truth)
    members = list(next(iter(scores.values())))
    ranks = {name: {m: normalised_ranks(by_member[m]) for m in members} for name, by_member in scores.items()}
    wanted = {name: normalised_ranks(truth[name]) for name in scores}
    held_out = {name: _fit([other for other in scores if other != name], ranks, wanted) for name in scores}

    def judge(name: str, weights: Mapping[str, float] | None) -> float:
        return modelselect.agreement(mean_rank(ranks[name], weights), truth[name]).weighted_kendall

    return LearnedWeights(
        weights=_fit(list(scores), ranks, wanted),
        held_out=held_out,
        agreement={name: judge(name, held_out[name]) for name in scores},
        plain_agreement={name: judge(name, None) for name in scores},
    )


def _fit(
    datasets: Sequence[str], ranks: Mapping[str, Mapping[str, Ranks]], wanted: Mapping[str, Ranks]
) -> dict[str, float]:
    from scipy.optimize import nnls

    members = list(ranks[datasets[0]])
    design = np.concatenate([np.stack([ranks[name][m] for m in members], axis=1) for name in datasets]) - 0.5
    target = np.concatenate([wanted[name] for name in datasets]) - 0.5
    solution, _ = nnls(np.nan_to_num(design), np.nan_to_num(target))
    if not solution.any():
        solution = np.ones(len(members))
    return dict(zip(members, (solution / solution.sum()).tolist(), strict=True))


def _check(scores: Mapping[str, Mapping[str, ArrayLike]], truth: Mapping[str, ArrayLike]) -> None:
    if len(scores) < 2 or set(scores) != set(truth):
        raise InvalidInputError(
            f"weights are learned on some datasets and judged on another: got scores of {', '.join(scores) or 'none'} "
            f"and truth of {', '.join(truth) or 'none'}; give the same two datasets or more for both"
        )
    members = set(next(iter(scores.values())))
    for name, by_member in scores.items():
        if set(by_member) != members:
            raise InvalidInputError(
                f"dataset {name!r} has scores of {sorted(by_member)}, the first of {sorted(members)}"
            )
        lengths = {len(np.asarray(values)) for values in by_member.values()} | {len(np.asarray(truth[name]))}
        if len(lengths) > 1:
            raise InvalidInputError(
                f"dataset {name!r} has scores and truth of {sorted(lengths)} candidates; they must agree"
            )


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [Ensemble()]
