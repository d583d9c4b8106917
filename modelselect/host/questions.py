"""Questions to zoos without which a run goes on: loading the candidate says what is wrong with a zoo."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

from modelselect.candidates.candidate import Candidate, download_bytes_of
from modelselect.candidates.zoo import BYTES_PER_PARAMETER, Zoo
from modelselect.host.host import asking, get_host, seconds_for
from modelselect.host.patience import PluginTimeoutError

T = TypeVar("T")


def asked(zoo: Zoo, question: Callable[[], Any], expected: type[T], otherwise: T) -> T:
    """The zoo's answer; `otherwise` where it raises anything, took too long once, or answers with another type.

    What the zoo of a plugin changes of the process is put back.

    Args:
        zoo: that is asked.
        question: calls one of its methods.
        expected: type of the answer.
        otherwise: taken for the answer if there is none.
    """
    host = get_host()
    if host.registered("zoos", zoo.name).get(zoo.name) is not zoo:  # a run has made it for itself
        return question()  # type: ignore[no-any-return]
    plugin = host.owner("zoos", zoo.name)
    if plugin.is_silent:
        return otherwise
    try:
        with asking(plugin, seconds_for(plugin)):
            answer = question()
            return answer if isinstance(answer, expected) else otherwise
    except PluginTimeoutError as error:
        plugin.is_silent = True
        plugin.faults.append(f"a question to the zoo {zoo.name!r}: {error}; it is asked nothing more before it loads")
        return otherwise
    except Exception:  # a plugin may raise anything
        return otherwise


def is_here(zoo: Zoo, candidate: Candidate) -> bool:
    """Whether the candidate can be loaded without a download, as its zoo says."""
    return asked(zoo, lambda: zoo.is_here(copy(candidate)), bool, False)


def bytes_to_download(zoo: Zoo, candidate: Candidate) -> int | None:
    """Bytes that loading the candidate would download now; None if unknown.

    Where the zoo does not know the size of the files, that is the size of the weights in float32.
    """
    if is_here(zoo, candidate):
        return 0
    parameters = candidate.metadata.get("parameters")
    known = download_bytes_of(candidate)
    return BYTES_PER_PARAMETER * parameters if known is None and isinstance(parameters, int) else known
