"""Every hook is specified, documented with an example that runs, and collected by the host."""

from __future__ import annotations

import doctest
import inspect
import re
from typing import Any

import pytest

import modelselect as ms
from modelselect.extraction.extractor import Extractor
from modelselect.host import hookspecs, host
from modelselect.template.writing import KINDS
from tests.conftest import REPOSITORY

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


DOCS = REPOSITORY / "docs"
LINE = re.compile(
    r"^\| `(?P<hook>modelselect_\w+).*\(\.\./how-to/(?P<page>write-an?-(?P<kind>\w+))\.md\) \|$", re.MULTILINE
)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_on_the_page_of_hooks_and_on_one_of_its_own(hook: str) -> None:
    assert hook in (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")
    pages = [path for path in (DOCS / "how-to").glob("*.md") if f"def {hook}(" in path.read_text(encoding="utf-8")]
    assert pages, f"no page of docs/how-to implements {hook}"


@pytest.mark.parametrize("kind", host.KINDS)
def test_each_kind_of_plugin_has_a_page_a_template_and_a_check(kind: str) -> None:
    lines = {
        line["hook"]: line for line in LINE.finditer((DOCS / "reference" / "hooks.md").read_text(encoding="utf-8"))
    }
    line = lines[f"modelselect_register_{kind}"]
    page = (DOCS / "how-to" / f"{line['page']}.md").read_text(encoding="utf-8")
    assert line["kind"] in KINDS
    assert f"modelselect new {line['kind']} " in page.replace("\n", " ")
    assert "## Common mistakes" in page
    checks = set(re.findall(r"\bcheck_\w+(?=\()", page))
    assert checks
    assert all(hasattr(ms.testing, check) for check in checks)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_it_is_for(hook: str) -> None:
    first_line = (inspect.getdoc(getattr(hookspecs, hook)) or "").splitlines()[0]
    assert first_line.endswith((".", ":")), first_line
