"""The Pareto front holds exactly the candidates that no other candidate dominates."""

from __future__ import annotations

import numpy as np

from modelselect.ranking.pareto import pareto_front


def test_the_pareto_front_holds_exactly_those_that_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, quality = rng.integers(0, 8, 20).tolist(), rng.integers(0, 8, 20).tolist()
        undominated = {
            i
            for i in range(20)
            if not any(
                cost[j] <= cost[i] and quality[j] >= quality[i] and (cost[j], quality[j]) != (cost[i], quality[i])
                for j in range(20)
            )
        }
        assert set(pareto_front(cost, quality)) == undominated
