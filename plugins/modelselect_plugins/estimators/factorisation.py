"""Non-negative factorisation of a matrix with missing entries, by multiplicative updates from its known entries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_TINY = 1e-12


class Factorisation(NamedTuple):
    """The result of `factorise`: P is about `models @ tasks.T` where it is known.

    Attributes:
        models: (M, k), not negative.
        tasks: (N, k), not negative.
        objective: its value after every tenth iteration.
        iterations: number of iterations.
        converged: True if the objective did not change any more.
    """

    models: Matrix
    tasks: Matrix
    objective: tuple[float, ...]
    iterations: int
    converged: bool


def factorise(
    matrix: Matrix,
    rank: int,
    penalty_models: float,
    penalty_tasks: float,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Factorisation:
    """Minimises `|P - M D'|^2 + a |M|^2 + b |D|^2` over the known entries of P, with M and D not negative.

    Lee and Seung's updates (NIPS 2000), which never raise the objective; an entry that is not known (NaN) takes part in
    no sum. It has come to rest when ten iterations lower the objective by less than `tolerance` of it.

    Args:
        matrix: (M, N), not negative, NaN where nothing is known.
        rank: k.
        penalty_models: a.
        penalty_tasks: b.
        iterations: at most.
        tolerance: see above.
        seed: of where it starts.

    >>> found = factorise(np.outer([1.0, 2.0], [1.0, 3.0, 2.0]), 1, 0.0, 0.0)
    >>> found.converged, (found.models @ found.tasks.T).round(2).tolist()
    (True, [[1.0, 3.0, 2.0], [2.0, 6.0, 4.0]])
    """
    known = ~np.isnan(matrix)
    filled = np.where(known, matrix, 0.0)
    holes = not known.all()
    random = np.random.default_rng(seed)
    size = np.sqrt(filled.sum() / max(known.sum(), 1) / rank)
    models = size * random.uniform(0.5, 1.5, (matrix.shape[0], rank))
    tasks = size * random.uniform(0.5, 1.5, (matrix.shape[1], rank))

    def product() -> Matrix:
        return np.where(known, models @ tasks.T, 0.0)

    objective: list[float] = []
    for iteration in range(1, iterations + 1):
        below = product() @ tasks if holes else models @ (tasks.T @ tasks)
        models *= (filled @ tasks) / np.maximum(below + penalty_models * models, _TINY)
        below = product().T @ models if holes else tasks @ (models.T @ models)
        tasks *= (filled.T @ models) / np.maximum(below + penalty_tasks * tasks, _TINY)
        if iteration % 10 == 0:
            error = ((filled - product()) ** 2).sum()
            penalty = penalty_models * (models**2).sum() + penalty_tasks * (tasks**2).sum()
            objective.append(float(error + penalty))
            if len(objective) > 1 and objective[-2] - objective[-1] <= tolerance * objective[-2]:
                return Factorisation(models, tasks, tuple(objective), iteration, True)
    return Factorisation(models, tasks, tuple(objective), iterations, False)
