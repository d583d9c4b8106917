"""What is known of an architecture is kept; what could not be found out is tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelselect.evaluation import description
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_a_trace_that_failed_for_want_of_a_module_is_tried_again(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("for now")

    with monkeypatch.context() as patched:
        patched.setattr(description.Describer, "_example", broken)
        assert all(row.macs is None for row in rank(dataset, SOME).rows)
    assert all(row.macs for row in rank(dataset, SOME).rows)
