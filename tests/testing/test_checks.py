"""What all checks share: an item that is nothing of its kind is named at once, and one cause is reported once."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.testing.checks import named_check, run_checks, what_was_raised

CHECKS: dict[str, Callable[[Any], None]] = {
    "Estimator": ms.testing.check_estimator,
    "Zoo": ms.testing.check_zoo,
    "Extractor": ms.testing.check_extractor,
    "Executor": ms.testing.check_executor,
    "Encoder": ms.testing.check_encoder,
    "Pool": ms.testing.check_pool,
    "Protocol": ms.testing.check_protocol,
    "ReportSection": ms.testing.check_report_section,
    "Task": ms.testing.check_task,
    "Typer": lambda app: ms.testing.check_command("count", app),
}


class Nameless(ms.Estimator):
    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        return {"nameless": 0.0}


class Plain(ms.Estimator):
    name = "plain"
    requires = frozenset({"features"})
    citation = "A. Author, 2026"

    def score(self, evidence: ms.Evidence) -> Any:
        return 0.5


class Nothing(ms.Zoo):
    name = "nothing"

    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        return None  # type: ignore[return-value]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        raise NotImplementedError


class Bare(Nothing):
    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        return [ms.Candidate("nothing", "bare")]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        return 3  # type: ignore[return-value]


def faults_of(check: Callable[[Any], None], item: Any) -> list[str]:
    with pytest.raises(AssertionError) as raised:
        check(item)
    return str(raised.value).splitlines()[1:]


@pytest.mark.parametrize("kind", CHECKS)
def test_something_of_no_kind_is_one_fault_that_says_what_was_expected(kind: str) -> None:
    assert faults_of(CHECKS[kind], 3) == [f"- is_complete: 3 is no {kind}, but of the class int"]
    assert "is a class; give an instance, as in Plain()" in faults_of(CHECKS[kind], Plain)[0]


def test_an_attribute_that_is_missing_is_named() -> None:
    (fault,) = faults_of(ms.testing.check_estimator, Nameless())
    assert fault == "- is_complete: Nameless has no name; see the attributes of Estimator"


def test_a_cause_that_several_checks_find_is_reported_once() -> None:
    def first() -> None:
        raise AssertionError("the same")

    def second() -> None:
        raise AssertionError("the same")

    with pytest.raises(AssertionError) as raised:
        run_checks("it", [named_check(first), named_check(second)], None)
    assert str(raised.value) == "it does not keep its promises:\n- first: the same (also found by second)"


@pytest.mark.parametrize(
    ("check", "item", "words"),
    [
        (ms.testing.check_estimator, Plain(), "score() gives a float; expected numbers by the names of components"),
        (ms.testing.check_zoo, Nothing(), "search('*') gives None; expected candidates"),
        (ms.testing.check_zoo, Bare(), "load() gives no Backbone, but an object of the class int"),
    ],
)
def test_an_answer_of_the_wrong_type_is_named(check: Callable[[Any], None], item: Any, words: str) -> None:
    assert sum(words in fault for fault in faults_of(check, item)) == 1


class Crashing(Plain):
    def score(self, evidence: ms.Evidence) -> Any:
        return {"plain": json.loads("{")}


def test_an_exception_names_the_line_of_the_author_and_no_other() -> None:
    line = inspect.getsourcelines(Crashing.score)[1] + 1
    faults = "\n".join(faults_of(ms.testing.check_estimator, Crashing()))
    assert "raised JSONDecodeError: Expecting property name enclosed in double quotes" in faults
    assert f"(score, {Path(__file__).relative_to(Path.cwd())}:{line})" in faults
    assert "decoder.py" not in faults


def test_an_exception_of_no_line_of_the_author_is_told_without_one() -> None:
    assert what_was_raised(ValueError("odd ")) == "raised ValueError: odd"


def test_a_fixture_of_pytest_is_refused_with_what_to_do() -> None:
    @pytest.fixture
    def zoo() -> None: ...

    (fault,) = faults_of(ms.testing.check_zoo, zoo)
    assert "a fixture of pytest is no Zoo; write a test that takes the fixture" in fault


BROKEN = """
import modelselect

class Broken(modelselect.Estimator):
    name = "broken"
    requires = frozenset({"features"})
    citation = "A. Author, 2026"

    def score(self, evidence):
        return {"broken": 1 / 0}

class TestBroken(modelselect.testing.EstimatorTests):
    estimator = Broken()
"""


def test_pytest_shows_the_message_and_not_the_code_of_the_kit(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(BROKEN, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "more_dimensions", "test_broken.py"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "raised ZeroDivisionError: division by zero (score, test_broken.py:10)" in shown
    assert "run_checks" not in shown


WITHOUT_PYTEST = """
import sys

sys.modules |= {"pytest": None, "_pytest": None, "hypothesis": None}  # importing them raises

import modelselect as ms
import modelselect.report
import typer
from modelselect.host import get_host

host = get_host()
app = typer.Typer(help="Count.")


class Few(ms.report.ReportSection):
    name, title = "few", "How many"

    def blocks(self, board):
        return [ms.report.Text(f"{len(board)} candidates.")]


@app.command()
def count(number: int = 1) -> None:
    "Print a number."
    print(number)


ms.testing.check_estimator(host.estimator("centroid"))
ms.testing.check_zoo(host.zoo("embedded"), "plain.letters")
ms.testing.check_task(host.task("regression"))
ms.testing.check_extractor(host.extractors["cpu"])
ms.testing.check_executor(host.executors["local"])
ms.testing.check_encoder(host.architecture_encoders["graph2vec"])
ms.testing.check_pool(host.pools["text-small"])
ms.testing.check_protocol(host.protocols["fennec-architectures"])
ms.testing.check_report_section(Few())
ms.testing.check_command("count", app)


class TestCentroid(ms.testing.EstimatorTests):
    estimator = host.estimator("centroid")


TestCentroid().test_key_is_stable()
print("all checks ran")
"""


def test_every_check_runs_where_there_is_no_pytest(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTEST], cwd=tmp_path, capture_output=True, text=True)
    assert "all checks ran" in done.stdout, done.stderr[-2000:]
