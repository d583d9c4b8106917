"""Training dynamics: what the geometry of the features says after each epoch of a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError
from modelselect.estimators.estimator import evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.host.lookup import find_estimator

if TYPE_CHECKING:
    import pandas as pd
    import torch

Batches: TypeAlias = Callable[[], Iterable[tuple[Any, Any]]]
"""Makes batches of inputs and labels."""

Features: TypeAlias = "Callable[[torch.nn.Module, Any], torch.Tensor]"
"""From a module and inputs to (B, D) features."""

WATCHED = ("persistence", "nc")
"""What a training can be watched for."""

ROWS = 2048
"""Rows that the measures are computed on, as in the persistence paper's experiment with CIFAR-100."""

_PERSISTENCE = ("H_sep", "H_tight", "H_ratio")


def neural_collapse(
    features: ArrayLike, labels: ArrayLike, weight: ArrayLike | None = None, bias: ArrayLike | None = None
) -> dict[str, float]:
    """How far features and a linear classifier are from neural collapse; all values go to 0 in the collapse.

    V. Papyan, X. Y. Han, D. L. Donoho: Prevalence of neural collapse during the terminal phase of deep learning
    training, PNAS 117(40), 2020.

    Args:
        features: (N, D), the input of the classifier.
        labels: (N,) integers from 0 to C - 1, the rows of the classifier's weight.
        weight: (C, D) of the classifier; without it, `nc3` and `nc4` are absent.
        bias: (C,) of the classifier; None for zeros.

    Returns:
        `nc1`, variability within classes: tr(S_W pinv(S_B)) / C; `nc2_norms`, the deviation of the lengths of the
        centred class means over their mean; `nc2_angles`, the mean distance of their cosines from -1 / (C - 1); `nc3`,
        the squared distance between the weight and the centred class means, each divided by its Frobenius norm; `nc4`,
        the share of rows for which the classifier and the nearest class mean name different classes.

    Raises:
        InvalidInputError: shapes do not fit, or there are fewer than two classes.

    >>> corners = np.repeat(np.eye(3), 4, axis=0)
    >>> found = neural_collapse(corners, np.repeat([0, 1, 2], 4), np.eye(3) - 1 / 3)
    >>> {name: abs(round(value, 6)) for name, value in found.items()}
    {'nc1': 0.0, 'nc2_norms': 0.0, 'nc2_angles': 0.0, 'nc3': 0.0, 'nc4': 0.0}
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),):
        raise InvalidInputError(f"features have shape {x.shape} and labels {y.shape}; expected (N, D) and (N,)")
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InvalidInputError(f"the labels name {len(classes)} class; neural collapse needs two or more")
    means = np.zeros((len(classes), x.shape[1]))
    np.add.at(means, codes, x)
    means /= counts[:, None]
    centred = means - means.mean(axis=0)
    within, between = x - means[codes], centred / np.sqrt(len(classes))
    # tr(S_W pinv(B'B)) from the singular vectors of B, so that no D x D matrix is made.
    _, singular, right = np.linalg.svd(between, full_matrices=False)
    kept = singular > singular[0] * 1e-10 if singular[0] > 0 else np.zeros(len(singular), bool)
    spread = ((within @ right[kept].T) ** 2).mean(axis=0)
    norms = np.linalg.norm(centred, axis=1)
    unit = centred / np.where(norms > 0, norms, 1.0)[:, None]
    cosines = (unit @ unit.T)[~np.eye(len(classes), dtype=bool)]
    found = {
        "nc1": float((spread / singular[kept] ** 2).sum() / len(classes)),
        "nc2_norms": float(norms.std() / norms.mean()) if norms.mean() > 0 else 0.0,
        "nc2_angles": float(np.abs(cosines + 1 / (len(classes) - 1)).mean()),
    }
    if weight is None:
        return found
    w = np.asarray(weight, np.float64)
    if w.ndim != 2 or w.shape[1] != x.shape[1] or classes[0] < 0 or classes[-1] >= len(w):
        raise InvalidInputError(
            f"weight has shape {w.shape}; expected ({classes[-1] + 1} or more, {x.shape[1]}), a row for each class"
        )
    shown = w[classes]
    lengths = np.linalg.norm(shown), np.linalg.norm(centred)
    difference = shown / (lengths[0] or 1.0) - centred / (lengths[1] or 1.0)
    b = np.zeros(len(w)) if bias is None else np.asarray(bias, np.float64)
    predicted = (x @ w.T + b).argmax(axis=1)
    distances = (means**2).sum(axis=1) - 2 * x @ means.T
    nearest = classes[distances.argmin(axis=1)]
    return found | {"nc3": float((difference**2).sum()), "nc4": float((predicted != nearest).mean())}


class TrainingDynamics:
    """Collects measures of the features after each epoch of a training.

    `verify(..., watch=TrainingDynamics())` watches a fine-tuning. A loop of your own calls `record` with arrays, or
    `after_epoch` with a module. `trainer_callback` makes a callback for `transformers.Trainer`.

    Args:
        watch: what is computed: `"persistence"` (`H_sep`, `H_tight`, `H_ratio` of the persistence paper), `"nc"` (see
            `neural_collapse`), or both.
        rows: largest number of training rows that it is computed on; they are the same for all epochs.
        seed: of the sample of rows.

    Attributes:
        epochs: for each epoch, the measures by name, and `epoch`.

    Raises:
        InvalidInputError: `watch` names something else, or `rows` is below 2.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> dynamics = TrainingDynamics()
    >>> for gap in (1, 10):  # the classes move apart
    ...     dynamics.record(rng.normal(size=(100, 4)) + gap * labels[:, None], labels)
    >>> [moment["epoch"] for moment in dynamics.epochs], dynamics.epochs[1]["nc1"] < dynamics.epochs[0]["nc1"]
    ([1, 2], True)
    """

    def __init__(self, watch: str | Iterable[str] = WATCHED, *, rows: int = ROWS, seed: int = 0) -> None:
        self.watch = (watch,) if isinstance(watch, str) else tuple(watch)
        unknown = [name for name in self.watch if name not in WATCHED]
        if unknown or not self.watch:
            raise InvalidInputError(f"watch is {list(self.watch)}; expected one or both of {', '.join(WATCHED)}")
        if not isinstance(rows, int) or rows < 2:
            raise InvalidInputError(f"rows is {rows!r}; expected a whole number of 2 or more")
        self.rows, self.seed = rows, seed
        self.epochs: list[dict[str, float]] = []

    def sample(self, labels: ArrayLike) -> NDArray[np.int64]:
        """The numbers of the rows that are watched, in ascending order; the same at every call."""
        count = len(np.asarray(labels))
        if count <= self.rows:
            return np.arange(count)
        return np.sort(np.random.default_rng(self.seed).choice(count, self.rows, replace=False))

    def record(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        **more: float,
    ) -> None:
        """Adds an epoch.

        Args:
            features: (N, D) after the epoch; the caller has drawn the sample.
            labels: (N,) integers.
            weight: (C, D) of the classifier, for `nc3` and `nc4`.
            bias: (C,) of the classifier.
            more: other measures of the epoch, such as `loss`.
        """
        x, y = np.asarray(features, np.float64), np.asarray(labels)
        moment: dict[str, float] = {"epoch": len(self.epochs) + 1, **more}
        if "persistence" in self.watch:
            evidence = Evidence.of(features=x, labels=y, seed=self.seed)
            components = evaluate(find_estimator("persistence"), evidence)
            moment |= {name: components[name] for name in _PERSISTENCE}
        if "nc" in self.watch:
            moment |= neural_collapse(x, y, weight, bias)
        self.epochs.append(moment)

    def after_epoch(
        self,
        module: torch.nn.Module,
        batches: Iterable[tuple[Any, Any]],
        features: Features | None = None,
        **more: float,
    ) -> None:
        """Adds an epoch of a training loop of your own.

        Args:
            module: the network; its mode is put back afterwards.
            batches: (inputs, labels), the same rows in the same order at each call. Rows beyond the sample are ignored.
            features: from module and inputs to (B, D); None for the input of the module's last linear layer, whose
                weight is then the classifier.
            more: other measures of the epoch, such as `loss`.

        Raises:
            InvalidInputError: `features` is None, and the module has no linear layer.
        """
        import torch

        head = None if features is not None else _last_linear(module)
        seen: list[Any] = []
        found, targets = [], []
        training = {name: part.training for name, part in module.named_modules()}
        module.eval()
        hook = None if head is None else head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            with torch.no_grad():
                for inputs, labels in batches:
                    if features is not None:
                        found.append(features(module, inputs).float().cpu())
                    else:
                        module(inputs)
                        found.append(seen.pop().float().cpu())
                    targets.append(torch.as_tensor(labels).cpu())
        finally:
            if hook is not None:
                hook.remove()
            for name, part in module.named_modules():
                part.training = training[name]
        x, y = torch.cat(found).numpy(), torch.cat(targets).numpy()
        chosen = self.sample(y)
        classifier = (
            ()
            if head is None
            else tuple(
                None if tensor is None else tensor.detach().float().cpu().numpy() for tensor in (head.weight, head.bias)
            )
        )
        self.record(x[chosen], y[chosen], *classifier, **more)

    def trainer_callback(
        self,
        batches: Batches,
        features: Features | None = None,
    ) -> Any:
        """A callback for `transformers.Trainer` that adds an epoch at the end of each.

        Args:
            batches: makes the batches for `after_epoch`; called at the end of each epoch.
            features: as for `after_epoch`.
        """
        return _TrainerCallback(self, batches, features)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each epoch."""
        import pandas as pd

        return pd.DataFrame(self.epochs)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The measures by epoch, as figure 2 of the persistence paper shows them.

        Needs matplotlib: `pip install "modelselect-automl[plots]"`.

        Args:
            path: where to write the figure, such as `dynamics.png`; None writes none.

        Returns:
            The figure of matplotlib.

        Raises:
            InvalidInputError: no epoch was recorded.
        """
        return plot_dynamics({"": self.epochs}, path)


class _TrainerCallback:
    """What `transformers.Trainer` takes as a callback: it has a method for every event."""

    def __init__(self, dynamics: TrainingDynamics, batches: Batches, features: Features | None) -> None:
        self._dynamics, self._batches, self._features = dynamics, batches, features

    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._dynamics.after_epoch(known["model"], self._batches(), self._features)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *arguments, **known: None


def plot_dynamics(curves: Mapping[str, Sequence[Mapping[str, float]]], path: str | os.PathLike[str] | None) -> Any:
    """The measures by epoch of several trainings, each measure in a panel of its own.

    Raises:
        InvalidInputError: no epoch was recorded.
    """
    from matplotlib.figure import Figure

    measured = dict.fromkeys(name for epochs in curves.values() for moment in epochs for name in moment)
    names = [name for name in measured if name != "epoch"]
    if not names:
        raise InvalidInputError("no epoch was recorded; train with watch=, or call record() or after_epoch() first")
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for label, epochs in curves.items():
            panel.plot([m["epoch"] for m in epochs], [m.get(name, np.nan) for m in epochs], marker=".", label=label)
        panel.set_title(name)
        panel.set_xlabel("epoch")
    for panel in panels[len(names) :]:
        panel.axis("off")
    if any(curves):
        panels[0].legend(fontsize="small")
    if path is not None:
        figure.savefig(Path(path), dpi=110)
    return figure


def _last_linear(module: torch.nn.Module) -> torch.nn.Linear:
    import torch

    layers = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    if not layers:
        raise InvalidInputError(
            f"{type(module).__name__} has no linear layer, so its features cannot be found; give features="
        )
    return layers[-1]
