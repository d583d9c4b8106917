"""A figure on resamples is SciPy's."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from modelselect.benchmarking.measures import MEASURES
from modelselect.errors import UnknownNameError
from tests.benchmarking.conftest import made_up


@pytest.mark.parametrize("name", MEASURES)
def test_a_resampled_figure_is_that_of_the_candidates_written_out(name: str) -> None:
    random = np.random.default_rng(1)
    for case in range(12):
        n = int(random.integers(3, 14))
        scores = random.normal(size=n) if case % 2 else random.integers(0, 5, n).astype(float)
        truth = random.normal(size=n) if case % 3 else random.integers(0, 5, n).astype(float)
        counts = random.multinomial(n, [1 / n] * n, size=10)
        counts[0] = 1
        expected = [getattr(ms.agreement(np.repeat(scores, c), np.repeat(truth, c)), name) for c in counts]
        np.testing.assert_allclose(MEASURES[name].resampled(scores, truth, counts), expected, atol=1e-12)


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'kendall'"):
        made_up().table("kendal")
