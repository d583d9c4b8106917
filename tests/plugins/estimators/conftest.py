"""The golden reference scores as a fixture, and the golden table at the end of a run."""

from __future__ import annotations

from collections import defaultdict

import pytest

from modelselect.testing import properties
from tests.conftest import shared_path
from tests.plugins.estimators.golden import Bound, Comparison, Golden

TABLE = pytest.StashKey[list[Comparison]]()


@pytest.fixture(autouse=True)
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer random examples than for an author, who has one estimator: many settings of all methods are checked."""
    monkeypatch.setattr(properties, "EXAMPLES", 6)


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden(shared_path("golden", "scores.json").parent)


@pytest.fixture
def golden_table(request: pytest.FixtureRequest) -> list[Comparison]:
    """Where comparisons are gathered for the table."""
    return request.config.stash.setdefault(TABLE, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(TABLE, [])
    if not rows:
        return
    terminalreporter.section("golden table")
    widths = (max(len(row.case.title) for row in rows), max(len(row.input) for row in rows))
    header = f"{'estimator':{widths[0]}}  {'case':{widths[1]}}  {'reference':>14}  {'ours':>14}  relative difference"
    terminalreporter.write_line(header)
    reasons = defaultdict(list)
    for row in rows:
        if row.bound.reason and row.bound.reason not in reasons[row.case.title]:
            reasons[row.case.title].append(row.bound.reason)
        allowed = f"<= {row.bound.relative:g}" if isinstance(row.bound, Bound) else "within its spread"
        terminalreporter.write_line(
            f"{row.case.title:{widths[0]}}  {row.input:{widths[1]}}  {row.reference:14.7g}  {row.ours:14.7g}  "
            f"{row.difference:8.1e}  ({allowed}){'' if row.agrees else '  DISAGREES'}"
        )
    for title, stated in reasons.items():
        for reason in stated:
            terminalreporter.write_line(f"{title}: {reason}")
