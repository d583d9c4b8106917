"""The kit for authors of zoos: every kind of broken zoo is caught, and the embedded zoo passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.host.host import get_host
from modelselect.testing.zoos import check_zoo, zoo_checks
from tests.testing.material import failing


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


class Torn(Shelf):
    """The first of its candidates is damaged."""

    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        yield from (ms.Candidate(self.name, name) for name in ("torn", "whole") if fnmatchcase(name, pattern))

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        if candidate.name == "torn":
            raise ms.errors.CandidateError("the file ends early")
        return super().load(candidate)


def test_a_candidate_that_cannot_be_loaded_is_one_fault_that_says_how_to_check_another() -> None:
    with pytest.raises(AssertionError) as raised:
        check_zoo(Torn())
    (fault,) = str(raised.value).splitlines()[1:]
    assert "shelf:torn cannot be loaded: the file ends early. If this is meant, give a pattern" in fault
    check_zoo(Torn(), "whole")
