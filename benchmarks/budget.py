"""What a budget saves: the time to find the best candidate in rounds, compared with all rows for every candidate.

    python benchmarks/budget.py [--datasets dtd10,signdigits10] [--estimators etran,knn,logme] [--rows 600] [--seeds 1]
                                [--halves] [--models NAMES]

With `--halves`, the rounds are those of `select(rounds=True)`; otherwise those of an ample budget.

Each run begins with an empty store and uses one thread. The shared material is in the folder `MODELSELECT_SHARED`, by
default `../shared`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import modelselect as ms

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))

DATASETS = ("dtd10", "signdigits10", "caltech24")
MODELS = (
    "mobilenetv1_100_224_in1k",
    "mobilenetv2_100_224_in1k",
    "mobilenetv2_100_224_inat_bird",
    "mcunet_80_vww",
    "mobilenetv1_025_128_in1k",
    "mobilenetv1_025_96_vww",
    "mobilenetv1_050_160_in1k",
    "resnet20_cifar10",
    "resnet56_cifar10",
    "resnet8_wide_cifar10",
    "effnet_micro_cifar100",
    "conv4_relation_miniimagenet",
    "mini_xception_fer2013",
    "shufflenetv2_05_backbone",
    "simpnet_slim_svhn",
)


def timed(dataset: str, models: Sequence[str], **settings: Any) -> tuple[ms.Leaderboard, float]:
    """A leaderboard from an empty store, and its CPU seconds."""
    candidates = [f"dir:{SHARED / 'lab' / 'models' / name}" for name in models]
    with tempfile.TemporaryDirectory() as cache:
        begun = time.process_time()
        board = ms.select(
            str(SHARED / "lab" / "datasets" / dataset),
            candidates,
            trust_remote_code=True,
            cache_dir=cache,
            history=False,
            progress=False,
            device="cpu",
            **settings,
        )
        return board, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--estimators", default="etran,knn,logme")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--models", default=",".join(MODELS))
    chosen = parser.parse_args()
    models = chosen.models.split(",")
    torch.set_num_threads(1)
    timed(DATASETS[0], models, estimators="knn", probe_size=60)  # imports, and the operating system's caches
    print("| dataset | first, whole probe | CPU s | passes | first, rounds | CPU s | passes | time | its rank there |")
    print("| --- | --- | --: | --: | --- | --: | --: | --: | --: |")
    for dataset in chosen.datasets.split(","):
        for seed in range(chosen.seeds):
            shared = {"estimators": chosen.estimators.split(","), "probe_size": chosen.rows, "seed": seed}
            whole, seconds = timed(dataset, models, **shared)
            way = {"rounds": True} if chosen.halves else {"budget": "2h", "confidence": chosen.confidence}
            rounds, less = timed(dataset, models, **way, **shared)
            stages = rounds.provenance["rounds"] if chosen.halves else rounds.provenance["budget"]["stages"]
            spent = sum(stage["passes"] for stage in stages)
            passes = len(models) * whole.provenance["settings"]["probe_size"]
            [rank] = [row.rank for row in whole.rows if row.candidate == rounds.best.candidate]
            first, found = (Path(board.best.candidate.name).name for board in (whole, rounds))
            print(
                f"| {dataset} | {first} | {seconds:.0f} | {passes} | {found} | {less:.0f} | "
                f"{spent} | {less / seconds:.2f} | {rank} |",
                flush=True,
            )
            for stage in stages:
                print(f"    {stage['rows']} rows, {stage['candidates']} candidates: {stage['decision']}", flush=True)


if __name__ == "__main__":
    main()
