"""How fast the estimators are: compared with their authors' code, with an earlier version, and with what they must do.

    python benchmarks/estimators.py [--shapes A,B,C,lab] [--only logme,ncti] [--repeats 3] [--json FILE]
    python benchmarks/estimators.py --floor | --memory

One thread, CPU seconds. Three shapes: many rows (A), fewer rows than dimensions (B), very many rows (C); `lab` is the
features of two real networks for 600 images (`MODELSELECT_SHARED`, by default `../shared`).

The authors' code cannot be a part of this repository. It was run once next to the version `BASE` of this one, on the
same arrays, in the same process, in turn; `RATIOS` says how many times faster `BASE` was. Here `BASE` (checked out from
git) and this version run in turn, each in a process of its own. So an estimator is compared with work of its own kind:
authors / now = (authors / `BASE`) * (`BASE` / now). Scores are compared, too: with those of `BASE`, and through them
with the authors'. `CHANGED` names those whose score has changed since, and why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import pkgutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_info, threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MODELSELECT_SHARED", ROOT.parent / "shared"))

BASE = "5dba091"
"""The version that was measured next to the authors' code."""


class Shape(NamedTuple):
    """Rows, dimensions and classes of generated evidence."""

    n: int
    d: int
    classes: int


SHAPES = {"A": Shape(5000, 1024, 50), "B": Shape(2000, 2048, 10), "C": Shape(20_000, 768, 100)}

RATIOS: Mapping[str, Mapping[str, float]] = {
    "dds": {"A": 11.9, "B": 1.1},
    "etran": {"A": 25.1, "B": 4.5, "C": 8.1},
    "fda": {"A": 3.2, "B": 1.7, "C": 1.8},
    "gbc": {"A": 2.1, "B": 0.18, "C": 2.3},
    "h_score": {"A": 5.8, "B": 2.3, "C": 2.7},
    "itm": {"A": 2.4, "B": 4.7},
    "knn": {"A": 3.2, "B": 1.9},
    "leep": {"A": 2.2, "B": 1.0, "C": 3.0},
    "lfc": {"A": 14.5, "B": 0.39},
    "logme": {"A": 3.1, "B": 0.96, "C": 5.0},
    "nc_score": {"A": 4.5, "B": 4.7, "C": 1.6},
    "nce": {"A": 1.4, "B": 1.0, "C": 1.5},
    "ncti": {"A": 1.6, "B": 0.21, "C": 1.3},
    "nleep": {"A": 1.2, "B": 1.0},
    "pactran": {"A": 1.8, "B": 0.40, "C": 1.6},
    "pactran_dirichlet": {"A": 8.2, "B": 2.1, "C": 35.5},
    "pactran_gamma": {"A": 8.0, "B": 2.2, "C": 18.3},
    "parc": {"A": 14.0, "B": 0.48},
    "ped": {"A": 6.1, "B": 1.4, "C": 5.1},
    "persistence": {"A": 35.2},
    "rsa": {"A": 13.6, "B": 5.4},
    "sfda": {"A": 4.4, "B": 1.3, "C": 2.9},
    "tmi": {"A": 2.6, "B": 2.1},
    "transrate": {"A": 9.9, "B": 2.5, "C": 4.8},
}
"""CPU seconds of the authors' code over those of `BASE`, for each shape on which theirs could be run.

Theirs is what they published: the principal components of `gbc`, `ncti` and `parc` are randomised there, and exact
here, which is more work for another score. Five runs of the port count for `itm`, whose score is the mean of five.
`persistence` is one tree of all rows. `lead`, `linear_probe` and `centroid` have no code of their authors.
"""

CHANGED = {
    "h_score": "regularises by itself if N <= D",
    "lead": "reaches its optimum",
    "persistence": "all rows up to 5,792, as in the authors' code",
    "persistence_source": "all rows up to 5,792, as in the authors' code",
}
"""The estimators whose score is another one than in `BASE`, and why."""


