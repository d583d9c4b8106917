"""Slurm: what happens to a job costs its item, and the others get a new job. Jobs are processes of this machine."""

from __future__ import annotations

import logging
import os
import pickle
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect_plugins.executors import slurm
from modelselect_plugins.executors.slurm import Slurm
from tests.plugins.executors.test_executors import Trap, hang, is_running, misbehave, run, wait_until

pytest.importorskip("submitit", reason="submitit is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_GRACE", 0.5)


def local(tmp_path: Path, **options: Any) -> Slurm:
    return Slurm(cluster="local", folder=tmp_path / "jobs", **options)


def log_and_misbehave(how: str) -> Any:
    logging.getLogger("modelselect.zoos").warning("found %s", how)
    return misbehave(how)


def test_items_of_one_job_fail_as_in_the_executor_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = ["a", "raise", "segfault", "sys.exit", "returns a lambda", "b"]
    found = run(local(tmp_path, per_job=6), log_and_misbehave, items)
    assert {item: outcome.value for item, outcome in found.items() if not outcome.failure} == {"a": "A", "b": "B"}
    reasons = {item: outcome.failure.reason for item, outcome in found.items() if outcome.failure}
    for item, expected in {
        "segfault": "killed by SIGSEGV: native code crashed",
        "sys.exit": "SystemExit: enough",
        "raise": "MoodyError: bad mood",
        "returns a lambda": "returned a function that cannot be sent from",
    }.items():
        assert expected in reasons[item]
    assert caplog.text.count("found a") == caplog.text.count("found b") == 1
    assert list((tmp_path / "jobs").iterdir()) == [], "nothing is left"


def kill_job(item: str) -> str:
    """Ends its job: the process above it."""
    if item == "kill":
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return item.upper()


def test_a_job_that_ends_early_costs_the_item_it_had_begun_and_the_others_get_another(tmp_path: Path) -> None:
    found = run(local(tmp_path, per_job=3), kill_job, ["a", "kill", "b"])
    assert (found["a"].value, found["b"].value) == ("A", "B")
    failure = found["kill"].failure
    assert failure is not None
    assert "without a result" in failure.reason


def test_an_item_that_takes_too_long_costs_one_row(tmp_path: Path) -> None:
    found = run(local(tmp_path, timeout=1, per_job=2), hang, [60, 0.001])
    failure = found[60].failure
    assert failure is not None
    assert (failure.error, failure.reason[:32]) == ("TimeoutError", "the item took longer than 1 s an")
    assert not found[0.001].failure


def note_and_hang(path: str) -> None:
    if path:
        Path(path).with_suffix(".new").write_text(str(os.getpid()))
        Path(path).with_suffix(".new").rename(path)
        time.sleep(60)


def test_an_iterator_that_is_closed_early_cancels_its_jobs(tmp_path: Path) -> None:
    outcomes = local(tmp_path).map(note_and_hang, ["", str(tmp_path / "pid")])
    next(outcomes)
    wait_until((tmp_path / "pid").exists, 60)
    pid = int((tmp_path / "pid").read_text())
    outcomes.close()  # type: ignore[attr-defined]
    wait_until(lambda: not is_running(pid), 30)


def test_a_function_that_cannot_be_loaded_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be loaded in a worker process.*a trap"):
        list(local(tmp_path).map(Trap(), [1]))  # type: ignore[arg-type]


def work(number: int) -> slurm._Work:
    return slurm._Work(number, f"item {number}", b"")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            "TIMEOUT",
            "took longer than a job may; allow more time with executor_options={'time'",
        ),
        (
            "OUT_OF_MEMORY",
            "ran out of memory; ask for more with executor_options={'memory'",
        ),
        ("FAILED", "ended in state FAILED without a result: killed"),
        ("CANCELLED by 1000", "ended in state CANCELLED without a result"),
        ("NODE_FAIL", None),
        ("PREEMPTED", None),
    ],
)
def test_the_state_of_a_job_is_the_reason_in_the_row_and_lost_machines_are_tried_again(
    state: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "_GRACE", 0.0)
    ended = SimpleNamespace(
        done=lambda: True, state=state, job_id="7", exception=lambda: RuntimeError("it was\nkilled")
    )
    (tmp_path / "0.begun").touch()
    works = {0: work(0), 1: work(1)}
    for _ in range(4 if expected is None else 1):
        outcomes, again = slurm._Job(ended, dict(works)).news(tmp_path)
        if expected is None and not outcomes:
            assert [each.number for each in again] == [0, 1]
    assert [each.number for each in again] == [1], "the job had not begun it"
    assert [outcome.item for outcome in outcomes] == ["item 0"]
    assert outcomes[0].failure is not None
    assert (expected or f"ended in state {state}") in outcomes[0].failure.reason


