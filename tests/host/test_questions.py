"""What is asked of zoos before a candidate is loaded ends no run, takes no time, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

import modelselect as ms
from modelselect.evaluation.pool import _out_of_reach
from modelselect.host.host import Host
from modelselect.host.questions import asked, bytes_to_download, is_here


class Meddling(ms.Zoo):
    """Changes what it is asked about, and the process."""

    name = "meddling"

    def search(self, pattern: str) -> list[ms.Candidate]:
        return [ms.Candidate(self.name, pattern)]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        raise NotImplementedError

    def is_here(self, candidate: ms.Candidate) -> bool:
        torch.set_default_dtype(torch.float64)
        object.__setattr__(candidate, "name", None)
        return True


@pytest.fixture
def zoo(use_host: Callable[[Host], None]) -> ms.Zoo:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [zoo]

    zoo, host = Meddling(), Host.load()
    host.register(Plugin(), "meddling")
    use_host(host)
    return zoo


def test_what_a_zoo_changes_while_it_is_asked_is_put_back(zoo: ms.Zoo) -> None:
    candidate = ms.Candidate("meddling", "a")
    assert is_here(zoo, candidate)
    assert bytes_to_download(zoo, candidate) == 0
    assert candidate == ms.Candidate("meddling", "a")
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    "question", [lambda: 1 / 0, lambda: "yes", lambda: time.sleep(600), lambda: exec("raise SystemExit")]
)
def test_where_a_zoo_has_no_answer_there_is_another(
    question: Callable[[], Any], zoo: ms.Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_PLUGIN_SECONDS", "0.2")
    assert asked(zoo, question, bool, False) is False


def test_a_zoo_that_hangs_is_asked_nothing_more(zoo: ms.Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_PLUGIN_SECONDS", "0.2")
    assert asked(zoo, lambda: time.sleep(600), bool, False) is False
    assert asked(zoo, lambda: pytest.fail("it was asked"), bool, False) is False
    assert "meddling did not answer in time; if it is only slow, set MODELSELECT_PLUGIN_SECONDS" in _out_of_reach(zoo)
