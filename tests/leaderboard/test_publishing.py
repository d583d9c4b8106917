"""A leaderboard that is pushed to the Hub is read back equal, seen by others' tools, and loses nobody anything."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import HfApi, RepoCard

import modelselect as ms
from modelselect.cli import app
from modelselect.errors import HistoryError, HubError, InvalidInputError, LeaderboardError, SearchError
from modelselect.history import History, Result
from modelselect.leaderboard import publishing
from modelselect.leaderboard.leaderboard import Row
from tests.documents import changed, paths
from tests.hub.server import Hub
from tests.ranking.test_checking import STEP, USES, WRONG, faults_of, written
from tests.ranking.test_checking import board as whole_board
from tests.report.material import EVIL, EVIL_NAME, evil_board

REPOSITORY = "lab/pets"
FINGERPRINT = "f" * 32

BOARDS = 24 if STEP > 1 else 1000
"""Number of hostile leaderboards that are read from the Hub."""


@pytest.fixture
def writer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def board(*names: str, fingerprint: str = FINGERPRINT, seed: int = 0) -> ms.Leaderboard:
    """Candidates in this order, scored by logme and knn; the first was fine-tuned."""
    rows = tuple(
        Row(
            ms.Candidate("timm", name, "a" * 40, {"license": "mit"}),
            rank=index + 1,
            score=1.0 - index / 10,
            scores={"logme": 1.0 - index / 10, "knn": 0.5 + index / 10, "parameters": 5.0},
            verified_accuracy=0.9 if index == 0 else None,
            parameters=5,
        )
        for index, name in enumerate(names)
    )
    provenance = {
        "dataset": {"name": "pets", "modality": "image", "classes": ["cat", "dog"], "training_rows": 40},
        "fingerprint": fingerprint,
        "ranked_by": ["logme", "knn"],
        "estimators": {name: {"key": f"{name}-key", "parameters": {}, "citation": ""} for name in ("logme", "knn")},
        "settings": {"seed": seed, "fine_tuning": {"epochs": 20}},
    }
    return ms.Leaderboard(rows, ("logme", "knn"), provenance)


def files(hub: Hub, name: str = REPOSITORY) -> dict[str, bytes]:
    return hub.repositories["datasets", name].commits[-1][1]


def test_a_leaderboard_comes_back_equal_from_the_commit_it_was_pushed_in(writer: Hub) -> None:
    first, second = board("a", "b"), board("b", "a")
    url = first.push_to_hub(REPOSITORY)
    assert len(writer.repositories["datasets", REPOSITORY].commits) == 2  # the making of it, and one for all files
    second.push_to_hub(REPOSITORY)
    assert ms.Leaderboard.from_hub(REPOSITORY) == second
    earlier = ms.Leaderboard.from_hub(REPOSITORY, revision=url.rpartition("/")[2])
    assert earlier == first
    assert earlier.provenance == first.provenance


def test_the_table_is_read_by_datasets_with_its_numbers(writer: Hub) -> None:
    evil = evil_board()
    evil.push_to_hub(REPOSITORY)
    table = datasets.load_dataset(REPOSITORY, "leaderboard", split="train")
    assert table.column_names == list(evil.columns)
    assert table["candidate"][:] == [row.candidate.id for row in evil.rows]
    assert table["score"][:11] == [row.score for row in evil.ranked]
    board("a").push_to_hub("lab/other")
    assert len(datasets.load_dataset("lab/other", "history", split="train")) == 3


def test_the_card_is_valid_says_how_to_load_it_and_shows_others_texts_as_text(writer: Hub) -> None:
    evil_board().push_to_hub(REPOSITORY)
    card = RepoCard(files(writer)["README.md"].decode())
    data = card.data.to_dict()
    assert data["pretty_name"] == f"Which model to fine-tune on {EVIL}pets"
    assert {"modelselect", "leaderboard"} <= set(data["tags"])
    assert [(view["config_name"], view["data_files"]) for view in data["configs"]] == [
        ("leaderboard", "leaderboard.parquet")
    ]
    assert f'ms.Leaderboard.from_hub("{REPOSITORY}")' in card.text
    assert "<script" not in card.text
    assert EVIL_NAME not in card.text
    assert "Best: model-00" in card.text
    assert "private.png" not in card.text  # names of files stay in the board
    html = files(writer)["report.html"].decode()
    assert html.startswith("<!doctype html>")


def test_what_was_measured_becomes_a_history_that_pushes_add_to(writer: Hub, tmp_path: Path) -> None:
    board("a", "b").push_to_hub(REPOSITORY)
    board("a", "c", fingerprint="e" * 32).push_to_hub(REPOSITORY)
    history = History(tmp_path / "history.sqlite")
    assert history.fetch(REPOSITORY).new == 2 * (4 + 1)
    (measured,) = history.results(candidate="timm:a", dataset=FINGERPRINT, metric="accuracy")
    assert (measured.value, measured.settings["fine_tuning"]) == (0.9, {"epochs": 20})
    assert {result.metric for result in history.results()} == {"logme", "knn", "accuracy"}  # no static baseline
    assert history.candidates()["timm:a"]["license"] == "mit"
    assert history.datasets()[FINGERPRINT] == {"classes": 2, "modality": "image", "name": "pets", "samples": 40}


def test_a_board_leaves_the_same_results_whether_it_is_remembered_or_published(tmp_path: Path) -> None:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images[:20, :16] //= 8
    past = History(tmp_path / "past.sqlite")
    found = ms.select(
        (images, [0] * 20 + [1] * 20),
        ["embedded:resnet.textures", "embedded:plain.random"],
        estimators=["logme", "ncti", "parameters"],
        cache_dir=tmp_path / "cache",
        history=past,
        progress=False,
    )
    published = publishing.history_of(found, tmp_path / "board.sqlite")
    assert published is not None
    assert {r.id for r in published.results()} == {r.id for r in past.results()} != set()
    assert published.datasets() == past.datasets()
    facts = published.candidates()
    assert facts == {c: {k: v for k, v in known.items() if k != "graph"} for c, known in past.candidates().items()}


def test_who_pushes_at_the_same_time_loses_no_results(
    writer: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, others = HfApi.upload_folder, [board("z", fingerprint="e" * 32)]

    def forestalled(api: HfApi, **given: Any) -> Any:
        if others:
            others.pop().push_to_hub(REPOSITORY)
        return upload(api, **given)

    monkeypatch.setattr(HfApi, "upload_folder", forestalled)
    board("a").push_to_hub(REPOSITORY)
    assert History(tmp_path / "history.sqlite").fetch(REPOSITORY).new == 3 + 3
    assert ms.Leaderboard.from_hub(REPOSITORY).best.candidate.name == "a"


def test_a_repository_of_something_else_is_left_alone(writer: Hub) -> None:
    writer.dataset(REPOSITORY, {"README.md": b"# My pictures", "train.parquet": b"PAR1"})
    with pytest.raises(InvalidInputError, match=r"holds something else \(train.parquet\)"):
        board("a").push_to_hub(REPOSITORY)
    assert files(writer)["README.md"] == b"# My pictures"
    with pytest.raises(InvalidInputError, match=r"holds no leaderboard.json"):
        ms.Leaderboard.from_hub(REPOSITORY)


def test_a_history_that_was_published_before_stays_in_the_repository(writer: Hub, tmp_path: Path) -> None:
    before = History(tmp_path / "before.sqlite")
    before.record([Result("timm:old", "data", "accuracy", 0.5)])
    before.publish(REPOSITORY)
    board("a").push_to_hub(REPOSITORY)
    assert History(tmp_path / "whole.sqlite").fetch(REPOSITORY).new == 1 + 3


def test_without_the_extra_there_is_no_page_and_the_rest_is_there(writer: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    board("b").push_to_hub(REPOSITORY)
    assert "report.html" in files(writer)
    monkeypatch.setattr("modelselect.leaderboard.publishing.missing", lambda: ["jinja2"])
    board("a").push_to_hub(REPOSITORY)
    assert "report.html" not in files(writer)
    assert "report.html" not in files(writer)["README.md"].decode()
    assert ms.Leaderboard.from_hub(REPOSITORY) == board("a")


def test_without_a_token_it_says_how_to_log_in(hub: Hub) -> None:
    with pytest.raises(HubError, match="hf auth login"):
        board("a").push_to_hub(REPOSITORY)
    with pytest.raises(HubError, match="hf auth login"):
        board("a").push_to_hub(REPOSITORY, token="hf_unknown")
    board("a").push_to_hub(REPOSITORY, token="hf_writer")
    assert ms.Leaderboard.from_hub(REPOSITORY) == board("a")


@pytest.mark.parametrize(
    ("request_", "fault", "message"),
    [
        ("POST /api/repos/create", {"status": 403}, "you have no permission to do this"),
        (r"POST /api/datasets/.*commit", {"status": 403}, "you have no permission to do this"),
        (r"POST /api/datasets/.*commit", {"status": 507}, "507"),
    ],
)
def test_what_the_hub_refuses_is_one_error_that_advises(
    writer: Hub, request_: str, fault: dict[str, Any], message: str
) -> None:
    writer.misbehave(request_, **fault)
    with pytest.raises(HubError, match=message):
        board("a").push_to_hub(REPOSITORY)


@pytest.mark.parametrize("answer", [b"", b"\xff\0{", b"null", b"[1]", b'{"id": 5}', b'"' + b"x" * 10_000 + b'"'])
@pytest.mark.parametrize(
    "request_",
    [
        "POST /api/repos/create",
        r"GET /api/datasets/[^/]+/[^/]+$",
        "GET /api/datasets/.*/tree",
        "POST .*/preupload",
        "POST .*batch",
    ],
)
def test_what_is_no_answer_of_a_hub_is_one_error(writer: Hub, request_: str, answer: bytes) -> None:
    writer.misbehave(request_, rewrite=lambda _: answer)
    with contextlib.suppress(HubError, HistoryError):
        board("a").push_to_hub(REPOSITORY)
    writer.faults.clear()
    board("a").push_to_hub(REPOSITORY)
    assert ms.Leaderboard.from_hub(REPOSITORY) == board("a")


@pytest.mark.parametrize(
    ("request_", "use"),
    [
        ("POST /api/repos/create", board("a").push_to_hub),
        ("GET /api/datasets", board("a").push_to_hub),
        ("POST .*paths-info", ms.Leaderboard.from_hub),
    ],
)
def test_a_silent_hub_is_not_waited_for_without_end(
    writer: Hub, request_: str, use: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    board("a").push_to_hub(REPOSITORY)
    monkeypatch.setattr("modelselect.hub.ANSWER_SECONDS", 0.2)
    writer.misbehave(request_, silent=60)
    with pytest.raises(HubError, match=r"could not be reached; try again later \(TimeoutError: there is no answer"):
        use(REPOSITORY)


@pytest.mark.parametrize("fault", [{"silent": 60}, {"status": 429, "headers": {"Retry-After": "36000"}}])
def test_a_hub_that_asks_to_wait_for_hours_is_not_waited_for(
    writer: Hub, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    board("a").push_to_hub(REPOSITORY)
    monkeypatch.setattr("modelselect.utils.downloads.STILL_SECONDS", 1.0)
    monkeypatch.setattr("modelselect.utils.downloads.LOOKED_AFTER", 0.2)
    writer.misbehave("GET .*/resolve/", **fault)
    with pytest.raises(HubError, match=r"try again later \(TimeoutError: no byte has arrived"):
        ms.Leaderboard.from_hub(REPOSITORY)


@pytest.mark.parametrize(
    ("status", "advice"),
    [(429, "the Hub limits the rate of requests; try again later, or log in"), (503, "the Hub fails with 503; try")],
)
def test_what_the_hub_answers_decides_the_advice(
    writer: Hub, status: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    writer.misbehave("POST /api/repos/create", status=status)
    with pytest.raises(HubError, match=advice):
        board("a").push_to_hub(REPOSITORY)


def test_an_answer_that_cannot_be_understood_is_told_in_a_line(writer: Hub) -> None:
    writer.misbehave("POST /api/repos/create", rewrite=lambda _: b'"' + b"\\ud800" * 10_000 + b'"')
    with pytest.raises(
        HubError, match=r"the dataset repository \S+: the Hub's answer cannot be understood; try again later"
    ) as e:
        board("a").push_to_hub(REPOSITORY)
    assert str(e.value).isprintable()
    assert len(str(e.value)) < 600


def test_a_disk_that_is_full_while_files_are_written_is_not_the_hubs_fault(
    writer: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("modelselect.leaderboard.publishing.card", full)
    with pytest.raises(
        HubError, match=r"cannot be written into a temporary folder \(No space left on device\).* TMPDIR"
    ):
        board("a").push_to_hub(REPOSITORY)


@pytest.mark.parametrize("name", ["a/b/c", "lab/pe ts", "../pets", ""])
def test_a_name_that_is_none_is_told_before_anything_is_sent(writer: Hub, name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected 'owner/name'"):
        board("a").push_to_hub(name)
    with pytest.raises(InvalidInputError, match="expected 'owner/name'"):
        ms.Leaderboard.from_hub(name)
    assert writer.count("POST") == 0


def test_offline_unreachable_gated_and_missing_are_told_apart(writer: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match=r"the dataset repository .* does not exist"):
        ms.Leaderboard.from_hub("lab/nothing")
    writer.dataset("lab/gated", {"leaderboard.json": b"{}"}, gated="auto")
    with pytest.raises(HubError, match="is gated; ask for access"):
        ms.Leaderboard.from_hub("lab/gated")
    board("a").push_to_hub(REPOSITORY)
    with pytest.raises(HubError, match="no such revision"):
        ms.Leaderboard.from_hub(REPOSITORY, revision="b" * 40)
    with pytest.raises(HubError, match="could not be reached"):
        board("a").push_to_hub(REPOSITORY, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="offline"):
        board("a").push_to_hub(REPOSITORY)


def test_the_command_line_pushes_and_reads_what_was_pushed(
    writer: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> int | str | None:
        with pytest.raises(SystemExit) as stopped:
            app.main(["report", *words])
        return stopped.value.code

    board("a", "b").save(tmp_path / "board.json")
    assert not run(str(tmp_path / "board.json"), "--push", REPOSITORY, "--private")
    assert f"{writer.url}/datasets/{REPOSITORY}/commit/" in capsys.readouterr().err
    assert not (tmp_path / "board.html").exists()
    assert not run(f"hub:{REPOSITORY}", "--output", str(tmp_path / "board.md"))
    board("a", "b").report(tmp_path / "again.md")
    assert (tmp_path / "board.md").read_text() == (tmp_path / "again.md").read_text()
    monkeypatch.chdir(tmp_path)
    assert not run(f"hub:{REPOSITORY}")
    assert (tmp_path / "pets.html").read_text().startswith("<!doctype html>")


def hostile_boards() -> Iterator[tuple[str, bytes]]:
    """What a repository of somebody else may hold in place of a leaderboard."""
    document = json.loads(whole_board().to_json())
    every = [(path, value) for path in paths(document) for value in WRONG]
    for path, value in every[:: len(every) // BOARDS]:
        yield f"{path} {str(value)[:20]}", written(changed(document, path, value)).encode("utf-8", "surrogatepass")
    text = written(document).encode()
    yield from {
        "empty": b"",
        "cut": text[: len(text) // 2],
        "deep": b"[" * 10**5,
        "UTF-16": text.decode().encode("utf-16"),
        "no UTF-8": text.replace(b"digits", b"dig\xffts"),
        "zeros": bytes(len(text)),
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    }.items()


@pytest.mark.filterwarnings("ignore")
def test_a_hostile_leaderboard_from_the_hub_is_one_error_or_does_no_harm(writer: Hub) -> None:
    board("a").push_to_hub(REPOSITORY)
    repository = writer.repositories["datasets", REPOSITORY]
    for name, content in hostile_boards():
        repository.commit({publishing.BOARD: content})
        said = ""
        try:
            assert faults_of(ms.Leaderboard.from_hub(REPOSITORY).to_json(), USES) == [], name
        except LeaderboardError as error:
            said = str(error)
        assert said.isprintable(), name


@pytest.mark.parametrize("how", [{"cut": 40}, {"status": 500}, {"rewrite": lambda body: body[:100]}])
def test_a_hub_that_fails_while_a_leaderboard_is_read_is_one_error(
    writer: Hub, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    board("a").push_to_hub(REPOSITORY)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    writer.misbehave(r"GET .*resolve/.*leaderboard\.json", times=30, **how)
    with pytest.raises((HubError, LeaderboardError)) as caught:
        ms.Leaderboard.from_hub(REPOSITORY)
    assert str(caught.value).isprintable()
    writer.faults.clear()
    assert ms.Leaderboard.from_hub(REPOSITORY) == board("a")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"5", b"{}", b'{"siblings": 5}', b"<html>", b"[" * 100_000])
@pytest.mark.parametrize(
    "ask",
    [
        lambda folder: board("a").push_to_hub(REPOSITORY),
        lambda folder: ms.Leaderboard.from_hub(REPOSITORY),
        lambda folder: ms.load(f"hub:{REPOSITORY}"),
        lambda folder: History(folder / "history.sqlite").fetch(REPOSITORY),
    ],
    ids=["push", "read", "load", "history"],
)
def test_answers_of_a_hub_that_mean_nothing_are_one_error(
    writer: Hub, ask: Callable[[Path], Any], body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    writer.misbehave(r"(GET|POST) /api/", rewrite=lambda _: body)
    with pytest.raises((HubError, HistoryError, InvalidInputError, SearchError)) as caught:
        ask(tmp_path)
    assert REPOSITORY in str(caught.value)


def test_a_leaderboard_without_an_end_is_not_read(writer: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    board("a").push_to_hub(REPOSITORY)
    monkeypatch.setattr("modelselect.hub.LARGEST", 100)
    writer.requests.clear()
    with pytest.raises(HubError, match=r"holds a leaderboard\.json of .* bytes; expected at most 100"):
        ms.Leaderboard.from_hub(REPOSITORY)
    assert writer.count("resolve") == 0
    monkeypatch.setattr("modelselect.leaderboard.leaderboard.LARGEST", 10**6)
    with pytest.raises(LeaderboardError, match="'/dev/zero' has more than 1,000,000 bytes"):
        ms.Leaderboard.load("/dev/zero")
