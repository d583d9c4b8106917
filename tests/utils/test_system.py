"""The number of cores is that which this process may use."""

from __future__ import annotations

import os

import pytest

from modelselect.utils.system import usable_cores


def test_a_containers_share_of_the_cores_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for quota, cores in (("150000 100000", 2), ("max 100000", 64), ("", 64), ("5000 100000", 1)):
        monkeypatch.setattr("modelselect.utils.system._control_group", lambda name, quota=quota: quota)
        assert usable_cores() == cores
