"""A plan says what a run would cost, and neither loads nor downloads anything to say it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import modelselect as ms
from modelselect.archi2vec import count_macs
from modelselect.cli import app
from modelselect.errors import ExpressionError, UnknownNameError
from modelselect.host.host import Host, get_host
from modelselect.selection.plan import Plan, PlannedCandidate
from tests.estimators.test_resampling import two_classes
from tests.evaluation.material import images
from tests.selection.budgeted import CLOSE, single_columns
from tests.selection.material import stripes

SOME = ["embedded:plain.letters", "embedded:vit*", "embedded:resnet.letters"]


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def dataset() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    return (rng.integers(0, 200, (24, 32, 32, 3)) + 50 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded")

    for zoo in get_host().zoos.values():
        monkeypatch.setattr(type(zoo), "load", refuse)


@pytest.mark.parametrize("estimators", ["logme", None])
def test_a_plan_counts_what_the_leaderboard_will_say(
    dataset: Any, nothing_is_loaded: None, estimators: str | None
) -> None:
    plan = ms.plan(dataset, SOME, estimators=estimators)
    assert [row.candidate.name for row in plan.rows] == ["plain.letters", "vit.letters", "resnet.letters"]
    assert plan.probe_rows == 19  # a fifth of 24 is held out
    for row in plan.rows:
        skeleton = get_host().zoo("embedded").skeleton(row.candidate)
        assert row.parameters == sum(parameter.numel() for parameter in skeleton.parameters())
        assert row.memory == 4 * row.parameters
        assert row.macs == count_macs(skeleton, row.candidate.metadata["input_size"])
        assert row.seconds == pytest.approx(19 * row.macs / plan.macs_per_second)
        assert (row.download_bytes, row.stored, row.remark) == (0, "", "")
    assert plan.seconds > sum(row.seconds or 0 for row in plan.rows) > 0


def test_a_plan_knows_what_is_in_the_store(dataset: Any) -> None:
    ms.select(dataset, SOME[:1], estimators="logme", progress=False)
    for estimators, stored in (("logme", "scores"), ("knn", "features")):
        first, second, _ = ms.plan(dataset, SOME, estimators=estimators).rows
        assert (first.stored, first.seconds) == (stored, 0.0)
        assert second.stored == ""
        assert second.seconds
    assert ms.plan(dataset, SOME[:1], estimators="logme", seed=1).rows[0].stored != "scores"


class Remote(ms.Zoo):
    """Elsewhere: nothing can be built here."""

    name = "remote"

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        yield ms.Candidate(self.name, "known", "1", {"download_bytes": 5_000_000, "parameters": 1000, "gated": True})
        yield ms.Candidate(self.name, "unknown", metadata={"remote_code": True})

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        raise AssertionError("downloaded")


def test_what_is_not_known_is_said_to_be_unknown(dataset: Any, use_host: Callable[[Host], None]) -> None:
    class Brought:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [Remote()]

    host = Host.load()
    host.register(Brought(), "brought")
    use_host(host)
    plan = ms.plan(dataset, ["remote:*", "embedded:plain.letters"])
    known, unknown, _ = plan.rows
    assert (known.download_bytes, known.parameters, known.memory, known.seconds) == (5_000_000, 1000, 4000, None)
    assert "gated" in known.remark
    remark = "runs its own code: only with trust_remote_code=True (--trust-remote-code)"
    expected = PlannedCandidate(unknown.candidate, remark=remark)
    assert unknown == expected
    assert plan.download_bytes == 5_000_000
    text = " ".join(str(plan).split())
    assert "5 MB and 1 unknown" in text
    assert "2 unknown, right within a factor of three" in text


def test_a_plan_says_what_was_left_out_of_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = stripes(tmp_path / "data")
    (data / "down" / "3.png").write_bytes(b"no image")
    plan = ms.plan(data, "embedded:plain.letters")
    assert plan.remarks == ms.Probe.of(data).remarks
    assert "down/3.png" in plan.remarks[0]
    assert plan.remarks[0] in " ".join(str(plan).split())
    assert json.loads(plan.to_json())["remarks"] == list(plan.remarks)


def test_bare_modules_are_planned_too(dataset: Any) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 4, stride=4, bias=False), torch.nn.AdaptiveAvgPool2d(1))
    (row,) = ms.plan(dataset, module).rows
    assert (row.parameters, row.macs, row.download_bytes) == (3 * 16 * 4 * 4, 3 * 16 * 4 * 4 * 8 * 8, 0)


def test_the_measured_speed_tells_the_time_of_a_real_pass_within_an_order_of_magnitude(dataset: Any) -> None:
    plan = ms.plan((np.tile(dataset[0], (10, 1, 1, 1)), np.tile(dataset[1], 10)), "embedded:resnet.letters")
    board = ms.select(
        (np.tile(dataset[0], (10, 1, 1, 1)), np.tile(dataset[1], 10)),
        "embedded:resnet.letters",
        estimators="h_score",
        progress=False,
    )
    planned, taken = plan.seconds, board.best.seconds
    assert planned / 10 < taken < planned * 10 + 1


def test_a_dry_run_prints_the_plan_and_touches_no_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nothing_is_loaded: None, dataset: Any
) -> None:
    from PIL import Image

    for index, (pixels, label) in enumerate(zip(*dataset, strict=True)):
        path = tmp_path / "data" / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    arguments = ["select", str(tmp_path / "data"), "-c", "embedded:plain*", "--dry-run"]
    for more in ([], ["--json", "-"], ["--json", str(tmp_path / "plan.json")]):
        with pytest.raises(SystemExit) as stopped:
            app.main([*arguments, *more])
        assert not stopped.value.code
        out = capsys.readouterr().out
        document = json.loads(out) if more == ["--json", "-"] else None
        assert document is None or document["rows"][0]["candidate"].startswith("embedded:plain")
        assert "in the store" in out or document
    assert json.loads((tmp_path / "plan.json").read_text())["probe_rows"] == 19


def test_a_plan_of_many_preprocessings_decodes_once_for_each() -> None:
    def row(size: int, seconds: float | None) -> PlannedCandidate:
        return PlannedCandidate(
            ms.Candidate("shelf", f"{size} {seconds}", metadata={"input_size": (3, size, size)}), seconds=seconds
        )

    plan = Plan((row(32, 1.0), row(32, 2.0), row(64, 3.0), row(96, 0.0), row(128, None)), 10, "cpu", 1e9, 0.5)
    assert plan.seconds == 6.0 + 2 * 0.5


def test_on_a_narrow_terminal_the_plan_names_candidates_legibly_and_what_they_take() -> None:
    candidate = ms.Candidate("embedded", "mobilenet.digits0to4", "702228921a1b")
    row = PlannedCandidate(candidate, parameters=22_197, memory=88_788, macs=901_000, seconds=1.0, stored="")
    console = Console(file=io.StringIO(), width=80)
    console.print(Plan((row,), 10, "cpu", 1e9, 0.5))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert all(words in text for words in ("embedded:mobilenet.digit", "download", "forward pass", "nothing"))
    assert "Hidden (terminal too narrow): memory" in text


def test_a_plan_names_what_limits_leave_out() -> None:
    plan = ms.plan(images(), "embedded:*", estimators="h_score", max_parameters=23_000, license="apache-2.0")
    out = {row.candidate.name for row in plan.rows if row.remark.startswith("left out: ")}
    assert out == {c.name for c in ms.search("embedded:*") if c.metadata["parameters"] > 23_000}
    assert all(row.seconds == 0 for row in plan.rows if row.candidate.name in out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(160):
        path = tmp_path / "data" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 150, (32, 32, 3)) + 60 * (index % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "data"


def test_a_dry_run_shows_the_rounds_that_a_run_then_takes(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["select", str(folder), "-c", "embedded:plain*", "-e", "knn", "--budget", "5000 passes", "--no-history"]
    with pytest.raises(SystemExit):
        app.main([*arguments, "--dry-run", "--json", "-"])
    plan = json.loads(capsys.readouterr().out)
    assert plan["budget"] == {"seconds": None, "passes": 5000}
    assert [planned["rows"] for planned in plan["rounds"]] == [64, 128]  # a fifth of 160 is held out
    with pytest.raises(SystemExit):
        app.main([*arguments, "--confidence", "0.95", "--quiet", "--json", str(tmp_path / "board.json")])
    board = ms.Leaderboard.load(tmp_path / "board.json")
    record = board.provenance["budget"]
    assert record["confidence"] == 0.95
    assert [(p["rows"], p["candidates"]) for p in record["planned"]] == [
        (p["rows"], p["candidates"]) for p in plan["rounds"]
    ]


def test_a_plan_of_rounds_without_a_budget_is_what_a_run_then_takes(folder: Path) -> None:
    settings: Any = {"estimators": "knn", "device": "cpu"}
    whole = ms.plan(folder, "embedded:*", **settings)
    plan = ms.plan(folder, "embedded:*", rounds=True, **settings)
    passes = sum(planned.seconds or 0.0 for planned in plan.rounds)
    decoding = plan.seconds - passes
    assert passes < 0.9 * sum(row.seconds or 0.0 for row in plan.rows)
    assert decoding >= plan.decode_seconds * (1 - 1e-9)  # a difference of sums is rounded
    assert not whole.rounds
    text = " ".join(str(plan).split())
    assert "in rounds, after each of which the better half goes on: round 1: 12 candidates on 64 rows, 768" in text
    board = ms.select(folder, "embedded:*", rounds=True, history=False, progress=False, **settings)
    done = [(stage["rows"], stage["candidates"]) for stage in board.provenance["rounds"]]
    assert done == [(planned.rows, planned.candidates) for planned in plan.rounds]


def test_a_plan_never_plans_more_than_the_budget() -> None:
    gaps = CLOSE
    for passes in (50, 250, 3000):
        plan = ms.plan(two_classes(480, gaps), single_columns(gaps), estimators="centroid", budget=passes)
        assert sum(planned.passes for planned in plan.rounds) <= passes
        assert bool(plan.rounds) == (passes >= 60)
        assert f"budget of {passes:,} passes" in " ".join(str(plan).split())


@pytest.mark.parametrize("top_k", [0, 1])
def test_a_plan_names_the_smallest_budget_that_ranks_something(top_k: int) -> None:
    data, candidates = two_classes(480, CLOSE), single_columns(CLOSE)
    plan = ms.plan(data, candidates, estimators="centroid", budget=20, top_k=top_k)
    assert not plan.rounds
    smallest = plan.smallest_budget
    assert smallest is not None
    one, every = f"{smallest:,} passes", f"{len(plan.rows) * smallest:,} passes"
    assert one in " ".join(str(plan).split())
    assert every in " ".join(str(plan).split())
    assert json.loads(plan.to_json())["smallest_budget"] == smallest
    settings: Any = {"estimators": "centroid", "top_k": top_k}
    assert not ms.plan(data, candidates, budget=smallest - 1, **settings).rounds
    assert ms.plan(data, candidates, budget=smallest, **settings).rounds


@pytest.mark.parametrize(("proxy", "error"), [("nowhere:x", UnknownNameError), ("embedded:zz*", ExpressionError)])
def test_a_proxy_that_names_no_candidate_is_refused(dataset: Any, proxy: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ms.plan(dataset, "embedded:plain.*", proxy=proxy)


def test_a_plan_counts_one_epoch_once(dataset: Any, nothing_is_loaded: None) -> None:
    plain, tuned = (ms.plan(dataset, SOME, estimators="logme", top_k=2, tune=tune) for tune in (0, 3))
    assert (plain.tune, plain.tuning_seconds) == (0, None)
    assert tuned.tune == 3
    assert tuned.tuning_seconds is not None
    # 20 epochs over 19 rows, of which one is done; a row takes three passes; 5 rows are held out
    expected = 2 * (5 + 3 * 19 * 19) / (3 * 3 * 19)
    assert tuned.fine_tuning_seconds == pytest.approx(expected * tuned.tuning_seconds)
    assert "to fine-tune 3 of them for one epoch: about" in str(tuned)
    assert "to fine-tune 2 of them, from there: about" in str(tuned)
    assert "from there" not in str(plain)


def test_a_plan_under_a_budget_names_the_epoch_that_may_come_by_itself(dataset: Any) -> None:
    text = "then one epoch of fine-tuning for at most 3"
    assert text in str(ms.plan(dataset, SOME, estimators="logme", top_k=2, budget="20m"))
    for settings in ({"top_k": 3}, {"top_k": 2, "verify": "head"}, {}):
        assert text not in str(ms.plan(dataset, SOME, estimators="logme", budget="20m", **settings))
