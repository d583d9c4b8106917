"""The Pareto front: the candidates that no other one beats in both cost and quality."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(cost: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of the candidates on the front: no other one is cheaper and as good, or better and as cheap.

    Args:
        cost: lower is better.
        quality: higher is better.

    Returns:
        From the cheapest to the most expensive. Candidates that are equal in both are all returned.

    >>> pareto_front([1, 2, 3, 3], [0.5, 0.4, 0.9, 0.8])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], -quality[i])):
        best = front[-1] if front else None
        if best is None or quality[i] > quality[best] or (cost[i], quality[i]) == (cost[best], quality[best]):
            front.append(i)
    return front
