"""The tables of what estimators share name attributes that exist, and that give what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from modelselect.evidence.evidence import FIELDS
from modelselect.testing import random_evidence

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-estimator.md"
TABLE = re.compile(r"^\| of the (?:features|classes): `evidence\.(\w+)` .*\n\| --- .*\n((?:\|.*\n)+)", re.MULTILINE)
NAMES = [
    (owner, name)
    for owner, lines in TABLE.findall(PAGE.read_text(encoding="utf-8"))
    for line in lines.splitlines()
    for name in re.findall(r"`([\w()]+)`", line.split("|")[1])
]


@pytest.mark.parametrize(("owner", "name"), NAMES)
def test_a_statistic_of_the_page_is_there(owner: str, name: str) -> None:
    found = getattr(getattr(random_evidence(), owner), name.removesuffix("(k)"))
    assert np.all(np.isfinite(found(2))) if name.endswith("(k)") else found is not None


def test_every_field_of_evidence_is_on_the_page() -> None:
    fields = PAGE.read_text(encoding="utf-8").split("## What evidence holds")[1].split("\n## ")[0]
    listed = [name for line in fields.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)]
    assert set(FIELDS) | {"seed", "target_kind"} <= set(listed)


def test_both_tables_are_read() -> None:
    assert {owner for owner, _ in NAMES} == {"feature_statistics", "statistics"}
    assert len(NAMES) > 15