def gauss(seed: int, n: int, d: int, classes: int, source_classes: int, separation: float) -> dict[str, NDArray[Any]]:
    """Evidence fields by the recipe in `scores.json` (float64, unit noise and scale, equal classes)."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    means = rng.normal(size=(classes, d)) * separation
    mixing = rng.normal(size=(d, d)) / np.sqrt(d)
    x = means[y] + rng.normal(size=(n, d)) @ mixing + 0.7 * rng.normal(size=(n, d))
    logits = (x @ rng.normal(size=(d, source_classes))) * (2.0 / np.sqrt(d)) + 0.5 * rng.normal(
        size=(n, source_classes)
    )
    source = 0.1 + 1.5 * rng.normal(size=(300, d)) @ mixing
    reference = np.tanh(x @ (rng.normal(size=(d, 48)) / np.sqrt(d))) + 0.1 * rng.normal(size=(n, 48))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {
        "features": x,
        "labels": y,
        "source_probabilities": exponentials / exponentials.sum(axis=1, keepdims=True),
        "source_features": source,
        "proxy_features": reference,
    }


# --- one version of the package, in a process of its own --------------------------------------------------------------


def registered() -> dict[str, Any]:
    """The estimators of the version on the path that need an array of the evidence, by name."""
    folder = importlib.import_module("modelselect_plugins.estimators")
    found = {}
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.startswith("_"):
            continue
        register = getattr(importlib.import_module(f"{folder.__name__}.{module.name}"), REGISTER, None)
        found.update({e.name: e for e in (register() if register else ())})
    arrays = {"features", "source_probabilities", "source_features"}
    return {n: e for n, e in sorted(found.items()) if e.reads & arrays and "history" not in e.reads and n != "ensemble"}


REGISTER = "modelselect_register_estimators"


def serve() -> None:
    """Names its estimators, then scores what standard input asks for, with CPU seconds; a line of JSON each."""
    import modelselect as ms

    try:
        evaluate = importlib.import_module("modelselect.estimators.estimator").evaluate
    except ModuleNotFoundError:  # where it was in `BASE`
        evaluate = importlib.import_module("modelselect.estimator").evaluate
    estimators: Any = registered()
    loaded: dict[str, Any] = {}
    print(json.dumps(list(estimators)), flush=True)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in sys.stdin:
            path, name = json.loads(line)
            if path not in loaded:
                loaded = {path: dict(np.load(path))}
            evidence = ms.Evidence.of(**loaded[path])
            begun = time.process_time()
            try:
                answer: Any = dict(evaluate(estimators[name], evidence))
            except ms.errors.ModelSelectError as error:
                answer = str(error)
            print(json.dumps([time.process_time() - begun, answer]), flush=True)


class Version:
    """A checkout of the package, which scores in a process of its own; `names` are its estimators."""

    def __init__(self, root: Path) -> None:
        path = os.pathsep.join([str(root), str(root / "plugins")])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, cwd=root, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout is not None
        self.names: list[str] = json.loads(self.process.stdout.readline())

    def score(self, path: Path, name: str) -> tuple[float, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([str(path), name]), file=self.process.stdin, flush=True)
        seconds, answer = json.loads(self.process.stdout.readline())
        return seconds, answer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


# --- the comparison ---------------------------------------------------------------------------------------------------


def materials(shapes: Sequence[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """For each shape, a file with the arrays of the evidence."""
    for shape in shapes:
        if shape == "lab":
            yield from lab(folder)
            continue
        n, d, classes = SHAPES[shape]
        fields = gauss(6, n, d, classes, 100, separation=0.10)
        np.savez(folder / f"{shape}.npz", **fields, source_labels=np.arange(len(fields["source_features"])) % 5)
        yield shape, folder / f"{shape}.npz"


def lab(folder: Path) -> Iterator[tuple[str, Path]]:
    """600 textures, by networks with 512 and 1,024 features."""
    import torch
    from PIL import Image

    sys.path.insert(0, str(SHARED / "lab" / "models"))
    zoo = importlib.import_module("zoo")
    torch.set_num_threads(1)
    files = sorted((SHARED / "lab" / "datasets" / "dtd10" / "train").glob("*/*.jpg"))
    labels = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    for model in ("mobilenetv1_050_160_in1k", "mobilenetv1_100_224_in1k"):
        module, transform = zoo.build_candidate(str(SHARED / "lab" / "models" / model))
        module = module.eval().float()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(files), 16):
                images = [transform(Image.open(file).convert("RGB")) for file in files[start : start + 16]]
                batch = torch.stack(images).float()
                parts.append((module.forward_features(batch).numpy(), torch.softmax(module(batch), 1).numpy()))
        features, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
        path = folder / f"lab-{features.shape[1]}.npz"
        np.savez(
            path,
            features=features,
            labels=labels,
            source_probabilities=probabilities,
            source_features=features[::3],
            source_labels=labels[::3],
            proxy_features=np.tanh(features[:, :48]),
        )
        yield path.stem, path


_ENOUGH = 0.3  # seconds in all, below which an estimator is run more often
_MOST_RUNS = 50


def compare(now: Version, base: Version, material: tuple[str, Path], names: Sequence[str], repeats: int) -> Any:
    """For each estimator: seconds of both versions, the least of several runs in turn; and whether scores are equal."""
    shape, path = material
    found: dict[str, Any] = {}
    for name in (name for name in names if name in base.names):
        before, after = [], []
        while len(before) < repeats or (sum(before) < _ENOUGH and len(before) < _MOST_RUNS):
            seconds, expected = base.score(path, name)
            before.append(seconds)
            seconds, ours = now.score(path, name)
            after.append(seconds)
        ratio = min(before) / min(after)
        authors = RATIOS.get(name, {}).get(shape)
        found[name] = {
            "base_seconds": min(before),
            "seconds": min(after),
            "base_over_now": ratio,
            "authors_over_now": None if authors is None else authors * ratio,
            "score": ours,
            "apart": _apart(expected, ours),
        }
        print(shape, name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def _apart(expected: Any, ours: Any) -> float | None:
    """The largest relative difference of two scores' components; None if they are not comparable."""
    if isinstance(expected, str) or isinstance(ours, str):
        return 0.0 if expected == ours else None
    pairs = [(expected[name], ours[name]) for name in expected.keys() & ours.keys()]
    return max((abs(a - b) / max(abs(a), 1e-300) if a != b else 0.0 for a, b in pairs), default=None)


