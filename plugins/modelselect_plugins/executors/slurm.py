"""Processes candidates in jobs of Slurm, a batch system."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import pickle
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelselect
from modelselect.budget.bounds import parse_bytes, parse_seconds
from modelselect.errors import InvalidInputError, ModelSelectError
from modelselect.executor import Executor, Outcome, checked_timeout, checked_workers
from modelselect.store.files import is_abandoned, owned_name, user_path
from modelselect_plugins.executors._work import (
    LOGGER,
    RecordSender,
    failed,
    first_line,
    outcome_of,
    pickled,
    pickled_function,
    received,
    sendable,
)
from modelselect_plugins.executors.process import Process

_LOOK_ROUND = 1.0
"""Seconds between two looks at the folder of answers, which may be on a file server."""

_GRACE = 5.0
"""Seconds after the end of a job in which its last answers may still become visible."""

_SPARE = 600.0
"""Seconds of a job beyond those of its items."""

_CANCELLED, _FAREWELL = 3, 5.0
"""How often a process of this machine is interrupted that does not end, and the seconds that it has for that."""

_TRIES = 4
"""How often an item is tried where machines are lost."""

_DIGEST = 32
"""Bytes of a checksum (SHA-256)."""

_LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REQUEUED")
"""States of jobs that are no fault of their items."""


class Slurm(Executor):
    """Runs in jobs of Slurm, through submitit. A job processes one item or several, one after another.

    In its job, each item runs as in the executor `process`: a crash and the time limit cost one item. A job that ends
    early costs the item that it had begun; its other items get a new job. If it had begun several, each gets a job of
    its own. If the machine was lost or the job made room for another one, the item is tried again, up to three times.
    If the iterator is closed early, or this process is interrupted, the jobs are cancelled. The jobs of a process that
    was killed go on.

    The machines need the same Python environment, and the folders of the store, of the dataset and of the jobs.

    Args:
        workers: number of jobs that wait or run at the same time.
        timeout: maximum seconds for one item; None: no limit of its own.
        partition: where jobs run; None: the default partition.
        account: who pays; None: the default account.
        time: how long a job may take, such as `"4h"`, or seconds; None: 1 hour, or as long as `timeout` allows.
        gpus: GPUs of a job.
        cpus: cores of a job.
        memory: of a job, such as `"32GB"`, or bytes; None: the partition's default.
        per_job: number of items that a job processes. A job starts Python and its libraries once for all of them.
        folder: a folder that all machines see, for what jobs are given and answer; None: `jobs` in the folder of
            the environment variable MODELSELECT_CACHE, else in the user's cache folder.
        cluster: `"slurm"`, or `"local"` for processes of this machine in place of jobs.
    """

    name = "slurm"
    isolated = True

    def __init__(  # noqa: PLR0913 (options of a job)
        self,
        *,
        workers: int = 100,
        timeout: float | None = None,
        partition: str | None = None,
        account: str | None = None,
        time: str | float | None = None,
        gpus: int = 0,
        cpus: int = 1,
        memory: str | float | None = None,
        per_job: int = 1,
        folder: str | os.PathLike[str] | None = None,
        cluster: str = "slurm",
    ) -> None:
        self.workers, self.timeout = checked_workers(workers), checked_timeout(timeout)
        self.partition, self.account, self.folder = partition, account, folder
        self.time = None if time is None else parse_seconds("time", time)
        self.memory = parse_bytes(memory) if isinstance(memory, str) else memory
        self.gpus, self.cpus = _whole("gpus", gpus, 0), _whole("cpus", cpus, 1)
        self.per_job, self.cluster = _whole("per_job", per_job, 1), cluster
        if cluster not in ("slurm", "local"):
            raise InvalidInputError(f"cluster is {cluster!r}; expected 'slurm' or 'local'")

    def sized(self, workers: int) -> Executor:
        return self.configured(workers=workers)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome for each item, in completion order.

        Raises:
            InvalidInputError: submitit is not installed; or the function cannot be pickled here or loaded in a job.
            ModelSelectError: no job can be submitted.
        """
        return self._outcomes(pickled_function(function, _cloudpickle().dumps), iter(items))

    def _outcomes(self, function: bytes, items: Iterator[Any]) -> Iterator[Outcome]:
        first = next(items, _END)
        if first is _END:
            return
        parent = user_path("MODELSELECT_CACHE", "cache") / "jobs" if self.folder is None else Path(self.folder)
        parent.mkdir(parents=True, exist_ok=True)
        for left in filter(is_abandoned, parent.iterdir()):
            shutil.rmtree(left, ignore_errors=True)
        folder = (parent / owned_name()).absolute()
        folder.mkdir()
        (folder / "function").write_bytes(_sealed(function))
        finished: list[Outcome] = []
        works = _works(itertools.chain([first], items), finished)
        again: list[_Work] = []
        jobs: list[_Job] = []
        try:
            submitter = self._submitter(folder)
            while True:
                while len(jobs) < self.workers:
                    if again and again[0].suspected:
                        batch, again = again[:1], again[1:]
                    else:
                        batch = [*again, *itertools.islice(works, max(0, self.per_job - len(again)))]
                        batch, again = batch[: self.per_job], batch[self.per_job :]
                    if not batch:
                        break
                    jobs.append(_Job.submitted(submitter, folder, batch, self.timeout))
                yield from finished
                finished.clear()
                if not jobs:
                    return
                time.sleep(_LOOK_ROUND / 4 if self.cluster == "local" else _LOOK_ROUND)
                _hear(folder)
                for job in list(jobs):
                    outcomes, unanswered = job.news(folder)
                    finished += outcomes
                    again = sorted([*again, *unanswered], key=lambda work: not work.suspected)
                    if not job.works:
                        jobs.remove(job)
        finally:
            _cancel([job.job for job in jobs], again=self.cluster == "local")
            shutil.rmtree(folder, ignore_errors=True)

    def _submitter(self, folder: Path) -> Any:
        submitit = _submitit()
        seconds = self.time
        if seconds is None:
            seconds = 3600.0 if self.timeout is None else self.per_job * self.timeout + _SPARE
        asked: dict[str, Any] = {"name": "modelselect", "timeout_min": max(1, -(-int(seconds) // 60))}
        if self.cluster == "slurm":
            asked |= {"cpus_per_task": self.cpus, "gpus_per_node": self.gpus}
            asked |= {} if self.memory is None else {"mem_gb": self.memory / 1e9}
            asked |= {} if self.partition is None else {"slurm_partition": self.partition}
            asked |= {} if self.account is None else {"slurm_account": self.account}
        try:
            submitter = submitit.AutoExecutor(folder=folder / "logs", cluster=self.cluster)
            submitter.update_parameters(**asked)
        except Exception as error:
            raise _cannot_submit(error) from error
        return submitter


_END = object()


@dataclass(eq=False)
class _Work:
    """One item on its way.

    Attributes:
        number: of the item.
        item: the item.
        pickled: the item as it is sent.
        lost: how often it was lost.
        suspected: whether a job ended while it was in work, and others with it. It gets a job of its own.
    """

    number: int
    item: Any
    pickled: bytes
    lost: int = 0
    suspected: bool = False


def _works(items: Iterable[Any], unsent: list[Outcome]) -> Iterator[_Work]:
    """Each item as it is sent; an item that cannot be pickled is added to `unsent`."""
    for number, (item, content) in enumerate(sendable(items, unsent, _cloudpickle().dumps)):
        yield _Work(number, item, _sealed(content))


@dataclass
class _Job:
    """A job and its items that have no answer yet, by number."""

    job: Any
    works: dict[int, _Work]
    ended: float | None = None

    @classmethod
    def submitted(cls, submitter: Any, folder: Path, works: list[_Work], timeout: float | None) -> _Job:
        for work in works:
            (folder / f"{work.number}.begun").unlink(missing_ok=True)
        items = [(work.number, work.pickled) for work in works]
        try:
            job = submitter.submit(_serve, folder, items, timeout, LOGGER.getEffectiveLevel())
        except Exception as error:
            raise _cannot_submit(error) from error
        return cls(job, {work.number: work for work in works})

    def news(self, folder: Path) -> tuple[list[Outcome], list[_Work]]:
        """The outcomes that are new, and the items that are to be tried again, since the job has ended without them.

        Raises:
            InvalidInputError: the job cannot load the function.
        """
        done = self.job.done()  # before the answers are read, so that the last ones are among them
        outcomes = []
        for number, work in list(self.works.items()):
            with contextlib.suppress(FileNotFoundError):
                outcomes.append(_answer(work.item, folder / f"{number}.answer"))
                del self.works[number]
        if not done or not self.works:
            return outcomes, []
        with contextlib.suppress(FileNotFoundError):
            raise InvalidInputError((folder / "unusable").read_text(encoding="utf-8", errors="replace"))
        self.ended = self.ended or time.monotonic()
        if time.monotonic() - self.ended < _GRACE:
            return outcomes, []
        again = []
        state = str(self.job.state).partition(" ")[0]
        begun = [number for number in self.works if (folder / f"{number}.begun").exists()]
        blamed = begun or list(self.works)  # a job that began nothing would begin nothing again
        for number, work in self.works.items():
            work.lost += state in _LOST
            if number not in blamed or (state in _LOST and work.lost < _TRIES):
                again.append(work)
            elif len(begun) > 1:
                work.suspected = True
                again.append(work)
            else:
                outcomes.append(failed(work.item, self._reason(state)))
        self.works = {}
        return outcomes, again

    def _reason(self, state: str) -> str:
        """Why the job has ended without an answer."""
        job = f"its job {self.job.job_id}"
        if state == "TIMEOUT":
            return f"{job} took longer than a job may; allow more time with {_option('time', '8h')}"
        if state in ("OUT_OF_MEMORY", "OUT_OF_ME+"):
            return f"{job} ran out of memory; ask for more with {_option('memory', '64GB')}"
        error = None
        with contextlib.suppress(Exception):
            error = self.job.exception()
        said = "" if error is None else f": {(str(error).strip().splitlines() or [''])[-1]}"
        return f"{job} ended in state {state} without a result{said}"


def _cancel(jobs: list[Any], *, again: bool) -> None:
    """Cancels jobs; processes of this machine again, since Python may lose an interrupt, for example in a callback."""
    for _ in range(_CANCELLED if again else 1):
        for job in jobs:
            with contextlib.suppress(Exception):  # it has ended meanwhile
                job.cancel()
        until = time.monotonic() + _FAREWELL
        while again and any(job.state == "RUNNING" for job in jobs) and time.monotonic() < until:
            time.sleep(_LOOK_ROUND / 10)
        jobs = [job for job in jobs if again and job.state == "RUNNING"]


def _answer(item: Any, path: Path) -> Outcome:
    """The outcome in a file.

    Raises:
        FileNotFoundError: there is none yet.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return outcome_of(item, _unsealed(path.read_bytes()))
        reason = "it is no file"
    except FileNotFoundError:
        raise
    except (OSError, ValueError, MemoryError) as error:  # a file server has lost it, or damaged it
        reason = first_line(error)
    return failed(item, f"its answer cannot be read ({reason})")


def _hear(folder: Path) -> None:
    """Handles the log records that jobs have written."""
    for path in filter(Path.is_file, sorted(folder.glob("*.record"))):
        with contextlib.suppress(Exception):  # a record of another version of Python, or half a file
            record = pickle.loads(path.read_bytes())
            logging.getLogger(record.name).handle(record)
        with contextlib.suppress(OSError):
            path.unlink()


def _sealed(content: bytes) -> bytes:
    """The content after its checksum. A changed bit in a task would be a wrong score that the store keeps."""
    return hashlib.sha256(content).digest() + content


def _unsealed(content: bytes) -> bytes:
    """The content that was sealed.

    Raises:
        ValueError: it is damaged.
    """
    digest, content = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("the file is damaged: its checksum does not match")
    return content


def _whole(name: str, value: Any, least: int) -> int:
    with contextlib.suppress(TypeError, ValueError):
        if int(value) >= least:
            return int(value)
    raise InvalidInputError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InvalidInputError(
            "the executor 'slurm' needs submitit, which is not installed: pip install 'modelselect-automl[slurm]'"
        ) from error
    return submitit


def _cloudpickle() -> Any:
    _submitit()  # which depends on it
    import cloudpickle

    return cloudpickle


def _cannot_submit(error: Exception) -> ModelSelectError:
    return ModelSelectError(
        f"no job can be submitted ({first_line(error)}). Run the command on a machine where `sbatch` works, and check "
        f"the options of the executor, such as {_option('partition', 'NAME')}."
    )


def _option(name: str, value: str) -> str:
    """How a user gives an option of the executor, in Python and on the command line."""
    return f"executor_options={{{name!r}: {value!r}}} (--executor-option {name}={value})"


# --- in the job ------------------------------------------------------------------------------------------------------


class _Loaded:
    """The function, which each worker process of the job loads once, called on items as they were sent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self.function = _cloudpickle().loads(_unsealed(self.path.read_bytes()))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __call__(self, numbered: tuple[int, bytes]) -> Any:
        return self.function(received(_unsealed(numbered[1])))


def _serve(folder: Path, items: list[tuple[int, bytes]], timeout: float | None, level: int) -> None:
    """Processes items, and writes their answers into the folder."""
    numbers = itertools.count()

    def send(record: logging.LogRecord) -> None:
        _write(folder / f"{time.time_ns():020}-{os.getpid()}-{next(numbers)}.record", pickle.dumps(record))

    def begun() -> Iterator[tuple[int, bytes]]:
        for item in items:
            (folder / f"{item[0]}.begun").touch()
            yield item

    LOGGER.addHandler(RecordSender(send))
    LOGGER.setLevel(level)
    try:
        for outcome in Process(timeout=timeout).map(_Loaded(folder / "function"), begun()):
            answer = pickled((outcome.value, outcome.failure))
            _write(folder / f"{outcome.item[0]}.answer", _sealed(answer))
    except InvalidInputError as error:
        _write(folder / "unusable", str(error).encode())


def _write(path: Path, content: bytes) -> None:
    """Writes the file so that readers find all of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


@modelselect.hookimpl
def modelselect_register_executors() -> list[Executor]:
    return [Slurm()]
