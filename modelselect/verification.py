"""How good is a candidate really: full fine-tuning on the training rows, accuracy with an interval on held-out rows."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import CandidateError, DatasetError, InvalidInputError, ModelSelectError, OutOfMemoryError
from modelselect.extraction import is_out_of_memory
from modelselect.spool import InputSpool

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone
    from modelselect.probe import Probe
    from modelselect.spool import Inputs

EpochProgress = Callable[[int, int, float], None]
"""Called with the epochs done, the epochs in all, and the mean training loss of the last one."""


@dataclass(frozen=True, slots=True)
class FineTuning:
    """The recipe: the same for every candidate, so that what differs is the candidate. AdamW, cosine after a warm-up.

    Attributes:
        epochs: passes over the training rows.
        backbone_learning_rate: peak, for the pre-trained weights.
        head_learning_rate: peak, for the fresh linear head.
        weight_decay: of matrices and kernels; biases and normalisation are left alone.
        batch_size: rows in one step. Where memory is short a step is computed in smaller parts.
        warm_up: share of all steps over which the learning rates rise from zero.

    Raises:
        InvalidInputError: a setting is outside its range.
    """

    epochs: int = 20
    backbone_learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 32
    warm_up: float = 0.1

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "backbone_learning_rate": (self.backbone_learning_rate > 0, "more than 0"),
            "head_learning_rate": (self.head_learning_rate > 0, "more than 0"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 2, "at least 2, as batch normalisation needs two rows"),
            "warm_up": (0 <= self.warm_up < 1, "from 0 up to, but not including, 1"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise InvalidInputError(f"FineTuning({name}={getattr(self, name)!r}): expected {expected}")

    def learning_rate_factor(self, step: int, steps: int) -> float:
        """What the peak rates are multiplied by at `step` of `steps`: up in a straight line, down along a cosine.

        >>> recipe = FineTuning(warm_up=0.2)
        >>> [round(recipe.learning_rate_factor(step, 10), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]
        """
        rising = round(self.warm_up * steps)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


@dataclass(frozen=True, slots=True)
class Verified:
    """What fine-tuning said of one candidate.

    Attributes:
        accuracy: share of the held-out rows that are classified correctly, from 0 to 1.
        interval: its 95% Wilson interval. It covers the chance of the held-out rows, not that of the training.
        correct: held-out rows classified correctly.
        rows: held-out rows, without the unlabelled.
        training_rows: rows fine-tuned on, without the unlabelled.
        training_loss: mean cross-entropy of the last epoch.
        largest_part: rows that were on the device at once; below the batch size where memory was short.
        seconds: wall time of it all.
    """

    accuracy: float
    interval: tuple[float, float]
    correct: int
    rows: int
    training_rows: int
    training_loss: float
    largest_part: int
    seconds: float


def verify(
    backbone: Backbone,
    training: Probe,
    holdout: Probe,
    settings: FineTuning | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    spool: InputSpool | None = None,
    progress: EpochProgress | None = None,
) -> Verified:
    """Fine-tune a copy of the whole backbone under a fresh linear head, and measure it on held-out rows.

    The backbone that was given is left as it was. The result depends on the arguments alone, not on what else was run
    before; the random state of the process is left as it was, too. (On CUDA, up to operations that have no
    deterministic form.) A class that `training` does not hold can never be predicted: its held-out rows are errors.

    Args:
        backbone: any; its `read` gives the features that the head is put on.
        training: labelled rows; -1 is left out.
        holdout: other rows with the same `class_names`.
        settings: the recipe; by default `FineTuning()`.
        seed: of the head's weights, the order of rows, and dropout.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, ...
        spool: where prepared inputs are shared between candidates; None prepares them for this call alone.
        progress: told after every epoch.

    Raises:
        DatasetError: fewer than two classes to train on, nothing to measure on, or class names that differ.
        CandidateError: the loss is not finite, or the forward pass fails.
        OutOfMemoryError: not even two rows fit.
    """
    import torch

    settings = settings or FineTuning()
    started = time.perf_counter()
    task = _Task.of(backbone, training, holdout, spool or InputSpool(None))
    largest_part = settings.batch_size
    while True:
        try:
            loss, correct = _fine_tune(backbone, task, settings, seed, device, largest_part, progress)
            break
        except Exception as error:
            if isinstance(error, ModelSelectError):
                raise
            if not is_out_of_memory(error):
                raise CandidateError(f"fine-tuning raised {type(error).__name__}: {error}") from error
            if largest_part <= 2:
                raise OutOfMemoryError(
                    f"fine-tuning does not fit into memory on {device!r}, even with two rows at a time. Use a device "
                    "with more memory, a smaller input size, or a smaller candidate."
                ) from None
        largest_part = max(2, largest_part // 2)  # from the start, so that the result is that of this size
        if torch.device(device).type == "cuda":
            gc.collect()  # what failed may hold itself in cycles
            torch.cuda.empty_cache()
    rows = len(task.holdout_labels)
    return Verified(
        accuracy=correct / rows,
        interval=wilson_interval(correct, rows),
        correct=correct,
        rows=rows,
        training_rows=len(task.targets),
        training_loss=loss,
        largest_part=largest_part,
        seconds=time.perf_counter() - started,
    )


def wilson_interval(correct: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a proportion that holds near 0 and 1, too.

    E. B. Wilson: Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    >>> low, high = wilson_interval(correct=9, rows=10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    if not 0 <= correct <= rows or rows == 0:
        raise InvalidInputError(
            f"{correct} correct of {rows} rows; expected 0 <= correct <= rows, and at least one row"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    # At the ends the formula is exact; rounding must not carry it past them.
    return (0.0 if correct == 0 else centre - half, 1.0 if correct == rows else centre + half)


@dataclass(frozen=True)
class _Task:
    """Prepared inputs and labels, unlabelled rows left out; `targets` count the classes that training holds."""

    inputs: Inputs
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    classes: NDArray[np.int64]
    holdout_inputs: Inputs
    holdout_rows: NDArray[np.int64]
    holdout_labels: NDArray[np.int64]

    @classmethod
    def of(cls, backbone: Backbone, training: Probe, holdout: Probe, spool: InputSpool) -> _Task:
        if list(training.class_names) != list(holdout.class_names):
            raise DatasetError(
                f"training has the classes {_shown(training.class_names)} and holdout {_shown(holdout.class_names)}; "
                "they must be the same, in the same order. Split one dataset, or give both the same label map."
            )
        labels, holdout_labels = np.asarray(training.labels), np.asarray(holdout.labels)
        rows, holdout_rows = np.flatnonzero(labels >= 0), np.flatnonzero(holdout_labels >= 0)
        classes, targets = np.unique(labels[rows], return_inverse=True)
        if len(classes) < 2:
            raise DatasetError(
                f"training has {len(rows)} labelled rows of {len(classes)} class; fine-tuning needs two classes"
            )
        if len(holdout_rows) == 0:
            raise DatasetError("holdout has no labelled row to measure on. Keep a part of the labelled rows apart.")
        return cls(
            spool.prepared(training, backbone.preprocessing),
            rows,
            targets,
            classes,
            spool.prepared(holdout, backbone.preprocessing),
            holdout_rows,
            holdout_labels[holdout_rows],
        )


def _fine_tune(
    backbone: Backbone,
    task: _Task,
    settings: FineTuning,
    seed: int,
    device: str,
    largest_part: int,
    progress: EpochProgress | None,
) -> tuple[float, int]:
    """Mean loss of the last epoch, and how many held-out rows are right."""
    import torch
    from torch.nn.functional import cross_entropy

    with _reproducible(seed, device):
        module = copy.deepcopy(backbone.module).to(device).eval()

        def features(inputs: Inputs, rows: NDArray[np.int64]) -> torch.Tensor:
            batch = backbone.preprocessing.finish(inputs[torch.from_numpy(rows)].to(device))
            return backbone.read(module, batch).features.float()

        with torch.no_grad():
            width = features(task.inputs, task.rows[:2]).shape[1]
        head = torch.nn.Linear(width, len(task.classes)).to(device)
        targets = torch.from_numpy(task.targets).to(device)
        optimizer = torch.optim.AdamW(_parameter_groups(module, head, settings))
        batches = _part_count(len(task.rows), settings.batch_size)
        steps = settings.epochs * batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: settings.learning_rate_factor(s, steps))
        order = np.random.default_rng(seed)
        loss = math.nan
        for epoch in range(settings.epochs):
            module.train()
            total = 0.0
            for batch in np.array_split(order.permutation(len(task.rows)), batches):
                optimizer.zero_grad()
                for part in np.array_split(batch, _part_count(len(batch), largest_part)):
                    logits = head(features(task.inputs, task.rows[part]))
                    part_loss = cross_entropy(logits, targets[torch.from_numpy(part)], reduction="sum")
                    (part_loss / len(batch)).backward()  # type: ignore[no-untyped-call]
                    total += part_loss.item()
                if not math.isfinite(total):
                    raise CandidateError(
                        f"the loss became {total} in epoch {epoch + 1} of fine-tuning. Lower the learning rates "
                        f"(backbone {settings.backbone_learning_rate:g}, head {settings.head_learning_rate:g})."
                    )
                optimizer.step()
                schedule.step()
            loss = total / len(task.rows)
            if progress:
                progress(epoch + 1, settings.epochs, loss)

        module.eval()
        correct = 0
        with torch.no_grad():
            for part in np.array_split(np.arange(len(task.holdout_rows)), -(-len(task.holdout_rows) // largest_part)):
                predicted = head(features(task.holdout_inputs, task.holdout_rows[part])).argmax(1).cpu().numpy()
                correct += int((task.classes[predicted] == task.holdout_labels[part]).sum())
    return loss, correct


def _part_count(rows: int, largest: int) -> int:
    """How many parts of nearly equal size to split rows into: none larger than wanted, and none of a single row.

    Batch normalisation cannot train on one row; so three rows in parts of two are one part of three.
    """
    return max(1, min(-(-rows // largest), rows // 2))


def _parameter_groups(module: torch.nn.Module, head: torch.nn.Linear, settings: FineTuning) -> list[dict[str, object]]:
    groups = []
    for part, rate in ((module, settings.backbone_learning_rate), (head, settings.head_learning_rate)):
        tensors = [p.requires_grad_() for p in part.parameters() if p.is_floating_point()]
        for decayed in (True, False):
            chosen = [p for p in tensors if (p.dim() > 1) == decayed]
            decay = settings.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups


@contextlib.contextmanager
def _reproducible(seed: int, device: str) -> Iterator[None]:
    """Everything random from the seed, full float32 precision, deterministic kernels; as before afterwards."""
    import torch

    kind = torch.device(device)
    with contextlib.ExitStack() as stack:
        if kind.type == "cuda":
            index = torch.cuda.current_device() if kind.index is None else kind.index
            stack.enter_context(torch.random.fork_rng(devices=[index]))
            stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        yield


def _shown(names: object) -> str:
    text = ", ".join(map(str, names)) if isinstance(names, (list, tuple)) else str(names)
    return text if len(text) <= 80 else f"{text[:77]}..."
