"""Measures the true accuracy of each embedded network on the demo's dataset: `python tools/embedded_truth.py`."""

from __future__ import annotations

import json

import torch

from modelselect_plugins.zoos.embedded import EmbeddedZoo
from modelselect_plugins.zoos.embedded.demo import TRUTH_FILE, measure_truth


def show(name: str, seed: int, accuracy: float) -> None:
    print(f"{name:24} seed {seed}: {accuracy:.4f}", flush=True)


def write() -> None:
    """Fine-tunes every candidate with every seed, which takes minutes, and writes the table of accuracies."""
    torch.set_num_threads(1)
    TRUTH_FILE.write_text(json.dumps(measure_truth(EmbeddedZoo(), progress=show), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
