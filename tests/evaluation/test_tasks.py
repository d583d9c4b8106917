"""Which task a run has, and which estimators score its targets."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import DatasetError, InvalidInputError, NotApplicableError, UnknownNameError
from modelselect.estimators.estimator import evaluate
from modelselect.evaluation.tasks import adapted
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.host.lookup import choose_estimators, task_of, usual_task
from modelselect.probe.probe import Probe
from modelselect.tasks import SPEARMAN, SquaredError, Task

TEXTS = [f"text {row}" for row in range(12)]
NUMBERS = np.linspace(0, 1, 12) ** 2


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ([0, 1] * 6, "classification"),
        (NUMBERS, "regression"),
        ([["a"], ["a", "b"]] * 6, "multi-label"),
        (None, "classification"),
    ],
)
def test_auto_takes_the_task_that_the_labels_suit(labels: object, name: str) -> None:
    assert task_of(get_host(), "auto", Probe.of((TEXTS, labels))).name == name


def test_a_task_that_does_not_suit_the_rows_is_one_error() -> None:
    with pytest.raises(DatasetError, match="the task is multi-label, which needs a set of labels for each row"):
        task_of(get_host(), "multi-label", Probe.of((TEXTS, [0, 1] * 6)))
    with pytest.raises(UnknownNameError, match="regresion"):
        ms.select((TEXTS, NUMBERS), "embedded:*", task="regresion", progress=False)


def test_every_shipped_estimator_is_as_it_is_for_classes() -> None:
    task, host = get_host().task("classification"), get_host()
    for name, estimator in host.estimators.items():
        assert task.adapted(estimator) is (None if name in ("ndcg", "recall", "ridge") else estimator)


def test_a_named_estimator_without_a_form_says_so_and_all_leaves_it_out() -> None:
    task, host = get_host().task("regression"), get_host()
    named = adapted(task, choose_estimators(host, "logme,gbc"))
    evidence = Evidence.of(features=np.random.default_rng(0).normal(size=(12, 3)), labels=NUMBERS[:, None])
    with pytest.raises(NotApplicableError, match="gbc is not defined for one number or several numbers for each row"):
        evaluate(named[1], evidence)
    assert "gbc" not in [each.name for each in adapted(task, choose_estimators(host, "all"), every=True)]
    with pytest.raises(InvalidInputError, match="gbc and sfda are not defined"):
        adapted(task, choose_estimators(host, "gbc,sfda"))


class Likeness(Task):
    """A plugin's task of numbers, which says nothing of estimators."""

    name = "likeness"
    summary = "Numbers, judged by their order."
    targets = ("numbers",)
    metrics = (SPEARMAN,)
    objective = SquaredError()
    by_default = False


class Strict(Likeness):
    def adapted(self, estimator: ms.Estimator) -> ms.Estimator | None:
        return estimator if estimator.name == "logme" else None


def test_a_task_that_does_not_adapt_estimators_gets_those_of_the_usual_task_of_its_kind() -> None:
    host = get_host()
    usual, chosen = (
        usual_task(host, Probe.of((TEXTS, NUMBERS))),
        choose_estimators(host, "evidence,knn,logme,linear_probe"),
    )
    assert usual is not None
    of_plugin, of_regression = adapted(Likeness(), chosen, usual=usual), adapted(usual, chosen)
    assert [each.key for each in of_plugin] == [each.key for each in of_regression]
    assert [each.name for each in adapted(Strict(), chosen, usual=usual, every=True)] == ["logme"]


def test_nothing_is_compared_across_tasks() -> None:
    datasets = {"classes": (TEXTS, [0, 1] * 6), "numbers": (TEXTS, NUMBERS)}
    truth = {name: {"a": 0.5, "b": 0.6} for name in datasets}
    with pytest.raises(InvalidInputError, match=r"different tasks \(classes: classification, numbers: regression\)"):
        ms.benchmark("embedded:*", datasets, truth, progress=False)
