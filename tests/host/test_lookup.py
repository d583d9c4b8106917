"""Names that a user gives are read alike in Python and on the command line."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError, UnknownNameError
from modelselect.host.host import get_host
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
    ],
)
def test_a_comma_parts_expressions_where_a_zoo_follows(text: str, parts: list[str]) -> None:
    assert expressions_in(text) == parts


def test_candidates_of_one_text_are_those_of_a_list() -> None:
    assert ms.search("embedded:plain*,embedded:vit*") == ms.search(["embedded:plain*", "embedded:vit*"])
