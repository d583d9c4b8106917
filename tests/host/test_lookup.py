"""Names that a user gives are read alike in Python and on the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import ExpressionError, InvalidInputError, SearchError, StoreError, UnknownNameError
from modelselect.host.host import Host, get_host
from modelselect.host.lookup import choose_estimators, expressions_in


@pytest.mark.parametrize("given", ["logme,knn", " logme , knn ", ["logme", "knn"]])
def test_estimators_are_one_text_or_a_list(given: str | list[str]) -> None:
    assert [estimator.name for estimator in choose_estimators(get_host(), given)] == ["logme", "knn"]


def test_no_estimator_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="estimators is empty"):
        choose_estimators(get_host(), " , ")
    with pytest.raises(UnknownNameError, match="'knm'"):
        choose_estimators(get_host(), "logme,knm")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("embedded:plain*,timm:resnet18*", ["embedded:plain*", "timm:resnet18*"]),
        ("embedded:plain*, hub:a/b", ["embedded:plain*", "hub:a/b"]),
        ("dir:models/a,b", ["dir:models/a,b"]),
        ("hub:*?search=a,license:mit", ["hub:*?search=a,license:mit"]),
        ("embedded:plain*,resnet.letters", ["embedded:plain*", "embedded:resnet.letters"]),
        ("resnet.letters , embedded:plain*", ["embedded:resnet.letters", "embedded:plain*"]),
    ],
)
def test_a_comma_parts_expressions_where_a_zoo_follows(text: str, parts: list[str]) -> None:
    assert expressions_in(text) == parts


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("resnet.letters", "embedded:resnet.letters"),
        ("resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("alexnet", "torchvision:alexnet"),
        ("microsoft/resnet-50", "hub:microsoft/resnet-50"),
        ("owner/name@main?pooling=cls", "hub:owner/name@main?pooling=cls"),
        ("bert-base-uncased", "hub:google-bert/bert-base-uncased"),
        ("gpt2", "hub:openai-community/gpt2"),
    ],
)
def test_a_plain_name_gets_the_zoo_that_knows_it(name: str, expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a network was asked"))
    assert expressions_in(name) == [expression]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet50", "2 candidates are called 'resnet50'. Did you mean timm:resnet50 or torchvision:resnet50?"),
        ("resnet5O", "no zoo knows 'resnet5O'. Did you mean 'resnet50'"),
        ("resnet*", "'resnet*' has a wildcard, but no zoo. Did you mean timm:resnet* or torchvision:resnet*?"),
        ("google/vit-*", "Did you mean hub:google/vit-* or dir:google/vit-*?"),
        ("models/of/mine", "'models/of/mine' is no folder here"),
        ("timm:", "'timm:' is not a candidate expression"),
    ],
)
def test_a_plain_name_that_is_not_one_candidate_is_refused_with_what_to_write(name: str, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        ms.search(name)
    assert words in str(refused.value)


def test_a_folder_is_a_name_too(here: Path) -> None:
    for name in ("resnet.letters", "owner/name", "mine, all"):
        (here / name).mkdir(parents=True)
    assert expressions_in("./owner") == ["dir:./owner"]
    assert expressions_in("owner/name") == ["dir:owner/name"]
    assert expressions_in("mine, all") == ["dir:mine, all"]
    with pytest.raises(ExpressionError, match=r"Did you mean dir:resnet\.letters or embedded:resnet\.letters\?"):
        expressions_in("resnet.letters")


def test_candidates_of_one_text_are_those_of_a_list() -> None:
    assert ms.search("embedded:plain*,embedded:vit*") == ms.search(["embedded:plain*", "embedded:vit*"])


class Wild(ms.Zoo):
    """A zoo whose methods, but for one, do what they should."""

    name = "wild"

    def __init__(self, method: str, answer: Callable[[], Any]) -> None:
        self.method, self.answer = method, answer

    def asked(self, method: str, good: Any) -> Any:
        return self.answer() if method == self.method else good

    def search(self, pattern: str) -> Any:
        return self.asked("search", [ms.Candidate("wild", "a", "1"), ms.Candidate("wild", "b", "1")])

    def for_modality(self, candidate: ms.Candidate, modality: str) -> Any:
        return self.asked("for_modality", candidate)

    def plain_names(self) -> Any:
        return self.asked("plain_names", {"a": "a"})

    def is_here(self, candidate: ms.Candidate) -> Any:
        return self.asked("is_here", True)

    def skeleton(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Any:
        return self.asked("skeleton", None)

    def choices(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Any:
        return self.asked("choices", ())

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Any:
        return self.asked("load", None)


class PanicError(BaseException):
    """As a Rust library raises it."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def panics() -> Any:
    raise PanicError("\x1b]0;title\x07")


def says_nothing() -> Any:
    raise SilentError


def breaks_off() -> Iterator[ms.Candidate]:
    yield ms.Candidate("wild", "a", "1")
    raise PanicError("in the middle")


def fails_as_we_do() -> Any:
    raise StoreError("of the zoo")


