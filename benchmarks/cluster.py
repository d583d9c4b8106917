"""How the funnel spends on 1, 10 and 100 GPUs: a simulation from measured costs, checked against real runs.

    python benchmarks/cluster.py --measure benchmarks/cluster_costs.json [--repeats 2]
    python benchmarks/cluster.py [--costs FILE] [--candidates 100000] [--gpus 1,10,100] [--page PAGE]

With `--measure`, six networks of the lab are scored on 200 rows and two of them fine-tuned, with the executor `process`
and one worker, then with two, in turn, each from an empty store. The file then holds what each candidate cost with one
worker (`scored`, `verified`, in seconds), what a worker takes to start, what stands between the stages, the seconds of
all runs, and the predictions. Costs come from the first run with one worker, the seconds of reality from the others.
`listed` holds the seconds of search, limits and recall for one candidate of ten thousand, from the file that
`benchmarks/many.py --output` wrote (`--many FILE`).

Without it, the tables are printed, or written into a page between its marks. Costs of more candidates are drawn from
the measured ones. Workers take the next candidate as soon as they are free, a stage begins when the one before has
ended, and the driver alone lists and recalls.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MODELSELECT_SHARED", HERE.parent / "shared")).resolve()

MODELS = (
    "mobilenetv1_025_96_vww",
    "mobilenetv1_025_128_in1k",
    "mobilenetv1_025_224_in1k",
    "mobilenetv1_050_160_in1k",
    "resnet8_cifar10",
    "resnet20_cifar10",
)
ROWS, VERIFIED, EPOCHS = 200, 2, 1

RECALLED, TUNED, TOP = 1000, 20, 5
"""Of the simulated funnel: candidates that recall keeps, that are fine-tuned for one epoch, and that are verified."""

MARKS = "<!-- made by benchmarks/cluster.py -->", "<!-- end -->"


def makespan(costs: Sequence[float], workers: int, start: float) -> float:
    """Seconds until all are done, if each worker starts once and takes the next one as soon as it is free.

    >>> makespan([3.0, 1.0, 1.0, 1.0], 2, 0.5)
    3.5
    """
    free = [start] * min(workers, len(costs))
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free, default=0.0)


# --- real runs -------------------------------------------------------------------------------------------------------


class Clock(logging.Handler):
    """When each stage began, and when each of its candidates was done."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[str, float] = {}
        self.done: dict[str, list[float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = time.perf_counter()
        if match := re.match(r"(scoring|fine-tuning)(: \d+ candidates| \d+/\d+: )", record.getMessage()):
            if match[2].startswith(":"):
                self.begun[match[1]], self.done[match[1]] = now, []
            else:
                self.done[match[1]].append(now)

    def between(self, stage: str) -> list[float]:
        """Seconds from each candidate to the next, the first from the begin of the stage."""
        return np.diff([self.begun[stage], *self.done[stage]]).tolist()


def run(workers: int) -> tuple[float, list[float], list[float], list[float]]:
    """Seconds of a whole `select()` from an empty store, those between candidates, and those of the work on each."""
    import modelselect as ms

    clock, log = Clock(), logging.getLogger("modelselect")
    log.addHandler(clock)
    log.setLevel(logging.INFO)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        board = ms.select(
            str(SHARED / "lab/datasets/dtd10"),
            [f"dir:{SHARED}/lab/models/{name}" for name in MODELS],
            estimators="logme",
            trust_remote_code=True,
            progress=False,
            history=False,
            cache_dir=folder,
            executor="process",
            executor_options={"workers": workers},
            probe_size=ROWS,
            top_k=VERIFIED,
            epochs=EPOCHS,
        )
    seconds = time.perf_counter() - begun
    log.removeHandler(clock)
    assert len(board.ranked) == len(MODELS), board
    return seconds, clock.between("scoring"), clock.between("fine-tuning"), [row.seconds for row in board.ranked]


def measured(repeats: int, listed: float) -> dict[str, Any]:
    """Costs from a run with one worker, and what was predicted from them and measured with one and two."""
    whole, scoring, tuning, work = run(1)
    start = max(0.0, sum(scoring) + sum(tuning) - sum(work)) / 2  # a worker starts in each of the two stages
    costs = {
        "scored": [max(0.0, scoring[0] - start), *scoring[1:]],
        "verified": [max(0.0, tuning[0] - start), *tuning[1:]],
        "epochs": EPOCHS,
        "start": start,
        "between": whole - sum(scoring) - sum(tuning),
        "listed": listed,
    }
    real: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(repeats):
        for workers, all_of in real.items():
            all_of.append(run(int(workers))[0])
    stages = costs["scored"], costs["verified"]
    predicted = {
        workers: costs["between"] + sum(makespan(stage, int(workers), start) for stage in stages) for workers in real
    }
    return costs | {"real": real, "predicted": predicted, "cores": os.cpu_count(), "load": os.getloadavg()[0]}


# --- the simulation --------------------------------------------------------------------------------------------------


def funnel(costs: dict[str, Any], candidates: int, gpus: int, recalled: int | None, seed: int = 0) -> dict[str, float]:
    """Seconds of each stage, and the share of the GPUs' time in which they work."""
    rng = np.random.default_rng(seed)
    kept = candidates if recalled is None else recalled
    drawn = {
        "score": rng.choice(costs["scored"], kept),
        "tune": rng.choice(costs["verified"], TUNED) / costs["epochs"],
        "verify": rng.choice(costs["verified"], TOP),
    }
    stages = {name: makespan(each.tolist(), gpus, costs["start"]) for name, each in drawn.items()}
    work = float(sum(each.sum() for each in drawn.values()))
    listed = costs["listed"] * candidates
    total = listed + sum(stages.values())
    return {"list": listed, **stages, "total": total, "work": work, "busy": work / (gpus * total)}


def hours(seconds: float) -> str:
    """The seconds in words.

    >>> hours(90), hours(5400), hours(1_000_000)
    ('1.5 min', '1.5 h', '278 h')
    """
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:.0f} h"


def tables(costs: dict[str, Any], candidates: int, gpus: Sequence[int]) -> str:
    lines = [
        f"| {candidates:,} candidates | GPUs | list, recall | score | tune {TUNED} | verify {TOP} | in all | busy |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for what, recalled in (("all scored", None), (f"{RECALLED:,} recalled", RECALLED)):
        for count in gpus:
            found = funnel(costs, candidates, count, recalled)
            times = (hours(found[stage]) for stage in ("list", "score", "tune", "verify", "total"))
            lines.append(f"| {what} | {count} | {' | '.join(times)} | {found['busy']:.0%} |")
    lines += [
        "",
        "| workers | predicted | measured | predicted / measured |",
        "| --: | --: | --: | --: |",
    ]
    for workers, real in costs["real"].items():
        predicted = costs["predicted"][workers]
        each = ", ".join(f"{seconds:.0f}" for seconds in real)
        lines.append(f"| {workers} | {predicted:.0f} s | {each} s | {predicted / np.mean(real):.2f} |")
    return "\n".join(lines)


def written(page: Path, text: str) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, help="where to write the costs of real runs")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--many", type=Path, help="what benchmarks/many.py --output wrote")
    parser.add_argument("--costs", type=Path, default=HERE / "benchmarks/cluster_costs.json")
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--gpus", default="1,10,100")
    parser.add_argument("--page", type=Path, help="a page to write the tables into")
    given = parser.parse_args()
    if given.measure:
        listed = 0.0
        if given.many:
            many = json.loads(given.many.read_text(encoding="utf-8"))
            listed = (many["search"]["cpu_seconds"] + many["recall"]["cpu_seconds"]) / many["search"]["found"]
        given.costs = given.measure
        given.measure.write_text(json.dumps(measured(given.repeats, listed), indent=1) + "\n", encoding="utf-8")
    costs = json.loads(given.costs.read_text(encoding="utf-8"))
    text = tables(costs, given.candidates, [int(count) for count in given.gpus.split(",")])
    if given.page:
        written(given.page, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
