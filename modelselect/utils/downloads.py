"""Downloads by clients that may wait without end: for a Hub that asks them to, or says nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import TypeVar

from modelselect.utils.threads import in_thread

T = TypeVar("T")

STILL_SECONDS = 1800.0
"""Seconds without a byte more, after which no more is waited for. Some clients write large parts at once."""

LOOKED_AFTER = 5.0
"""Seconds between two looks at the folder."""


def answer_within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer to a question. A thread that waits for one that does not come is left to itself.

    Raises:
        TimeoutError: there is no answer in time.
    """
    answer = in_thread(ask, "hub-answer")
    wait([answer], seconds)
    if not answer.done():
        raise TimeoutError(f"there is no answer after {seconds:.0f} s")
    return answer.result()


def hub_blobs(kind: str, name: str) -> Path:
    """The folder in the cache of the Hub's client that grows while a file of a repository is downloaded.

    Args:
        kind: `dataset` or `model`.
        name: of the repository.
    """
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"{kind}s--{name.replace('/', '--')}", "blobs")


def while_it_grows(download: Callable[[], T], folder: Path) -> T:
    """The result of a download into a folder. A thread whose connection is silent is left to itself.

    Raises:
        TimeoutError: the folder has not grown for a while.
    """
    answer = in_thread(download, "hub-download")
    size, grown = -1, time.monotonic()
    while not wait([answer], LOOKED_AFTER).done:
        if (now := _bytes_in(folder)) != size:
            size, grown = now, time.monotonic()
        elif time.monotonic() - grown > STILL_SECONDS:
            raise TimeoutError(f"no byte has arrived for {STILL_SECONDS:.0f} s")
    return answer.result()


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # it has just been moved
            found += path.stat().st_size
    return found
