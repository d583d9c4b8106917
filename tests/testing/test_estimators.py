"""The kit for authors of estimators: every kind of broken estimator is caught, and every registered one passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.testing import properties
from modelselect.testing.checks import run_checks
from modelselect.testing.estimators import check_estimator, estimator_checks
from modelselect_plugins.estimators.itm import ITM
from modelselect_plugins.estimators.lead import LEAD
from tests.testing.material import failing

QUICK = {"itm": ITM(iterations=200, runs=2), "lead": LEAD(widths=(32, 32))}
"""The dear ones with smaller parameters: the promises are the same."""


EXPECTED_FAILURES: Mapping[str, Mapping[str, str]] = {
    "persistence": {"separable_beats_shuffled": "labels only say how many classes there are"},
    "persistence_source": {"separable_beats_shuffled": "labels only say how many classes there are"},
    "tmi": {"separable_beats_shuffled": "it rewards spread within the classes, which shuffling adds"},
}

Made = Callable[[Evidence], Evidence]


def reordered(evidence: Evidence) -> Evidence:
    return evidence.take(np.random.default_rng(0).permutation(evidence.n_rows))


def renamed(evidence: Evidence) -> Evidence:
    names = 3 * np.random.default_rng(0).permutation(evidence.statistics.n_classes) + 1
    return Evidence.of(features=evidence.features, labels=names[evidence.statistics.codes])


ORDER, NAMES = "random_rows_can_be_permuted", "random_classes_can_be_renamed"
TIES = "in two dimensions every correlation is 1 or -1, and rounding ranks them"
UNFINISHED = "on features of length 1,000, L-BFGS has not converged after 100 iterations"
WEAKNESSES: Mapping[str, Mapping[str, tuple[str, Made, Mapping[str, Any]]]] = {
    "parc": {ORDER: (TIES, reordered, {"counts": (3, 3), "dimensions": 2})},
    "rsa": {ORDER: (TIES, reordered, {"counts": (3, 3), "dimensions": 2, "scale": 0.001})},
    "pactran": {
        ORDER: (UNFINISHED, reordered, {"counts": (3, 3, 4), "dimensions": 3, "scale": 1000.0, "seed": 2}),
        NAMES: (UNFINISHED, renamed, {"counts": (3, 10, 3, 8), "dimensions": 21, "scale": 1000.0}),
    },
}
"""By estimator and random check that it cannot pass: why, and a change of evidence that shows it every time.

Whether a check draws such evidence is chance, so it can be expected neither to fail nor to pass."""


@pytest.fixture(autouse=True)
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer random examples than for an author, who has one estimator."""
    monkeypatch.setattr(properties, "EXAMPLES", 12)


@pytest.mark.parametrize("name", sorted(get_host().estimators))
def test_every_registered_estimator_keeps_its_promises(name: str) -> None:
    estimator = QUICK.get(name, get_host().estimators[name])
    left_out = WEAKNESSES.get(name, {})
    checks = [(check, run) for check, run in estimator_checks(estimator) if check not in left_out]
    run_checks(repr(estimator), checks, EXPECTED_FAILURES.get(name))


@pytest.mark.parametrize(("name", "check"), [(name, check) for name, known in WEAKNESSES.items() for check in known])
def test_a_check_is_left_out_only_while_it_has_a_cause(name: str, check: str) -> None:
    """Once an estimator gives the same score, its weakness is to be struck off the list."""
    _, change, arguments = WEAKNESSES[name][check]
    evidence = ms.testing.random_evidence(**arguments)
    estimator = get_host().estimator(name)
    before, after = (estimator.score(each)[name] for each in (evidence, change(evidence)))
    assert abs(before - after) > 1e-4 * abs(before)


class Sound(ms.Estimator):
    """Between-class share of the variance: keeps every promise, until a subclass breaks one."""

    name = "sound"
    requires = frozenset({"features", "labels"})
    citation = "R. A. Fisher: The use of multiple measurements in taxonomic problems, 1936"

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        total = evidence.feature_statistics.total_variance * (evidence.statistics.n - 1)
        if total == 0:
            raise ms.errors.EvidenceError("all rows are equal; there is no variance to explain")
        return {self.name: float(np.trace(evidence.statistics.between_class_scatter)) / total}


