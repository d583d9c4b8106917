"""`modelselect serve` through real requests: it shows what was ranked, and nothing else, to those who may ask."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.cli import serve
from modelselect.cli.serve import LOOPBACK, Material, Shelf, answer, server_of
from modelselect.errors import InvalidInputError
from modelselect.history import ACCURACY, Result
from modelselect.store import Store
from tests.report.material import EVIL, evil_board

SECRET = "a secret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two leaderboards, one of which is in a folder, next to files that nobody may see."""
    folder = tmp_path / "boards"
    (folder / "team").mkdir(parents=True)
    evil_board().save(folder / "pets.json")
    evil_board().save(folder / "team" / "pets 2.json")
    (tmp_path / "secret.json").write_text(json.dumps({"format": "modelselect leaderboard", "x": SECRET}))
    (folder / "notes.json").write_text(json.dumps({"note": SECRET}))
    (folder / "damaged.json").write_text('{"format": "modelselect leaderboard", ' + SECRET)
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    (folder / ".hidden.json").write_bytes((folder / "pets.json").read_bytes())
    return folder


@pytest.fixture
def material(folder: Path, tmp_path: Path) -> Material:
    store = Store(tmp_path / "store")
    store.put(Store.key("features", candidate="a"), {"features": np.eye(3)})
    history = ms.History(tmp_path / "history.sqlite")
    history.record([Result("timm:a", "hub:pets", ACCURACY, 0.9), Result("timm:b", "hub:food", ACCURACY, 0.5)])
    return Material(Shelf([folder]), store, history)


@pytest.fixture
def port(material: Material) -> Iterator[int]:
    server = server_of(material, LOOPBACK, 0, ["ranking.example"])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def asked(port: int, target: str, method: str = "GET", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=60)) as connection:
        connection.putrequest(method, target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers


def json_at(port: int, target: str) -> Any:
    status, body, headers = asked(port, target)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    return json.loads(body)


def test_the_list_names_the_leaderboards_and_nothing_else(port: int) -> None:
    assert [board["name"] for board in json_at(port, "/api/boards")] == ["team/pets 2", "pets"]
    board = json_at(port, "/api/boards")[1]
    assert (board["best"], board["candidates"], board["ranked"]) == ("shelf:model-00@r0", 13, 11)
    status, page, _ = asked(port, "/")
    assert status == 200
    assert 'href="/boards/team/pets%202"' in page
    assert EVIL not in page
    assert SECRET not in page


def test_a_dataset_that_was_ranked_is_found_by_its_name_and_its_fingerprint(port: int, folder: Path) -> None:
    board = ms.select(
        (np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), [0, 1] * 20),
        ["embedded:resnet.letters", "embedded:resnet.textures"],
        estimators="knn",
        progress=False,
        history=False,
    )
    board.save(folder / "new.json")
    fingerprint = str(board.provenance["fingerprint"])
    (found,) = json_at(port, f"/api/boards?fingerprint={fingerprint}")
    assert (found["name"], found["best"]) == ("new", board.best.candidate.id)
    assert json_at(port, "/api/boards?fingerprint=unknown") == []
    assert len(json_at(port, f"/api/boards?{urllib.parse.urlencode({'dataset': found['dataset']})}")) >= 1


def test_a_leaderboard_is_shown_as_a_page_and_as_json(port: int) -> None:
    status, page, headers = asked(port, "/boards/team/pets%202")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'id="board"' in page
    assert EVIL not in page
    assert ms.Leaderboard.from_json(json.dumps(json_at(port, "/api/boards/pets")), "the answer") == evil_board()
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] is None


def test_store_and_history_are_counted_and_results_looked_up(port: int, tmp_path: Path) -> None:
    assert json_at(port, "/api/store")["kinds"]["features"]["entries"] == 1
    summary = json_at(port, "/api/history")
    assert (summary["results"], summary["candidates"]) == (2, 2)
    assert json_at(port, "/api/history?dataset=hub:pets")["rows"] == [
        {"candidate": "timm:a", "dataset": "hub:pets", "metric": "accuracy", "value": 0.9}
    ]
    assert str(tmp_path) not in json.dumps([summary, json_at(port, "/api/store"), json_at(port, "/api/boards")])


@pytest.mark.parametrize(
    "target",
    [
        "/boards/../secret",
        "/boards/../secret.json",
        "/boards/%2e%2e/secret",
        "/boards/%2e%2e%2fsecret",
        "/boards/..%5csecret",
        "/boards/link",
        "/boards/notes",
        "/boards/.hidden",
        "/boards//etc/passwd",
        "/boards/pets.json",
        "/boards/pets%00",
        "/api/boards/../../etc/passwd",
        "/api/boards/%252e%252e/secret",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/boards/" + "a" * 5000,
        "http://169.254.169.254/latest",
        "/secret.json",
        "/boards/C:%5cwindows",
    ],
)
def test_no_address_leads_out_of_the_leaderboards(port: int, target: str) -> None:
    status, body, _ = asked(port, target)
    assert status == (403 if target.startswith("http:") else 404)
    assert SECRET not in body
    assert "root:" not in body


