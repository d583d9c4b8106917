"""Named checks, and how they are run."""

from __future__ import annotations

import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelselect.errors import ScoreWarning
from modelselect.utils.text import REGISTERED_NAME

Check = tuple[str, Callable[[], None]]


def name_is_valid(item: Any) -> None:
    """A check for every kind: the item has a name, or is one, that the host accepts."""
    name = item if isinstance(item, str) else getattr(item, "name", None)
    assert isinstance(name, str), f"name is {name!r}; expected a string"
    assert REGISTERED_NAME.fullmatch(name), f"name is {name!r}; expected lower-case letters, digits, _ and -"


def lacking(item: Any, expected: type, *attributes: str) -> list[Check]:
    """One check that fails, if an item is nothing that the others could be asked of; else none.

    Args:
        item: what an author gives to a check.
        expected: the base class of its kind.
        attributes: that the item must have.
    """

    def _is_complete() -> None:
        assert not isinstance(item, type), f"{item.__name__} is a class; give an instance, as in {item.__name__}()"
        assert type(item).__module__ != "_pytest.fixtures", (
            f"a fixture of pytest is no {expected.__name__}; write a test that takes the fixture and calls the kit's "
            "check_... on it"
        )
        assert isinstance(item, expected), f"{item!r} is no {expected.__name__}, but of the class {type(item).__name__}"
        missing = [name for name in attributes if not hasattr(item, name)]
        if missing:
            raise AssertionError(
                f"{type(item).__name__} has no {missing[0]}; see the attributes of {expected.__name__}"
            )

    name, check = named_check(_is_complete)
    try:
        check()
    except AssertionError:
        return [(name, check)]
    return []


def called(kind: str, item: Any) -> str:
    """The kind and the name of an item, or its class where it has no name."""
    name = getattr(item, "name", None)
    return f"{kind} {name!r}" if isinstance(name, str) else f"{kind} {type(item).__name__}"


def run_checks(subject: str, checks_of: Iterable[Check], expected_failures: Mapping[str, str] | None) -> None:
    __tracebackhide__ = True  # pytest shows the message, not this code
    expected = dict(expected_failures or {})
    checks = dict(checks_of)
    unknown = sorted(set(expected) - set(checks))
    faults = [f"{name}: expected to fail, but there is no such check; known: {', '.join(checks)}" for name in unknown]
    failed: dict[str, list[str]] = {}
    for name, check in checks.items():
        try:
            check()
        except AssertionError as fault:
            if name not in expected:
                failed.setdefault(str(fault).removeprefix(f"{name}: "), []).append(name)
        else:
            if name in expected:
                faults.append(
                    f"{name}: passes, although expected to fail ({expected[name]}); remove it from expected_failures"
                )
    faults += [f"{names[0]}: {what}{_also(names[1:])}" for what, names in failed.items()]
    assert not faults, f"{subject} does not keep its promises:\n" + "\n".join(f"- {fault}" for fault in faults)


def _also(names: Sequence[str]) -> str:
    """The other checks that fail for the same reason."""
    return f" (also found by {', '.join(names)})" if names else ""


def named_check(check: Callable[..., None], *arguments: Any) -> Check:
    name = check.__name__.lstrip("_")

    def run() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ScoreWarning)
                check(*arguments)
        except Exception as error:
            what = str(error) if isinstance(error, AssertionError) else what_was_raised(error)
            raise AssertionError(f"{name}: {what}") from error

    return name, run


def what_was_raised(error: Exception) -> str:
    """The error, and the line of the author's code that it comes from, if there is one."""
    text = f"raised {type(error).__name__}: {str(error).strip()}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_the_authors(Path(frame.filename))]
    return f"{text} ({own[-1].name}, {_shown(Path(own[-1].filename))}:{own[-1].lineno})" if own else text


_LIBRARIES = Path(sysconfig.get_path("stdlib"))
_KIT = Path(__file__).parents[1]


def _is_the_authors(path: Path) -> bool:
    """Whether a file belongs neither to Python, nor to an installed package, nor to modelselect."""
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return path.is_absolute() and not installed and not any(map(path.is_relative_to, (_LIBRARIES, _KIT)))


def _shown(path: Path) -> Path:
    """A path as short as the working directory allows."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