ANSWERS: list[Callable[[], Any]] = [
    *(panics, says_nothing, breaks_off, fails_as_we_do, sys.exit),
    *(lambda: None, lambda: [1, None], lambda: {"a": 1}, lambda: repeat("a")),
]


@pytest.mark.parametrize("method", ["search", "for_modality", "plain_names", "is_here", "skeleton", "choices", "load"])
def test_whatever_a_zoo_does_costs_its_own_rows(method: str, use_host: Callable[[Host], None]) -> None:
    dataset = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8), [0, 1] * 6
    candidates = ["wild:*", "embedded:plain.letters"]
    zoo = Wild(method, panics)
    host = Host.load()
    host.register(_plugin_of(zoo), "wild")
    use_host(host)
    for answer in ANSWERS:
        zoo.answer = answer
        board = ms.select(dataset, candidates, estimators="centroid", progress=False)
        assert board.best.candidate.name == "plain.letters"
        assert 1 <= sum(row.failure is not None for row in board.rows) <= 2
        assert all(row.status.isprintable() for row in board.rows)
        ms.plan(dataset, candidates, estimators="centroid")
        try:
            assert {candidate.name for candidate in ms.search("wild:*")} <= {"a", "b"}
        except SearchError as error:
            assert str(error).isprintable()  # noqa: PT017 (either is right)
        with pytest.raises(ms.errors.ModelSelectError):
            ms.archi2vec.embed("wild:*")


class Nameless(ms.Candidate):
    @property
    def id(self) -> str:
        raise ZeroDivisionError


class OddText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    "candidate",
    [
        lambda: Nameless("wild", "a", "1"),
        lambda: ms.Candidate(OddText("wild"), OddText("a"), OddText("1"), {OddText("family"): OddText("odd")}),
        *(
            lambda value=value: ms.Candidate("wild", "a", "1", {"parameters": value, "input_size": value, "own": value})
            for value in (10**5000, -1, float("nan"), True, object(), b"x", {"a": [1]}, "\ud800", np.arange(2), len)
        ),
    ],
)
def test_an_odd_candidate_of_a_zoo_costs_its_own_row(
    candidate: Callable[[], ms.Candidate], use_host: Callable[[Host], None], tmp_path: Path
) -> None:
    dataset = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8), [0, 1] * 6
    host = Host.load()
    host.register(_plugin_of(Wild("search", lambda: [candidate()])), "wild")
    use_host(host)
    board = ms.select(dataset, ["wild:*", "embedded:plain.letters"], estimators="centroid", progress=False)
    assert [row.candidate.name for row in board.ranked] == ["plain.letters"]
    assert len(board.rows) == 2
    board.report(tmp_path / "board.html")
    assert ms.Leaderboard.load(board.save(tmp_path / "board.json") or tmp_path / "board.json").rows[0].rank == 1


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({f"key{number}": number for number in range(1_001)}, "1,001 entries; at most 1,000 are allowed"),
        ({"family": "x" * 1_000_000}, "1,000,006 characters; at most 1,000,000 are allowed"),
        ({"labels": ["x" * 1_000] * 1_001}, "characters; at most 1,000,000 are allowed"),
    ],
)
def test_a_zoo_that_floods_metadata_is_named(
    metadata: dict[str, Any], words: str, use_host: Callable[[Host], None]
) -> None:
    host = Host.load()
    host.register(_plugin_of(Wild("search", lambda: [ms.Candidate("wild", "a", metadata=metadata)])), "wild")
    use_host(host)
    with pytest.raises(SearchError, match=r"the metadata of wild:a has .*\(from plugin 'wild'") as refused:
        ms.search("wild:*")
    assert words in str(refused.value)


@pytest.mark.parametrize("begins", [True, False])
def test_a_zoo_that_hangs_is_interrupted_and_named(
    begins: bool, use_host: Callable[[Host], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hanging() -> Iterator[ms.Candidate]:
        if begins:
            yield ms.Candidate("wild", "a")
        time.sleep(600)

    monkeypatch.setenv("MODELSELECT_SEARCH_SECONDS", "0.2")
    host = Host.load()
    host.register(_plugin_of(Wild("search", hanging)), "wild")
    use_host(host)
    said = r"took more than 0.2 s \(from plugin 'wild'.*If it is only slow, set MODELSELECT_SEARCH_SECONDS"
    with pytest.raises(SearchError, match=said):
        ms.search("wild:*")
    assert ms.search("embedded:*")


def test_a_zoo_that_never_ends_is_named(use_host: Callable[[Host], None]) -> None:
    host = Host.load()
    host.register(
        _plugin_of(Wild("search", lambda: (ms.Candidate("wild", f"a{number}") for number in count()))), "wild"
    )
    use_host(host)
    with pytest.raises(SearchError, match=r"more than 100,000 candidates \(from plugin 'wild'.*name fewer"):
        ms.search("wild:*")


def _plugin_of(zoo: ms.Zoo) -> object:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [zoo]

    return Plugin()
