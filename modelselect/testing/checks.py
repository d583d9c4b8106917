"""Named checks, and how they are run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelselect.errors import ScoreWarning
from modelselect.utils.text import REGISTERED_NAME

Check = tuple[str, Callable[[], None]]


def name_is_valid(item: Any) -> None:
    """A check for every kind: the item has a name, or is one, that the host accepts."""
    name = item if isinstance(item, str) else getattr(item, "name", None)
    assert isinstance(name, str), f"name is {name!r}; expected a string"
    assert REGISTERED_NAME.fullmatch(name), f"name is {name!r}; expected lower-case letters, digits, _ and -"


def run_checks(subject: str, checks_of: Iterable[Check], expected_failures: Mapping[str, str] | None) -> None:
    expected = dict(expected_failures or {})
    checks = dict(checks_of)
    unknown = sorted(set(expected) - set(checks))
    faults = [f"{name}: expected to fail, but there is no such check; known: {', '.join(checks)}" for name in unknown]
    for name, check in checks.items():
        try:
            check()
        except AssertionError as fault:
            if name not in expected:
                faults.append(str(fault))
        else:
            if name in expected:
                faults.append(
                    f"{name}: passes, although expected to fail ({expected[name]}); remove it from expected_failures"
                )
    assert not faults, f"{subject} does not keep its promises:\n" + "\n".join(f"- {fault}" for fault in faults)


def named_check(check: Callable[..., None], *arguments: Any) -> Check:
    name = check.__name__.lstrip("_")

    def run() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ScoreWarning)
                check(*arguments)
        except Exception as error:
            what = str(error) if isinstance(error, AssertionError) else f"raised {type(error).__name__}: {error}"
            raise AssertionError(f"{name}: {what}") from error

    return name, run
