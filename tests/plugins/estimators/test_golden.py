"""Every estimator agrees with its authors' code on every golden input."""

from __future__ import annotations

import math
import warnings

import pytest

from modelselect.errors import ScoreWarning
from tests.plugins.estimators.golden import CASES, INPUTS, Bound, Comparison, Golden, GoldenCase, compare


@pytest.mark.parametrize("input_name", INPUTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.title}~{case.reference}")
def test_the_score_is_the_authors(
    case: GoldenCase, input_name: str, golden: Golden, golden_table: list[Comparison]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        comparison = compare(case, input_name, golden)
    if comparison is None:
        pytest.skip("not compared on this input")
    golden_table.append(comparison)
    assert math.isfinite(comparison.ours)
    assert comparison.agrees, (
        f"{case.title} on {input_name}: {comparison.ours!r}; {case.reference} gives {comparison.reference!r}"
    )


def test_a_looser_bound_states_its_reason() -> None:
    for case in CASES:
        for bound in (case.bound, *case.exceptions.values()):
            if isinstance(bound, Bound) and (bound.relative > 1e-6 or bound.absolute > 0):
                assert bound.reason, f"{case.title} is held to {bound.relative:g} without a reason"
