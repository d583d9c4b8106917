"""How good are the lab's networks on its datasets after fine-tuning? Measured by fine-tuning, for the benchmark.

    python benchmarks/lab_truth.py [--datasets chestxray3,trashnet6,flowers5_lowres] [--output benchmarks/lab_truth.csv]
        [--seed 0]

Every network is fine-tuned on at most 240 training rows of each dataset and measured on the dataset's test folder.
What the output already holds is not measured again, and each accuracy is written at once, so that a killed run can
continue. On one core the small networks take seconds, the large ones minutes. Columns: dataset, model, accuracy (per
cent of the test rows), rows (of the test), loss (mean of the last epoch), seconds. A seed draws the training rows and
decides everything random in fine-tuning; each seed has a file of its own. Two seeds show how far the truth agrees with
itself, which no estimator can exceed.

`docs/explanation/benchmark.md` shows the results. The shared material is in the folder `MODELSELECT_SHARED`, by default
`../shared`.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.verification import FineTuning, verify

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LAB = SHARED / "lab"
OUTPUT = Path(__file__).with_name("lab_truth.csv")
DATASETS = "chestxray3,trashnet6,flowers5_lowres"

TRAINING_ROWS = 240
RECIPE = FineTuning(epochs=6, backbone_learning_rate=3e-4, head_learning_rate=3e-3, batch_size=16)
"""Short, because it runs on a CPU: six epochs, with higher learning rates than the default."""

COLUMNS = ("dataset", "model", "accuracy", "rows", "loss", "seconds")


def measure(names: list[str], output: Path, seed: int) -> None:
    """Appends the missing accuracies to the output, one network after another."""
    known = set()
    if output.exists():
        with output.open(newline="", encoding="utf-8") as file:
            known = {(line["dataset"], line["model"]) for line in csv.DictReader(file)}
    else:
        output.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    probes = {
        name: ms.Probe.of(LAB / "datasets" / name, size=TRAINING_ROWS, seed=seed, holdout=0.2, test_as_holdout=True)
        for name in names
    }
    candidates = ms.search(f"dir:{LAB / 'models' / '*'}")
    for candidate in sorted(candidates, key=lambda c: c.metadata.get("parameters", 0)):
        model = Path(candidate.name).name
        wanted = {name: probe for name, probe in probes.items() if (name, model) not in known}
        if not wanted:
            continue
        backbone = get_host().zoo(candidate.zoo).load(candidate, trust_remote_code=True)
        for name, probe in wanted.items():
            assert probe.holdout is not None
            found = verify(backbone, probe, probe.holdout, RECIPE, seed=seed)
            line = [name, model, f"{100 * found.accuracy:.2f}", found.rows, f"{found.training_loss:.4f}"]
            with output.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow([*line, f"{found.seconds:.1f}"])
            print(name, model, f"{found.accuracy:.1%}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", default=DATASETS, help="names of folders, comma-separated")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    measure(arguments.datasets.split(","), arguments.output, arguments.seed)
