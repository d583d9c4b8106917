"""The leaderboard keeps its column order, survives a round trip, and shows what comes from outside as text."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.stats import weightedtau

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.cli import app
from modelselect.errors import CandidateError, Failure
from modelselect.host.host import get_host
from modelselect.leaderboard.leaderboard import Row


@pytest.fixture
def board() -> ms.Leaderboard:
    first = Row(
        ms.Candidate("shelf", "big", "abc", {"input_size": (3, 32, 32), "parameters": 2_000_000}),
        rank=1,
        score=0.9,
        predicted_rank=2,
        scores={"logme": 0.9, "parameters": 2e6},
        components={"logme": {"logme": 0.9}},
        verified_accuracy=0.875,
        verified_interval=(0.8, 0.93),
        parameters=2_000_000,
        macs=1_500_000_000,
        feature_dim=64,
        seconds=1.5,
        embedding=(0.25, -0.5),
        nearest=(("shelf:small", 0.75),),
    )
    second = Row(
        ms.Candidate("shelf", "small"),
        rank=2,
        score=0.1,
        predicted_rank=1,
        scores={"logme": 0.1},
        failures={"leep": Failure("score", "no source classes")},
    )
    failed = Row(ms.Candidate("shelf", "<script>alert(1)</script>"), failure=Failure("load", "no [bold]weights[/bold]"))
    provenance = {"seed": 0, "versions": {"numpy": np.__version__}, "loss": float("nan")}
    return ms.Leaderboard((first, second, failed), ("logme", "leep", "parameters"), provenance)


def test_columns_stand_in_the_promised_order(board: ms.Leaderboard) -> None:
    fixed = ["verified_accuracy", "parameters", "macs", "feature_dim", "seconds", "status"]
    expected = ["rank", "candidate", "score", "logme", "leep", *fixed]
    assert list(board.columns) == expected
    assert list(board.to_pandas().columns) == expected


def test_what_was_saved_is_loaded_equal(board: ms.Leaderboard, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    board.save(path)
    again = ms.Leaderboard.load(path)
    assert again == board
    assert again.rows[0].seconds == 1.5
    assert again.provenance == {"seed": 0, "versions": {"numpy": np.__version__}, "loss": None}
    assert [p.name for p in tmp_path.iterdir()] == ["board.json"]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()


def test_pandas_marks_what_is_missing(board: ms.Leaderboard) -> None:
    frame = board.to_pandas()
    assert frame["rank"].isna().tolist() == [False, False, True]
    assert frame["verified_accuracy"].isna().tolist() == [False, True, True]
    assert frame.loc[0, "macs"] == 1_500_000_000
    assert ms.Leaderboard.empty().to_pandas().empty


def test_the_status_says_what_failed(board: ms.Leaderboard) -> None:
    assert [row.status for row in board.rows] == ["ok", "leep: no source classes", "failed: no [bold]weights[/bold]"]


def test_text_from_outside_is_shown_and_not_obeyed(board: ms.Leaderboard) -> None:
    html = board._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    text = str(board)
    assert "<script>alert(1)</script>" in text
    assert "[bold]weights[/bold]" in text


def test_the_best_of_nothing_is_an_error(board: ms.Leaderboard) -> None:
    assert board.best.candidate.id == "shelf:big@abc"
    with pytest.raises(ms.errors.InvalidInputError, match="no candidate was ranked"):
        _ = ms.Leaderboard((board.rows[2],)).best


def test_agreement_is_measured_for_the_score_and_every_estimator(board: ms.Leaderboard) -> None:
    found = board.agreement({"shelf:big@abc": 0.9, "shelf:small": 0.5, "elsewhere:x": 1.0})
    assert found["score"].kendall == 1.0
    assert found["logme"].n == 2
    assert "leep" not in found


def test_arrays_and_sets_in_metadata_are_saved_as_lists(tmp_path: Path) -> None:
    metadata = {"mean": np.array([0.5, np.nan]), "sizes": np.arange(4).reshape(2, 2), "tags": {"b", "a"}, "n": {10, 9}}
    path = tmp_path / "board.json"
    metadata |= {"one": np.float32(0.5), "long": np.longdouble(1)}
    ms.Leaderboard((Row(ms.Candidate("shelf", "tiny", metadata=metadata)),)).save(path)
    loaded = dict(ms.Leaderboard.load(path).rows[0].candidate.metadata)
    lists = {"mean": [0.5, None], "sizes": [[0, 1], [2, 3]], "tags": ["a", "b"], "n": [9, 10]}
    assert loaded == lists | {"one": 0.5, "long": "1.0"}


@pytest.mark.parametrize("failing", ["to_json", "fsync"])
def test_a_leaderboard_that_cannot_be_written_leaves_nothing_behind(
    board: ms.Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device") if failing == "fsync" else ValueError("no JSON")

    board.save(tmp_path / "board.json")
    before = (tmp_path / "board.json").read_bytes()
    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (ms.Leaderboard, "to_json")), fail)
    with pytest.raises(ValueError, match=r"No space left|no JSON"):
        board.save(tmp_path / "board.json")
    assert [path.name for path in tmp_path.iterdir()] == ["board.json"]
    assert (tmp_path / "board.json").read_bytes() == before


def test_a_link_stays_one_and_permissions_are_those_of_any_new_file(board: ms.Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "board.json").symlink_to(tmp_path / "elsewhere.json")
    board.save(tmp_path / "board.json")
    assert (tmp_path / "board.json").is_symlink()
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "elsewhere.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    ms.Leaderboard.empty().save(tmp_path / "pipe")
    assert json.loads(os.read(reader, 10_000))["rows"] == []
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


class Shelf(ms.Zoo):
    """One candidate without a revision, whose weights are whatever they are today."""

    name = "shelf"
    today = 0.0

    def search(self, pattern: str) -> list[ms.Candidate]:
        return [ms.Candidate(self.name, "tiny")]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        module = torch.nn.Linear(3, 2)
        torch.nn.init.constant_(module.weight, self.today)
        torch.nn.init.zeros_(module.bias)
        preprocessing = CallablePreprocessing(lambda row: torch.from_numpy(row).float(), "rows")
        return Backbone(candidate, module.eval(), preprocessing, WholeOutput(), weights_digest(module))


def test_weights_that_changed_since_the_ranking_are_not_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [Shelf()]

    get_host.cache_clear()
    try:
        get_host().register(Plugin(), "shelf")
        data = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
        monkeypatch.setattr(Shelf, "today", 1.0)
        board = ms.select(data, "shelf:*", estimators="knn", cache_dir=tmp_path / "cache", progress=False)
        board.save(tmp_path / "board.json")
        rows = board.best, ms.Leaderboard.load(tmp_path / "board.json").best
        assert all(row.load().candidate.name == "tiny" for row in rows)
        document = json.loads((tmp_path / "board.json").read_text())
        del document["rows"][0]["weights_key"]
        (tmp_path / "old.json").write_text(json.dumps(document))
        monkeypatch.setattr(Shelf, "today", 2.0)
        for row in rows:
            with pytest.raises(CandidateError, match="have changed since"):
                row.load()
        assert ms.Leaderboard.load(tmp_path / "old.json").best.load()  # it does not say what they were
    finally:
        get_host.cache_clear()


def test_a_bare_module_is_the_callers_own(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
    board = ms.select(data, torch.nn.Linear(3, 2), estimators="knn", cache_dir=tmp_path, progress=False)
    with pytest.raises(CandidateError, match="the caller's own"):
        board.best.load()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "cannot read"),
        ("[1, 2]", "not a leaderboard"),
        (json.dumps({"format": "modelselect leaderboard", "version": 99}), "version 99"),
        (json.dumps({"format": "modelselect leaderboard", "version": 1, "rows": [{}]}), "damaged"),
    ],
)
def test_a_file_that_is_no_leaderboard_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "board.json"
    path.write_text(content)
    with pytest.raises(ms.errors.InvalidInputError, match=words):
        ms.Leaderboard.load(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("provenance", ["budget"]),
        ("provenance", {"budget": {"asked": "20m"}}),
        ("provenance", {"budget": {"asked": "20m", "stages": [{}], "spent": {"seconds": 1.0, "passes": 1}}}),
        ("row", {"verified_interval": [0.1]}),
    ],
)
def test_what_could_not_be_shown_is_refused_when_it_is_read(
    board: ms.Leaderboard, tmp_path: Path, part: str, value: object
) -> None:
    document = json.loads(board.to_json())
    if part == "row":
        document["rows"][0].update(value)
    else:
        document[part] = value
    (tmp_path / "board.json").write_text(json.dumps(document))
    with pytest.raises(ms.errors.InvalidInputError, match="damaged"):
        ms.Leaderboard.load(tmp_path / "board.json")


def test_a_board_reads_alike_before_and_after_columns_were_added(board: ms.Leaderboard, tmp_path: Path) -> None:
    document = json.loads(board.to_json())
    for row in document["rows"]:
        row["added_later"] = 1
        for name in ("latency_ms", "license", "download_bytes", "probe_rows", "stopped", "fine_tuned", "fine_tuned_in"):
            assert row.pop(name) is None  # as before these were columns
    (tmp_path / "board.json").write_text(json.dumps(document))
    assert ms.Leaderboard.load(tmp_path / "board.json") == board


def test_a_missing_file_and_a_missing_folder_are_named(board: ms.Leaderboard, tmp_path: Path) -> None:
    with pytest.raises(ms.errors.InvalidInputError, match="no-such"):
        ms.Leaderboard.load(tmp_path / "no-such.json")
    with pytest.raises(ms.errors.InvalidInputError, match="no-such"):
        board.save(tmp_path / "no-such" / "board.json")


def test_a_report_of_what_is_no_leaderboard_says_what_to_give(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for name, words in (("notes.txt", "the content is not JSON"), ("missing.json", "No such file or directory")):
        with pytest.raises(SystemExit):
            app.main(["report", str(tmp_path / name)])
        message = " ".join(capsys.readouterr().err.split())
        assert words in message
        assert "modelselect select --json" in message


def scored(*columns: dict[str, float]) -> ms.Leaderboard:
    """One row for each mapping of estimators' scores."""
    rows = [Row(ms.Candidate("shelf", f"m{i}"), scores=column) for i, column in enumerate(columns)]
    return ms.Leaderboard(tuple(rows), tuple(dict.fromkeys(name for column in columns for name in column)))


