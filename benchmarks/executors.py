"""What each executor adds to the work on a candidate, and what many candidates leave behind.

    python benchmarks/executors.py [--candidates 1000] [--items 1000] [--executors local,process,ray] [--command]

- `items`: milliseconds that an executor adds to an item of a function that returns at once, without its start, which
  stands apart.
- `candidates`: milliseconds of `select()` for each of 1,000 networks of one layer on 40 rows by one estimator, cold,
  between the tenth and the last. `bare` is a loop over the same networks that does the forward pass and the score and
  nothing else; `times` is what an executor adds, as a multiple of that. Open files, threads and bytes of shared memory
  are those of this process and this machine after a tenth of the candidates and after all.
- `command` (with `--command`): seconds of a whole `modelselect select` in a process of its own, cold, of ten networks
  of the lab on 200 rows of dtd10, with each executor in turn, on two cores; each process computes in one thread.
  `speed_up` is the best time of `local` over the best one of each.

All times are wall times, since the work is done in other processes; on a busy machine only their ratios say something.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import modelselect as ms
from modelselect.host.host import get_host

HERE = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MODELSELECT_SHARED", HERE.parent / "shared")).resolve()
COMMAND = [
    *("-m", "modelselect", "select", str(SHARED / "lab/datasets/dtd10"), "-c", f"dir:{SHARED}/lab/models/mobilenet*"),
    *("--trust-remote-code", "--no-history", "--quiet", "--probe-size", "200"),
]
WORKERS = {"process": ("--executor-option", "workers=2"), "ray": ("--executor-option", "workers=2")}


def at_once(item: int) -> int:
    return item


def overhead(name: str, items: int) -> dict[str, float]:
    """Milliseconds for the start of an executor, and for each item after it."""
    executor = get_host().executor(name)
    begun = time.perf_counter()
    outcomes = executor.map(at_once, range(items))
    next(outcomes)
    first = time.perf_counter()
    assert sum(outcome.failure is None for outcome in outcomes) == items - 1
    return {"start_ms": 1000 * (first - begun), "item_ms": 1000 * (time.perf_counter() - first) / (items - 1)}


def networks(count: int) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d, torch.nn.ReLU, torch.nn.AdaptiveAvgPool2d, torch.nn.Flatten, torch.nn.Linear
    conv, relu, pool, flat, linear = layers
    return [
        torch.nn.Sequential(conv(3, n, 3, stride=4), relu(), pool(1), flat(), linear(n, 3)).eval()
        for n in (4 + index % 5 for index in range(count))
    ]


def held() -> dict[str, int]:
    """What this process holds, and the shared memory of the machine."""
    shared = [path for path in Path("/dev/shm").glob("*") if path.is_file()]
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "shared_memory_files": len(shared),
    }


class Watch(logging.Handler):
    """Notes the time, and what is held, after a tenth of the candidates and after the last."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.places = {f"{count // 10}/{count}": "tenth", f"{count}/{count}": "last"}
        self.seen: dict[str, tuple[float, dict[str, int]]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().split(" ")
        if words[0] == "scoring" and words[1].rstrip(":") in self.places:
            self.seen[self.places[words[1].rstrip(":")]] = time.perf_counter(), held()


def rows() -> Any:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), [0] * 20 + [1] * 20


def bare(count: int) -> float:
    """Milliseconds for each candidate of a loop without modelselect around it."""
    images, labels = rows()
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    modules = networks(count)
    begun = time.perf_counter()
    for module in modules:
        with torch.inference_mode():
            features = module[:-1](batch).numpy()
        ms.score(features, np.array(labels), "logme")
    return 1000 * (time.perf_counter() - begun) / count


def scored(name: str, count: int) -> dict[str, Any]:
    watch, log = Watch(count), logging.getLogger("modelselect")
    log.addHandler(watch)
    log.setLevel(logging.INFO)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"progress": False, "history": False, "cache_dir": folder, "executor": name}
        ms.select(rows(), networks(count), estimators="logme", **settings)
    log.removeHandler(watch)
    (tenth, at_tenth), (last, at_last) = watch.seen["tenth"], watch.seen["last"]
    return {
        "candidate_ms": 1000 * (last - tenth) / (count - count // 10),
        "whole_s": time.perf_counter() - begun,
        "after_a_tenth": at_tenth,
        "after_all": at_last,
    }


def command(name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, *COMMAND, "--cache-dir", folder, "--executor", name, *WORKERS.get(name, ())]
        begun = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--executors", default="local,process,ray")
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    names = given.executors.split(",")
    found: dict[str, Any] = {"items": {name: overhead(name, given.items) for name in names} if given.items else {}}
    print(json.dumps(found, indent=1), flush=True)
    if given.candidates:
        bare(20)
        alone = bare(given.candidates)
        found["candidates"] = {"bare_ms": alone}
        for name in names:
            result = scored(name, given.candidates)
            result["times"] = (result["candidate_ms"] - alone) / alone
            found["candidates"][name] = result
            print(name, json.dumps(result), flush=True)
    if given.command:
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(given.repeats):
            for name, all_of in seconds.items():
                all_of.append(command(name))
                print(name, all_of[-1], flush=True)
        speed_up = {name: min(seconds["local"]) / min(each) for name, each in seconds.items()}
        found["command"] = {"seconds": seconds, "speed_up": speed_up}
    print(json.dumps(found, indent=1))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
