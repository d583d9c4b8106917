"""Training within the memory of the device: a batch is split into as few parts as possible."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError, OutOfMemoryError
from modelselect.extraction.devices import is_out_of_memory
from modelselect.verification.processes import launched_together

T = TypeVar("T")

LEAST_PART = 2
"""Minimum number of rows on the device at a time: batch normalisation cannot train on one row."""


def within_memory(
    attempt: Callable[[int], T], part: int, device: str, between: Callable[[], None] | None = None
) -> tuple[T, int]:
    """Calls `attempt` with a number of rows at a time, halved whenever memory runs out; returns result and number.

    Raises:
        OutOfMemoryError: not even two rows fit, or one of several processes ran out, which the others cannot follow.
    """
    import torch

    while True:
        try:
            return attempt(part), part
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if part <= LEAST_PART:
                raise OutOfMemoryError(
                    f"fine-tuning does not fit into memory on {device!r}, even with two rows at a time. Use a device "
                    "with more memory, a smaller input size, or a smaller candidate."
                ) from None
            if launched_together():
                raise OutOfMemoryError(
                    f"fine-tuning with {part} rows at a time does not fit into memory on {device!r}, and one of "
                    "several processes cannot use fewer rows than the others. Lower FineTuning(batch_size=...)."
                ) from None
        part = max(LEAST_PART, part // 2)
        if between:
            between()
        if torch.device(device).type == "cuda":
            gc.collect()  # the failed attempt may be kept alive by reference cycles
            torch.cuda.empty_cache()


def part_count(rows: int, largest: int) -> int:
    """Number of nearly equal parts to split rows into: no part is larger than `largest`, and none is a single row.

    Batch normalisation cannot train on one row; therefore three rows in parts of two become one part of three.
    """
    return max(1, min(-(-rows // largest), rows // 2))


def even_part_count(shares: list[NDArray[np.int64]], largest: int) -> int:
    """`part_count`, equal in every process although the processes' shares of a batch may differ by one row."""
    if len(shares) == 1:
        return part_count(len(shares[0]), largest)
    if len(shares[-1]) < LEAST_PART:
        raise InvalidInputError(
            f"a batch of {sum(map(len, shares))} rows is too small for {len(shares)} processes: each needs two rows. "
            "Raise FineTuning(batch_size=...), or start fewer processes."
        )
    return max(1, min(-(-len(shares[0]) // largest), len(shares[-1]) // 2))
