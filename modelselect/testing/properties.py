"""Checks of an estimator on evidence of random shapes, dtypes, classes and scales. They need Hypothesis."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from modelselect.errors import ModelSelectError
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evidence.evidence import ROW_FIELDS
from modelselect.testing.checks import what_was_raised
from modelselect.testing.evidence import (
    ARRAYS,
    LABELS,
    SOURCE_ROW_FIELDS,
    Fields,
    evidence_for,
    random_fields,
    reordered_evidence,
)
from modelselect.utils.target_kinds import CLASSES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EXAMPLES = 50
"""Number of random evidences that each check draws, if there is time."""

SEED = 0
"""Every search draws the same evidence, whatever the code of the check."""

SECONDS = 2.0
"""Seconds of work of each check, the search for a smaller counter-example included. One score may exceed them."""

WAITING = 5
"""How many times these seconds may pass on the clock: on a busy machine a check does not find less."""

_ROUNDING, _SINGLE_ROUNDING = 1e-5, 1e-3
"""How far a component may move, relative to its size: in general, and where one side is in float32."""


@dataclass(frozen=True)
class Drawn:
    """The arguments of one `random_evidence`."""

    counts: tuple[int, ...]
    dimensions: int
    scale: float
    dtype: str
    seed: int

    def fields(self) -> Fields:
        return random_fields(**asdict(self))

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in asdict(self).items())
        return f"modelselect.testing.random_evidence({arguments})"


def property_checks(estimator: Estimator) -> list[Callable[[Estimator], None]]:
    """The checks that apply; none where Hypothesis is not installed.

    A stochastic method is only asked for finite scores: on a few rows, chance moves its scores.
    """
    requires = frozenset(estimator.requires)
    if find_spec("hypothesis") is None or "history" in requires or not requires & ARRAYS:
        return []
    checks: list[Callable[[Estimator], None]] = [_finite_or_error_on_random_evidence]
    if not estimator.stochastic:
        checks += [_random_rows_can_be_permuted, _float32_agrees_on_random_evidence]
        if requires & LABELS and CLASSES in estimator.targets:
            checks.append(_random_classes_can_be_renamed)
    return checks


def _finite_or_error_on_random_evidence(estimator: Estimator) -> None:
    _search(lambda drawn: _fault_of_a_score(estimator, drawn), _drawn(fewest_classes=1, fewest_rows=1))


def _random_rows_can_be_permuted(estimator: Estimator) -> None:
    def reordered(drawn: Drawn, fields: Fields) -> Fields:
        rng = np.random.default_rng(drawn.seed)
        order, source_order = (rng.permutation(len(fields[name])) for name in ("labels", "source_labels"))
        return reordered_evidence(reordered_evidence(fields, ROW_FIELDS, order), SOURCE_ROW_FIELDS, source_order)

    _search(lambda drawn: _fault_of_a_change(estimator, drawn, reordered, "another order of the rows"), _drawn())


def _random_classes_can_be_renamed(estimator: Estimator) -> None:
    def renamed(drawn: Drawn, fields: Fields) -> Fields:
        names = 3 * np.random.default_rng(drawn.seed).permutation(len(drawn.counts)) + 1
        return fields | {name: names[fields[name]] for name in LABELS}

    _search(lambda drawn: _fault_of_a_change(estimator, drawn, renamed, "renaming the classes"), _drawn())


def _float32_agrees_on_random_evidence(estimator: Estimator) -> None:
    def single(drawn: Drawn, fields: Fields) -> Fields:
        return replace(drawn, dtype="float32").fields()

    def fault(drawn: Drawn) -> str | None:
        double = replace(drawn, dtype="float64")
        return _fault_of_a_change(estimator, double, single, "float32 instead of float64", _SINGLE_ROUNDING)

    _search(fault, _drawn())


def _fault_of_a_score(estimator: Estimator, drawn: Drawn) -> str | None:
    try:
        components = estimator.score(evidence_for(estimator, drawn.fields()).restrict(estimator.reads))
    except ModelSelectError as error:
        return None if str(error).strip() else f"raises {type(error).__name__} without a message"
    if not components:
        return "gives no component"
    if not np.isfinite(list(components.values())).all():
        return f"gives {dict(components)}; expected finite numbers or an error"
    return None


def _fault_of_a_change(
    estimator: Estimator,
    drawn: Drawn,
    change: Callable[[Drawn, Fields], Fields],
    what: str,
    relative: float = _ROUNDING,
) -> str | None:
    """What a change that means nothing does to the score; None if nothing, or if one of the two has no score."""
    fields = drawn.fields()
    try:
        first, second = (evaluate(estimator, evidence_for(estimator, each)) for each in (fields, change(drawn, fields)))
    except ModelSelectError:
        return None
    for name in first:
        a, b = first[name], second[name]
        if abs(a - b) > relative * max(abs(a), abs(b), 1e-6):
            return f"{what} changes {name} from {a!r} to {b!r}"
    return None


def _drawn(fewest_classes: int = 2, fewest_rows: int = 3) -> SearchStrategy[Drawn]:
    from hypothesis import strategies as st

    rows = st.integers(fewest_rows, 15)
    return st.builds(
        Drawn,
        counts=st.lists(rows, min_size=fewest_classes, max_size=6).map(tuple),
        dimensions=st.integers(1, 24),
        scale=st.sampled_from((1.0, 1e-3, 1e3)),
        dtype=st.sampled_from(("float64", "float32")),
        seed=st.integers(0, 99),
    )


def _search(fault_of: Callable[[Drawn], str | None], examples: SearchStrategy[Drawn]) -> None:
    """Fails with the smallest evidence on which Hypothesis finds a fault, within the time.

    After the time, evidence that was not tried counts as good, and what was tried keeps its result: so the search ends,
    with the smallest counter-example so far.
    """
    from hypothesis import HealthCheck, Phase, given, seed, settings

    ends, ends_at_last = time.thread_time() + SECONDS, time.monotonic() + WAITING * SECONDS
    tried: dict[Drawn, str | None] = {}

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(examples)
    def holds(drawn: Drawn) -> None:
        if drawn not in tried:
            if time.thread_time() > ends or time.monotonic() > ends_at_last:
                return
            try:
                tried[drawn] = fault_of(drawn)
            except Exception as error:
                tried[drawn] = what_was_raised(error)
        fault = tried[drawn]
        assert fault is None, f"{fault}, on {drawn}"

    holds()
