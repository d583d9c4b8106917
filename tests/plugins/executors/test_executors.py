"""What goes wrong with one item costs that item: nothing is lost, nobody else blamed, nothing left running."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import modelselect as ms
from modelselect.errors import Failure, InvalidInputError, ModelSelectError
from modelselect_plugins.executors.local import Local
from modelselect_plugins.executors.process import Process

EXECUTORS = [Local(), Process()]


def run(executor: ms.Executor, function: Callable[[Any], Any], items: Any) -> dict[Any, ms.Outcome]:
    outcomes = list(executor.map(function, items))
    return {outcome.item: outcome for outcome in outcomes}


def is_running(pid: int) -> bool:
    """False also for a process that is dead and waits to be collected by init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


# --- functions that workers run --------------------------------------------------------------------------------------


class MoodyError(Exception):
    """Cannot be unpickled: its constructor needs more arguments than Exception keeps."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class Trap:
    """Can be pickled, but not read back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _spring, ()


def _spring() -> NoReturn:
    raise ValueError("a trap")


class Bomb:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


def misbehave(how: str) -> Any:
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "aborted":
            os.abort()
        case "exit 3":
            os._exit(3)
        case "sys.exit":
            sys.exit("enough")
        case "raise":
            raise MoodyError("bad ", "mood")
        case "returns a lambda":
            return lambda: None
        case "returns a trap":
            return Trap()
        case "no memory":
            raise MemoryError
    return how.upper()


