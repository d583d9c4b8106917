"""Limits are kept: what exceeds one is left out, before it costs anything, and says by how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import modelselect as ms
from modelselect.candidates.limits import Limits
from modelselect.errors import InvalidInputError, NothingRankedError
from modelselect.evaluation.settings import Settings
from modelselect.host.host import get_host
from tests.estimators.test_resampling import Columns
from tests.evaluation.material import Waiting, images, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_what_has_too_many_parameters_is_not_loaded_and_says_by_how_much(loaded: list[str]) -> None:
    board = rank("embedded:*", images(), max_parameters=30_000, estimators="h_score")
    small = {c.name for c in ms.search("embedded:*") if c.metadata["parameters"] <= 30_000}
    assert set(loaded) == {row.candidate.name for row in board.ranked} == small
    for row in board.rows[len(small) :]:
        count = row.candidate.metadata["parameters"]
        assert row.rank is None
        assert row.status.startswith(
            f"left out: {count:,} parameters, {count / 30_000:.3g} times max_parameters=30,000"
        )


@pytest.mark.parametrize("has_skeleton", [True, False])
def test_parameters_that_the_zoo_does_not_know_are_counted(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch, has_skeleton: bool
) -> None:
    if not has_skeleton:
        monkeypatch.setattr(type(get_host().zoo("embedded")), "skeleton", lambda *_, **__: None)
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    [known] = ms.search("embedded:plain.letters")
    facts = {name: value for name, value in known.metadata.items() if name != "parameters"}
    unknown = ms.Candidate(known.zoo, known.name, known.revision, facts)
    with pytest.raises(NothingRankedError, match=r"40,874 parameters, 4\.09 times max_parameters=10,000"):
        rank([unknown], images(), max_parameters=10_000)
    assert bool(loaded) != has_skeleton


def test_licences_match_globs_in_any_case_and_the_unknown_one_none() -> None:
    known = [
        ms.Candidate("shelf", name, metadata={"license": name} if name else {}) for name in ("MIT", "cc-by-4.0", "")
    ]
    limits = Limits.of(license=["mit", "CC-BY*"])
    assert [limits.exceeded_before_loading(candidate, None) for candidate in known] == [
        None,
        None,
        "the licence is unknown; allowed: mit, CC-BY*",
    ]
    assert (
        Limits.of(license="apache-2.0").exceeded_before_loading(known[0], None)
        == "the licence is 'MIT'; allowed: apache-2.0"
    )
    hint = "the licence is 'cc-by-4.0'; allowed: CC-BY; did you mean 'CC-BY*'?"
    assert Limits.of(license="CC-BY").exceeded_before_loading(known[1], None) == hint


def test_an_empty_pool_says_which_limit_emptied_it(loaded: list[str]) -> None:
    with pytest.raises(NothingRankedError, match=r"passes the limits \(license=mit\).*'Apache-2.0'; allowed: mit") as e:
        rank("embedded:*", images(), license="mit")
    assert not loaded
    assert len(e.value.leaderboard.rows) == 12  # type: ignore[attr-defined]


def test_what_is_too_slow_is_left_out_before_its_forward_pass_over_the_probe(
    quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    extractor = type(get_host().extractor("cpu"))
    extract = extractor.extract

    def noting(self: Any, backbone: Any, *more: Any, **settings: Any) -> Any:
        seen.append(backbone.candidate.name)
        return extract(self, backbone, *more, **settings)

    monkeypatch.setattr(extractor, "extract", noting)
    board = rank([Waiting(0.03, 0.0), Columns(0)], max_latency_ms=20)
    assert seen == ["Columns"]
    assert board.best.candidate.name == "Columns"
    assert "ms for one row, " in board.rows[1].status
    assert "times max_latency_ms=20" in board.rows[1].status


def test_a_limit_of_latency_holds_in_worker_processes() -> None:
    with pytest.raises(NothingRankedError, match="times max_latency_ms=1e-06"):
        rank("embedded:plain.letters", images(), max_latency_ms=1e-6, executor="process")


@pytest.mark.parametrize(
    ("license", "allowed"),
    [("apache-2.0", True), ("gpl-3.0", True), ("cc-by-nc-4.0", False), ("my-own", False), (None, False)],
)
def test_a_class_of_licences_holds_what_is_known_to_allow_it(license: str | None, allowed: bool) -> None:
    refused = Limits.of(license="commercial").license_refused(license)
    assert (refused is None) is allowed
    assert Limits.of(license=["commercial", "my-*"]).license_refused("my-own") is None
    if license == "cc-by-nc-4.0":
        assert refused == "the licence is 'cc-by-nc-4.0' (non-commercial use only); allowed: commercial"


@pytest.mark.parametrize(
    ("known", "limits", "reason"),
    [
        ({"context_length": 512}, {"min_context_length": 512}, None),
        (
            {"context_length": 512},
            {"min_context_length": 1024},
            "it takes 512 tokens; asked for: min_context_length=1,024",
        ),
        ({}, {"min_context_length": 8}, "the length of text that it takes is unknown; asked for: min_context_length=8"),
        ({"languages": ("de", "en")}, {"language": "DE"}, None),
        ({"languages": ("zh-hans",)}, {"language": "zh"}, None),
        ({"languages": ("en",)}, {"language": ["en", "de"]}, "its languages are en; asked for: en, de"),
        ({}, {"language": "de"}, "its languages are unknown; asked for: de"),
        (
            {"languages": ("multilingual",)},
            {"language": "de"},
            "it says 'multilingual', and does not name its languages; asked for: de",
        ),
        (
            {"modality": "image"},
            {"language": "de"},
            "it reads images, which have neither a length in tokens nor a language",
        ),
    ],
)
def test_a_text_encoder_has_to_take_the_texts_that_are_asked_for(
    known: dict[str, Any], limits: dict[str, Any], reason: str | None
) -> None:
    candidate = ms.Candidate("shelf", "a", metadata={"modality": "text", **known})
    assert Limits.of(**limits).exceeded_before_loading(candidate, None) == reason


def test_what_takes_too_much_memory_to_train_is_not_loaded_and_says_by_how_much(loaded: list[str]) -> None:
    board = rank("embedded:*.letters", images(), estimators="h_score", costs=True)
    needed = {row.candidate.id: row.training_memory_bytes for row in board.rows}
    assert all(needed.values())
    limit = sorted(needed.values())[1]  # type: ignore[type-var]
    loaded.clear()
    limited = rank("embedded:*.letters", images(30), estimators="h_score", max_training_memory=limit)
    assert limited.ranked
    assert set(loaded) == {row.candidate.name for row in limited.ranked}
    for row in limited.rows:
        exceeds = needed[row.candidate.id] > limit  # type: ignore[operator]
        assert (row.rank is None) is exceeds
        assert not exceeds or row.status.startswith("left out: fine-tuning (full) with 32 rows at a time takes ")
    assert limited.best.training_memory_bytes == needed[limited.best.candidate.id]


def test_the_memory_of_training_without_a_skeleton_is_known_once_the_candidate_is_loaded(loaded: list[str]) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten())
    activation = 32 * 64 * 32 * 32 * 4  # kept by ReLU, and its output
    with pytest.raises(NothingRankedError, match=r"times max_training_memory=8\.39 MB"):
        rank(module, images(), max_training_memory=activation)
    board = rank(module, images(), max_training_memory="1GB")
    assert board.best.training_memory_bytes is not None
    assert activation < board.best.training_memory_bytes < 8 * activation


@pytest.mark.parametrize("has_skeleton", [True, False])
def test_a_fault_that_passes_is_named_and_not_taken_for_unknown_memory_later(
    monkeypatch: pytest.MonkeyPatch, has_skeleton: bool
) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("the network is unreachable")

    with monkeypatch.context() as patch:
        zoo = type(get_host().zoo("embedded"))
        patch.setattr(zoo, "load", offline)
        patch.setattr(zoo, "skeleton", offline if has_skeleton else lambda *_, **__: None)
        with pytest.raises(NothingRankedError, match="the network is unreachable"):
            rank("embedded:plain.letters", images(), max_training_memory="8GB")
    board = rank("embedded:plain.letters", images(), max_training_memory="8GB")
    assert board.best.training_memory_bytes


@pytest.mark.parametrize(
    "limits",
    [
        {"max_training_memory": 0},
        {"language": ""},
        {"min_context_length": -1},
        {"max_parameters": 0},
        {"max_parameters": "many"},
        {"max_latency_ms": -1.0},
        {"license": []},
        {"license": [""]},
    ],
)
def test_limits_that_mean_nothing_are_refused(limits: Any) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(limits))):
        rank(Columns(0), **limits)


def test_memory_that_is_not_known_is_no_limit_of_training() -> None:
    settings = Settings(max_training_memory="device")
    assert settings.limits_with(lambda: 10**9).max_training_memory == 10**9
    with pytest.raises(InvalidInputError, match=r"'device'.*not known.*such as '8GB'"):
        settings.limits_with(lambda: None)
