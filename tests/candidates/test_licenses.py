"""What a licence allows comes from the table; what the table does not hold allows nothing."""

from __future__ import annotations

import pytest

from modelselect.candidates.licenses import TERMS, commercial_use, terms_of, why_not_in_class


@pytest.mark.parametrize(
    ("license", "allowed"),
    [
        ("apache-2.0", True),
        ("MIT", True),
        ("GPL-3.0-only", True),
        ("gpl-2.0+", True),
        ("openrail", True),
        ("cc-by-nc-4.0", False),
        ("CC-BY-NC-SA-4.0", False),
        ("cc-by-nd-4.0", False),
        ("apple-amlr", False),
        ("other", None),
        ("unknown", None),
        ("https://example.org/LICENSE", None),
        (None, None),
    ],
)
def test_commercial_use_is_known_only_of_licences_in_the_table(license: str | None, allowed: bool | None) -> None:
    assert commercial_use(license) is allowed


def test_identifiers_are_in_lower_case_and_found_in_any() -> None:
    assert all(name == name.lower() for name in TERMS)
    assert all(terms_of(name.upper()) == terms for name, terms in TERMS.items())


@pytest.mark.parametrize("name", [name for name in TERMS if "-nc" in name or "-nd" in name or "research" in name])
def test_a_name_that_says_non_commercial_or_no_derivatives_is_not_commercial(name: str) -> None:
    assert not TERMS[name].commercial
    assert TERMS[name].conditions in str(why_not_in_class(name, "commercial"))


def test_permissive_licences_ask_for_nothing_but_the_name() -> None:
    assert why_not_in_class("bsd-3-clause", "permissive") is None
    assert "same licence" in str(why_not_in_class("gpl-3.0", "permissive"))
    assert "forbids the uses" in str(why_not_in_class("gemma", "permissive"))
    assert why_not_in_class("gpl-3.0", "commercial") is None
    assert why_not_in_class(None, "commercial") == "the licence is unknown"