def test_what_a_job_had_in_work_when_it_ended_is_tried_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "_GRACE", 0.0)
    ended = SimpleNamespace(done=lambda: True, state="FAILED", job_id="7", exception=lambda: None)
    for number in (0, 1):
        (tmp_path / f"{number}.begun").touch()
    outcomes, again = slurm._Job(ended, {number: work(number) for number in range(3)}).news(tmp_path)
    assert outcomes == []
    assert [(each.number, each.suspected) for each in again] == [(0, True), (1, True), (2, False)]
    outcomes, again = slurm._Job(ended, {1: again[1]}).news(tmp_path)
    assert [outcome.item for outcome in outcomes] == ["item 1"]
    assert again == []


def answer(value: Any) -> bytes:
    return slurm._sealed(pickle.dumps(value))


def flipped(content: bytes) -> bytes:
    """The content with one bit changed."""
    return content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.mkdir(), "its answer cannot be read (it is no file)"),
        (os.mkfifo, "its answer cannot be read (it is no file)"),
        (lambda path: path.symlink_to("/dev/zero"), "its answer cannot be read (it is no file)"),
        (lambda path: path.symlink_to(path), "its answer cannot be read (OSError: "),
        (lambda path: path.write_bytes(b""), "its answer cannot be read (ValueError: the file is damaged"),
        (lambda path: path.write_bytes(flipped(answer((1, None)))), "its answer cannot be read (ValueError: the file"),
        (lambda path: path.write_bytes(answer(5)), "the result cannot be read from the worker process (TypeError"),
        (
            lambda path: path.write_bytes(answer((1, "x"))),
            "the result cannot be read from the worker process (TypeError",
        ),
    ],
)
def test_an_answer_that_cannot_be_read_costs_its_row(tmp_path: Path, damage: Any, expected: str) -> None:
    damage(tmp_path / "0.answer")
    for name in ("a.record", "b.record"):
        (tmp_path / name).mkdir()
    slurm._hear(tmp_path)
    running = SimpleNamespace(done=lambda: False)
    outcomes, again = slurm._Job(running, {0: work(0), 1: work(1)}).news(tmp_path)
    assert again == []
    assert [outcome.item for outcome in outcomes] == ["item 0"]
    assert outcomes[0].failure is not None
    assert outcomes[0].failure.reason.startswith(expected)


def test_an_answer_that_does_not_fit_into_memory_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(_: Path) -> bytes:
        raise MemoryError

    (tmp_path / "0.answer").touch()
    monkeypatch.setattr(Path, "read_bytes", huge)
    (outcome,), _ = slurm._Job(SimpleNamespace(done=lambda: False), {0: work(0)}).news(tmp_path)
    assert outcome.failure is not None
    assert outcome.failure.reason == "its answer cannot be read (MemoryError: no message)"


def test_a_task_or_an_item_that_was_damaged_on_its_way_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "function").write_bytes(slurm._sealed(pickle.dumps(str.upper)))
    loaded = pickle.loads(pickle.dumps(slurm._Loaded(tmp_path / "function")))
    sent = slurm._sealed(pickle.dumps("item"))
    assert loaded((0, sent)) == "ITEM"
    with pytest.raises(ValueError, match="damaged"):
        loaded((0, flipped(sent)))
    (tmp_path / "function").write_bytes(flipped((tmp_path / "function").read_bytes()))
    with pytest.raises(ValueError, match="damaged"):
        pickle.loads(pickle.dumps(slurm._Loaded(tmp_path / "function")))


def test_a_reason_that_is_no_text_is_read_as_far_as_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "unusable").write_bytes(b"no module \xff")
    with pytest.raises(InvalidInputError, match="no module \ufffd"):
        slurm._Job(SimpleNamespace(done=lambda: True), {0: work(0)}).news(tmp_path)


def test_options_become_those_of_the_batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Recording:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def update_parameters(self, **options: Any) -> None:
            asked.update(options)

    monkeypatch.setattr("submitit.AutoExecutor", Recording)
    configured: Any = Slurm().configured(partition="gpu", time="4h", gpus="1", memory="32GB", cpus="8", per_job="20")
    assert isinstance(configured, ms.Executor)
    configured._submitter(tmp_path)
    assert (asked["slurm_partition"], asked["timeout_min"], asked["gpus_per_node"]) == ("gpu", 240, 1)
    assert (asked["mem_gb"], asked["cpus_per_task"], asked["cluster"], configured.per_job) == (32, 8, "slurm", 20)
    configured.configured(timeout=600, time=None)._submitter(tmp_path)
    assert asked["timeout_min"] == 210


@pytest.mark.parametrize(
    "parameters",
    [{"workers": 0}, {"timeout": 0}, {"gpus": "many"}, {"per_job": 0}, {"time": "soon"}, {"cluster": "k8s"}],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        Slurm(**parameters)