def show(results: Mapping[str, Any], console: Console) -> None:
    shapes = list(results)
    table = Table(title="times faster than the authors' code (than the base version, where they have none)")
    for column in ("estimator", *shapes, "scores apart"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    for name in sorted({name for found in results.values() for name in found}):
        cells, apart = [], 0.0
        for shape in shapes:
            each = results[shape].get(name)
            if each is None:
                cells.append("-")
                continue
            authors = each["authors_over_now"]
            cells.append(f"({each['base_over_now']:.1f})" if authors is None else f"{authors:.2f}")
            apart = max(apart, math.inf if each["apart"] is None else each["apart"])
        table.add_row(name, *cells, CHANGED.get(name, f"{apart:.0e}"))
    console.print(table)
    for shape in shapes:
        ratios = {n: e["authors_over_now"] for n, e in results[shape].items() if e["authors_over_now"] is not None}
        if ratios:
            theirs = sum(ratio * results[shape][name]["seconds"] for name, ratio in ratios.items())
            ours = sum(results[shape][name]["seconds"] for name in ratios)
            slower = sorted((name for name in ratios if ratios[name] < 1), key=ratios.__getitem__)
            console.print(
                f"{shape}: median {statistics.median(ratios.values()):.1f} of {len(ratios)}; each alone, all together "
                f"{theirs / ours:.1f}; slower than the authors': {', '.join(slower) or 'none'}"
            )


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


# --- the floor --------------------------------------------------------------------------------------------------------


class Kernel(NamedTuple):
    """How many of each operation an estimator cannot do without, on one (N, D) matrix X with N > D."""

    gram: float = 0.0  # X'X
    leading: float = 0.0  # the 64 leading eigenvectors of X'X
    reduction: float = 0.0  # X'X to three diagonals
    cholesky: float = 0.0  # the Cholesky factor of X'X


NEEDS: Mapping[str, Kernel] = {
    "dds": Kernel(gram=1),
    "fda": Kernel(gram=1, cholesky=1),
    "gbc": Kernel(gram=1, leading=1),
    "h_score": Kernel(gram=1, cholesky=1),
    "lfc": Kernel(gram=1),
    "logme": Kernel(gram=1, reduction=1),
    "ncti": Kernel(gram=1, leading=1),
    "sfda": Kernel(gram=2, cholesky=2),
    "transrate": Kernel(gram=1, cholesky=1),
}
"""The linear algebra in each formula, for estimators without any other large cost."""


def least_seconds(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """CPU seconds of each function: the least of several runs, in turn."""
    least = [math.inf] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            begun = time.process_time()
            function()
            least[index] = min(least[index], time.process_time() - begun)
    return least


def kernels(features: NDArray[Any]) -> Kernel:
    """Each operation as a bare call of BLAS or LAPACK, to be timed."""
    from scipy.linalg import eigh
    from scipy.linalg.blas import dsyrk
    from scipy.linalg.lapack import dpotrf, dsytrd

    gram = np.asfortranarray(features.T @ features)
    window = (len(gram) - 64, len(gram) - 1)
    return Kernel(  # type: ignore[arg-type]
        lambda: dsyrk(1.0, features.T, lower=1),
        lambda: eigh(gram, subset_by_index=window, driver="evr", check_finite=False),
        lambda: dsytrd(gram, lower=1, lwork=64 * len(gram)),
        lambda: dpotrf(gram, lower=1),
    )


def against_the_floor(names: Sequence[str], repeats: int, console: Console) -> Any:
    import modelselect as ms
    from modelselect.estimators.estimator import evaluate

    estimators = registered()
    fields = gauss(7, 5000, 2048, 100, 100, separation=0.10)
    bare = kernels(fields["features"])
    table = Table(title="alone, 5,000 x 2,048, 100 classes, as multiples of the necessary linear algebra")
    for column in ("estimator", *Kernel._fields, "multiple"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    found = {}
    for name in names:
        needs = NEEDS[name]

        def ours(name: str = name) -> object:
            return evaluate(estimators[name], ms.Evidence.of(**fields))

        needed = [(count, kernel) for count, kernel in zip(needs, bare, strict=True) if count]
        seconds = least_seconds([ours, *(kernel for _, kernel in needed)], repeats)  # type: ignore[list-item]
        found[name] = seconds[0] / sum(count * each for (count, _), each in zip(needed, seconds[1:], strict=True))
        table.add_row(name, *map(str, needs), f"{found[name]:.2f}")
    console.print(table)
    return found


def memory(estimators: Sequence[Any], console: Console, n: int = 100_000, d: int = 2048) -> None:
    """Peak memory of each estimator on memory-mapped float32 features."""
    import modelselect as ms
    from modelselect.estimators.estimator import evaluate

    table = Table(title=f"memory beyond the mapped file, {n:,} x {d:,} float32, 100 classes")
    for column in ("estimator", "peak GB", "seconds"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
        labels = rng.permutation(np.arange(n) % 100)
        means = 0.1 * rng.normal(size=(100, d)).astype(np.float32)
        for start in range(0, n, 10_000):
            part = slice(start, start + 10_000)
            features[part] = means[labels[part]] + rng.standard_normal((len(labels[part]), d), dtype=np.float32)
        features.flush()
        mapped = np.load(path, mmap_mode="r")
        source = rng.normal(size=(300, d))
        probabilities = np.full((n, 10), 0.1)
        reference = rng.normal(size=(n, 48))
        for estimator in estimators:
            fields = {
                "features": mapped,
                "labels": labels,
                "source_features": source,
                "source_probabilities": probabilities,
                "proxy_features": reference,
            }
            evidence = ms.Evidence.of(**fields)
            tracemalloc.start()
            begun = time.process_time()
            try:
                evaluate(estimator, evidence)
                peak = f"{tracemalloc.get_traced_memory()[1] / 1e9:.2f}"
            except ms.errors.NotApplicableError as error:
                peak = str(error)
            tracemalloc.stop()
            table.add_row(estimator.name, peak, f"{time.process_time() - begun:.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="A,B,C,lab", help="separated by commas")
    parser.add_argument("--only", default="", help="estimators, separated by commas; default: all")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs, whose minimum counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--floor", action="store_true", help="compare with the linear algebra that is needed")
    parser.add_argument("--memory", action="store_true", help="measure memory on 100,000 rows instead of time")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    estimators = registered()
    names = [n for n in arguments.only.split(",") if n] or list(estimators)
    console = Console()
    libraries = [f"{each.get('internal_api')} {each.get('architecture', '')}".strip() for each in threadpool_info()]
    coretype = os.environ.get("OPENBLAS_CORETYPE", "unset")
    document: dict[str, Any] = {"kernels": libraries, "OPENBLAS_CORETYPE": coretype, "base": BASE}
    console.print(f"kernels: {', '.join(libraries)}; OPENBLAS_CORETYPE {coretype}")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if arguments.memory:
            memory([estimators[name] for name in names if estimators[name].cost != "quadratic"], console)
        elif arguments.floor:
            document["floor"] = against_the_floor([n for n in names if n in NEEDS], arguments.repeats, console)
        else:
            with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as checkout:
                base, now = Version(checked_out(BASE, Path(checkout))), Version(ROOT)
                try:
                    document["shapes"] = {
                        material[0]: compare(now, base, material, names, arguments.repeats)
                        for material in materials(arguments.shapes.split(","), Path(folder))
                    }
                finally:
                    now.end()
                    base.end()
            show(document["shapes"], console)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
