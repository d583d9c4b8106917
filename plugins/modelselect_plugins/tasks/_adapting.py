"""Estimators that are made of others, for targets that are no classes."""

from __future__ import annotations

from collections.abc import Sequence

from modelselect.estimators.estimator import Estimator
from modelselect.tasks import Task
from modelselect_plugins.estimators import ensemble, evidence
from modelselect_plugins.estimators.ensemble import Ensemble
from modelselect_plugins.estimators.evidence import PooledEvidence


def of_members(task: Task, estimator: Estimator, more: Sequence[Estimator] = ()) -> Estimator | None:
    """The ensemble or the pooled evidence of the members that apply, or None if none does or it is neither.

    Args:
        task: adapts each member.
        estimator: perhaps an `Ensemble` or a `PooledEvidence`.
        more: members that the default members lack.
    """
    if isinstance(estimator, PooledEvidence):
        members = evidence.default_members() if estimator.members is None else estimator.members
        known = [*members, *(more if estimator.members is None else ())]
        return PooledEvidence(adapted) if (adapted := _adapted(task, known)) else None
    if isinstance(estimator, Ensemble):
        members = ensemble.default_members() if estimator.members is None else estimator.members
        known = [*members, *(more if estimator.members is None else ())]
        return Ensemble(adapted, estimator.weights) if (adapted := _adapted(task, known)) else None
    return None


def _adapted(task: Task, members: Sequence[Estimator]) -> list[Estimator]:
    found = {member.name: adapted for member in members if (adapted := task.adapted(member)) is not None}
    return list(found.values())
