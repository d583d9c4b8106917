"""A stand-in for an estimator that cannot even say what it is, so that only its own column is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelselect.errors import Failure, PluginError, Stage, contained
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence


class Unusable(Estimator):
    """Stands for an estimator whose `key`, `parameters` or `citation` raises: no candidate gets a score of it.

    Args:
        name: of the estimator.
        reason: what was raised, and by whose code.
    """

    requires = frozenset({"labels"})
    citation = "none"

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self.reason = reason

    @property
    def name(self) -> str:  # type: ignore[override]  # that of the estimator it stands for
        return self._name

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        raise PluginError(self.reason)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"reason": self.reason}


def usable(estimator: Estimator, owner: str) -> Estimator:
    """The estimator, or a stand-in if the estimator cannot say what it is.

    Args:
        estimator: perhaps from a plugin.
        owner: the plugin that brings it, for the reason.
    """
    for attribute in ("key", "parameters", "reads", "citation"):
        try:
            with contained():
                getattr(estimator, attribute)
        except Exception as error:
            raised = Failure.from_exception(Stage.SCORE, error).reason
            return Unusable(estimator.name, f"{attribute} of the estimator raised {raised} (from {owner})")
    return estimator
