"""An estimator's view of the history holds only what fits together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelselect.history import Result
from tests.history.conftest import full_history


def test_a_proxy_that_others_give_another_width_is_left_aside(tmp_path: Path) -> None:
    history = full_history(tmp_path / "a.sqlite")
    for dataset in ("data1", "data2"):
        history.record([Result("timm:model0", dataset, "accuracy", 0.5)])
        history.keep_proxy(dataset, "hub:clip", np.ones((3, 2 if dataset == "data1" else 7)))
    assert set(history.view("hub:clip").proxies) == {"data0", "data1"}
