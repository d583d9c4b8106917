"""What the zoos need from the Hub's client: listings, metadata and files, with limited retries and one-line errors."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import math
import multiprocessing
import queue
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modelselect.errors import CandidateError
from modelselect.hub import LARGEST_DESCRIPTION
from modelselect.utils import downloads
from modelselect.utils.digests import digest as digest_of
from modelselect.utils.threads import in_thread
from modelselect_plugins.zoos._bounds import DESCRIPTIONS
from modelselect_plugins.zoos._hub.query import Query
from modelselect_plugins.zoos._support import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

T = TypeVar("T")

ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; doubled before each further attempt."""

LONGEST_WAIT = 300
"""Maximum wait in seconds that the Hub may ask for; its rate limits count over five minutes. More is an error."""

ANSWER_SECONDS = 10.0
"""Seconds after which a request about one repository times out."""

PROBE_SECONDS = 3.0
"""Seconds after which a Hub that does not answer counts as out of reach."""

PAGE_SECONDS = LONGEST_WAIT + 30
"""Seconds for a page of a search: the client itself waits until a rate limit has passed, and has no other timeout."""

EXPANDED: tuple[Any, ...] = (
    "config",
    "downloads",
    "gated",
    "library_name",
    "likes",
    "pipeline_tag",
    "private",
    "safetensors",
    "sha",
    "siblings",
    "tags",
)
"""The data that a listing holds of each entry: enough for a candidate, without a request for each."""

STALL_SECONDS = 60.0
"""Seconds within which a download begins."""

NOT_ASKED_SECONDS = 60.0
"""Seconds for which a Hub without a connection is not asked again: a pool may hold hundreds of its models."""

UNCHECKED = ".unchecked"
"""Folder in the client's folder of a model, with an empty file for each download whose digest is not checked yet."""

_RETRIED = (408, 429, 500, 502, 503, 504)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_LOGGER = logging.getLogger("modelselect.hub")

_without_connection: dict[str, tuple[float, Exception]] = {}
"""By endpoint: when the last connection failed, and how."""

_warned: set[str] = set()
"""The endpoints about which this process has warned."""


def api() -> HfApi:
    """The client for the endpoint in `HF_ENDPOINT`, else for the public Hub."""
    from huggingface_hub import HfApi

    return HfApi(library_name="modelselect")


def page(name: str) -> str:
    """The address of a model's page."""
    return f"{api().endpoint}/{name}"


def listing(query: Query) -> Iterator[ModelInfo]:
    """Entries in the Hub's order, fetched page by page on demand.

    Raises:
        TimeoutError: a page did not arrive in time.
    """
    _check_connection()
    client = api()
    known = inspect.signature(client.list_models).parameters
    arguments = query.arguments(sizes="num_parameters" in known)
    if "direction" in known:  # older clients sort in ascending order by default
        arguments["direction"] = -1
    limit = None if query.sifts else query.limit
    return _within(PAGE_SECONDS, client.list_models(**arguments, limit=limit, expand=list(EXPANDED)))


def info(name: str, revision: str | None = None) -> ModelInfo:
    """Data about one repository at a revision, with the sizes and digests of its files and the security scan."""
    return attempt(
        lambda: api().model_info(
            name, revision=revision, files_metadata=True, securityStatus=True, timeout=ANSWER_SECONDS
        )
    )


def digests(info: ModelInfo) -> dict[str, str | None]:
    """The digest of every file, by name: SHA-256 of large files, and git's SHA-1 of the others; None if unknown."""
    return {file.rfilename: file.lfs.sha256 if file.lfs else _of_git(file.blob_id) for file in info.siblings or []}


def _of_git(blob_id: Any) -> str | None:
    return blob_id if is_commit(blob_id) else None


