"""`modelselect serve`: what was already ranked, for a team, as a page and as JSON. It only reads.

An address names a leaderboard by its place in a list that the server has made itself, and no path is ever made of what
a client sends. So a client can ask for nothing but these leaderboards, and counts of the store and the history.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import typer

from modelselect.cli.options import CacheOption
from modelselect.errors import InvalidInputError, LeaderboardError, ModelSelectError
from modelselect.history.history import History, open_history
from modelselect.host.lookup import added_sections
from modelselect.leaderboard.leaderboard import Leaderboard
from modelselect.leaderboard.map import architecture_map
from modelselect.ranking.document import FORMAT
from modelselect.report.names import dataset_name, display_names
from modelselect.report.page import html, missing
from modelselect.report.subject import Subject
from modelselect.store.store import Store
from modelselect.utils.paths import expanded
from modelselect.utils.text import counted, in_bytes, printable, valid_text
from modelselect.utils.versions import __version__

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that a request may give in its header `Host`. A page of somebody else in the user's browser
could otherwise read the answers under a name of its own that leads here."""

MOST_BOARDS = 5_000
MOST_BYTES = 200_000_000
"""Bytes of a file that is read as a leaderboard."""

MOST_RESULTS = 10_000
"""Number of results of the history in one answer."""

RECOUNTED = 30.0
"""Seconds after which the store and the history are counted anew: they may hold hundreds of thousands of entries."""

KEPT_PAGES = 16
PATIENCE = 30.0
"""Seconds that a client may take to send its request, or to take in the answer."""

JSON, HTML = "application/json; charset=utf-8", "text/html; charset=utf-8"

_BEGINS = re.compile(rb'\s*\{\s*"format"\s*:\s*"' + re.escape(FORMAT).encode() + b'"')
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8886}"
    "td.n,th.n{text-align:right;white-space:nowrap}small{opacity:.75}div{overflow-x:auto}td:first-child{overflow-wrap:anywhere;min-width:8em}"
)


def serve(
    boards: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BOARDS", help="Saved leaderboards, or folders with such files.", show_default="."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on. 0.0.0.0 lets other machines ask.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 8642,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name of this machine that browsers ask for, with --host; may be repeated."),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", help="The history's file; the user's own by default.", show_default=False),
    ] = None,
    cache_dir: CacheOption = None,
) -> None:
    """Show saved leaderboards, the store and the history in a browser, and as JSON. Read-only."""
    shelf = Shelf(boards or [Path()])
    shelf.check()
    server = server_of(Material(shelf, Store(cache_dir), open_history(history)), host, port, name or ())
    address = "http://{}:{}/".format(f"[{host}]" if ":" in host else host, server.server_address[1])
    typer.echo(f"{len(shelf.boards())} leaderboards at {address}; stop with Ctrl-C", err=True)
    if host not in LOCAL_NAMES:
        typer.echo(
            "everybody who reaches this machine can read them, since there is no password. Browsers may ask for "
            f"{', '.join((*LOCAL_NAMES, host, *(name or ())))}; --name adds a name",
            err=True,
        )
    threading.Thread(target=shelf.summaries, daemon=True).start()  # reads all files before somebody waits for it
    try:
        server.serve_forever()
    finally:
        server.server_close()


State = tuple[int, int, int, int]
"""Of a file: its number on the disk, its bytes, and when its content and its entry were changed."""


@dataclass(frozen=True)
class Board:
    """A saved leaderboard.

    Attributes:
        name: the end of its path, without `.json`: what an address names.
        path: of the file.
        state: changes when the file changes.
    """

    name: str
    path: Path
    state: State


class Shelf:
    """The leaderboards in some folders and files.

    Each request lists the folders and asks for the state of each file. Only files that have changed are opened.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = [expanded(place).resolve() for place in places]
        self._seen: dict[tuple[str, State], Board | None] = {}
        self._summaries: dict[Board, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises InvalidInputError if a place does not exist."""
        for place in self._places:
            if not place.exists():
                raise InvalidInputError(
                    f"there is no {str(place)!r}; expected leaderboards that modelselect select --json has written, or "
                    "folders with such files"
                )

    def boards(self) -> dict[str, Board]:
        """The leaderboards by name. A link that leads out of its folder is passed over."""
        found: dict[str, Board] = {}
        seen: dict[tuple[str, State], Board | None] = {}
        for place in self._places:
            folder = place if place.is_dir() else place.parent
            for path in sorted(_files(place)):
                if (state := _state(path, folder)) is None:
                    continue
                key = path, state
                seen[key] = board = self._seen[key] if key in self._seen else _board(Path(path), folder, state)
                if board is not None and len(found) < MOST_BOARDS:
                    found.setdefault(board.name, board)
        self._seen = seen
        return found

    def summaries(self) -> list[dict[str, Any]]:
        """What is to be said of each leaderboard, the latest first. Damaged ones are passed over."""
        with self._lock:
            boards = self.boards().values()
            known = {board: self._summaries.get(board) or _summary(board) for board in boards}
            self._summaries = known
        return sorted(filter(None, known.values()), key=lambda said: (said["started"], said["name"]), reverse=True)


