"""What `modelselect serve` shows in a real browser: the list leads to the pages, and nobody else reads the answers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelselect.cli.serve import LOOPBACK, Material, Shelf, server_of
from modelselect.store import Store
from tests.report.material import EVIL, evil_board
from tests.report.test_page_in_a_browser import PHONE, asked_elsewhere, drawn, shown, started, until

__all__ = ["started"]


@contextlib.contextmanager
def running(server: HTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://{LOOPBACK}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "boards" / "team").mkdir(parents=True)
    evil_board().save(tmp_path / "boards" / "team" / "pets <b>&'\" 1%23.json")
    with running(server_of(Material(Shelf([tmp_path / "boards"]), Store(tmp_path / "store"), None), LOOPBACK, 0)) as at:
        yield at


def complaints(window: Any) -> list[str]:
    return [entry["message"] for entry in window.get_log("browser") if "favicon" not in entry["message"]]


def test_the_list_leads_to_the_page_of_a_leaderboard(started: Any, address: str) -> None:
    started.get_log("browser"), started.get_log("performance")
    started.get(f"{address}/")
    assert started.execute_script("return document.scripts.length") == 0
    assert EVIL in started.find_element("tag name", "body").text
    started.find_element("link text", "team/pets <b>&'\" 1%23").click()
    drawn(started)
    assert len(shown(started)) == 13
    assert complaints(started) == []
    assert asked_elsewhere(started, address) == []


def test_the_list_fits_a_phone(started: Any, address: str) -> None:
    started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    started.get(f"{address}/")
    wide = started.execute_script("return document.documentElement.scrollWidth")
    started.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= PHONE["width"]


class Stranger(BaseHTTPRequestHandler):
    """A page of somebody else, which tries to read, to run and to frame what the server shows."""

    victim = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(
            f"<body><script>const got = {{}};const api = '{self.victim}/api/boards';"
            "fetch(api).then(r => r.text()).then(t => got.read = t, () => got.read = 'refused');"
            "fetch(api, {mode: 'no-cors'}).then(r => got.blind = r.type, () => got.blind = 'refused');"
            "const s = document.createElement('script'); s.src = api;"
            "s.onload = () => got.run = 'ran'; s.onerror = () => got.run = 'refused'; document.body.append(s);"
            f"</script><iframe src='{self.victim}/' onload=\"got.framed = 'loaded'\"></iframe></body>".encode()
        )

    def log_message(self, *_: Any) -> None:
        pass


def test_a_page_of_somebody_else_reads_nothing(started: Any, address: str) -> None:
    Stranger.victim = address
    with running(ThreadingHTTPServer((LOOPBACK, 0), Stranger)) as stranger:
        started.get(stranger.replace(LOOPBACK, "localhost"))
        got = until(lambda: (found := started.execute_script("return got")) and len(found) == 4 and found)
        assert (got["read"], got["blind"], got["run"]) == ("refused", "refused", "refused")
        started.switch_to.frame(0)
        assert EVIL not in started.find_element("tag name", "body").text
        started.switch_to.default_content()
