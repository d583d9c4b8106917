"""Whatever the code of a plugin does, wherever it runs, the other candidates have the scores that they have without it.

`pytest -m attack` tries every deed at every place.
"""

from __future__ import annotations

import gc
import io
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates import ImagePreprocessing, reader_for, weights_digest
from modelselect.host.host import Host, get_host
from modelselect.ranking.report_section import ReportSection
from modelselect_plugins.extractors.cpu import CpuExtractor
from tests.selection.test_evidence import images

OTHERS = ["embedded:plain.letters", "embedded:resnet.letters"]
PLACES = [
    *("search", "for_modality", "is_here", "behind", "load", "forward", "supports", "extract"),
    *("parameters", "score", "combine", "scored", "finished", "blocks"),
]


class PanicError(BaseException):
    """As a Rust library raises it."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


PREPROCESSING = ImagePreprocessing(size=(32, 32), resize=32, mean=(0.5,) * 3, std=(0.5,) * 3)


def raises(error: BaseException | type[BaseException]) -> Callable[[], object]:
    def deed() -> object:
        raise error

    return deed


def interrupts() -> object:
    signal.raise_signal(signal.SIGALRM)
    return None


def endless() -> None:
    endless()


def in_a_thread(deed: Callable[[], object]) -> Callable[[], object]:
    def started() -> object:
        thread = threading.Thread(target=deed)
        thread.start()
        return thread.join()

    return started


def fork_that_returns() -> object:
    if process := os.fork():
        return os.waitpid(process, 0)
    os._exit(3)


DEEDS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "ValueError": raises(ValueError("\x1b[31mred\udcff")),
    "SystemExit": raises(SystemExit(0)),
    "GeneratorExit": raises(GeneratorExit),
    "StopIteration": raises(StopIteration),
    "MemoryError": raises(MemoryError),
    "panic": raises(PanicError("panic")),
    "silent": raises(SilentError()),
    "recursion": endless,
    "AssertionError": raises(AssertionError),
    "CancelledError": raises(__import__("asyncio").CancelledError),
    "TimeoutError": raises(TimeoutError("took long")),
    "BrokenPipeError": raises(BrokenPipeError),
    "our error": raises(ms.errors.StoreError("of the plugin")),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "no gradients": lambda: torch.set_grad_enabled(False),
    "inference": lambda: torch.inference_mode().__enter__(),  # type: ignore[no-untyped-call]
    "threads": lambda: torch.set_num_threads(1),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "mkldnn": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "flush": lambda: torch.set_flush_denormal(True),
    "matmul": lambda: torch.set_float32_matmul_precision("medium"),
    "seed": lambda: torch.manual_seed(5),
    "seeds": lambda: (random.seed(5), np.random.seed(5)),  # noqa: NPY002
    "numpy raises": lambda: np.seterr(all="raise"),
    "print options": lambda: np.set_printoptions(precision=1, threshold=3),
    "torch prints": lambda: torch.set_printoptions(precision=1),
    "warnings": lambda: warnings.simplefilter("error"),
    "folder": lambda: os.chdir("/"),
    "environment": lambda: os.environ.clear(),
    "umask": lambda: os.umask(0o777),
    "recursion limit": lambda: sys.setrecursionlimit(160),
    "switch interval": lambda: sys.setswitchinterval(1.0),
    "stdout": lambda: setattr(sys, "stdout", None),
    "stderr": lambda: setattr(sys, "stderr", io.BytesIO()),
    "prints": lambda: print("of the plugin"),
    "closes stdin": lambda: sys.stdin.close() if sys.stdin else None,
    "signal": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 0.5),
    "raised alarm": interrupts,
    "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGINT}),
    "collector": gc.disable,
    "hook": lambda: setattr(sys, "excepthook", None),
    "path": lambda: sys.path.clear(),
    "default timeout": lambda: __import__("socket").setdefaulttimeout(0.001),
    "locale": lambda: __import__("locale").setlocale(__import__("locale").LC_ALL, "C"),
    "decimal": lambda: setattr(__import__("decimal").getcontext(), "prec", 2),
    "temporary folder": lambda: setattr(tempfile, "tempdir", "/nowhere"),
    "trace": lambda: sys.settrace(lambda *_: None),
    "logging": lambda: __import__("logging").disable(),
    "log level": lambda: __import__("logging").basicConfig(level=0, force=True),
    "thread dtype": in_a_thread(lambda: torch.set_default_dtype(torch.float64)),
    "thread error": in_a_thread(raises(ValueError("in a thread"))),
    "forks": fork_that_returns,
    "descriptors": lambda: [os.close(number) for number in range(900, 1000) if _is_open(number)],
    "hang": lambda: time.sleep(3),
}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Deed:
    """Done at one place, the first time or always."""

    def __init__(self, place: str, name: str) -> None:
        self.place, self.name, self.times = place, name, 0

    def at(self, place: str) -> None:
        if place == self.place:
            self.times += 1
            DEEDS[self.name]()


class Module(torch.nn.Module):
    def __init__(self, deed: Deed) -> None:
        super().__init__()
        self.layer, self.head, self.deed = torch.nn.Linear(12, 6), torch.nn.Linear(6, 4), [deed]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.deed[0].at("forward")
        return self.head(torch.relu(self.layer(batch[:, :, ::16, ::16].flatten(1))))  # type: ignore[no-any-return]


class MeddlingZoo(ms.Zoo):
    name = "meddling"

    def __init__(self, deed: Deed) -> None:
        self.deed = deed

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        self.deed.at("search")
        yield ms.Candidate(self.name, "a", "1")
        yield ms.Candidate(self.name, "b", "1")

    def for_modality(self, candidate: ms.Candidate, modality: str) -> ms.Candidate:
        self.deed.at("for_modality")
        return candidate

    def is_here(self, candidate: ms.Candidate) -> bool:
        self.deed.at("is_here")
        return True

    def behind(self, candidate: ms.Candidate) -> ms.Zoo:
        self.deed.at("behind")
        return self

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        self.deed.at("load")
        torch.manual_seed(0)
        module = Module(self.deed).eval()
        example = PREPROCESSING.finish(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
        return ms.Backbone(candidate, module, PREPROCESSING, reader_for(module, example), weights_digest(module))


class MeddlingExtractor(CpuExtractor):
    """Runs all candidates, and meddles with those of the plugin."""

    name = "meddling"
    on_request = True

    def __init__(self, deed: Deed) -> None:
        super().__init__()
        self.deed = deed

    def supports(self, backbone: ms.Backbone, device: str) -> bool:
        if backbone.candidate.zoo == "meddling":
            self.deed.at("supports")
        return super().supports(backbone, device)

    def extract(self, backbone: ms.Backbone, *arguments: Any, **settings: Any) -> Any:
        if backbone.candidate.zoo == "meddling":
            self.deed.at("extract")
        return super().extract(backbone, *arguments, **settings)


class MeddlingEstimator(ms.Estimator):
    name, requires, citation = "meddling", frozenset({"features", "labels"}), "A. Nobody, 2020"

    def __init__(self, deed: Deed) -> None:
        self._deed = deed

    @property
    def parameters(self) -> dict[str, Any]:
        self._deed.at("parameters")
        return {}

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        self._deed.at("score")
        return {self.name: float(evidence.features.mean())}

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Any:
        self._deed.at("combine")
        return super().combine(scores)


class MeddlingSection(ReportSection):
    name, title = "meddling", "Meddling"

    def __init__(self, deed: Deed) -> None:
        self.deed = deed

    def blocks(self, board: Any) -> Sequence[Any]:
        self.deed.at("blocks")
        return []


class Plugin:
    def __init__(self, deed: Deed) -> None:
        self.deed = deed

    @ms.hookimpl
    def modelselect_register_zoos(self) -> list[ms.Zoo]:
        return [MeddlingZoo(self.deed)]

    @ms.hookimpl
    def modelselect_register_extractors(self) -> list[Any]:
        return [MeddlingExtractor(self.deed)]

    @ms.hookimpl
    def modelselect_register_estimators(self) -> list[ms.Estimator]:
        return [MeddlingEstimator(self.deed)]

    @ms.hookimpl
    def modelselect_register_report_sections(self) -> list[ReportSection]:
        return [MeddlingSection(self.deed)]

    @ms.hookimpl
    def modelselect_candidate_scored(self, candidate: Any, scores: Any) -> None:
        self.deed.at("scored")

    @ms.hookimpl
    def modelselect_selection_finished(self, leaderboard: Any) -> None:
        self.deed.at("finished")


def scores(
    pool: Sequence[str], store: Path, estimators: Sequence[str] = ("logme", "knn"), **settings: Any
) -> dict[str, Any]:
    """What the run says of candidates that are not the plugin's."""
    board = ms.select(
        images(0, 3, 30), pool, estimators=estimators, cache_dir=store, history=False, progress=False, **settings
    )
    board.report(store / "page.html")
    rows = [row for row in board.rows if row.candidate.zoo != "meddling"]
    return {row.candidate.id: (row.scores["logme"], row.scores["knn"], row.parameters, row.failure) for row in rows}