def download(name: str, commit: str, file: str, digest: str | None = None) -> Path:
    """A file in the client's cache, downloaded and checked against its digest if it was not there.

    A file is also checked if the run that downloaded it was killed before its check.

    Raises:
        CandidateError: the file differs from the Hub's listing, and is removed from the cache; or it describes a model
            and is too large for that.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    unchecked = _repository_folder(name) / UNCHECKED / hashlib.sha256(f"{commit}/{file}".encode()).hexdigest()
    if isinstance(path := try_to_load_from_cache(name, file, revision=commit), str) and not unchecked.exists():
        return Path(path)

    def fetch() -> str:
        return hf_hub_download(name, file, revision=commit, library_name="modelselect", etag_timeout=ANSWER_SECONDS)

    # This request comes first, because the client asks a silent Hub six times for a minute each, whatever its timeout.
    listed = attempt(lambda: get_hf_file_metadata(hf_hub_url(name, file, revision=commit), timeout=ANSWER_SECONDS))
    size = getattr(listed, "size", None) or 0
    if file.endswith(DESCRIPTIONS) and size > LARGEST_DESCRIPTION:
        raise CandidateError(
            f"the {file} has {size:,} bytes; expected at most {LARGEST_DESCRIPTION:,} in a description"
        )
    _LOGGER.debug("downloading %s of %s at %s", file, name, commit)
    if digest is not None:
        unchecked.parent.mkdir(parents=True, exist_ok=True)
        unchecked.touch()
    with _in_silence():
        got = Path(attempt(lambda: _begun_in_time(fetch, name, file), lost=False))
    if digest is not None and (found := digest_of(got, digest)) != digest:
        got.resolve().unlink(missing_ok=True)
        got.unlink(missing_ok=True)
        raise CandidateError(
            f"the {file} arrived damaged: its digest is {found[:12]}..., but the Hub lists {digest[:12]}.... Run "
            "again; if the error stays, something between this machine and the Hub changes files"
        )
    unchecked.unlink(missing_ok=True)
    return got


def _repository_folder(name: str) -> Path:
    """Where the client keeps what it has of a model."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def cached(name: str, revision: str | None = None) -> Path | None:
    """The snapshot of a revision in the client's cache, by default the newest; None if there is none."""
    folder = _repository_folder(name)
    snapshots = {path.name: path for path in folder.glob("snapshots/*")}
    reference = folder / "refs" / (revision or "main")
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
    if revision is None:
        return max(snapshots.values(), key=lambda path: path.stat().st_mtime_ns, default=None)
    if _SHORT_COMMIT.fullmatch(revision):
        return next((path for commit, path in snapshots.items() if commit.startswith(revision)), None)
    return None


