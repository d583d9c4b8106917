"""A Hub on this machine: enough of its API for the real clients to search, download and upload, and to be misled.

`Hub` is an HTTP server in threads of its own. Repositories are dictionaries of files with commits that stay readable.
`Hub.misbehave` makes answers to chosen requests go wrong: a status, a cut, a stall, a header that lies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LFS_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".parquet", ".arrow", ".zip", ".png", ".jpg")
DATE = "2026-01-01T00:00:00.000Z"
DTYPE_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
PAGE = 1000
TREE_PAGE = 1000

_REPO = r"(?P<kind>models|datasets)/(?P<id>[^/]+(?:/(?!revision/|tree/|paths-info/|preupload/|commit/|refs$)[^/]+)?)"


@dataclass
class Repository:
    """A model or dataset repository: its commits, newest last, and what the Hub says of it.

    Attributes:
        commits: (sha, files) pairs.
        facts: other fields of the API's answers: `downloads`, `tags`, `library_name`, `pipeline_tag`, ...
        gated: False, "auto" or "manual": only `readers` may read files.
        private: only `readers` may read anything.
        readers: tokens that may read it.
        scan: what a security scan found: `{path: level}`; None: not done.
    """

    kind: str
    id: str
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    gated: bool | str = False
    private: bool = False
    readers: set[str] = field(default_factory=set)
    scan: dict[str, str] | None = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], *, deleted: tuple[str, ...] = ()) -> str:
        """A new commit on `main` with these files changed; returns its sha."""
        old = self.commits[-1] if self.commits else ("", {})
        new = {**{path: content for path, content in old[1].items() if path not in deleted}, **files}
        digest = hashlib.sha1(f"{self.id}{len(self.commits)}{old[0]}".encode())
        for path in sorted(new):
            digest.update(path.encode() + hashlib.sha256(new[path]).digest())
        self.commits.append((digest.hexdigest(), new))
        return digest.hexdigest()

    @property
    def sha(self) -> str:
        return self.commits[-1][0]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a branch, tag or sha means."""
        if revision in ("main", "HEAD", "refs/heads/main"):
            return self.commits[-1]
        revision = self.branches.get(revision, revision)
        return next((c for c in self.commits if len(revision) >= 7 and c[0].startswith(revision)), None)

    def tensors(self) -> dict[str, int] | None:
        """Parameters by dtype, from the headers of its safetensors; None without any."""
        counts: dict[str, int] = {}
        for path, content in self.commits[-1][1].items():
            if path.endswith(".safetensors") and len(content) > 8:
                (length,) = struct.unpack("<Q", content[:8])
                try:
                    header = json.loads(content[8 : 8 + length])
                except (ValueError, RecursionError):
                    continue
                for name, tensor in header.items():
                    if name != "__metadata__":
                        size = 1
                        for side in tensor["shape"]:
                            size *= side
                        counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + size
        return counts or None


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD path` matches.

    Attributes:
        times: how often it does; None: always.
        status, headers: answer with these instead.
        cut: bytes of the body after which the connection ends.
        silent: seconds of silence before the answer.
        stall: seconds of silence in the middle of the body.
        replace: headers of the right answer that say something else.
        rewrite: what becomes of the body.
    """

    pattern: re.Pattern[str]
    times: int | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    silent: float = 0.0
    stall: float = 0.0
    replace: Mapping[str, str] = field(default_factory=dict)
    rewrite: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Answer:
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Answer:
        return cls.of({"error": message}, status, **{"X-Error-Code": code, "X-Error-Message": message})


class Hub:
    """The server. `url` is its endpoint; `requests` are the `METHOD path?query` it was asked, in order."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.writers: set[str] = {"hf_writer"}
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._uploads: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def model(self, name: str, files: Mapping[str, bytes], **facts: Any) -> Repository:
        """A new model repository; `gated`, `private`, `readers` and `scan` are its own, the rest facts of the API."""
        return self._add("models", name, files, facts)

    def dataset(self, name: str, files: Mapping[str, bytes], **facts: Any) -> Repository:
        return self._add("datasets", name, files, facts)

    def misbehave(self, pattern: str, **how: Any) -> Fault:
        """Requests whose `METHOD path?query` holds the regular expression go wrong: see `Fault`."""
        fault = Fault(re.compile(pattern), **how)
        self.faults.append(fault)
        return fault

    def count(self, pattern: str = "") -> int:
        """How many requests so far hold the regular expression."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)

    def _add(self, kind: str, name: str, files: Mapping[str, bytes], facts: dict[str, Any]) -> Repository:
        own = {key: facts.pop(key) for key in ("gated", "private", "readers", "scan") if key in facts}
        repository = Repository(kind, name, facts=facts, **own)
        repository.commit(files)
        self.repositories[kind, name] = repository
        return repository

    # --- what is asked of it

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urllib.parse.urlsplit(target)
        path, query = urllib.parse.unquote(parts.path), urllib.parse.parse_qs(parts.query)
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if path == "/api/whoami-v2":
            known = token in self.writers
            return Answer.of({"name": "writer", "type": "user"}) if known else Answer.of({"error": "who?"}, 401)
        if path == "/api/repos/create":
            return self._create(token, json.loads(body))
        if path == "/api/validate-yaml":
            return Answer.of({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/(models|datasets)", path):
            return self._list(match[1], target, query, token)
        if match := re.fullmatch(r"/lfs/(?P<oid>[0-9a-f]{64})", path):
            self._uploads[match["oid"]] = body
            return Answer(200)
        if match := re.fullmatch(
            r"/(?:(?P<kind>datasets)/)?(?P<id>[^/]+(?:/[^/]+)?)\.git/info/lfs/objects/batch", path
        ):
            return self._batch(json.loads(body))
        if match := re.fullmatch(r"/(?:(?P<kind>datasets)/)?(?P<id>[^/]+(?:/[^/]+)?)/resolve/(?P<rest>.+)", path):
            return self._file(match["kind"] or "models", match["id"], match["rest"], headers, token)
        if match := re.fullmatch(rf"/api/{_REPO}(?:/(?P<verb>\w[\w-]*)(?:/(?P<rest>.+))?)?", path):
            return self._repository(method, match, query, body, token)
        return Answer.error(404, "NotFound", f"no such page: {path}")

    def _find(self, kind: str, name: str, token: str) -> Repository | Answer:
        repository = self.repositories.get((kind, name))
        if repository is None or (repository.private and token not in repository.readers | self.writers):
            status, message = (404, "Repository not found") if token else (401, "Invalid username or password.")
            return Answer.error(status, "RepoNotFound", message)
        return repository

    def _repository(
        self, method: str, match: re.Match[str], query: Mapping[str, list[str]], body: bytes, token: str
    ) -> Answer:
        repository = self._find(match["kind"], match["id"], token)
        if isinstance(repository, Answer):
            return repository
        verb, rest = match["verb"], match["rest"] or ""
        if verb == "commit":
            return self._commit(repository, body, token)
        if verb == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in files]
            return Answer.of({"files": modes})
        if verb == "refs":
            main = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repository.sha}]
            return Answer.of({"branches": main, "tags": [], "converts": []})
        revision, _, folder = rest.partition("/")
        found = repository.at(rest if verb == "revision" else revision or "main")
        if found is None:
            return Answer.error(404, "RevisionNotFound", f"Invalid rev id: {rest}")
        if verb in (None, "revision"):
            return Answer.of(_info(repository, found, query))
        if verb == "tree":
            return self._tree(found, folder, query)
        if verb == "paths-info":
            asked = urllib.parse.parse_qs(body.decode()).get("paths", [])
            if body[:1] == b"{":
                asked = json.loads(body)["paths"]
            return Answer.of([entry for entry in _entries(found[1], "", True) if entry["path"] in asked])
        return Answer.error(404, "NotFound", f"no such verb: {verb}")

    def _tree(self, found: tuple[str, dict[str, bytes]], folder: str, query: Mapping[str, list[str]]) -> Answer:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = _entries(found[1], folder, recursive)
        if folder and not entries:
            return Answer.error(404, "EntryNotFound", f"{folder} does not exist")
        return Answer.of(entries)

    def _list(self, kind: str, target: str, query: Mapping[str, list[str]], token: str) -> Answer:
        repositories = [r for (k, _), r in self.repositories.items() if k == kind and _listed(r, query)]
        repositories = [r for r in repositories if not r.private or token in r.readers]
        if sort := query.get("sort", [None])[0]:
            repositories.sort(key=lambda r: r.facts.get(sort, 0), reverse=True)
        size = min(int(query.get("limit", [PAGE])[0]), PAGE)
        begin = int(query.get("cursor", ["0"])[0])
        page = [_listing(r, query.get("expand")) for r in repositories[begin : begin + size]]
        links = {}
        if begin + size < len(repositories):
            bare = re.sub(r"[?&]cursor=\d+", "", target)
            links["Link"] = f'<{self.url}{bare}{"&" if "?" in bare else "?"}cursor={begin + size}>; rel="next"'
        return Answer.of(page, **links)

    def _file(self, kind: str, name: str, rest: str, headers: Mapping[str, str], token: str) -> Answer:
        repository = self._find(kind, name, token)
        if isinstance(repository, Answer):
            return repository
        if repository.gated and token not in repository.readers:
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            return Answer.error(403 if token else 401, "GatedRepo", message)
        revision, _, path = rest.partition("/")
        found = repository.at(revision)
        if found is None:
            return Answer.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        sha, files = found
        if path not in files:
            missing = Answer.error(404, "EntryNotFound", "Entry not found")
            return Answer(404, missing.body, {**missing.headers, "X-Repo-Commit": sha})
        content = files[path]
        etag = hashlib.sha256(content).hexdigest() if _mode(path) == "lfs" else _blob(content)
        answered = {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if _mode(path) == "lfs":
            answered |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", "")):
            begin, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            answered["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
            return Answer(206, content[begin : end + 1], answered)
        return Answer(200, content, answered)

    # --- uploads

    def _create(self, token: str, wanted: Mapping[str, Any]) -> Answer:
        if token not in self.writers:
            return Answer.error(401, "Unauthorized", "Invalid username or password.")
        owner = wanted.get("organization") or "writer"
        key = (f"{wanted.get('type') or 'model'}s", f"{owner}/{wanted['name']}")
        taken = key in self.repositories
        if not taken:
            self._add(*key, {".gitattributes": b""}, {})
            self.repositories[key].private = "private" in (
                wanted.get("visibility"),
                wanted.get("private") and "private",
            )
        prefix = "" if key[0] == "models" else f"{key[0]}/"
        body = {"url": f"{self.url}/{prefix}{key[1]}", "name": key[1], "error": "You already created this repo"}
        return Answer.of(body, 409 if taken else 200)

    def _batch(self, wanted: Mapping[str, Any]) -> Answer:
        objects = []
        for item in wanted["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self._uploads:
                entry["actions"] = {"upload": {"href": f"{self.url}/lfs/{item['oid']}", "header": {}}}
            objects.append(entry)
        return Answer.of({"transfer": "basic", "objects": objects})

    def _commit(self, repository: Repository, body: bytes, token: str) -> Answer:
        if token not in self.writers:
            return Answer.error(401, "Unauthorized", "Invalid username or password.")
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        files: dict[str, bytes] = {}
        deleted: list[str] = []
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", repository.sha) != repository.sha:
                return Answer.error(412, "PreconditionFailed", "A commit has happened since. Please refresh and retry.")
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self._uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                deleted.append(value["path"])
            elif line["key"] == "deletedFolder":
                deleted += [path for path in repository.commits[-1][1] if path.startswith(value["path"])]
        with self.lock:
            sha = repository.commit(files, deleted=tuple(deleted))
        prefix = "" if repository.kind == "models" else f"{repository.kind}/"
        url = f"{self.url}/{prefix}{repository.id}/commit/{sha}"
        return Answer.of({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


# --- what it says ----------------------------------------------------------------------------------------------------


def _mode(path: str) -> str:
    return "lfs" if path.endswith(LFS_SUFFIXES) else "regular"


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    folders: dict[str, None] = {}
    found: list[dict[str, Any]] = []
    for path, content in files.items():
        if not path.startswith(prefix):
            continue
        below = path[len(prefix) :].split("/")[:-1]
        for depth in range(1, len(below) + 1):
            folders.setdefault(prefix + "/".join(below[:depth]))
        if not below or recursive:
            entry = {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
            if _mode(path) == "lfs":
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            found.append(entry)
    shown = [path for path in folders if recursive or "/" not in path[len(prefix) :]]
    return [{"type": "directory", "path": path, "oid": _blob(path.encode()), "size": 0} for path in shown] + found


def _facts(repository: Repository) -> dict[str, Any]:
    """Everything that the API may say of it."""
    facts = {"downloads": 0, "likes": 0, "tags": [], **repository.facts}
    files = repository.commits[-1][1]
    if "config" not in facts and "config.json" in files:
        try:
            config = json.loads(files["config.json"])
            facts["config"] = {k: config[k] for k in ("architectures", "model_type", "auto_map") if k in config}
        except (ValueError, TypeError, RecursionError):  # no configuration
            pass
    if "safetensors" not in facts and (counts := repository.tensors()):
        facts["safetensors"] = {"parameters": counts, "total": sum(counts.values())}
        facts["tags"] = [*facts["tags"], "safetensors"]
    tags = [facts.get("library_name"), facts.get("pipeline_tag")]
    tags += [f"license:{facts['license']}"] if "license" in facts else []
    return {
        **facts,
        "tags": [*facts["tags"], *filter(None, tags)],
        "author": repository.id.split("/")[0],
        "sha": repository.sha,
        "gated": repository.gated,
        "private": repository.private,
        "lastModified": DATE,
        "createdAt": repository.facts.get("createdAt", DATE),
        "siblings": [{"rfilename": path} for path in files],
    }


def _listing(repository: Repository, expand: list[str] | None) -> dict[str, Any]:
    facts = _facts(repository)
    shown = expand or ["downloads", "likes", "tags", "private", "createdAt", "library_name", "pipeline_tag"]
    return {"_id": _blob(repository.id.encode())[:24], "id": repository.id, "modelId": repository.id} | {
        key: facts[key] for key in shown if key in facts
    }


def _info(
    repository: Repository, found: tuple[str, dict[str, bytes]], query: Mapping[str, list[str]]
) -> dict[str, Any]:
    sha, files = found
    info = {**_facts(repository), "id": repository.id, "_id": "0", "sha": sha, "disabled": False}
    info["siblings"] = []
    for path, content in files.items():
        entry: dict[str, Any] = {"rfilename": path}
        if "blobs" in query:
            entry |= {"size": len(content), "blobId": _blob(content)}
            if _mode(path) == "lfs":
                entry["lfs"] = {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 134,
                }
        info["siblings"].append(entry)
    if "securityStatus" in query:
        issues = [{"path": path, "level": level} for path, level in (repository.scan or {}).items()]
        info["securityRepoStatus"] = {"scansDone": repository.scan is not None, "filesWithIssues": issues}
    if expand := query.get("expand"):
        info = {key: value for key, value in info.items() if key in ("id", "_id", *expand)}
    return info


def _listed(repository: Repository, query: Mapping[str, list[str]]) -> bool:
    facts = _facts(repository)
    author, words = query.get("author", [""])[0], query.get("search", [""])[0].lower()
    if author and not repository.id.startswith(f"{author}/"):
        return False
    if words not in repository.id.lower():
        return False
    if "gated" in query and bool(repository.gated) != (query["gated"][0].lower() in ("true", "1")):
        return False
    if "pipeline_tag" in query and facts.get("pipeline_tag") != query["pipeline_tag"][0]:
        return False
    if "num_parameters" in query:
        total = facts.get("safetensors", {}).get("total")
        bounds = dict(part.split(":") for part in query["num_parameters"][0].split(","))
        number = {key: float(value.rstrip("KMB")) * _UNITS[value[-1:]] for key, value in bounds.items()}
        if total is None or not number.get("min", 0) <= total <= number.get("max", float("inf")):
            return False
    return all(tag in facts["tags"] for tag in query.get("filter", []))


_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, **dict.fromkeys("0123456789", 1.0)}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            body = self._body()
            request = f"{self.command} {urllib.parse.unquote(self.path)}"
            with hub.lock:
                hub.requests.append(request)
                fault = next((f for f in hub.faults if f.times != 0 and f.pattern.search(request)), None)
                if fault is not None and fault.times is not None:
                    fault.times -= 1
            if fault is not None:
                hub.closing.wait(fault.silent)
            if fault is not None and fault.status is not None:
                return self._send(Answer.of({"error": "as arranged"}, fault.status, **fault.headers))
            answer = hub.answer(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            if fault is not None and fault.rewrite is not None:
                answer = Answer(answer.status, fault.rewrite(answer.body), answer.headers)
            return self._send(answer, fault)

        do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - as the base class names them

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            whole = b""
            while size := int(self.rfile.readline().strip(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def _send(self, answer: Answer, fault: Fault | None = None) -> None:
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            body = b"" if self.command == "HEAD" else answer.body
            if fault is not None:
                headers |= fault.replace
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if fault is not None and (fault.stall or fault.cut is not None):
                half = len(body) // 2 if fault.cut is None else fault.cut
                self.wfile.write(body[:half])
                self.wfile.flush()
                hub.closing.wait(fault.stall)
                if fault.cut is not None:
                    self.close_connection = True
                    return
                body = body[half:]
            try:
                self.wfile.write(body)
            except OSError:  # who asked has gone
                self.close_connection = True

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

    return Handler
