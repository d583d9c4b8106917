"""What a command costs besides its work: processor seconds of whole processes, and of one more candidate.

    python benchmarks/start.py [--against CHECKOUT] [--repeats 3] [--skip cold,demo] [--output start.json]

Each command runs in a process of its own, with one thread, a store of its own for each checkout and bytecode that is
already compiled. The time is that of the processor (user and system), and the fastest of the repeats counts, since
other programs may use the machine. With `--against`, every repeat of this checkout is followed by one of the other,
so both see the same load; `ratio` is other / this.

- `help`, `search timm`, `zoos`: after the first use, which fills the store.
- `cold`, `warm`: `select()` of ten networks of the lab on the 600 rows of dtd10, without and with what the store has
  kept (folder `MODELSELECT_SHARED`, by default `../shared`).
- `demo`: `modelselect demo` with an empty store.
- `candidate`: milliseconds that each of 100 more networks of one layer, of five widths, adds to a `select()` with one
  estimator.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MODELSELECT_SHARED", HERE.parent / "shared")).resolve()

SELECT = f"""
import modelselect as ms
ms.select({str(SHARED / "lab/datasets/dtd10")!r}, {"dir:" + str(SHARED / "lab/models/mobilenet*")!r},
          trust_remote_code=True, progress=False, history=False)
"""
CANDIDATES = """
import sys, tempfile, time
import numpy as np, torch
import modelselect as ms
rows = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
def seconds(count, seed):
    torch.manual_seed(seed)
    sizes = [4 + i % 5 for i in range(count)]
    networks = [torch.nn.Sequential(torch.nn.Conv2d(3, n, 3, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
                                    torch.nn.Flatten(), torch.nn.Linear(n, 3)) for n in sizes]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        ms.select((rows, [0] * 20 + [1] * 20), networks, estimators="logme", progress=False, history=False,
                  cache_dir=folder)
        return time.process_time() - begun
seconds(5, 0)
print(1000 * (seconds(120, 1) - seconds(20, 2)) / 100)
"""
COMMANDS = {
    "help": ["-m", "modelselect", "--help"],
    "search timm": ["-m", "modelselect", "search", "timm:*"],
    "zoos": ["-m", "modelselect", "zoos"],
    "cold": ["-c", SELECT],
    "warm": ["-c", SELECT],
    "demo": ["-m", "modelselect", "demo"],
    "candidate": ["-c", CANDIDATES],
}
ONCE = ("cold", "demo")
"""Measured once, with a store that is empty."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of modelselect")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", default="", help="names of measurements, separated by commas")
    parser.add_argument("--output", type=Path, help="a JSON file")
    given = parser.parse_args()
    checkouts = {"this": HERE} | ({"other": given.against.resolve()} if given.against else {})
    skipped = given.skip.split(",")
    measured: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for checkout in checkouts.values():  # compiles bytecode, and fills the store
            for command in ("search timm", "zoos"):
                cost(command, checkout, Path(scratch))
        for command in COMMANDS:
            if command in skipped:
                continue
            times: dict[str, list[float]] = {name: [] for name in checkouts}
            for _ in range(1 if command in ONCE else given.repeats):
                for name, checkout in checkouts.items():
                    times[name].append(cost(command, checkout, Path(scratch)))
            found = {name: round(min(each), 4) for name, each in times.items()}
            if "other" in found:
                found["ratio"] = round(found["other"] / found["this"], 2)
            measured[command] = found
            print(command, found, flush=True)
    for name in checkouts:
        if "cold" in measured and "warm" in measured:
            measured.setdefault("cold / warm", {})[name] = round(measured["cold"][name] / measured["warm"][name], 1)
    print("cold / warm", measured.get("cold / warm"))
    if given.output is not None:
        given.output.write_text(json.dumps({"unit": "processor seconds; candidate: ms", **measured}, indent=2) + "\n")


def cost(command: str, checkout: Path, scratch: Path) -> float:
    """Processor seconds of a command in a process of its own, or the number that it prints itself (`candidate`)."""
    own = scratch / checkout.name / ("demo" if command == "demo" else "used")
    own.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "plugins")]),
        "PYTHONPYCACHEPREFIX": str(scratch / checkout.name / "bytecode"),
        "OMP_NUM_THREADS": "1",
        "MODELSELECT_CACHE": str(own),
        "MODELSELECT_HISTORY": str(own / "history.sqlite"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile("w+") as answer:
        running = subprocess.Popen(
            [sys.executable, *COMMANDS[command]], env=environment, cwd=scratch, stdout=answer, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            raise SystemExit(f"{command!r} of {checkout} ended with exit code {running.returncode}")
        answer.seek(0)
        return float(answer.read()) if command == "candidate" else used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
