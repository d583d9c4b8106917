"""The task that the embedded zoo is ranked on, scikit-learn's digits 5 to 9, and the candidates' true accuracies.

No network of the zoo has seen these classes. (Two have seen digits 0 to 4 by the same writers.) In the original, the
digits are so easy that a network without any pre-training reaches 95%. Therefore each is shown as a poor camera would
see it: moved, blurred, noisy. Each class has 20 rows to fine-tune on; the rest of the 896 images is held out.
`truth.json` holds the accuracies after fine-tuning; `python tools/embedded_truth.py` measures them again and writes the
file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.zoo import Zoo
from modelselect.history import ACCURACY, History, Result
from modelselect.probe.probe import Probe
from modelselect.verification import FineTuning, verify
from modelselect_plugins.zoos.embedded.sources import CANVAS, handwritten, photograph

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

HERE = Path(__file__).parent
TRUTH_FILE = HERE / "truth.json"

TRAINING_ROWS_PER_CLASS = 20
CLASS_NAMES = ("5", "6", "7", "8", "9")
FINE_TUNING = FineTuning(epochs=20, backbone_learning_rate=1e-3, head_learning_rate=1e-2, batch_size=20)
"""The recipe of the demo: higher learning rates than the default's, because networks are small and rows are few."""

DESCRIPTION = (
    "scikit-learn's handwritten digits 5 to 9, moved, blurred and noisy: 100 to fine-tune on, 796 held out. "
    "No candidate was trained on these classes (two were on digits 0 to 4, by the same writers)."
)
TRUTH_SEEDS = (0, 1, 2, 3, 4)
TRUTH_COMMAND = "python tools/embedded_truth.py"

Split = tuple[NDArray[np.uint8], NDArray[np.str_]]


def demo_dataset() -> dict[str, Split]:
    """Handwritten digits 5 to 9 as a poor camera sees them, for `Probe.of` and `select`: (images, labels) by split.

    `train` has 100 rows, `validation` the other 796. Images are (N, 32, 32) uint8, labels are the digits as strings.

    >>> {name: (images.shape, labels.shape) for name, (images, labels) in demo_dataset().items()}
    {'train': ((100, 32, 32), (100,)), 'validation': ((796, 32, 32), (796,))}
    """
    images, digits = handwritten()
    random = np.random.default_rng(0)
    shuffled = [random.permutation(np.flatnonzero(digits == int(name))) for name in CLASS_NAMES]

    def split(parts: list[NDArray[np.int64]]) -> Split:
        rows = np.sort(np.concatenate(parts))
        photographs = np.stack([photograph(_on_canvas(images[row]), random) for row in rows])
        return photographs, digits[rows].astype(str)

    return {
        "train": split([rows[:TRAINING_ROWS_PER_CLASS] for rows in shuffled]),
        "validation": split([rows[TRAINING_ROWS_PER_CLASS:] for rows in shuffled]),
    }


def truth() -> Mapping[str, Any]:
    """The shipped table: `settings`, `seeds`, and for each candidate's name its `mean`, `sd` and `accuracies`.

    >>> table = truth()
    >>> len(table["candidates"]), sorted(table["candidates"]["plain.random"])
    (12, ['accuracies', 'mean', 'revision', 'sd'])
    """
    table: Mapping[str, Any] = json.loads(TRUTH_FILE.read_text(encoding="utf-8"))
    return table


def remember_other_datasets(history: History) -> None:
    """Adds the networks' results on seven other small datasets, and the proxy's features of these.

    >>> import tempfile
    >>> from modelselect.history import History
    >>> history = History(tempfile.mkdtemp() + "/history.sqlite")
    >>> remember_other_datasets(history)
    >>> found = history.summary()
    >>> found["candidates"], found["datasets"], list(found["proxies"].values())
    (12, 7, [7])
    """
    known = json.loads((HERE / "history.json").read_text(encoding="utf-8"))
    settings = {"fine_tuning": known["settings"], "seeds": known["seeds"]}
    for name, found in known["datasets"].items():
        history.describe_dataset(name, {"name": name, "classes": found["classes"], "samples": found["samples"]})
        mean, deviation = np.array(found["proxy_features"])
        history.keep_proxy(name, known["proxy"], [mean - deviation, mean + deviation])  # with this mean and deviation
        history.record(
            Result(f"embedded:{candidate}", name, ACCURACY, accuracy, settings, {"source": known["command"]})
            for candidate, accuracy in found["accuracies"].items()
        )


def measure_truth(
    zoo: Zoo, seeds: Sequence[int] = TRUTH_SEEDS, progress: Callable[[str, int, float], None] | None = None
) -> dict[str, Any]:
    """Fine-tunes every candidate of the zoo with every seed, on the CPU: half a minute for each seed on one core.

    Args:
        zoo: the embedded zoo.
        seeds: of the new head, the order of rows and dropout; the rows are the same for all.
        progress: called with the candidate's name, the seed and the accuracy after each run.
    """
    probe = Probe.of(demo_dataset(), holdout=0.5)  # any share: the holdout is the validation split
    assert probe.holdout is not None
    candidates: dict[str, Any] = {}
    for candidate in zoo.search("*"):
        backbone = zoo.load(candidate)
        accuracies = []
        for seed in seeds:
            accuracy = verify(backbone, probe.training, probe.holdout, FINE_TUNING, seed=seed).accuracy
            accuracies.append(round(accuracy, 6))
            if progress:
                progress(candidate.name, seed, accuracy)
        candidates[candidate.name] = {
            "revision": candidate.revision,
            "mean": round(float(np.mean(accuracies)), 6),
            "sd": round(float(np.std(accuracies, ddof=1)), 6) if len(accuracies) > 1 else None,
            "accuracies": accuracies,
        }
    return {
        "dataset": DESCRIPTION,
        "training_rows": len(probe.training),
        "holdout_rows": len(probe.holdout),
        "settings": asdict(FINE_TUNING),
        "seeds": list(seeds),
        "command": TRUTH_COMMAND,
        "candidates": candidates,
    }


def _on_canvas(digit: NDArray[np.float64]) -> PILImage:
    """8 x 8 values from 0 to 16, drawn about as large as the letters that some networks were trained on."""
    from PIL import Image

    canvas = Image.new("L", (CANVAS, CANVAS))
    size = CANVAS * 5 // 8
    pixels = Image.fromarray(np.rint(digit * (255 / 16)).astype(np.uint8))
    canvas.paste(pixels.resize((size, size), Image.Resampling.BILINEAR), ((CANVAS - size) // 2,) * 2)
    return canvas
