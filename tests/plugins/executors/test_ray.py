"""Ray: lost workers and machines are tried again, wrong code is not, and nothing is left running.

A real cluster of two machines, both of which are processes here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError, ModelSelectError
from modelselect.executor import Needs
from modelselect.testing.executors import check_executor
from modelselect.utils.progress import StepFiles
from modelselect.utils.stages import Step
from modelselect_plugins.executors import ray as executor_module
from modelselect_plugins.executors.ray import Ray
from tests.plugins.executors.test_executors import (
    Trap,
    hang,
    held,
    is_running,
    log_in_every_way,
    misbehave,
    run,
    wait_until,
)

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100_000_000}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    machines = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    machines.second = machines.add_node(**small)
    machines.wait_for_nodes()
    yield machines
    ray.shutdown()
    machines.shutdown()


@pytest.fixture
def executor(cluster: Any) -> Ray:
    return Ray(address=cluster.address)


# --- functions that workers run --------------------------------------------------------------------------------------


def count_and_raise(path: str) -> None:
    with Path(path).open("a") as file:
        file.write(".")
    raise ArithmeticError("wrong code")


def die_once(path: str) -> str:
    """Notes its process, and dies if it is the first one."""
    with Path(path).open("a") as file:
        file.write(".")
    if Path(path).stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def wait_for_release(path: str) -> str:
    """Notes where it runs, and waits."""
    noted = Path(f"{path}.{ray.get_runtime_context().get_node_id()}.begun")
    noted.with_suffix(".new").write_text(str(os.getpid()))
    noted.with_suffix(".new").rename(noted)
    wait_until(Path(path).with_name("release").exists, 60)
    return path


class Asking:
    """What a function needs reaches the task that Ray makes of it."""

    def needs(self, item: int) -> Needs:
        return Needs(memory=10**15) if item == 1 else Needs(memory=10**6)

    def __call__(self, item: int) -> float:
        assigned: dict[str, Any] = ray.get_runtime_context().get_assigned_resources()
        return float(assigned["memory"])


class OnGpu:
    def needs(self, item: int) -> Needs:
        return Needs(gpu=0.5)

    def __call__(self, item: int) -> int:
        return item


class Stepping:
    """Reports a step, as if from another machine."""

    def __init__(self, folder: Path) -> None:
        self.report = StepFiles(folder)
        self.report._machine = "another"

    def __call__(self, item: str) -> None:
        self.report(item, Step("epoch", 1, 3))


# --- the tests -------------------------------------------------------------------------------------------------------


def test_ray_keeps_the_promises_of_an_executor(executor: Ray) -> None:
    check_executor(executor)


def test_wrong_code_costs_one_row_and_is_not_tried_again(executor: Ray, tmp_path: Path) -> None:
    found = run(executor, count_and_raise, [str(tmp_path / "tries")])
    failure = found[str(tmp_path / "tries")].failure
    assert failure is not None
    assert (failure.error, failure.reason) == ("ArithmeticError", "ArithmeticError: wrong code")
    assert (tmp_path / "tries").read_text() == "."


def test_an_item_whose_worker_was_killed_is_tried_once_more(executor: Ray, tmp_path: Path) -> None:
    found = run(executor, die_once, [str(tmp_path / "one"), str(tmp_path / "other")])
    assert {outcome.value for outcome in found.values()} == {"alive"}
    assert (tmp_path / "one").read_text() == ".."


def test_what_always_crashes_costs_one_row(executor: Ray) -> None:
    items = ["a", "segfault", "exit 3", "sys.exit", "raise", "returns a lambda", "returns a trap", "b"]
    found = run(executor, misbehave, items)
    assert {item: outcome.value for item, outcome in found.items() if not outcome.failure} == {"a": "A", "b": "B"}
    reasons = {item: outcome.failure.reason for item, outcome in found.items() if outcome.failure}
    for item, expected in {
        "segfault": "the worker process died: native code crashed, or memory ran out (tried 2 times)",
        "exit 3": "the worker process died",
        "sys.exit": "SystemExit: enough",
        "raise": "MoodyError: bad mood",
        "returns a lambda": "returned a function that cannot be sent from",
        "returns a trap": "cannot be read from the worker process (ValueError: a trap)",
    }.items():
        assert expected in reasons[item]


def test_what_cannot_be_loaded_in_a_worker_is_refused_with_advice(executor: Ray) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be loaded in a worker process.*a trap"):
        list(executor.map(Trap(), [1]))  # type: ignore[arg-type]


def test_what_takes_too_long_costs_one_row_with_the_words_of_the_others(cluster: Any) -> None:
    found = run(Ray(address=cluster.address, timeout=1), hang, [0, 60, 0.001])
    failure = found[60].failure
    assert failure is not None
    assert (failure.error, failure.reason[:32]) == ("TimeoutError", "the item took longer than 1 s an")
    assert not found[0].failure
    assert not found[0.001].failure


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_workers_log_reaches_the_loggers_of_this_process(
    executor: Ray, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "modelselect")
    run(executor, log_in_every_way, ["a", "b"])
    messages = [record.getMessage().partition("\n")[0] for record in caplog.records]
    assert messages.count("found a") == messages.count("found b") == 1
    assert messages.count("failed") == 2
    assert "too little" not in messages
    assert "in a child" not in messages
    assert capfd.readouterr().out == ""


def test_steps_of_another_machine_reach_the_progress_of_this_process(executor: Ray, tmp_path: Path) -> None:
    run(executor, Stepping(tmp_path), ["a"])
    (kept,) = tmp_path.glob("*.json")
    assert json.loads(kept.read_text()) == {"candidate": "a", "unit": "epoch", "done": 1, "total": 3, "note": ""}


def test_a_task_asks_for_what_the_function_needs_but_for_no_more_than_a_machine_has(executor: Ray) -> None:
    found = run(executor, Asking(), [0, 1])
    machines = [node["Resources"]["memory"] for node in ray.nodes() if node["Alive"]]
    assert found[0].value == 10**6
    assert found[1].value == max(machines)


def test_many_items_leave_nothing_open(executor: Ray) -> None:
    run(executor, str, range(20))
    before = held()
    assert len(run(executor, str, range(300))) == 300
    after = held()
    assert after[0] <= before[0] + 4
    assert after[1] <= before[1] + 2
    assert after[2] <= before[2] + 2


def test_a_cluster_without_gpus_is_an_error_that_says_so(executor: Ray) -> None:
    failure = run(executor, OnGpu(), [1])[1].failure
    assert failure is not None
    assert "no machine of the Ray cluster has one" in failure.reason


def test_an_iterator_that_is_closed_early_cancels_what_is_in_work(executor: Ray, tmp_path: Path) -> None:
    outcomes = executor.map(_note_unless_empty, ["", str(tmp_path / "pid")])
    next(outcomes)
    wait_until((tmp_path / "pid").exists, 60)
    pid = int((tmp_path / "pid").read_text())
    outcomes.close()  # type: ignore[attr-defined]
    wait_until(lambda: not is_running(pid), 30)


def _note_unless_empty(path: str) -> None:
    if path:
        Path(path).with_suffix(".new").write_text(str(os.getpid()))
        Path(path).with_suffix(".new").rename(path)
        time.sleep(60)


def test_the_items_of_a_machine_that_is_lost_run_on_another(executor: Ray, cluster: Any, tmp_path: Path) -> None:
    items = [str(tmp_path / "one"), str(tmp_path / "other")]
    outcomes = executor.map(wait_for_release, items)
    lost: list[Path] = []

    def lose() -> None:
        """Both machines have one item in work when the second one goes. The first is free when it has gone."""
        wait_until(lambda: len(list(tmp_path.glob("*.begun"))) == 2, 60)
        lost.extend(tmp_path.glob(f"*.{cluster.second.node_id}.begun"))
        cluster.remove_node(cluster.second, allow_graceful=False)
        wait_until(lambda: not is_running(int(lost[0].read_text())), 60)
        (tmp_path / "release").touch()

    thread = threading.Thread(target=lose)
    thread.start()
    found = {outcome.item: outcome.value for outcome in outcomes}
    thread.join()
    assert found == {item: item for item in items}
    again = [path for path in tmp_path.glob(f"{lost[0].name.split('.')[0]}.*.begun") if path != lost[0]]
    assert len(again) == 1
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)


SCRIPT = """
import sys
from modelselect.utils.progress import StepFiles
from modelselect.utils.stages import Step
from modelselect_plugins.executors.ray import Ray
from tests.plugins.executors.test_executors import note_and_hang

