"""Where memory is short, a batch is computed in parts of the same meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelselect.errors import OutOfMemoryError
from modelselect.verification import verify
from modelselect.verification.memory import part_count
from tests.verification.material import DIMENSIONS, QUICK, FitsOnly, Rows, backbone, rows


@pytest.mark.parametrize("count", [2, 3, 16, 17, 33])
def test_no_batch_of_one_row_reaches_batch_normalisation(count: int) -> None:
    training = rows(count)  # 3 * count rows, which 16 seldom divides
    training = Rows(training.inputs[:: 3 if count > 2 else 1], training.labels[:: 3 if count > 2 else 1])
    assert verify(backbone(), training, rows(3, seed=1), replace(QUICK, epochs=1)).training_rows == len(training)


@given(rows=st.integers(2, 10_000), largest=st.integers(2, 512))
def test_parts_hold_two_rows_or_more_and_are_no_larger_than_asked(rows: int, largest: int) -> None:
    sizes = [len(part) for part in np.array_split(np.arange(rows), part_count(rows, largest))]
    assert min(sizes) >= 2
    assert max(sizes) <= max(largest, 3)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_where_memory_is_short_a_step_is_computed_in_parts_of_equal_meaning(error: Callable[[], Exception]) -> None:
    def run(read: Any = None) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = nn.Linear(DIMENSIONS, 8)  # without batch normalisation, parts add up to the whole
        return verify(backbone(module, read), rows(16), rows(10, seed=1), QUICK)

    roomy, tight = run(), run(FitsOnly(5, error))
    assert (roomy.largest_part, tight.largest_part) == (16, 4)
    assert tight.training_loss == pytest.approx(roomy.training_loss, rel=1e-3)
    assert tight.correct == roomy.correct


def test_no_room_for_two_rows_says_so() -> None:
    with pytest.raises(OutOfMemoryError, match="does not fit into memory on 'cpu'"):
        verify(backbone(read=FitsOnly(1)), rows(10), rows(5), QUICK)
