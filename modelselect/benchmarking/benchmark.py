"""Static baselines beside the estimators of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelselect.errors import InvalidInputError
from modelselect.estimators.estimator import Estimator

if TYPE_CHECKING:
    from modelselect.benchmarking.results import Matrix


def with_static(chosen: list[Estimator]) -> list[Estimator]:
    """The chosen, and the registered static baselines that are not among them."""
    named = {estimator.name for estimator in chosen}
    return chosen + [e for e in registered() if e.is_static and e.name not in named]


def registered() -> Iterator[Estimator]:
    from modelselect.host.host import get_host

    yield from get_host().estimators.values()


def check_overlap(
    given: Mapping[str, Mapping[str, Mapping[str, Any]]], known: Matrix, kept: Mapping[str, Matrix]
) -> None:
    """Raises where no dataset has two models with both."""
    if any(len(models) > 1 for by_dataset in kept.values() for models in by_dataset.values()):
        return
    datasets = sorted({dataset for by_dataset in given.values() for dataset in by_dataset})
    shared = [dataset for dataset in datasets if dataset in known]
    if not shared:
        raise InvalidInputError(
            f"scores are of the datasets {_some(datasets)} and truth of {_some(known)}; expected a dataset that is in "
            "both, by the same name"
        )
    models = {model for by_dataset in given.values() for model in by_dataset.get(shared[0], {})}
    raise InvalidInputError(
        f"on {shared[0]} scores are of the models {_some(models)} and truth of {_some(known[shared[0]])}; expected two "
        "or more that are in both, by the same name"
    )


def _some(names: Any) -> str:
    shown = sorted(map(str, names))
    return ", ".join(map(repr, shown[:4])) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "") or "none"