def test_a_damaged_leaderboard_costs_nothing_but_itself(port: int, folder: Path) -> None:
    status, body, _ = asked(port, "/api/boards/damaged")
    assert status == 500
    assert SECRET not in body
    assert str(folder) not in body
    assert len(json_at(port, "/api/boards")) == 2


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a@127.0.0.1", "[::2]"]
)
def test_a_page_of_somebody_else_cannot_ask_under_its_own_name(port: int, host: str) -> None:
    status, body, _ = asked(port, "/api/boards", Host=host)
    assert status == 403
    assert "pets" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8", "ranking.example"])
def test_it_answers_under_names_of_this_machine(port: int, host: str) -> None:
    assert asked(port, "/api/boards", Host=host)[0] == 200


def test_two_names_at_once_are_refused(port: int) -> None:
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        connection.sendall(b"GET /api/boards HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b" 403 " in connection.recv(4096)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(port: int, method: str, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    status, _, _ = asked(port, "/api/boards/pets", method, **{"Content-Length": "0"})
    assert status == 501
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_head_has_the_length_and_no_content(port: int) -> None:
    status, body, headers = asked(port, "/api/boards", "HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 100


@pytest.mark.parametrize("line", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_ends_only_its_connection(port: int, line: bytes) -> None:
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)
    assert len(json_at(port, "/api/boards")) == 2


def test_what_is_saved_or_removed_meanwhile_is_seen(port: int, folder: Path) -> None:
    shutil.copy(folder / "pets.json", folder / "more.json")
    assert len(json_at(port, "/api/boards")) == 3
    (folder / "more.json").unlink()
    assert asked(port, "/boards/more")[0] == 404


def test_two_thousand_leaderboards_are_listed_without_opening_a_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    text = evil_board().to_json()
    for number in range(2000):
        (folder / f"team-{number % 40}").mkdir(parents=True, exist_ok=True)
        (folder / f"team-{number % 40}" / f"board-{number}.json").write_text(text)
    monkeypatch.setattr(serve, "_summary", lambda board: {"name": board.name, "started": ""})  # reads the whole file
    shelf = Shelf([folder])
    assert len(shelf.summaries()) == 2000
    opened: list[Path] = []
    real = Path.open

    def noted(path: Path, *given: Any, **named: Any) -> Any:
        opened.append(path)
        return real(path, *given, **named)

    monkeypatch.setattr(Path, "open", noted)
    begun = time.process_time()
    for _ in range(5):
        assert len(shelf.summaries()) == len(shelf.boards()) == 2000
    assert time.process_time() - begun < 10 * 0.1
    assert opened == []
    changed = folder / "team-3" / "board-3.json"
    changed.write_text(text)
    (folder / "team-3" / "board-43.json").unlink()
    opened.clear()
    assert len(shelf.summaries()) == 1999
    assert opened == [changed]


def test_the_store_is_not_counted_for_each_request(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(answer(material, "/api/store").body)["kinds"]["features"]["entries"] == 1
    material.store.put(Store.key("features", candidate="b"), {"features": np.eye(3)})
    assert json.loads(answer(material, "/api/store").body)["kinds"]["features"]["entries"] == 1
    monkeypatch.setattr(serve, "RECOUNTED", 0.0)
    assert json.loads(answer(material, "/api/store").body)["kinds"]["features"]["entries"] == 2


def test_a_name_that_is_no_text_costs_nothing_but_its_letters(port: int, folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.json")).write_bytes((folder / "pets.json").read_bytes())
    assert "caf\ufffd" in [board["name"] for board in json_at(port, "/api/boards")]
    assert asked(port, "/boards/caf%EF%BF%BD")[0] == 200
    assert "caf\ufffd" in asked(port, "/")[1]


def test_the_command_says_where_it_is_and_listens_on_this_machine_only(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelselect", "serve", str(folder), "--port", "0", "--cache-dir", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("3 leaderboards at http://127.0.0.1:")
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        assert len(json_at(port, "/api/boards")) == 2
        process.terminate()
        assert process.wait(60) == 143


def test_a_place_that_is_missing_or_a_port_that_is_taken_is_an_error(tmp_path: Path, material: Material) -> None:
    with pytest.raises(InvalidInputError, match="there is no"):
        Shelf([tmp_path / "missing"]).check()
    with closing(socket.create_server((LOOPBACK, 0))) as taken, pytest.raises(InvalidInputError, match="cannot listen"):
        server_of(material, LOOPBACK, taken.getsockname()[1])
