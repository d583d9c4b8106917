"""Progress: bars that fit into 80 columns, a notebook's output, lines in a log, and log records."""

from __future__ import annotations

import io
import logging
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from modelselect.utils import progress, stages, views
from modelselect.utils.progress import Progress, StepFiles
from modelselect.utils.stages import Ended, Step
from modelselect.utils.text import plain_text
from modelselect.utils.views import Lines, Notebook, Terminal

IDS = [f"directory:models/of/somebody/else/mobilenetv2_{number}_224_in1k@{'a' * 40}" for number in range(12)]
NAMES = {key: key.rsplit("/", 1)[-1].split("@")[0] for key in IDS}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal of 80 columns, as standard error."""
    console = Console(width=80, force_terminal=True, file=io.StringIO())
    monkeypatch.setattr(progress, "view", lambda: Terminal(console))
    return console


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is no terminal, and the program shows no log records."""
    monkeypatch.setattr(progress, "view", Lines)
    monkeypatch.setattr(views.LOGGER, "level", logging.WARNING)


def shown(bars: Progress) -> list[str]:
    """The bars as lines of 80 columns."""
    return plain_text(bars._rendered(), 80).splitlines()


# --- bars ------------------------------------------------------------------------------------------------------------


def test_bars_fit_into_80_columns_and_say_names_epochs_accuracy_and_time_left(terminal: Console) -> None:
    with Progress(True, NAMES) as bars, bars.candidates("fine-tuning", 3) as track:
        track.begin(IDS[0])
        time.sleep(0.02)
        track(IDS[0], Ended("accuracy 71.0%", accuracy=0.71))
        track.begin(IDS[1])
        bars.step(IDS[1], Step("epoch", 3, 20, "accuracy 64.3%"))
        lines = shown(bars)
    assert all(len(line) <= 80 for line in lines)
    assert re.fullmatch(r"fine-tuning +━{5,}\S* +1/3  0:00:00  0:00:00 left *", lines[0])
    assert re.fullmatch(r"  mobilenetv2_1_224_in1k +━+\S* +epoch 3/20, accuracy 64.3% *", lines[1])
    assert lines[2].rstrip() == "  best so far: mobilenetv2_0_224_in1k, 71.0%"