class DoublesMeans(Sound):
    """Writes into what belongs to all estimators, though it is read-only."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        scored = super().score(evidence)
        means = evidence.statistics.means
        means.flags.writeable = True
        means *= 2
        return scored


class WithoutCitation(Sound):
    citation = " "


class UnknownField(Sound):
    requires = frozenset({"features", "labels", "logits"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        return {self.name: 0.0}


class WorkingConstructor(Sound):
    def __init__(self, share: float = 1.0) -> None:
        self.percent = 100 * share


class ChangingConstructor(Sound):
    def __init__(self, names: Iterable[str] = ("a",)) -> None:
        self.names = [*names, "b"]


class Opaque:
    """Equal to any of its kind, and without a repr that says so."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    __hash__ = None  # type: ignore[assignment]


class UnstableKey(Sound):
    def __init__(self, option: Any = Opaque()) -> None:  # noqa: B008
        self.option = option


class Unpicklable(Sound):
    def __init__(self, function: Callable[[], int] = lambda: 0) -> None:
        self.function = function


class Refusing(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        raise ms.errors.NotApplicableError("not today")


class Curious(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        bonus = 1.0 if evidence.metadata is not None else 0.0
        return {self.name: super().score(evidence)[self.name] + bonus}


class Overwriting(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.features.base is not None
        result = super().score(evidence)
        if evidence.features.base.flags.writeable:  # type: ignore[attr-defined]
            evidence.features.base[0, 0] += 1  # type: ignore[index]
        return result


class Moody(Sound):
    """Draws at random, whatever the seed."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        return {self.name: super().score(evidence)[self.name] + 1e-3 * np.random.default_rng().random()}


class Undeclared(Sound):
    """Draws from the seed, and does not say that it does."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        noise = np.random.default_rng(evidence.seed).random()
        return {self.name: super().score(evidence)[self.name] + 1e-3 * noise}


class DividingByZero(Sound):
    relative = True

    def combine(self, scores: Any) -> Any:
        values = np.array([s[self.name] for s in scores])
        with np.errstate(invalid="ignore"):
            return (values - values.min()) / np.ptp(values)


class Halved(Sound):
    """Computes in half precision where the features are single."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        factor = 0.999 if evidence.features.dtype == np.float32 else 1.0
        return {self.name: super().score(evidence)[self.name] * factor}


class FirstRow(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        return {self.name: super().score(evidence)[self.name] + 1e-3 * float(evidence.features[0, 0])}


class Inverting(Sound):
    """Inverts the scatter: fails where it is singular."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        features = np.asarray(evidence.features, dtype=np.float64)
        centred = features - features.mean(axis=0)
        covariance = centred.T @ centred
        if np.linalg.matrix_rank(covariance) < len(covariance):
            raise np.linalg.LinAlgError("Singular matrix")
        return {self.name: float(np.trace(np.linalg.solve(covariance, evidence.statistics.between_class_scatter)))}


class Narrow(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        evidence.features[:, 2]
        return super().score(evidence)


class AnyClasses(Sound):
    """Scores source labels of one class."""

    requires = frozenset({"source_features", "source_labels"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.source_features is not None
        assert evidence.source_labels is not None
        parts = [evidence.source_features[evidence.source_labels == c] for c in np.unique(evidence.source_labels)]
        within = sum(float(((part - part.mean(axis=0)) ** 2).sum()) for part in parts)
        return {self.name: -within}


class NotFinite(Sound):
    """The unbiased variance of a class with one row is 0 / 0."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        counts = evidence.statistics.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            within = float((evidence.statistics.squared_deviations / (counts - 1)).sum())
        return {self.name: -within}


class Counting(Sound):
    """Takes the largest label for the number of classes."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.labels is not None
        return {self.name: super().score(evidence)[self.name] / (evidence.labels.max() + 1)}


class Ordinal(Sound):
    """Treats the class with the smallest label unlike the others."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        return {self.name: super().score(evidence)[self.name] + 1e-3 * float(evidence.statistics.means[0, 0])}


class Promising(Sound):
    """Says that it takes numbers, and raises when it gets some."""

    targets = frozenset({"classes", "numbers"})


class LowerIsBetter(Sound):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        return {self.name: -super().score(evidence)[self.name]}


BROKEN: Mapping[str, ms.Estimator] = {
    "name_and_citation_are_there": WithoutCitation(),
    "requires_known_fields": UnknownField(),
    "constructor_only_stores_parameters": WorkingConstructor(),
    "key_is_stable": UnstableKey(),
    "can_be_pickled": Unpicklable(),
    "scores_ordinary_evidence": Refusing(),
    "reads_only_declared_fields": Curious(),
    "inputs_are_not_changed": Overwriting(),
    "same_seed_same_score": Moody(),
    "combines_any_pool": DividingByZero(),
    "float32_agrees_with_float64": Halved(),
    "rows_can_be_permuted": FirstRow(),
    "finite_or_error_with_more_dimensions_than_rows": Inverting(),
    "finite_or_error_with_few_dimensions": Narrow(),
    "finite_or_error_with_constant_columns": Inverting(),
    "finite_or_error_with_duplicate_columns": Inverting(),
    "finite_or_error_with_equal_rows": Inverting(),
    "scores_every_kind_of_labels_that_it_takes": Promising(),
    "one_class_is_an_error": AnyClasses(),
    "finite_or_error_with_singleton_classes": NotFinite(),
    "gaps_in_labels_do_not_matter": Counting(),
    "classes_can_be_renamed": Ordinal(),
    "separable_beats_shuffled": LowerIsBetter(),
    "finite_or_error_on_random_evidence": NotFinite(),
    "random_rows_can_be_permuted": FirstRow(),
    "random_classes_can_be_renamed": Ordinal(),
    "float32_agrees_on_random_evidence": Halved(),
}


def test_a_sound_estimator_passes_every_check() -> None:
    check_estimator(Sound())


def test_there_is_a_broken_estimator_for_every_check() -> None:
    assert set(BROKEN) == {name for name, _ in estimator_checks(Sound())}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_estimator_is_caught_by_name(name: str) -> None:
    faults = failing(each for each in estimator_checks(BROKEN[name]) if each[0] == name)
    assert faults[name].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        (ChangingConstructor(), "constructor_only_stores_parameters"),
        (Undeclared(), "same_seed_same_score"),
    ],
)
def test_the_finer_forms_of_a_fault_are_caught_too(estimator: ms.Estimator, check: str) -> None:
    assert failing(each for each in estimator_checks(estimator) if each[0] == check)


def test_all_faults_are_reported_together() -> None:
    class Twice(LowerIsBetter):
        citation = ""

    with pytest.raises(AssertionError, match=r"(?s)name_and_citation.*separable_beats_shuffled"):
        check_estimator(Twice(), {"can_be_pickled": "local to this test"})


def test_an_expected_failure_that_passes_is_reported() -> None:
    with pytest.raises(AssertionError, match="separable_beats_shuffled: passes, although expected to fail"):
        check_estimator(Sound(), {"separable_beats_shuffled": "it used to"})


def test_an_expected_failure_of_no_check_is_reported() -> None:
    with pytest.raises(AssertionError, match="there is no such check"):
        check_estimator(Sound(), {"separable_beats_everything": "a slip of the pen"})


@pytest.mark.parametrize(("name", "check"), estimator_checks(Sound()))
def test_three_lines_give_every_check_as_a_test(name: str, check: Callable[[], None]) -> None:
    check()


def test_a_method_that_changes_what_all_estimators_share_is_caught() -> None:
    faults = failing(each for each in estimator_checks(DoublesMeans()) if each[0] == "inputs_are_not_changed")
    assert "changes statistics.means in place" in faults["inputs_are_not_changed"]
