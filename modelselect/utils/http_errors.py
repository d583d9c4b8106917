"""What errors of an HTTP client say, whichever client it is: those of the Hub's client differ between its versions."""

from __future__ import annotations


def status_of(error: BaseException) -> int:
    """Status of the answer; 0 if there is no answer."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return status if isinstance(status, int) else 0


def is_transport(error: BaseException) -> bool:
    """True for errors of the connection."""
    return any(base.__name__ in ("TransportError", "StreamError") for base in type(error).__mro__)