def is_reachable() -> bool:
    """Whether the Hub answers now. False at once where the client is offline (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants
    from huggingface_hub import utils as exported

    utils: Any = exported  # documented, but not marked as exported
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        answer = utils.get_session().head(api().endpoint, timeout=PROBE_SECONDS)
    except Exception:  # of the HTTP library, which differs between versions of the client
        return False
    return int(answer.status_code) < 500


def is_commit(revision: str | None) -> bool:
    return isinstance(revision, str) and _COMMIT.fullmatch(revision) is not None


def attempt(call: Callable[[], T], *, lost: bool = True) -> T:
    """The result of the call, repeated after faults that may pass: rate limits, server errors, lost connections.

    Args:
        call: makes a request to the Hub.
        lost: whether to repeat after a lost connection; the client does this itself while it downloads a file.
    """
    endpoint = api().endpoint
    failed_at, failure = _without_connection.get(endpoint, (-math.inf, None))
    if failure is not None and time.monotonic() - failed_at < NOT_ASKED_SECONDS:
        raise failure.with_traceback(None)
    wait = FIRST_WAIT
    for number in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:
            pause = _pause(error, wait, lost)
            if _is_without_connection(error) and (number > 1 or _is_named(error, "ConnectTimeout")):
                _note(endpoint, error)
                raise
            if pause is None or number == ATTEMPTS:
                raise
        time.sleep(pause)
        wait *= 2
    raise AssertionError("the last attempt returns or raises")


def unreachable(error: BaseException) -> bool:
    """True if the Hub was not asked, or gave no usable answer, so that the cache may be used instead."""
    from huggingface_hub import errors

    status = _status(error)
    return (
        isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError))
        or _is_transport(error)
        or (status is not None and status in _RETRIED)
    )


def from_hub(error: BaseException) -> bool:
    """True if the error is about the Hub or the connection to it."""
    from huggingface_hub import errors

    return unreachable(error) or isinstance(error, errors.HfHubHTTPError)


def why(error: BaseException, name: str) -> str:
    """Why the Hub did not give what was requested, in one line, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return why(error.__cause__, name)  # this error itself only says that there is no local copy
    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        return f"the files are gated: ask for access at {page(name)}, then log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the Hub has no such revision of {name!r} (any more): search again, or see {page(name)}/commits/main"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the Hub has no model {name!r}, or the model is private: check the spelling at {page(name)}; "
            "if you have access, log in with `hf auth login`"
        )
    if isinstance(error, errors.DisabledRepoError):
        return f"the Hub has disabled this repository: see {page(name)}"
    if status in (401, 403):
        return f"the Hub refuses access ({status}): see {page(name)}, and log in with `hf auth login`"
    elsewhere = f"On a machine with a network, run `hf download {name}`, then copy its cache (HF_HOME) to this machine"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"the model is not in the local cache, and the Hub's client is offline (HF_HUB_OFFLINE). {elsewhere}"
    if status == 429:
        asked = _retry_after(error)
        return f"the Hub limits the rate of requests{f' for {asked:.0f} s' if asked else ''}: try later, or log in"
    if status is not None and status >= 500:
        return f"the Hub fails with {status}, after {ATTEMPTS} attempts: try later (https://status.huggingface.co)"
    if unreachable(error):
        return (
            f"the Hub cannot be reached at {api().endpoint} ({one_line(error)}): check the network and HF_ENDPOINT. "
            f"{elsewhere}"
        )
    if isinstance(error, (ValueError, TypeError, LookupError, AttributeError, RecursionError)):  # of the client
        return f"the answer of {api().endpoint} cannot be understood ({one_line(error)}): check HF_ENDPOINT"
    return one_line(error)


def why_not_listed(error: BaseException, text: str) -> str:
    """As `why`, for a query."""
    from huggingface_hub import errors

    instead = "A query needs the Hub. Name models from the cache instead: `hf cache ls` lists them"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"the Hub's client is offline (HF_HUB_OFFLINE). {instead}"
    if unreachable(error) and _status(error) is None:
        return (
            f"the Hub cannot be reached at {api().endpoint} ({one_line(error)}): check the network and HF_ENDPOINT. "
            f"{instead}"
        )
    return why(error, text)


def _check_connection() -> None:
    """Raises an error if there is no connection to the Hub. The client itself would try to list for half a minute."""
    from huggingface_hub import errors
    from huggingface_hub import utils as exported

    utils: Any = exported
    try:
        attempt(lambda: utils.get_session().head(api().endpoint, timeout=ANSWER_SECONDS), lost=False)
    except Exception as error:
        if _is_without_connection(error) or isinstance(error, errors.OfflineModeIsEnabled):
            raise


def _note(endpoint: str, error: Exception) -> None:
    """Remembers that there is no connection. The first time is a warning, in the main process."""
    _without_connection[endpoint] = time.monotonic(), error
    if endpoint not in _warned and multiprocessing.parent_process() is None:
        _warned.add(endpoint)
        warnings.warn(
            f"the Hub cannot be reached at {endpoint} ({one_line(error)}). Models that are in the local cache are "
            "used; every other model of the Hub gets a row that says so",
            stacklevel=2,
        )


