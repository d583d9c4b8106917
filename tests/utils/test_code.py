"""A digest of code changes with what the code does, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from modelselect.utils.code import code_key


def scaled(factor: float) -> Callable[[float], float]:
    return lambda value: factor * value


def test_a_partial_with_other_settings_is_other_code() -> None:
    def of(number: int) -> str:
        class Method:
            power = staticmethod(partial(pow, number))

        return code_key(Method)

    assert of(2) == of(2) != of(3)
    assert code_key(partial(scaled, factor=1.0)) != code_key(partial(scaled, factor=2.0)) != code_key(scaled)


def test_code_that_does_the_same_has_the_same_key_wherever_it_stands() -> None:
    texts = ["def f(x):\n    return x in {'a', 'b'}", "\n\n# moved\ndef f(x):\n    return x in {'a', 'b'}"]
    keys = set()
    for number, text in enumerate(texts):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, f"{number}.py", "exec"), namespace)
        keys.add(code_key(namespace["f"]))
    assert len(keys) == 1


SOURCE = """
import math

LIMIT = {limit}

def helper(x):
    return math.{call}(x)

class Base:
    def inherited(self, x):
        return helper(x) + {added}

class Method(Base):
    power = {power}

    def __init__(self, share={share}):
        self.share = share

    @staticmethod
    def raised(x):
        return x ** {power}

    @property
    def limit(self):
        return LIMIT
"""
PARTS = {"limit": 10, "call": "sin", "added": 0, "power": 2, "share": 0.5}


def key_of(**changed: Any) -> str:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(SOURCE.format(**PARTS | changed), namespace)
    return code_key(namespace["Method"])


@pytest.mark.parametrize(
    "changed",
    [{"limit": 11}, {"call": "cos"}, {"added": 1}, {"power": 3}, {"share": 0.25}],
    ids=lambda c: next(iter(c)),
)
def test_code_that_a_class_refers_to_is_a_part_of_its_key(changed: dict[str, Any]) -> None:
    assert key_of() == key_of()
    assert key_of(**changed) != key_of()


def test_what_a_function_encloses_is_a_part_of_its_key() -> None:
    assert code_key(scaled(1.0)) == code_key(scaled(1.0)) != code_key(scaled(2.0))


def test_functions_that_call_each_other_have_a_key() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)", namespace)
    assert code_key(namespace["even"]) != code_key(namespace["odd"])
