"""What commands print besides the answer: progress, notes and log records."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pytest

from modelselect.cli import terminal
from modelselect.cli.terminal import agreed, check_plot, confirmed, plain_warnings
from modelselect.errors import InvalidInputError
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")

WORDS = ("-c", "embedded:plain*", "-e", "knn")


def test_a_redirected_run_prints_a_line_with_time_name_seconds_and_score(
    capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    code, out, err = run(capsys, "select", dataset, *WORDS)
    assert code == 0
    assert "scoring" not in out
    assert " scoring 1/2: plain.letters, " in err
    assert " s, knn " in err
    assert " scoring: 2 of 2 in 0:0" in err


def test_quiet_prints_the_answer_and_nothing_else(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    code, out, err = run(capsys, "select", dataset, *WORDS, "--quiet", "--json", tmp_path / "board.json")
    assert (code, err) == (0, "")
    assert "plain" in out


def test_verbose_prints_details_once_and_leaves_logging_as_it_was(
    capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    logger = logging.getLogger("modelselect")
    before = logger.level, list(logger.handlers)
    _, _, err = run(capsys, "select", dataset, *WORDS, "--verbose")
    assert err.count("scoring 1/2: plain.letters") == 1
    assert " DEBUG loading embedded:plain.letters" in err
    _, _, again = run(capsys, "select", dataset, "-c", "embedded:plain*", "-e", "centroid", "--verbose")
    assert " DEBUG embedded:plain.letters" in again
    assert "found in the store" in again
    assert (logger.level, logger.handlers) == before


@pytest.mark.parametrize(("option", "said"), [((), True), (("--quiet",), False), (("--no-history",), False)])
def test_the_first_run_says_once_that_the_history_keeps_results(
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, ...],
    said: bool,
) -> None:
    path = tmp_path / "own" / "history.sqlite"
    monkeypatch.setenv("MODELSELECT_HISTORY", str(path))
    _, _, err = run(capsys, "select", dataset, *WORDS, *option)
    assert (f"the transfer history, {path}" in err) == said
    assert ("--no-history" in err) == said
    assert path.exists() == ("--no-history" not in option)
    _, _, err = run(capsys, "select", dataset, *WORDS, *option)
    assert "transfer history" not in err


def test_a_history_that_the_caller_names_is_no_news(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    _, _, err = run(capsys, "select", dataset, *WORDS, "--history", tmp_path / "named.sqlite")
    assert (tmp_path / "named.sqlite").exists()
    assert "transfer history" not in err


@pytest.mark.parametrize("stream", [None, io.StringIO("y\n")])
def test_without_a_terminal_nobody_has_agreed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    monkeypatch.setattr("sys.stdin", stream)
    assert not agreed("Go on?")
    with pytest.raises(InvalidInputError, match="add --yes to agree"):
        confirmed("Go on?", given=False)
    assert confirmed("Go on?", given=True)


def test_ctrl_c_at_a_question_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal())
    assert not agreed("Go on?")


def test_a_table_without_a_terminal_is_the_one_that_rich_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, rows = ["candidate", "source_accuracy"], [["timm:a", "12.5"], ["b" * 40, "–"], ["c\x1b[1m", ""]]
    printed = []
    for is_plain in (True, False):
        if not is_plain:
            monkeypatch.setattr(terminal, "_plain_table", lambda *_: None)
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        monkeypatch.setattr("sys.stdout", out)
        terminal.print_table(columns, rows)
        out.seek(0)
        printed.append(out.read())
    assert printed[0] == printed[1]
    assert "source accuracy" in printed[0]


@pytest.mark.parametrize("cell", ["a" * 250, "漢字"])
def test_cells_that_are_too_wide_or_have_wide_characters_are_left_to_rich(cell: str) -> None:
    assert terminal._plain_table(["name"], [[cell]], terminal.console()) is None


@pytest.mark.parametrize(
    "command",
    [
        ("report", "no-board.json"),
        ("benchmark", "embedded:plain*", "no-data", "--truth", "no-truth.csv"),
        ("features", "no-data", "embedded:plain.letters"),
        ("reproduce", "blog-cifar10"),
    ],
)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.bmp", "'out.bmp' ends in '.bmp'; expected .png, .svg, .pdf"),
        ("figure", "'figure' has no ending; expected"),
    ],
)
def test_a_file_that_can_hold_no_figure_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], name: str, said: str
) -> None:
    code, _, err = run(capsys, *command, "--plot", name)
    assert code == 2
    assert f"--plot {said}" in " ".join(err.split())


def test_a_missing_matplotlib_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_plot(tmp_path / "figure.PNG")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_plot(None)
    with pytest.raises(InvalidInputError, match=r"--plot needs matplotlib; install .*\[plots\]"):
        check_plot(tmp_path / "figure.png")


def test_a_warning_for_users_is_one_line_without_code_and_others_are_shown_as_python_does() -> None:
    with plain_warnings():
        mine = warnings.formatwarning("the Hub cannot\x1b be reached", UserWarning, "client.py", 224)
        other = warnings.formatwarning("old name", DeprecationWarning, "client.py", 224)
    assert mine == "warning: the Hub cannot\N{REPLACEMENT CHARACTER} be reached\n"
    assert other.startswith("client.py:224: DeprecationWarning: old name")
    assert warnings.formatwarning("old name", UserWarning, "client.py", 224).startswith("client.py:224: ")
