"""What code of others changes of this process is put back."""

from __future__ import annotations

import builtins
import gc
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules import module as modules
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from modelselect.utils.process_state import unchanged


class Spoiling(TorchFunctionMode):
    def __torch_function__(self, *_: Any) -> Any:
        raise RuntimeError("a mode that a plugin has not left")


class SpoilingBelow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, *_: Any) -> Any:
        raise RuntimeError("a mode that a plugin has not left")


def enter_spoiling() -> None:
    Spoiling().__enter__()  # type: ignore[no-untyped-call]


def enter_spoiling_below() -> None:
    SpoilingBelow().__enter__()  # type: ignore[no-untyped-call]


def lower(bound: int, to: int = 100) -> None:
    resource.setrlimit(bound, (to, resource.getrlimit(bound)[1]))


@pytest.mark.parametrize(
    ("change", "look"),
    [
        (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
        (lambda: torch.set_default_device("meta"), torch.get_default_device),
        (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
        (lambda: torch.use_deterministic_algorithms(True), torch.are_deterministic_algorithms_enabled),
        (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
        (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
        (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled),
        (lambda: setattr(torch.backends.cudnn, "benchmark", True), lambda: torch.backends.cudnn.benchmark),
        (lambda: register_module_forward_pre_hook(print), lambda: dict(modules._global_forward_pre_hooks)),
        (lambda: register_module_forward_hook(print), lambda: dict(modules._global_forward_hooks)),
        (lambda: torch.manual_seed(3), lambda: torch.get_rng_state().tolist()),
        (lambda: np.seterr(all="raise"), np.geterr),
        (lambda: np.random.seed(3), lambda: np.random.get_state(legacy=False)["state"]["key"].tolist()),  # noqa: NPY002
        (lambda: random.seed(3), random.getstate),
        (lambda: os.chdir("/"), Path.cwd),
        (lambda: os.environ.update(HOME="/nowhere"), lambda: os.environ.get("HOME")),
        (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
        (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
        (lambda: threading.stack_size(32768), threading.stack_size),
        (lambda: setattr(sys, "excepthook", None), lambda: sys.excepthook),
        (sys.path.clear, lambda: list(sys.path)),
        (lambda: signal.signal(signal.SIGINT, lambda *_: None), lambda: signal.getsignal(signal.SIGINT)),
        (lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGALRM)),
        (lambda: sys.modules.pop("torch"), lambda: sys.modules.get("torch")),
        (lambda: sys.modules.update(json=None), lambda: sys.modules.get("json")),  # type: ignore[call-overload]
        (lambda: setattr(np.linalg, "eigh", None), lambda: np.linalg.eigh),
        (lambda: setattr(np, "mean", lambda *_: 0.0), lambda: np.mean),
        (lambda: setattr(torch, "stack", None), lambda: torch.stack),
        (lambda: setattr(json, "dumps", None), lambda: json.dumps),
        (lambda: threading.settrace(lambda *_: None), threading.gettrace),
        (lambda: threading.setprofile(lambda *_: None), threading.getprofile),
        (lambda: setattr(threading, "excepthook", None), lambda: threading.excepthook),
        (lambda: setattr(builtins, "sorted", None), lambda: sorted),
        (lambda: setattr(builtins, "__import__", None), lambda: __import__),
        (lambda: setattr(Path, "open", None), lambda: Path.open),
        (lambda: setattr(torch.Tensor, "numpy", None), lambda: torch.Tensor.numpy),
        (lambda: setattr(torch.nn.Linear, "forward", None), lambda: torch.nn.Linear.forward),
        (lambda: setattr(tempfile, "tempdir", "/nowhere"), lambda: tempfile.tempdir),
        (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
        (lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGCHLD)),
        (
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}),
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        ),
        (lambda: os.umask(0o777), lambda: Path("/proc/self/status").read_text().split("Umask:")[1][:6]),
        (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
        (enter_spoiling, torch._C._len_torch_function_stack),
        (enter_spoiling_below, torch._C._len_torch_dispatch_stack),
        (gc.disable, gc.isenabled),
        (lambda: lower(resource.RLIMIT_NOFILE), lambda: resource.getrlimit(resource.RLIMIT_NOFILE)),
        (lambda: lower(resource.RLIMIT_AS, 1 << 40), lambda: resource.getrlimit(resource.RLIMIT_AS)),
        (lambda: lower(resource.RLIMIT_FSIZE), lambda: resource.getrlimit(resource.RLIMIT_FSIZE)),
        (lambda: signal.setitimer(signal.ITIMER_REAL, 60), lambda: signal.getitimer(signal.ITIMER_REAL)),
        (lambda: signal.setitimer(signal.ITIMER_PROF, 60), lambda: signal.getitimer(signal.ITIMER_PROF)),
    ],
)
def test_a_change_is_put_back(change: Callable[[], object], look: Callable[[], object]) -> None:
    before = look()
    with unchanged():
        change()
        assert look() != before
    assert look() == before


def test_a_mode_that_was_not_left_does_not_keep_the_default_device() -> None:
    with unchanged():
        torch.set_default_device("meta")
        enter_spoiling()
    assert (torch.zeros(1) + 1).tolist() == [1.0]


def test_a_method_that_a_library_adds_to_a_class_of_all_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is imported once, and may need it again."""
    monkeypatch.setattr(logging.Logger, "notice", None, raising=False)
    monkeypatch.delattr(logging.Logger, "notice")
    with unchanged():
        logging.Logger.notice = logging.Logger.info  # type: ignore[attr-defined]
    assert hasattr(logging.Logger, "notice")


def test_what_an_import_sets_may_stay() -> None:
    with warnings.catch_warnings():
        with unchanged(imports=True):
            warnings.filterwarnings("ignore", message="of a library")
            torch.set_default_dtype(torch.float64)
        assert any(str(entry[1]).find("of a library") >= 0 for entry in warnings.filters)
    assert torch.get_default_dtype() == torch.float32


def test_a_folder_that_is_deleted_meanwhile_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    with unchanged():
        os.chdir(tmp_path)
        (tmp_path / "gone").rmdir()
    assert Path.cwd() == tmp_path