def outcome(deed: Deed, expected: dict[str, Any], store: Path) -> str:
    """Done in a process of its own: what it shows, if that is not what is expected."""
    host = Host.load()
    host.register(Plugin(deed), "meddling")
    Host.load = classmethod(lambda cls: host)  # type: ignore[method-assign,assignment]
    get_host.cache_clear()
    settings = {"extractor": "meddling"} if deed.place in ("supports", "extract") else {}
    found = scores(["meddling:a", "meddling:*", *OTHERS], store, ["logme", "meddling", "knn"], **settings)
    return "" if found == expected else f"{found} instead of {expected}"


def in_a_child(function: Callable[[], str], seconds: float) -> str:
    reads, writes = os.pipe()
    if not (child := os.fork()):
        try:
            said = function()
        except BaseException:
            said = traceback.format_exc()
        os.write(writes, said.encode(errors="replace")[-4000:])
        os._exit(0)
    os.close(writes)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "hangs"
    with open(reads, "rb") as pipe:
        return pipe.read().decode()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)  # those of a pool do not exist in a process that is forked off
    return scores(OTHERS, tmp_path_factory.mktemp("alone"))


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(10))
def test_what_a_plugin_does_changes_no_other_candidate(
    seed: int, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PLUGIN", "SCORE", "SEARCH"):
        monkeypatch.setenv(f"MODELSELECT_{name}_SECONDS", "2")
    pairs = [(place, name) for place in PLACES for name in DEEDS]
    for place, name in random.Random(seed).sample(pairs, len(pairs) // 10):
        deed, store = Deed(place, name), tmp_path / f"{place} {name}"
        said = in_a_child(partial(outcome, deed, expected, store), seconds=120)
        assert said == "", (place, name)
