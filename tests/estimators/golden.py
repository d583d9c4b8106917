"""The golden cases: which estimator must agree with which of the authors' published scores, and how closely.

A new estimator adds its `GoldenCase`s to `CASES`; `test_golden.py` runs every case on every input and the terminal
summary prints the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect_plugins.estimators.logme import LogME
from modelselect_plugins.estimators.ncti import NCTI

Arrays = Mapping[str, NDArray[Any]]
Fields = Mapping[str, Any]


class Bound(NamedTuple):
    """How far from the reference a score may be: `relative` to it, or `absolute` where that is more; and why."""

    relative: float
    reason: str
    absolute: float = 0.0


class Spread(NamedTuple):
    """For a stochastic reference: from its minimum to its maximum over seeds, widened by `margin` times the distance."""

    margin: float
    reason: str


EXACT = Bound(1e-6, "")


# How evidence is made of the arrays of one input -------------------------------------------------------------------


def labelled(arrays: Arrays) -> Fields:
    return {"features": arrays["X"], "labels": arrays["y"]}


def unlabelled(arrays: Arrays) -> Fields:
    return {"features": arrays["X"]}


def with_probabilities(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "source_probabilities": arrays["probs"]}


def with_source_features(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "source_features": arrays["Xsrc"]}


def with_proxy_features(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "proxy_features": arrays["Xref"]}


def with_two_targets(arrays: Arrays) -> Fields:
    return {"features": arrays["X"], "labels": arrays["Xref"][:, :2]}


# How a number is made of what the reference returns -----------------------------------------------------------------


def item(index: int) -> Callable[[Any], float]:
    """One number of a reference that returns several."""
    return lambda reference: float(reference[index])


def negated(reference: Any) -> float:
    """Of a reference whose score is better when lower."""
    return -float(reference)


@dataclass(frozen=True)
class GoldenCase:
    """One estimator held against one reference.

    Attributes:
        estimator: the instance, or its registered name.
        reference: key in `scores.json`.
        component: which component of the score; None for the combined one.
        evidence: arrays of an input -> evidence fields.
        expected: what the reference returns -> the number that ours must be.
        bound: how closely, in general.
        exceptions: another bound (or None: not compared) for single inputs, by input.
        reference_fails: inputs on which the authors' code fails; ours must give a finite score there.
    """

    estimator: str | ms.Estimator
    reference: str
    component: str | None = None
    evidence: Callable[[Arrays], Fields] = labelled
    expected: Callable[[Any], float] = float
    bound: Bound | Spread = EXACT
    exceptions: Mapping[str, Bound | Spread | None] = field(default_factory=dict)
    reference_fails: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        described = self.estimator if isinstance(self.estimator, str) else repr(self.estimator)
        return described + (f".{self.component}" if self.component else "")

    def score(self, arrays: Arrays) -> float:
        fields = dict(self.evidence(arrays))
        features, labels = fields.pop("features", None), fields.pop("labels", None)
        if self.component is None:
            return ms.score(features, labels, self.estimator, **fields)
        return ms.score(features, labels, self.estimator, components=True, **fields)[self.component]


class Comparison(NamedTuple):
    """One line of the golden table."""

    case: GoldenCase
    input: str
    reference: float
    ours: float
    agrees: bool
    bound: Bound | Spread

    @property
    def difference(self) -> float:
        """Relative to the reference."""
        if self.ours == self.reference:
            return 0.0
        return abs(self.ours - self.reference) / abs(self.reference) if self.reference else math.inf


def compare(case: GoldenCase, input_name: str, golden: Golden) -> Comparison | None:
    """None where this input is not compared."""
    bound = case.exceptions.get(input_name, case.bound)
    if bound is None:
        return None
    answer = golden.scores[input_name][case.reference]
    ours = case.score(golden.arrays(input_name))
    if input_name in case.reference_fails:
        assert "error" in answer or answer["score"] == "nan", f"{case.reference} does not fail on {input_name}"
        return Comparison(case, input_name, math.nan, ours, math.isfinite(ours), bound)
    reference = case.expected(answer["score"])
    if isinstance(bound, Spread):
        seen = [case.expected(value) for value in answer["all"]]
        slack = bound.margin * (max(seen) - min(seen))
        agrees = min(seen) - slack <= ours <= max(seen) + slack
    else:
        agrees = abs(ours - reference) <= max(bound.relative * abs(reference), bound.absolute)
    return Comparison(case, input_name, reference, ours, agrees, bound)


class Golden:
    """The shared reference scores and the arrays that they were computed on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        answers = json.loads((folder / "scores.json").read_text())
        self.scores: dict[str, dict[str, dict[str, Any]]] = answers["scores"]
        self.pool: dict[str, Any] = answers["pool"]["pool_digits"]

    @cache  # noqa: B019  (one Golden for each session)
    def arrays(self, input_name: str) -> Arrays:
        with np.load(self.folder / "inputs" / f"{input_name}.npz") as file:
            arrays = {name: file[name] for name in file.files}
        for array in arrays.values():
            array.flags.writeable = False
        return arrays


INPUTS = (
    "syn_small",
    "syn_mid",
    "syn_imb",
    "syn_wide",
    "syn_f32",
    "syn_lowvar",
    "digits_raw",
    "digits_rp",
    "office31_dslr",
    "office31_webcam",
    "oc10_dslr_GoogleNet1024",
    "oc10_dslr_surf",
)

SINGLE = "the authors compute in float32 on these float32 features"

CASES: list[GoldenCase] = [
    GoldenCase(LogME(), "logme/LogME_fixedpoint"),
    GoldenCase(LogME(solver="icml"), "tllib/LogME"),
    GoldenCase(LogME(), "logme/LogME_regression", evidence=with_two_targets),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "seli", expected=item(0)),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "ncc", expected=item(1)),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "vc", expected=item(2)),
]
