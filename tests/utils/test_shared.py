"""A setting that several threads change is as it was when the last of them is done."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from modelselect.utils.shared import SharedChange


@given(st.lists(st.integers(0, 3)))
def test_the_setting_is_changed_as_long_as_somebody_needs_it(steps: list[int]) -> None:
    """Each step is one of four, who begins, or ends what it has begun, in any order."""
    setting = {"value": 7}
    change = SharedChange(lambda: setting["value"], lambda value: setting.update(value=value), lambda value: -value)
    begun: dict[int, contextlib.ExitStack] = {}
    for who in steps:
        if who in begun:
            begun.pop(who).close()
        else:
            begun[who] = contextlib.ExitStack()
            begun[who].enter_context(change.made())
        assert setting["value"] == (-7 if begun else 7)
        assert change.usual() == 7
