"""Thousands of candidates: how long search, limits, recall and planning take, and what comes out.

    python benchmarks/many.py [--candidates 10000] [--output many.json] [--profile STAGE] [--funnel]

A Hub on this machine lists models with invented names, licences and downloads, and with the configurations and sizes of
real architectures of timm. A process of its own serves it. Then each stage is timed here, in wall and CPU seconds, with
the largest resident memory of the process so far:

- `search`: `ms.search("hub:?...")` for all of them, through the Hub's own client.
- `plan`: `ms.plan()` of all of them within limits (licence, size), for the most promising 50.
- `recall`: `ms.plan()` of all of them within limits, for the 100 from which a history of 300 results expects most.
- `recall again`: the same a second time.
- `board`: a leaderboard with a row for each candidate; then its JSON, its web page and its table as Parquet, with their
  sizes in bytes. With `--funnel`, these are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import multiprocessing
import os
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

ARCHITECTURES = (
    *("resnet18", "resnet26", "resnet34", "resnet50", "resnetv2_50", "resnext50_32x4d", "wide_resnet50_2", "vgg11"),
    *("mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100", "mnasnet_100", "efficientnet_b0"),
    *("efficientnet_b1", "efficientnet_lite0", "regnetx_004", "regnety_008", "densenet121", "convnext_atto"),
    *("convnext_nano", "convnext_tiny", "convnextv2_atto", "vit_tiny_patch16_224", "vit_small_patch16_224"),
    *("vit_base_patch16_224", "deit_tiny_patch16_224", "deit3_small_patch16_224", "swin_tiny_patch4_window7_224"),
    *("beit_base_patch16_224", "mixer_b16_224", "poolformer_s12", "ghostnet_100", "repvgg_a2", "hardcorenas_a"),
    *("dla34", "darknet53", "lcnet_100", "tinynet_a", "rexnet_100", "xcit_tiny_12_p16_224"),
)
LICENSES = ("apache-2.0", "mit", "cc-by-nc-4.0", "other")
CLASSES = (2, 5, 10, 37, 100, 1000)


def entries(count: int, seed: int = 0) -> Iterator[tuple[str, dict[str, bytes], dict[str, Any]]]:
    """Names, files and facts of models, the same for the same seed."""
    rng = np.random.default_rng(seed)
    parameters = json.loads(
        (HERE / "plugins/modelselect_plugins/zoos/_timm/parameters.json").read_text(encoding="utf-8")
    )["parameters"]
    for index in range(count):
        architecture = ARCHITECTURES[int(rng.integers(len(ARCHITECTURES)))]
        classes = int(rng.choice(CLASSES))
        size = next(iter(parameters[architecture].values()))
        configuration = {
            "architecture": architecture,
            "num_classes": classes,
            "pretrained_cfg": {"input_size": [3, 224, 224], "num_classes": classes, "tag": "in1k"},
        }
        files = {"config.json": json.dumps(configuration).encode(), "model.safetensors": b""}
        facts = {
            "library_name": "timm",
            "pipeline_tag": "image-classification",
            "license": LICENSES[int(rng.integers(len(LICENSES)))],
            "downloads": int(rng.pareto(1.0) * 100),
            "config": {"architecture": architecture},
            "safetensors": {"parameters": {"F32": size}, "total": size},
        }
        yield f"owner-{index % 997}/{architecture}-{index}", files, facts


def serve(count: int, address: Any) -> None:
    """A Hub with so many models, until the process ends."""
    from tests.hub.server import Hub

    hub = Hub()
    for name, files, facts in entries(count):
        hub.model(name, files, **facts)
    address.send(hub.url)
    address.recv()


@contextlib.contextmanager
def hub_of(count: int) -> Iterator[None]:
    """Models on a Hub of a process of its own, which the clients of this process then ask."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(count, there), daemon=True)
    process.start()
    os.environ["HF_ENDPOINT"] = here.recv()
    try:
        yield
    finally:
        here.send(None)
        process.join(10)


