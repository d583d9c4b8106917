"""The shortlist: which estimators can recall, and what is said if the registered one cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import PluginError
from modelselect.estimators.estimator import Recaller
from modelselect.history import History, recall
from modelselect.host.defaults import RECALL_ESTIMATOR
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe


def test_the_default_recaller_fulfils_the_contract_and_others_do_not() -> None:
    assert isinstance(get_host().estimator(RECALL_ESTIMATOR), Recaller)
    assert not isinstance(get_host().estimator("logme"), Recaller)


def test_an_estimator_without_recall_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "RECALL_ESTIMATOR", "logme")
    pool = ms.search("embedded:plain.*")
    probe = Probe.of((np.zeros((4, 3), np.float32), [0, 1, 0, 1]))
    context = recall.build_context(History(tmp_path / "history.sqlite").view(), None, probe, pool, {})
    with pytest.raises(PluginError, match=r"estimator 'logme' cannot recall: LogME has no method recall\(\)"):
        recall.shortlist(context, pool, 1, None, seed=0)
