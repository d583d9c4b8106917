"""Under which keys the store holds what fine-tuning found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.fine_tuning import VerificationTask, drop
from modelselect.evaluation.loading import Loader
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import Plugin, get_host
from modelselect.store.store import Store
from modelselect.tasks import ACCURACY, CrossEntropy, Task
from modelselect.verification import FineTuning
from tests.evaluation.material import images

pytestmark = pytest.mark.usefixtures("cache")


class Theirs(Task):
    name = "theirs"
    summary = "One class for each row."
    targets = ("classes",)
    metrics = (ACCURACY,)
    objective = CrossEntropy()


def test_another_version_of_the_plugin_that_brings_the_task_fine_tunes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, plugin = get_host(), Plugin("theirs", "their-plugin", "7")
    monkeypatch.setitem(host.tasks, "theirs", Theirs())
    monkeypatch.setitem(host._owners, ("tasks", "theirs"), plugin)
    probe = ms.Probe.of(images(), size=None, holdout=0.25)
    context = EvaluationContext(probe=probe, cache_dir=tmp_path, spool=InputCache(None))
    [candidate] = ms.search("embedded:plain.letters")

    def parts(task: Task | None) -> dict[str, object]:
        its = replace(context, task=task)
        return VerificationTask(its, FineTuning(), {}).parts(Loader(its, candidate))

    before = parts(Theirs())
    plugin.version = "8"
    assert parts(Theirs()) != before
    shipped = parts(host.task("regression"))
    assert parts(None) == parts(host.task("classification")) == {k: v for k, v in shipped.items() if k != "task"}


def test_a_folder_of_weights_that_a_killed_run_had_almost_dropped_is_removed(tmp_path: Path) -> None:
    probe = ms.Probe.of(images(), size=None, holdout=0.25)
    context = EvaluationContext(probe=probe, cache_dir=tmp_path, spool=InputCache(None))
    task = VerificationTask(context, FineTuning(epochs=1), {}, "head")
    [candidate] = ms.search("embedded:plain.letters")
    store, made = Store(tmp_path), task(candidate)
    assert made.checkpoint is not None
    drop(store, made.checkpoint)
    store.scratch(made.checkpoint).mkdir()  # its content is removed first
    assert task(candidate) == replace(made, checkpoint=None, reused=True)
    assert list((tmp_path / "scratch").iterdir()) == []
