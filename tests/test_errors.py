"""The text of an error is fit for a terminal and a file, whatever it quotes."""

from __future__ import annotations

import pickle

import pytest

from modelselect import errors
from modelselect.errors import CandidateError, DatasetError, ModelSelectError, UnknownNameError

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ModelSelectError)]


@pytest.mark.parametrize("kind", [each for each in CLASSES if each is not UnknownNameError])
def test_nothing_that_a_message_quotes_reaches_the_terminal(kind: type[ModelSelectError]) -> None:
    text = str(kind("column 'a\x1b]52;c;AAAA\x07\u202egnp\ud800' is\nnot there\t"))
    assert text == "column 'a\ufffd]52;c;AAAA\ufffd\ufffdgnp\ufffd' is\nnot there\ufffd"
    text.encode()


def test_an_unknown_name_is_shown_as_repr_shows_it() -> None:
    assert str(UnknownNameError("zoo", "a\x1b", ["timm"])) == r"unknown zoo 'a\x1b'. Known: timm."


def test_a_message_has_a_bound_and_the_arguments_are_kept() -> None:
    error = DatasetError("x" * 100_000)
    assert len(str(error)) < 6000
    assert "…" in str(error)
    assert pickle.loads(pickle.dumps(error)).args == error.args == ("x" * 100_000,)
    assert str(CandidateError("a plain text, with é, 日本 and 😀")) == "a plain text, with é, 日本 and 😀"