list(Ray().map(note_and_hang, [sys.argv[1]]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_running_when_the_main_process_is_killed_or_interrupted(
    how: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    main = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path / "pids"],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until((tmp_path / "pids").exists, 90)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    main.send_signal(how)
    out, _ = main.communicate(timeout=60)
    assert main.returncode != 0
    assert out == b""
    wait_until(lambda: not any(map(is_running, pids)), 60)


def test_an_interruption_that_arrives_during_a_fork_is_not_lost() -> None:
    """Python passes over what the functions raise that it calls around a fork."""
    around = [code for code in executor_module._AROUND_FORKS if "elease" in code.co_name or "after" in code.co_name]

    def interrupt(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in around:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    def fork() -> None:
        sys.setprofile(interrupt)
        try:
            subprocess.run(["true"], preexec_fn=int)
            time.sleep(10)
        finally:
            sys.setprofile(None)

    with pytest.raises(KeyboardInterrupt), executor_module._interruptible_forks():
        fork()
    assert logging._lock.acquire(blocking=False)  # type: ignore[attr-defined]
    logging._lock.release()  # type: ignore[attr-defined]


AGAIN = """
import ray
from modelselect_plugins.executors.ray import Ray

for _ in range(2):
    print([outcome.failure or outcome.value for outcome in Ray(timeout=60).map(abs, [-1, -2])])
    ray.shutdown()
"""


def test_a_cluster_that_is_started_after_another_was_shut_down_gets_a_mailbox_of_its_own() -> None:
    """The job ids of both are the same."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    found = subprocess.run([sys.executable, "-c", AGAIN], env=environment, capture_output=True, text=True, timeout=120)
    assert found.stderr == ""
    assert [sorted(json.loads(line)) for line in found.stdout.splitlines()] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", r"'127.0.0.1:1' cannot be reached \(ConnectionRefusedError.*Start it with `ray start --head`"),
        ("ray://127.0.0.1:1", r"ray_address is 'ray://127.0.0.1:1'; expected 'auto' or HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_one_error_with_advice(address: str, words: str, cluster: Any) -> None:
    ray.shutdown()
    with pytest.raises(ModelSelectError, match=words):
        list(Ray(address=address).map(abs, [1]))


@pytest.mark.parametrize("parameters", [{"workers": 0}, {"timeout": 0}])
def test_senseless_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        Ray(**parameters)


def test_options_keep_that_the_cluster_decides_on_the_number_of_workers() -> None:
    configured = Ray().configured(timeout=5, address="auto")
    assert isinstance(configured, Ray)
    assert (configured.timeout, configured.address, configured.workers) == (5, "auto", Ray().workers)
    assert isinstance(configured.sized(1), ms.Executor)