def _files(place: Path) -> Iterator[str]:
    if place.is_file():
        yield str(place)
        return
    for folder, names, files in os.walk(place):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in files if name.endswith(".json") and not name.startswith("."))


def _state(path: str, folder: Path) -> State | None:
    """Changes when the file changes; None for what is no file in the folder."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = Path(path).resolve()
            if not target.is_relative_to(folder):
                return None
            status = target.stat()
    except (OSError, RuntimeError):  # it is gone meanwhile, or is a link that leads to itself
        return None
    is_usable = stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if is_usable else None


def _board(path: Path, folder: Path, state: State) -> Board | None:
    """The leaderboard in a file; None if the file holds something else."""
    try:
        with path.open("rb") as file:
            if _BEGINS.match(file.read(200)) is None:
                return None
    except OSError:
        return None
    return Board(valid_text(path.relative_to(folder).with_suffix("").as_posix()), path, state)


def _summary(board: Board) -> dict[str, Any]:
    """What is to be said of a leaderboard; nothing if it cannot be read."""
    try:
        found = Leaderboard.load(board.path)
    except LeaderboardError:
        return {}
    names = display_names(found) if found.ranked else []
    started = found.provenance.get("started")
    fingerprint = found.provenance.get("fingerprint")
    best = found.best if found.ranked else None
    return {
        "name": board.name,
        "dataset": dataset_name(found),
        "fingerprint": fingerprint if isinstance(fingerprint, str) else "",
        "best": None if best is None else best.candidate.id,
        "best_called": names[0] if names else "",
        "verified_accuracy": None if best is None else best.verified_accuracy,
        "candidates": len(found.rows),
        "ranked": len(found.ranked),
        "started": started if isinstance(started, str) else "",
    }


@dataclass(frozen=True)
class Material:
    """What the server shows."""

    shelf: Shelf
    store: Store
    history: History | None
    _counts: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def store_counts(self) -> dict[str, Any]:
        """Numbers and bytes of the store's entries, at most `RECOUNTED` seconds old."""

        def count() -> dict[str, Any]:
            kinds = self.store.counts()
            return {"kinds": kinds, "bytes": sum(counted["bytes"] for counted in kinds.values())}

        return self._recent("store", count)

    def history_counts(self) -> dict[str, Any]:
        """Numbers of the history's results, at most `RECOUNTED` seconds old."""

        def count() -> dict[str, Any]:
            summary = {"results": 0} if self.history is None else self.history.summary()
            return {key: value for key, value in summary.items() if key != "path"}

        return self._recent("history", count)

    def _recent(self, what: str, count: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        with self._lock:
            counted_at, found = self._counts.get(what, (-math.inf, {}))
            if time.monotonic() - counted_at > RECOUNTED:
                found = count()
                self._counts[what] = time.monotonic(), found
            return found


@dataclass(frozen=True)
class Answer:
    """An answer to a request."""

    body: bytes
    kind: str = JSON
    status: HTTPStatus = HTTPStatus.OK

    @classmethod
    def of(cls, value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
        return cls((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), JSON, status)

    @classmethod
    def refusal(cls, status: HTTPStatus, why: str) -> Answer:
        return cls.of({"error": why}, status)


def answer(material: Material, target: str) -> Answer:
    """The answer to `GET target`."""
    parts = urlsplit(target)
    path, query = unquote(parts.path), parse_qs(parts.query)
    fixed = {
        "/": lambda: Answer(_index(material).encode(), HTML),
        "/api/boards": lambda: Answer.of(_matching(material.shelf.summaries(), query)),
        "/api/store": lambda: Answer.of(material.store_counts()),
        "/api/history": lambda: Answer.of(_history(material, query)),
    }
    if path in fixed:
        return fixed[path]()
    for prefix, show in (("/boards/", _page), ("/api/boards/", _document)):
        if path.startswith(prefix):
            board = material.shelf.boards().get(path.removeprefix(prefix))
            if board is None:
                return Answer.refusal(HTTPStatus.NOT_FOUND, "there is no such leaderboard; /api/boards lists them")
            return show(board)
    return Answer.refusal(
        HTTPStatus.NOT_FOUND, "there is nothing at this address; / lists the leaderboards, /api/boards as JSON"
    )


def _matching(summaries: Sequence[dict[str, Any]], query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """The summaries of one dataset, by its name or fingerprint, or of one winner; all of them without a query."""
    wanted = {key: query[key][-1] for key in ("dataset", "fingerprint", "best") if key in query}
    return [said for said in summaries if all(said[key] == value for key, value in wanted.items())]


def _history(material: Material, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Counts of the history; with `dataset` or `candidate`, its results."""
    wanted = {key: query[key][-1] for key in ("dataset", "candidate", "metric") if key in query}
    if material.history is None or not wanted:
        return material.history_counts()
    results = material.history.results(**wanted)
    rows = [
        {"candidate": r.candidate, "dataset": r.dataset, "metric": r.metric, "value": r.value}
        for r in results[:MOST_RESULTS]
    ]
    return {"results": len(results), "rows": rows}


def _document(board: Board) -> Answer:
    """The leaderboard as it was saved, if it can be read as one."""
    try:
        return Answer(Leaderboard.load(board.path).to_json().encode())
    except LeaderboardError:
        return Answer.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the leaderboard {board.name} cannot be read")


def _page(board: Board) -> Answer:
    if absent := missing():
        return Answer.refusal(
            HTTPStatus.NOT_IMPLEMENTED,
            f"pages need {' and '.join(absent)}; install with: pip install 'modelselect-automl[report]'",
        )
    try:
        with _DRAWING:
            return Answer(_drawn(board), HTML)
    except LeaderboardError:
        return Answer.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the leaderboard {board.name} cannot be read")


_DRAWING = threading.Lock()
"""One page is drawn at a time: that of thousands of candidates takes seconds."""


@functools.lru_cache(KEPT_PAGES)
def _drawn(board: Board) -> bytes:
    found = Leaderboard.load(board.path)
    return html(Subject(found, architecture_map(found), added=added_sections())).encode()


def _index(material: Material) -> str:
    rows = [
        f'<tr><td><a href="/boards/{quote(said["name"])}">{escape(said["name"])}</a></td>'
        f"<td>{escape(printable(said['dataset']))}</td><td>{escape(printable(said['best_called'] or 'none'))}</td>"
        f'<td class="n">{_percent(said["verified_accuracy"])}</td><td class="n">{said["ranked"]} of '
        f"{said['candidates']}</td><td>{escape(said['started'][:16].replace('T', ' '))}</td>"
        f'<td><a href="/api/boards/{quote(said["name"])}">JSON</a></td></tr>'
        for said in material.shelf.summaries()
    ]
    heads = ("leaderboard", "dataset", "first", "accuracy", "ranked", "begun", "")
    table = "".join(f"<th{' class=n' * (head in ('accuracy', 'ranked'))}>{head}</th>" for head in heads)
    store = material.store_counts()
    entries = sum(kind["entries"] for kind in store["kinds"].values())
    past = material.history_counts()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>modelselect</title><style>{_STYLE}</style></head><body><h1>What was already ranked</h1><div><table>"
        f"<thead><tr>{table}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<p>{counted(len(rows), 'leaderboard')}. The store holds {counted(entries, 'entry', 'entries')} "
        f"({in_bytes(store['bytes'])}), the history {counted(past['results'], 'result')}. As JSON: "
        '<a href="/api/boards">boards</a>, <a href="/api/store">store</a>, <a href="/api/history">history</a>.</p>'
        f"<p><small>modelselect {__version__}. This server only reads.</small></p></body></html>\n"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def server_of(material: Material, host: str, port: int, names: Sequence[str] = ()) -> ThreadingHTTPServer:
    """A server that listens already; `serve_forever` answers.

    Raises:
        InvalidInputError: the address cannot be used.
    """
    allowed = frozenset(name.lower() for name in (*LOCAL_NAMES, host, *names))

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    class Handler(BaseHTTPRequestHandler):
        server_version = "modelselect"
        sys_version = ""
        timeout = PATIENCE

        def do_GET(self) -> None:
            self._send(self._answered())

        def do_HEAD(self) -> None:
            self._send(self._answered(), with_body=False)

        def _answered(self) -> Answer:
            named = self.headers.get_all("Host") or []
            if len(named) != 1 or _host_in(named[0]) not in allowed:
                return Answer.refusal(
                    HTTPStatus.FORBIDDEN, "this server does not answer under that name; --name adds a name"
                )
            try:
                return answer(material, self.path)
            except (ModelSelectError, ValueError) as error:  # of the store or the history; or the address is damaged
                self.log_error("%s", error)
                return Answer.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "this could not be read; see the server's log")

        def _send(self, found: Answer, *, with_body: bool = True) -> None:
            self.send_response(found.status)
            for header, value in _headers(found).items():
                self.send_header(header, value)
            self.end_headers()
            if with_body:
                self.wfile.write(found.body)

        def log_request(self, *_: Any) -> None:
            pass

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise InvalidInputError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Give another --port, or --port 0 for a "
            "free one."
        ) from error


def _host_in(header: str) -> str:
    """The name in a `Host` header, without its port.

    >>> _host_in("LocalHost:8642"), _host_in("[::1]:80"), _host_in("a@127.0.0.1")
    ('localhost', '::1', '')
    """
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::\d{1,5})?", header.strip().lower())
    return (match[1] or match[2]) if match else ""


def _headers(found: Answer) -> dict[str, str]:
    """A page brings its own policy for scripts; here it may only be narrowed."""
    policy = "frame-ancestors 'none'; form-action 'none'; base-uri 'none'; object-src 'none'"
    if found.kind != HTML:
        policy = f"default-src 'none'; {policy}"
    return {
        "Content-Type": found.kind,
        "Content-Length": str(len(found.body)),
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
