"""What a candidate's metadata may hold: a value that its field cannot have is named by what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.metadata import METADATA_FIELDS, metadata_fault, with_sound_metadata

COUNT = "a whole number from 0 to 1,000,000,000,000,000"
SIDES = "a tuple of whole numbers from 1 to 1,000,000"
ACCURACY = "per cent, from 0 to 100"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parameters", 0),
        ("size_bytes", 10**15),
        ("gated", False),
        ("remote_code", True),
        ("source_accuracy", 0),
        ("source_accuracy", 81.5),
        ("source_accuracy", 100),
        ("input_size", (3, 224, 224)),
        ("input_size", (512,)),
        ("modality", "text"),
        ("license", "apache-2.0"),
        ("family", "Zoë's ViT"),
    ],
)
def test_a_value_that_its_field_may_have_is_valid(key: str, value: Any) -> None:
    assert metadata_fault(key, value) is None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("parameters", -1, COUNT),
        ("parameters", 10**15 + 1, COUNT),
        ("parameters", True, COUNT),
        ("parameters", 11.0, COUNT),
        ("parameters", np.int64(11), COUNT),
        ("feature_dim", "512", COUNT),
        ("private", 1, "True or False"),
        ("source_accuracy", 100.1, ACCURACY),
        ("source_accuracy", float("nan"), ACCURACY),
        ("source_accuracy", True, ACCURACY),
        ("input_size", [3, 224, 224], SIDES),
        ("input_size", (), SIDES),
        ("input_size", (3, 0, 224), SIDES),
        ("input_size", (3, True, 224), SIDES),
        ("input_size", (3, 10**6 + 1, 224), SIDES),
        ("modality", "video", "'image', 'text', 'array' or 'audio'"),
        ("license", None, "a text on one line"),
        ("family", "two\nlines", "a text on one line"),
        ("url", "\x1b[31m", "a text on one line"),
    ],
)
def test_a_value_that_its_field_cannot_have_is_answered_with_what_was_expected(
    key: str, value: Any, expected: str
) -> None:
    assert metadata_fault(key, value) == expected


@pytest.mark.parametrize("key", METADATA_FIELDS)
def test_every_field_refuses_what_is_of_no_type(key: str) -> None:
    assert metadata_fault(key, object()) is not None


def test_a_key_of_the_zoos_own_may_have_any_value() -> None:
    assert "shelf_number" not in METADATA_FIELDS
    assert metadata_fault("shelf_number", object()) is None


def test_values_that_fields_cannot_have_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    given = Candidate("shelf", "tiny", metadata={"parameters": 10**5000, "modality": object(), "shelf_number": [7]})
    assert with_sound_metadata(given).metadata == {"shelf_number": [7]}
    assert "shelf:tiny are used without parameters (expected a whole number" in caplog.text
    sound = Candidate("shelf", "tiny", metadata={"parameters": 5})
    assert with_sound_metadata(sound) is sound