def test_estimators_agreement_is_the_weighted_kendall_of_what_both_have_scored() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=12), rng.normal(size=12)
    board = scored(*({"a": a[i], "minus a": -a[i]} | ({} if i < 4 else {"b": b[i]}) for i in range(12)))
    found = board.estimator_agreement()
    assert list(found.index) == list(found.columns) == list(board.estimators)
    assert (found.to_numpy() == found.to_numpy().T).all()
    assert (np.diag(found) == 1).all()
    assert found.loc["a", "minus a"] == pytest.approx(-1)
    both_ways = [weightedtau(x[4:], y[4:], rank=None).statistic for x, y in ((a, b), (b, a))]
    assert found.loc["a", "b"] == pytest.approx(np.mean(both_ways))


def test_estimators_agreement_is_missing_where_there_is_nothing_to_order() -> None:
    board = scored({"a": 1.0, "same": 2.0}, {"a": 2.0, "same": 2.0}, {"a": 3.0, "lonely": 1.0})
    found = board.estimator_agreement()
    assert found.loc["a"].isna().tolist() == [False, True, True]
    assert ms.Leaderboard.empty().estimator_agreement().empty


def test_the_command_line_prints_the_estimators_agreement_below_the_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(6):
            pixels = rng.integers(60 * label, 60 * label + 140, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    words = ["select", str(tmp_path / "data"), "-c", "embedded:plain*", "-e", "knn,centroid", "--quiet", "--agreement"]
    with pytest.raises(SystemExit) as stopped:
        app.main([*words, "--cache-dir", str(tmp_path / "cache")])
    assert not stopped.value.code
    below = capsys.readouterr().out.partition("weighted Kendall")[2]
    assert "knn" in below
    assert "100" in below
    with pytest.raises(SystemExit) as stopped:
        app.main([*words, "--json", "-"])
    assert stopped.value.code == app.EXIT_BAD_USAGE


def test_a_narrow_terminal_shows_the_answer_of_candidates_in_long_folders() -> None:
    rows = tuple(
        Row(
            ms.Candidate("directory", f"/home/somebody/projects/pets/models/checkpoints/network_{number}"),
            rank=number,
            score=1 / number,
            verified_accuracy=0.5 / number,
            verified_interval=(0.4 / number, 0.6 / number),
        )
        for number in (1, 2)
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(ms.Leaderboard(rows, (), {}))
    text = console.file.getvalue()
    assert all(words in text for words in ("rank", "0.5", "50.0%", "60.0%]", "25.0%", "network_2"))
    assert max(map(len, text.splitlines())) <= 80


def test_costs_that_were_asked_for_are_shown_before_estimators_where_width_is_short() -> None:
    estimators = tuple(f"estimator_{number}" for number in range(6))
    row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, scores=dict.fromkeys(estimators, 0.5))
    board = ms.Leaderboard((replace(row, latency_ms=7.25, throughput=5470.0),), estimators, {})
    table = board.to_table(60)
    assert "5.47k" in str(board)
    shown = [str(column.header) for column in table.columns]
    assert "latency ms" in shown
    assert "estimator 5" not in shown
