"""Writes the demo's results on other datasets: `history.json` of the embedded zoo.

    python benchmarks/embedded_history.py

The accuracies after fine-tuning are those of `default_estimators.py --measure` on small real datasets of the shared
material, without the demo's own dataset; the proxy's features of each dataset are added. The shared material is in the
folder `MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

import modelselect as ms
from modelselect.extraction.extractor import choose_extractor
from modelselect.history.records import summarised
from modelselect.host.defaults import EMBEDDED_PROXY
from modelselect.host.host import get_host
from modelselect_plugins.zoos.embedded import HERE, EmbeddedZoo

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ACCURACIES = Path(__file__).with_name("embedded_accuracies.json")
DEMO = "digits5to9"
DIGITS = 5


def main() -> None:
    measured = json.loads(ACCURACIES.read_text(encoding="utf-8"))
    zoo = EmbeddedZoo()
    proxy = next(iter(zoo.search(EMBEDDED_PROXY.partition(":")[2])))
    backbone = zoo.load(proxy)
    extractor = choose_extractor(get_host().extractors, backbone, "cpu")
    datasets = {}
    for name, found in measured["datasets"].items():
        if name == DEMO:
            continue
        probe = ms.Probe.of(SHARED / "lab" / "datasets" / name, size=found["training_rows"], holdout=0.75)
        assert probe.fingerprint == found["fingerprint"], f"{name} is not the dataset that was measured"
        seen = extractor.extract(backbone, probe, frozenset({"features"}), device="cpu", batch_size=64).features
        assert seen is not None
        datasets[name] = {
            "classes": found["classes"],
            "samples": found["training_rows"],
            "accuracies": {c: round(float(np.mean(a)), DIGITS) for c, a in found["accuracies"].items()},
            "proxy_features": [[round(float(v), DIGITS) for v in row] for row in summarised(seen)],
        }
        print(f"{name}: {len(found['accuracies'])} candidates")
    document = {
        "command": "python benchmarks/embedded_history.py",
        "proxy": proxy.id,
        "settings": measured["settings"],
        "seeds": measured["seeds"],
        "datasets": datasets,
    }
    (HERE / "history.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
