"""The kit for authors of pools: every kind of broken pool is caught, and the shipped ones pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import modelselect as ms
from modelselect.candidates import Pool
from modelselect.host.host import get_host
from modelselect.testing.pools import check_pool, pool_checks
from tests.testing.material import failing

GOOD = Pool("tiny", "Networks for tests.", "image", ("embedded:plain*", "embedded:vit*"))


def test_the_shipped_pools_keep_their_promises() -> None:
    for pool in ms.pools():
        check_pool(pool)


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        ({"name": "Tiny"}, "name_is_valid", "lower-case"),
        ({"summary": "Networks"}, "summary_is_a_sentence", "full stop"),
        ({"modality": "sound"}, "modality_is_known", "'image' or 'text'"),
        ({"members": ["embedded:plain*"]}, "members_are_expressions", "expected a tuple"),
        ({"members": ()}, "members_are_expressions", "no members"),
        ({"members": ("plain",)}, "members_are_expressions", "ExpressionError"),
        ({"members": ("pool:images",)}, "members_are_expressions", "list the members"),
        ({"members": ("embedded:vit*",) * 2}, "members_are_expressions", "twice"),
        ({"members": ("embedded:lenet",)}, "members_are_found", "matches nothing"),
        ({"modality": "text"}, "members_are_found", "takes images, but the pool is for texts"),
    ],
)
def test_a_broken_pool_is_caught_by_name(change: dict[str, Any], check: str, message: str) -> None:
    embedded = get_host().zoo("embedded")
    assert failing(pool_checks(GOOD, embedded)) == {}
    assert message in failing(pool_checks(replace(GOOD, **change), embedded))[check]