def _pause(error: Exception, wait: float, lost: bool) -> float | None:
    """Seconds to wait before the next attempt; None if no attempt would help."""
    from huggingface_hub import errors

    if isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)):
        return None  # for the second, the client has retried itself
    status = _status(error)
    if status == 429:
        asked = _retry_after(error)
        return wait if asked is None else asked if asked <= LONGEST_WAIT else None
    if status is not None:
        return wait if status in _RETRIED else None
    if _is_without_connection(error):
        return wait
    if _is_transport(error) or isinstance(error, (ConnectionError, TimeoutError)):
        return wait if lost else None
    return wait if "Consistency check failed" in str(error) else None  # the number of bytes was wrong


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    said = str(headers.get("retry-after", ""))
    if said.isdecimal():
        return float(said)
    match = re.search(r"\bt\s*=\s*(\d+)", str(headers.get("ratelimit", "")))
    return float(match[1]) if match else None


def _is_transport(error: BaseException) -> bool:
    """True for connection errors of the client's HTTP library, which differs between versions of the client."""
    return _is_named(error, "TransportError", "StreamError")


def _is_without_connection(error: BaseException) -> bool:
    """True if no connection could be made: the name is unknown, the connection is refused, or nothing answers."""
    return _is_named(error, "ConnectError", "ConnectTimeout")


def _is_named(error: BaseException, *names: str) -> bool:
    return any(base.__name__ in names for base in type(error).__mro__)


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Disables the client's own progress bars and warnings, which would overwrite our bars, and restores them."""
    from huggingface_hub import constants
    from huggingface_hub import utils as exported

    utils: Any = exported  # documented, but not marked as exported
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or utils.are_progress_bars_disabled():
        yield  # the user has already decided
        return
    level = utils.logging.get_verbosity()
    utils.disable_progress_bars()
    utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        utils.logging.set_verbosity(level)
        utils.enable_progress_bars()


def _begun_in_time(fetch: Callable[[], T], name: str, file: str) -> T:
    """The downloaded file. The client waits for six minutes if the Hub falls silent before the first byte.

    Raises:
        TimeoutError: the download did not begin in time. The client's thread is left to itself.
    """
    blobs = downloads.hub_blobs("model", name)

    def begun() -> set[tuple[str, float]]:
        found = set()
        for path in blobs.glob("*.incomplete"):
            with contextlib.suppress(OSError):  # the download has ended meanwhile
                found.add((path.name, path.stat().st_mtime))
        return found

    seen = left_over = begun()
    got = in_thread(fetch, "hub-download")
    what, seconds, since = f"the Hub has not begun to send {file}", STALL_SECONDS, time.monotonic()
    while not wait([got], min(1.0, STALL_SECONDS)).done:
        if (now := begun()) != seen and not now <= left_over:
            # From here on, the client notices silence itself, unless the Hub has asked it to wait for days.
            what, seconds, since = f"no more of {file} has arrived", downloads.STILL_SECONDS, time.monotonic()
        elif time.monotonic() - since > seconds:
            raise TimeoutError(f"{what} for {seconds:.0f} s")
        seen = now
    return got.result()


_END = object()


def _within(seconds: float, items: Any) -> Iterator[Any]:
    """The items, taken in a separate thread, so that an item that never comes is noticed.

    Raises:
        TimeoutError: no item came for this number of seconds.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def feed() -> None:
        try:
            for item in items:
                if not _put(ready, (item, None), stopped):
                    return
            _put(ready, (_END, None), stopped)
        except Exception as error:
            _put(ready, (_END, error), stopped)

    threading.Thread(target=feed, name="hub-search", daemon=True).start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=seconds)
            except queue.Empty:
                raise TimeoutError(f"the Hub has not answered for {seconds:.0f} s") from None
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()


def _put(ready: queue.Queue[Any], item: Any, stopped: threading.Event) -> bool:
    """Puts an item into the queue; False if nobody waits for items any more."""
    while not stopped.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
