"""A stand-in for an estimator that cannot even say what it is, so that only its own column is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from modelselect.errors import Failure, PluginError, Stage, contained
from modelselect.estimators.estimator import Estimator, Recaller
from modelselect.evidence.evidence import Evidence
from modelselect.utils.process_state import unchanged
from modelselect.utils.target_kinds import TARGET_KINDS


class Unusable(Estimator):
    """Stands for an estimator that raises when it is asked what it is: no candidate gets a score of it.

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
        owner: who brings it, such as a plugin, for the reason.
    """
    for attribute, read in _READ.items():
        try:
            with unchanged(), contained():
                read(estimator)
        except Exception as error:
            raised = Failure.from_exception(Stage.SCORE, error).reason
            return Unusable(estimator.name, f"{attribute} of the estimator raised {raised} (from {owner})")
    return estimator


def _key(estimator: Estimator) -> None:
    if not isinstance(estimator.key, str):
        raise TypeError(f"expected a text, and not {type(estimator.key).__name__}")
    estimator.key.encode()


def _parameters(estimator: Estimator) -> None:
    if not isinstance(estimator.parameters, Mapping):
        raise TypeError(f"expected a mapping, and not {type(estimator.parameters).__name__}")
    json.dumps({str(name): value for name, value in estimator.parameters.items()}, default=repr)


def _equality(estimator: Estimator) -> None:
    hash(estimator)
    if not (estimator == estimator and estimator in {estimator: None}):
        raise ValueError("it is not equal to itself")
    estimator == object()  # noqa: B015 (a plugin's own code)


def _kind(estimator: Estimator) -> None:
    isinstance(estimator, Recaller)  # asks for attributes
    bool(estimator.is_static), bool(estimator.relative), bool(estimator.stochastic)


_READ: Mapping[str, Callable[[Estimator], object]] = {
    "key": _key,
    "parameters": _parameters,
    "reads": lambda estimator: frozenset(estimator.reads),
    "takes": lambda estimator: [bool(estimator.takes(kind)) for kind in (*TARGET_KINDS, *estimator.targets)],
    "citation": lambda estimator: str(estimator.citation),
    "__eq__ or __hash__": _equality,
    "an attribute": _kind,
}
"""What a run reads of an estimator outside its score, by name."""