def hang(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def note_and_hang(path: str) -> None:
    """Writes its own process id and that of a child of its own, and hangs."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
    Path(path).with_suffix(".new").rename(path)
    time.sleep(60)


def pids_in(path: Path) -> list[int]:
    wait_until(path.exists, 60)  # a process may take long to start on a busy machine
    return [int(pid) for pid in path.read_text().split()]


def die_later(item: int) -> int:
    if item == 0:
        threading.Timer(0.05, os._exit, (9,)).start()
    return item


def die_in_the_next(item: int) -> int:
    if item == 0:
        threading.Timer(0.2, os._exit, (9,)).start()
    time.sleep(item)
    return item


def identify(_: Any) -> int:
    return os.getpid()


# --- what both promise -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
def test_every_item_has_one_outcome_and_exceptions_cost_one_item(executor: ms.Executor) -> None:
    found = run(executor, misbehave, iter(["a", "raise", "sys.exit", "no memory", "b"]))
    assert [outcome.value for outcome in found.values()] == ["A", None, None, None, "B"]
    failures = {item: outcome.failure for item, outcome in found.items() if outcome.failure}
    assert {item: failure.error for item, failure in failures.items()} == {
        "raise": "MoodyError",
        "sys.exit": "SystemExit",
        "no memory": "MemoryError",
    }
    assert failures["raise"].reason == "MoodyError: bad mood"


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
def test_no_items_no_outcomes(executor: ms.Executor) -> None:
    assert run(executor, misbehave, []) == {}


def test_both_are_registered_under_their_names() -> None:
    from modelselect.host.host import get_host

    assert [type(get_host().executor(name)) for name in ("local", "process")] == [Local, Process]


def test_local_begins_an_item_when_it_is_asked_for() -> None:
    begun = []
    outcomes = Local().map(begun.append, "ab")
    next(outcomes)
    assert begun == ["a"]


class Loading:
    """Can be prepared for an item; notes what it does, and in which thread."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.next_is_prepared = threading.Event()
        self.threads: set[int] = set()

    def prepare(self, item: Any) -> None:
        self.events.append(("prepare", item))
        self.threads.add(threading.get_ident())
        if item == 1:
            self.next_is_prepared.set()
        if item == 2:
            raise MoodyError("bad ", "mood")

    def __call__(self, item: Any) -> Any:
        if item == 0:
            assert self.next_is_prepared.wait(10), "the next must be prepared while this one is at work"
        self.events.append(("work", item))
        return item


def test_local_prepares_the_next_item_and_no_other_while_one_is_at_work() -> None:
    loading = Loading()
    outcomes = Local().map(loading, iter(range(4)))
    assert not loading.events
    found = []
    for outcome in outcomes:
        found.append(outcome.value)
        ahead = [item for kind, item in loading.events if kind == "prepare"]
        assert max(ahead) <= outcome.item + 1
    assert found == [0, 1, 2, 3]
    for item in range(4):
        assert loading.events.index(("prepare", item)) < loading.events.index(("work", item))
    assert len(loading.threads) > 1
    assert list(Local().map(loading, [])) == []


def held() -> tuple[int, int, int]:
    """Open files, threads and pieces of shared memory of this process."""
    shared = Path("/proc/self/maps").read_text().count("/dev/shm/")
    return len(os.listdir("/proc/self/fd")), threading.active_count(), shared


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
@pytest.mark.parametrize("executor", [Local(), Process(workers=2)], ids=lambda executor: executor.name)
def test_many_items_leave_nothing_open(executor: ms.Executor) -> None:
    run(executor, str, range(2))
    before = held()
    found = 0
    for outcome in executor.map(str, range(300)):
        found += outcome.failure is None
        if outcome.item == 150:
            files, threads, _ = held()
            assert files <= before[0] + 8
            assert threads == before[1]
    assert (found, held()) == (300, before)


# --- what only processes can promise ---------------------------------------------------------------------------------


def test_a_crash_costs_its_item_and_says_how_the_process_died() -> None:
    items = ["a", "segfault", "b", "killed", "c", "aborted", "exit 3", "returns a lambda", "returns a trap", "d"]
    found = run(Process(), misbehave, items)
    assert list(found) == items
    assert {item: outcome.value for item, outcome in found.items() if not outcome.failure} == {
        x: x.upper() for x in "abcd"
    }
    reasons = {item: outcome.failure.reason for item, outcome in found.items() if outcome.failure}
    for item, expected in {
        "segfault": "killed by SIGSEGV: native code crashed",
        "killed": "killed by SIGKILL: most likely memory ran out",
        "aborted": "killed by SIGABRT",
        "exit 3": f"ended with exit code 3: os._exit was called in {__file__}, line ",
        "returns a lambda": "returned a function that cannot be sent from",
        "returns a trap": "cannot be read from the worker process (ValueError: a trap)",
    }.items():
        assert expected in reasons[item]


def print_in_every_way(item: str) -> str:
    print(f"python {item}", flush=True)
    os.write(1, f"native {item}\n".encode())
    subprocess.run([sys.executable, "-c", f"print('child {item}')"], check=True)
    return item


def test_what_workers_print_does_not_mix_with_the_answer_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert [outcome.value for outcome in Process().map(print_in_every_way, ["a"])] == ["a"]
    out, err = capfd.readouterr()
    assert out == ""
    assert set(err.split("\n")) >= {"python a", "native a", "child a"}


def log_in_every_way(item: str) -> str:
    log = logging.getLogger("modelselect.zoos")
    log.info("found %s", item)
    log.debug("too little")
    try:
        raise ValueError("why")
    except ValueError:
        log.warning("failed", exc_info=True)
    if not (child := os.fork()):
        log.info("in a child")
        os._exit(0)
    os.waitpid(child, 0)
    return item


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_workers_log_reaches_the_loggers_of_this_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelselect")
    outcomes = run(Process(), log_in_every_way, ["a", "b"])
    assert {item: outcome.value for item, outcome in outcomes.items()} == {"a": "a", "b": "b"}
    records = [record for record in caplog.records if record.name == "modelselect.zoos"]
    messages = [record.getMessage().partition("\n")[0] for record in records]
    assert messages.count("found a") == messages.count("found b") == 1
    assert messages.count("failed") == 2
    assert "too little" not in messages
    assert "in a child" not in messages
    assert "ValueError: why" in caplog.text


def test_one_worker_serves_item_after_item() -> None:
    assert len({outcome.value for outcome in Process().map(identify, range(5))} - {os.getpid()}) == 1


def test_items_that_cannot_be_sent_or_loaded_cost_themselves() -> None:
    items = [lambda: None, "a", Trap(), Bomb(), "b"]
    outcomes = {id(outcome.item): outcome for outcome in Process().map(str, items)}
    found = [outcomes[id(item)] for item in items]
    assert [outcome.value for outcome in found] == [None, "a", None, None, "b"]
    reasons = [outcome.failure.reason for outcome in found if outcome.failure]
    for reason, expected in zip(
        reasons, ["cannot be sent to a worker", "cannot be loaded in a worker", "exit code 7"], strict=True
    ):
        assert expected in reason


def test_a_function_that_cannot_be_sent_or_loaded_is_refused_with_advice() -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be sent to a worker process.*top level of a module"):
        Process().map(lambda item: item, [1])
    with pytest.raises(InvalidInputError, match=r"cannot be loaded in a worker process.*a trap"):
        list(Process().map(Trap(), [1]))  # type: ignore[arg-type]


def test_an_item_does_not_pay_for_what_an_earlier_one_left_behind() -> None:
    outcomes = Process().map(die_later, iter_slowly())
    assert [outcome.value for outcome in outcomes] == [0, 1, 2]


def test_an_item_does_not_pay_for_what_an_earlier_one_does_meanwhile() -> None:
    assert [outcome.value for outcome in Process().map(die_in_the_next, [0, 1])] == [0, 1]


def iter_slowly() -> Iterator[int]:
    """The worker dies, idle, before it is given the second item."""
    yield 0
    time.sleep(0.3)
    yield 1
    yield 2


@pytest.mark.parametrize("executor", [Local(timeout=1), Process(timeout=1)], ids=lambda executor: executor.name)
def test_what_takes_too_long_costs_one_item_with_the_same_words(executor: ms.Executor) -> None:
    found = run(executor, hang, [0, 60, 0.001])
    assert found[60].failure == Failure(
        "run", "the item took longer than 1 s and was stopped; allow more time, or leave it out", "TimeoutError"
    )
    assert not found[0].failure
    assert not found[0.001].failure


class Stubborn:
    """Loads for ever, and catches whatever stops it, as tasks do."""

    def prepare(self, item: int) -> None:
        if item == 1:
            time.sleep(30)

    def __call__(self, item: int) -> int:
        if item == 2:
            with contextlib.suppress(BaseException):
                time.sleep(30)
        return item


def test_local_bounds_what_is_loaded_ahead_and_what_catches_the_interruption() -> None:
    found = run(Local(timeout=0.2), Stubborn(), [0, 1, 2, 3])
    assert {item: outcome.value for item, outcome in found.items()} == {0: 0, 1: None, 2: None, 3: 3}
    assert all("longer than 0.2 s" in outcome.failure.reason for outcome in found.values() if outcome.failure)


def test_options_make_an_executor_like_this_one() -> None:
    bounded = Process(workers=2).configured(timeout="600")
    assert isinstance(bounded, Process)
    assert (bounded.workers, bounded.timeout) == (2, 600)
    with pytest.raises(InvalidInputError, match=r"'local' has no option 'workers'; it has: timeout"):
        Local().configured(workers=2)


def test_what_takes_too_long_is_stopped_and_the_rest_goes_on() -> None:
    found = run(Process(timeout=1), hang, [0, 60, 0.001])
    assert found[60].failure is not None
    assert found[60].failure.error == "TimeoutError"
    assert "longer than 1 s" in found[60].failure.reason
    assert found[0].value != found[0.001].value, "the worker that hung must be gone"


def test_several_workers_work_at_once_and_outcomes_come_as_they_complete() -> None:
    items = [2.0, 0.01, 0.02]
    outcomes = list(Process(workers=2).map(hang, items))
    assert [outcome.item for outcome in outcomes] == [0.01, 0.02, 2.0]
    assert len({outcome.value for outcome in outcomes}) == 2


def test_workers_go_on_while_the_caller_looks_at_an_outcome() -> None:
    begun: list[float] = []

    def items() -> Iterator[float]:
        for item in (0.0, 0.1):
            begun.append(item)
            yield item

    outcomes = Process().map(hang, items())
    next(outcomes)
    assert begun == [0.0, 0.1]
    assert len(list(outcomes)) == 1


def test_an_iterator_that_is_closed_early_stops_the_worker_and_its_children(tmp_path: Path) -> None:
    outcomes = Process().map(note_and_hang_unless_empty, ["", str(tmp_path / "pids")])
    next(outcomes)
    pids = pids_in(tmp_path / "pids")
    assert all(map(is_running, pids))
    outcomes.close()  # type: ignore[attr-defined]
    wait_until(lambda: not any(map(is_running, pids)))


def note_and_hang_unless_empty(path: str) -> None:
    if path:
        note_and_hang(path)


SCRIPT = """
import sys
from modelselect_plugins.executors.process import Process
from test_executors import note_and_hang

if __name__ == "__main__":
    list(Process().map(note_and_hang, [sys.argv[1]]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_running_when_the_parent_is_killed_or_interrupted(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path / "pids"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.PIPE,
        # A shell starts background jobs with SIGINT ignored, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = pids_in(tmp_path / "pids")
    parent.send_signal(how)
    _, stderr = parent.communicate(timeout=10)
    assert parent.returncode == -how
    assert stderr.count(b"KeyboardInterrupt") == (how == signal.SIGINT), "the worker must not add its own traceback"
    wait_until(lambda: not any(map(is_running, pids)))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from modelselect_plugins.executors.process import Process\nprint(list(Process().map(abs, [-1, -2])))\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr.rstrip().splitlines()[-1].startswith(f"{ModelSelectError.__module__}.ModelSelectError: no worker")
    )
    assert "if __name__ == '__main__':" in done.stderr


@pytest.mark.parametrize("parameters", [{"workers": 0}, {"timeout": 0}])
def test_senseless_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        Process(**parameters)


def test_the_traps_of_this_file_are_traps() -> None:
    for trap in (MoodyError("a", "b"), Trap()):
        with contextlib.suppress(TypeError, ValueError):
            pickle.loads(pickle.dumps(trap))
            pytest.fail(f"{trap!r} can be unpickled")


def forks(item: int) -> int:
    """A process that it forks off returns, too, and goes on where its parent does."""
    if item % 2:
        os.fork()
    return 10 * item


def writes_into_the_pipe(item: int) -> int:
    if item == 1:
        for descriptor in range(3, 1024):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\0\0\0\x04junk")
    return 10 * item


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
def test_a_process_that_an_item_forks_off_answers_for_nobody(executor: ms.Executor) -> None:
    outcomes = list(executor.map(forks, range(12)))
    assert [(outcome.item, outcome.value) for outcome in outcomes] == [(item, 10 * item) for item in range(12)]


def test_an_answer_that_cannot_be_read_costs_one_item() -> None:
    outcomes = run(Process(), writes_into_the_pipe, range(3))
    assert outcomes[1].failure is not None
    assert (outcomes[0].value, outcomes[2].value) == (0, 20)