def test_a_wide_terminal_shows_the_time_that_each_candidate_in_work_has_left(terminal: Console) -> None:
    with Progress(True, NAMES) as bars, bars.candidates("fine-tuning", 3) as track:
        track.begin(IDS[0])
        time.sleep(0.05)
        bars.step(IDS[0], Step("epoch", 3, 20, "training accuracy 64.3%"))
        wide, narrow = (plain_text(bars._rendered(), width) for width in (120, 80))
    assert re.search(r"epoch 3/20, training accuracy 64\.3%, 0:00:00 left", wide)
    assert "mobilenetv2_0_224_in1k" in narrow
    assert "64.3%, 0:" not in narrow


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_bar_is_never_squeezed_out(terminal: Console, width: int) -> None:
    long = "hub:" + "an-owner/a-model-" * 20
    with Progress(True) as bars, bars.candidates("scoring on a dataset with a name of many words", 10_000) as track:
        for _ in range(9_999):
            track("other")
        track.begin(long)
        bars.step(long, Step("rows", 500, 1000))
        lines = plain_text(bars._rendered(), width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert all("━" * 5 in line for line in lines[:2])


def test_a_terminal_is_left_as_it_was(terminal: Console) -> None:
    def interrupted() -> None:
        with Progress(True, NAMES) as bars, bars.candidates("scoring", 2) as track:
            track.begin(IDS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    written = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert written.endswith("\x1b[2K")  # the last bar is removed


def test_candidates_in_workers_have_a_line_each(terminal: Console) -> None:
    with Progress(True, NAMES) as bars, bars.candidates("scoring", 12) as track:
        report = bars.reports(isolated=True)
        assert isinstance(report, StepFiles)
        for key in IDS[:6]:
            track.begin(key)
        (report._folder / "1.json").write_text('{"candidate": "cut off", "unit": "rows"')
        (report._folder / "2.json").write_text('{"candidate": "ended", "unit": "rows", "done": 1, "total": 2}')
        damaged = [
            *("[1]", "{}", "\x00", "9" * 5000, '{"candidate": [], "unit": "rows", "done": 1, "total": 2, "note": ""}'),
            *('{"candidate": "a", "unit": "rows", "done": {}, "total": 2, "note": ""}', "[" * 100_000),
        ]
        for number, text in enumerate(damaged):
            (report._folder / f"damaged-{number}.json").write_text(text)
        report(IDS[1], Step("epoch", 2, 5))
        lines = shown(bars)
        folder = report._folder
    assert len(lines) == 1 + progress.SHOWN_AT_ONCE
    assert "epoch 2/5" in lines[2]
    assert not folder.exists()


def test_a_stage_does_not_show_what_another_worker_said_in_an_earlier_one(terminal: Console) -> None:
    with Progress(True, NAMES) as bars:
        with bars.candidates("scoring", 1):
            report = bars.reports(isolated=True)
            assert isinstance(report, StepFiles)
            report.write("another worker", IDS[0], Step("rows", 48, 48))
            (report._folder / "damaged.json").mkdir()
        with bars.candidates("fine-tuning", 1) as track:
            track.begin(IDS[0])
            assert "48" not in shown(bars)[1]
            report.write("a worker", IDS[0], Step("epoch", 2, 5))
            assert "epoch 2/5" in shown(bars)[1]


def test_a_report_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    StepFiles(tmp_path / "on another machine")("a", Step("epoch", 1, 2))


@pytest.mark.usefixtures("terminal")
def test_what_a_killed_run_left_is_removed_a_day_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, young, other = (tmp_path / name for name in ("modelselect-progress-a", "modelselect-progress-b", "other"))
    for folder in (left, young, other):
        folder.mkdir()
        (folder / "1.json").touch()
    for folder in (left, other):
        os.utime(folder, (1, 1))
    with Progress(True) as bars:
        bars.reports(isolated=True)
        assert sum(folder.name.startswith("modelselect-progress-") for folder in tmp_path.iterdir()) == 2
    assert {folder.name for folder in tmp_path.iterdir()} == {"modelselect-progress-b", "other"}


def test_time_left_counts_what_is_done_of_the_candidate_in_work() -> None:
    stage = stages.Stage("scoring", 4, began=0.0, done=1)
    assert stage.seconds_left(10.0) == 30.0
    stage.running["a"] = stages.Work(5.0, Step("rows", 50, 100))
    assert stage.seconds_left(15.0) == 25.0
    assert stages.Stage("scoring", 4, began=0.0).seconds_left(10.0) is None


def test_time_left_of_epochs_goes_by_the_last_epoch_of_this_run() -> None:
    work = stages.Work(began=0.0)
    assert work.seconds_left(5.0) is None
    for number in range(1, 11):  # epochs of an earlier run are reported again at once
        work.take(Step("epoch", number, 20), 10.0 + number / 1e6)
    assert work.seconds_left(20.0) is None
    work.take(Step("epoch", 11, 20), 50.0)
    assert work.seconds_left(60.0) == pytest.approx(9 * 40 - 10, abs=0.01)
    assert work.text(60.0) == "epoch 11/20, 0:05:49 left"
    work.take(Step("epoch", 20, 20), 90.0)
    assert work.seconds_left(500.0) == 0.0
    stage = stages.Stage("fine-tuning", 3, began=0.0, done=2)
    stage.running["a"] = stages.Work(0.0, Step("epoch", 2, 20), moved=100.0, pace=30.0)
    assert stage.seconds_left(100.0) == 18 * 30  # nothing but this is left


def test_before_anything_is_done_the_time_left_is_what_was_expected(
    log: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = stages.Stage("fine-tuning", 1, began=100.0, expected=60.0)
    stage.running["a"] = stages.Work(100.0)
    assert stage.seconds_left(110.0) == 50.0
    assert stage.seconds_left(200.0) == 0.0
    with Progress(True) as bars:
        bars.expect("fine-tuning", 540.0)
        for what in ("scoring", "fine-tuning", "fine-tuning"):
            with bars.candidates(what, 1) as track:
                track("a")
    said = capsys.readouterr().err
    assert said.count(", about 9 min") == said.count("fine-tuning: 1 candidate, about 9 min") == 1


def test_text_from_outside_does_not_reach_the_terminal(terminal: Console) -> None:
    with Progress(True) as bars, bars.candidates("scoring", 2) as track:
        track("esc\x1b[31m", Ended("failed: \x1b]0;title\x07"))
        track.begin("esc\x1b[31m")
        assert "\x1b" not in "".join(shown(bars))


# --- a log -----------------------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_for_each_candidate(log: None, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(True, NAMES) as bars, bars.candidates("scoring", 2) as track:
        track.begin(IDS[0])
        track(IDS[0], Ended("logme 0.71", seconds=4.1))
        track.begin(IDS[1])
        track(IDS[1], Ended("failed: its file is damaged", failed=True, seconds=0.2))
    out, err = capsys.readouterr()
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    begin, first, second, last = err.splitlines()
    assert out == ""
    assert re.fullmatch(when + r" scoring: 2 candidates", begin)
    assert re.fullmatch(when + r" scoring 1/2: mobilenetv2_0_224_in1k, 4\.1 s, logme 0\.71", first)
    assert re.fullmatch(when + r" scoring 2/2: mobilenetv2_1_224_in1k, 0\.2 s, failed: its file is damaged", second)
    assert re.fullmatch(when + r" scoring: 2 of 2 in 0:00:00, 1 failed", last)


def test_ten_thousand_candidates_make_a_line_a_second(log: None, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with Progress(True) as bars, bars.candidates("scoring", 10_000) as track:
        for number in range(10_000):
            track(f"a:{number}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 3 + views.LINES_AT_ONCE + (time.monotonic() - begun) / views.LINE_SECONDS
    assert "scoring: 10000 of 10000 in" in lines[-1]


def test_a_log_is_not_silent_during_a_long_candidate(
    log: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(views, "LINE_SECONDS", 0.05)
    with Progress(True, NAMES) as bars, bars.candidates("fine-tuning", 2) as track:
        track.begin(IDS[0])
        time.sleep(0.1)
        bars.step(IDS[0], Step("epoch", 3, 20, "accuracy 64.3%"))
        time.sleep(0.5)
    said = r"fine-tuning 1/2: mobilenetv2_0_224_in1k, epoch 3/20, accuracy 64\.3%, 0:00:0\d left"
    assert re.search(said, capsys.readouterr().err)


def test_a_program_that_shows_log_records_gets_each_line_once(
    log: None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "modelselect"), Progress(True) as bars:
        with bars.candidates("scoring", 1) as track:
            track("a")
        bars.say("a note")
    assert [record.name for record in caplog.records] == ["modelselect"] * 4
    assert capsys.readouterr().err == ""


def test_without_progress_nothing_is_shown_and_records_are_written(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "modelselect"), Progress(False) as bars, bars.candidates("tuning", 1) as track:
        bars.step("a", Step("epoch", 1, 2, "accuracy 50.0%"))
        track("a", Ended("accuracy 71.0%"))
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.DEBUG, logging.INFO, logging.INFO]
    assert "a, epoch 1/2, accuracy 50.0%" in caplog.text
    assert bars.reports(isolated=True) is None
    assert capsys.readouterr() == ("", "")


def test_a_closed_stream_costs_the_line_only(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    with Progress(True) as bars, bars.candidates("scoring", 1) as track:
        monkeypatch.setattr("sys.stderr", closed)
        track("a")


# --- a notebook ------------------------------------------------------------------------------------------------------


def test_a_notebook_shows_one_output_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[dict[str, str]] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        outputs.append(data)
        return SimpleNamespace(update=lambda data, raw: outputs.append(data))

    monkeypatch.setitem(__import__("sys").modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(progress, "view", Notebook)
    monkeypatch.setattr(views, "REFRESH_SECONDS", 0.02)
    with Progress(True, {"a": "<a>"}) as bars, bars.candidates("scoring", 2) as track:
        track.begin("a")
        track("a")
        time.sleep(0.3)
        track("b")
    texts = [data["text/plain"] for data in outputs]
    assert any("━" in text and "1/2" in text for text in texts)
    assert any("&lt;a&gt;" in data["text/html"] for data in outputs)
    assert re.fullmatch(r"scoring: 2 candidates\nscoring: 2 of 2 in 0:00:00", texts[-1])  # no bar stays


@pytest.mark.slow
def test_a_real_notebook_shows_progress_without_ipywidgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cell = """
import sys; sys.modules["ipywidgets"] = None
import time
from modelselect.utils.progress import Progress
with Progress(True) as bars, bars.candidates("scoring", 2) as track:
    track.begin("a"); track("a"); time.sleep(1); track("b")
"""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = [output for output in book.cells[0].outputs if output.output_type == "display_data"]
    assert len(outputs) == 1
    assert "\nscoring: 2 of 2 in 0:00:0" in outputs[0].data["text/plain"]
