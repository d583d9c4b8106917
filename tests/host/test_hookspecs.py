"""Every hook is specified, documented with an example that runs, and collected by the host."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest

from modelselect.extraction.extractor import Extractor
from modelselect.host import hookspecs, host

HOOKS = [name for name, member in vars(hookspecs).items() if hasattr(member, "modelselect_spec")]


def test_the_contract_holds_every_hook_of_the_design() -> None:
    events = {"modelselect_candidate_scored", "modelselect_candidate_failed", "modelselect_selection_finished"}
    assert set(HOOKS) == {f"modelselect_register_{kind}" for kind in host.KINDS} | events


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_a_hook_runs(hook: str) -> None:
    function = getattr(hookspecs, hook)
    examples = doctest.DocTestFinder(recurse=False).find(function, name=hook, globs={})
    assert any(test.examples for test in examples), f"{hook} has no example"
    runner = doctest.DocTestRunner()
    for test in examples:
        output: list[str] = []
        runner.run(test, out=output.append)
        assert not runner.failures, "".join(output)


def test_the_documented_extractor_takes_what_it_is_given() -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(hookspecs.modelselect_register_extractors, globs={})
    scope: dict[str, Any] = {}
    for statement in example.examples:
        exec(statement.source, scope)
    given = inspect.signature(Extractor.extract).parameters.values()
    named = {parameter.name: None for parameter in given if parameter.kind is inspect.Parameter.KEYWORD_ONLY}
    assert "device" in named
    inspect.signature(scope["Tpu"].extract).bind("self", "backbone", "probe", "fields", **named)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_it_is_for(hook: str) -> None:
    first_line = (inspect.getdoc(getattr(hookspecs, hook)) or "").splitlines()[0]
    assert first_line.endswith((".", ":")), first_line