def past(candidates: Any, path: Path) -> Any:
    """A history of accuracies of 100 of the candidates on three datasets each."""
    import modelselect as ms
    from modelselect.history import ACCURACY, Result

    rng = np.random.default_rng(1)
    history = ms.History(path)
    history.record(
        Result(candidate.unversioned_id, f"dataset-{d}", ACCURACY, float(rng.uniform(0.3, 0.95)))
        for candidate in candidates[:: max(len(candidates) // 100, 1)]
        for d in rng.choice(8, 3, replace=False)
    )
    return history


def board_of(candidates: Any) -> Any:
    """A leaderboard of all candidates, with the columns that the default ranking gives."""
    import modelselect as ms
    from modelselect.errors import Failure, Stage
    from modelselect.leaderboard import Row
    from modelselect.ranking.expectation import Expectation

    rng = np.random.default_rng(2)
    scores = np.sort(rng.normal(size=len(candidates)))[::-1]
    rows = []
    for place, (candidate, score) in enumerate(zip(candidates, scores.tolist(), strict=True), start=1):
        if place > 0.97 * len(candidates):
            rows.append(Row(candidate, failure=Failure(Stage.LOAD, "the repository has no weights")))
            continue
        pieces = {name: float(rng.normal()) for name in ("probe", "size", "quality")}
        rows.append(
            Row(
                candidate,
                rank=place,
                score=score,
                probability_best=1 / place**2,
                expectation=Expectation(score, 0.5, (max(1, place - 20), place + 20), pieces),
                scores={"evidence": score, "imagenet": float(rng.normal()), "downloads": float(rng.integers(1e6))},
                parameters=candidate.metadata.get("parameters"),
                macs=int(rng.integers(1e8, 1e10)),
                feature_dim=512,
                seconds=1.0,
                license=candidate.metadata.get("license"),
                embedding=tuple(rng.normal(size=32).round(6).tolist()),
            )
        )
    return ms.Leaderboard(tuple(rows), ("evidence", "imagenet", "downloads"), {"ranked_by": ["evidence"]})


def measure(count: int, profiled: str | None = None, *, funnel: bool = False) -> dict[str, dict[str, float]]:
    """Seconds of each stage, memory in bytes after it, and what it gave."""
    import modelselect as ms

    found: dict[str, dict[str, float]] = {}

    def timed(stage: str, work: Any, **more: Any) -> Any:
        profile = cProfile.Profile() if stage == profiled else None
        begun, cpu = time.perf_counter(), time.process_time()
        answer = work() if profile is None else profile.runcall(work)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found[stage] = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_bytes": peak}
        for name, value in more.items():
            found[stage][name] = value(answer)
        print(stage, found[stage], flush=True)
        if profile is not None:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
        return answer

    rows = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    dataset = (rows, [0, 1, 2] * 20)
    query = f"hub:?task=image-classification&limit={count}"
    with tempfile.TemporaryDirectory() as folder, hub_of(count):
        os.environ["HF_HUB_CACHE"] = f"{folder}/hub"
        os.environ["MODELSELECT_CACHE"] = f"{folder}/store"
        os.environ["MODELSELECT_HISTORY"] = ""
        candidates = timed("search", lambda: ms.search(query), found=len)
        history = past(candidates, Path(folder) / "history.sqlite")
        limits: dict[str, Any] = {"license": "commercial", "max_parameters": 60_000_000, "progress": False}
        timed("plan", lambda: ms.plan(dataset, query, limit=50, history=False, **limits), planned=lambda p: len(p.rows))
        recall = lambda: ms.plan(dataset, query, recall=100, history=history, **limits)  # noqa: E731
        timed("recall", recall, planned=lambda p: len(p.rows))
        timed("recall again", recall, planned=lambda p: len(p.rows))
        if funnel:
            return found
        board = timed("board", lambda: board_of(candidates))
        size = {"bytes": lambda path: path.stat().st_size}
        path = Path(folder)

        def written(name: str, write: Any) -> Path:
            write(path / name)
            return path / name

        timed("json", lambda: written("board.json", board.save), **size)
        timed("json read", lambda: ms.Leaderboard.load(path / "board.json"), rows=len)
        timed("page", lambda: written("board.html", board.report), **size)
        timed("markdown", lambda: written("board.md", board.report), **size)
        timed("parquet", lambda: written("board.parquet", lambda p: board.to_pandas().to_parquet(p)), **size)
        timed("terminal", lambda: str(board), characters=len)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--profile", help="name of a stage to profile")
    parser.add_argument("--funnel", action="store_true", help="only search, plan and recall")
    given = parser.parse_args()
    found = measure(given.candidates, given.profile, funnel=given.funnel)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
