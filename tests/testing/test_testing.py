"""The kit for plugin authors: it catches every kind of broken plugin, and all that is shipped passes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.testing.checks import Check
from modelselect.testing.estimators import check_estimator, estimator_checks
from modelselect.testing.extractors import check_extractor, extractor_checks
from modelselect.testing.zoos import check_zoo, zoo_checks
from modelselect_plugins.estimators.itm import ITM
from modelselect_plugins.estimators.lead import LEAD
from modelselect_plugins.extractors.cpu import CpuExtractor

QUICK = {"itm": ITM(iterations=200, runs=2), "lead": LEAD(widths=(32, 32))}
"""The dear ones with smaller parameters: the promises are the same."""

EXPECTED_FAILURES: Mapping[str, Mapping[str, str]] = {
    "persistence": {"separable_beats_shuffled": "labels only say how many classes there are"},
    "persistence_source": {"separable_beats_shuffled": "labels only say how many classes there are"},
    "tmi": {"separable_beats_shuffled": "it rewards spread within the classes, which shuffling adds"},
}


@pytest.mark.parametrize("name", sorted(get_host().estimators))
def test_every_registered_estimator_keeps_its_promises(name: str) -> None:
    check_estimator(QUICK.get(name, get_host().estimators[name]), EXPECTED_FAILURES.get(name))


# --- broken estimators, one for each check ----------------------------------------------------------------------------


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
    "one_class_is_an_error": AnyClasses(),
    "finite_or_error_with_singleton_classes": NotFinite(),
    "gaps_in_labels_do_not_matter": Counting(),
    "classes_can_be_renamed": Ordinal(),
    "separable_beats_shuffled": LowerIsBetter(),
}


def failing(checks: Iterable[Check]) -> dict[str, str]:
    """What fails, by the check's name, with its message."""
    faults = {}
    for name, check in checks:
        try:
            check()
        except AssertionError as fault:
            faults[name] = str(fault)
    return faults


def test_a_sound_estimator_passes_every_check() -> None:
    check_estimator(Sound())


def test_there_is_a_broken_estimator_for_every_check() -> None:
    assert set(BROKEN) == {name for name, _ in estimator_checks(Sound())}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_estimator_is_caught_by_name(name: str) -> None:
    faults = failing(estimator_checks(BROKEN[name]))
    assert name in faults
    assert faults[name].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        (ChangingConstructor(), "constructor_only_stores_parameters"),
        (Undeclared(), "same_seed_same_score"),
    ],
)
def test_the_finer_forms_of_a_fault_are_caught_too(estimator: ms.Estimator, check: str) -> None:
    assert check in failing(estimator_checks(estimator))


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


# --- zoos -------------------------------------------------------------------------------------------------------------


def test_the_embedded_zoo_keeps_its_promises() -> None:
    check_zoo(get_host().zoo("embedded"), "*")


class Shelf(ms.Zoo):
    """One candidate of the embedded zoo, under another name."""

    name = "shelf"

    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        yield ms.Candidate(self.name, "tiny", metadata=dict(self._original.metadata))

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        return dataclasses.replace(get_host().zoo("embedded").load(self._original), candidate=candidate)

    @property
    def _original(self) -> ms.Candidate:
        return sorted(get_host().zoo("embedded").search("*"), key=lambda found: found.metadata["parameters"])[0]


class Shuffling(Shelf):
    calls = 0

    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        type(self).calls += 1
        yield ms.Candidate(self.name, f"tiny-{self.calls}")


class Talkative(Shelf):
    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        yield ms.Candidate(self.name, "tiny", metadata={"parameters": "4.2M"})


class Secretive(Shelf):
    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        yield ms.Candidate(self.name, "tiny", metadata={"opener": lambda: None})


class Training(Shelf):
    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        backbone = super().load(candidate)
        backbone.module.train()
        return backbone


class Exploding(Shelf):
    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        backbone = super().load(candidate)
        with torch.no_grad():
            for parameter in backbone.module.parameters():
                parameter.fill_(float("nan"))
        return backbone


class Forgetful(Shelf):
    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        return dataclasses.replace(super().load(candidate), weights_key=str(np.random.default_rng().random()))


class Weighty(Shelf):
    def skeleton(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Any:
        return self.load(candidate).module


class HalfWritten(Shelf):
    def export(self, backbone: Backbone, head: Any, class_names: Any, folder: Any) -> bool:
        (folder / "config.json").write_text("{}")
        return False


class Pickling(Shelf):
    def export(self, backbone: Backbone, head: Any, class_names: Any, folder: Any) -> bool:
        torch.save(backbone.module.state_dict(), folder / "model.bin")
        return True


@pytest.mark.parametrize(
    ("zoo", "check"),
    [
        (Shuffling(), "search_is_stable"),
        (Talkative(), "metadata_has_known_types"),
        (Secretive(), "candidates_can_be_pickled"),
        (Training(), "backbone_is_ready_and_as_described"),
        (Exploding(), "features_are_finite_and_repeatable"),
        (Forgetful(), "weights_key_is_stable"),
        (Weighty(), "skeleton_traces"),
        (HalfWritten(), "export_is_whole_or_nothing"),
        (Pickling(), "export_is_whole_or_nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_zoo_is_caught_by_name(zoo: ms.Zoo, check: str) -> None:
    assert check in failing(zoo_checks(zoo, "*"))


def test_a_sound_zoo_passes_every_check() -> None:
    check_zoo(Shelf(), "*")


# --- extractors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
        ),
    ],
)
def test_every_registered_extractor_keeps_its_promises(device: str) -> None:
    check_extractor(get_host().extractor(device), device)


class Picky(CpuExtractor):
    def supports(self, backbone: Backbone, device: str) -> bool:
        return False


class Noisy(CpuExtractor):
    def on_device(self, *given: Any) -> torch.Tensor:
        return super().on_device(*given) + 0.1


class BatchBound(CpuExtractor):
    def on_device(self, *given: Any) -> torch.Tensor:
        batch = super().on_device(*given)
        return batch - batch.mean(dim=0)


class Generous(CpuExtractor):
    def extract(self, backbone: Backbone, probe: ms.Probe, fields: frozenset[str], **options: Any) -> Evidence:
        return super().extract(backbone, probe, fields | {"source_probabilities"}, **options)


class Careless(CpuExtractor):
    def extract(self, backbone: Backbone, probe: ms.Probe, fields: frozenset[str], **options: Any) -> Evidence:
        evidence = super().extract(backbone, probe, fields, **options)
        backbone.module.train()
        return evidence


@pytest.mark.parametrize(
    ("extractor", "check"),
    [
        (Picky(), "supports_the_device"),
        (Noisy(), "same_features_as_a_bare_loop"),
        (BatchBound(), "batch_size_does_not_matter"),
        (Generous(), "gives_what_is_asked_for"),
        (Careless(), "backbone_comes_back_as_it_was"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_extractor_is_caught_by_name(extractor: ms.Extractor, check: str) -> None:
    assert check in failing(extractor_checks(extractor))
