"""ITM: simulates fine-tuning as a learned map to one cluster for each class.

Y. Zheng, H. Wang, N. Zhou, D. Huang: Implicit modeling for transferability estimation of vision foundation models,
NeurIPS 2025. The version for review (anonymous, 2024) is followed where it says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample

Array = NDArray[np.floating[Any]]


class ITM(Estimator):
    """Validation accuracy, between 0 and 1, of implicit transferability modelling, averaged over several runs.

    Fine-tuning pulls the rows of each class together, more easily for some models than for others. To simulate this, a
    small map that embeds the features is learned; each row then takes one step of gradient descent towards the
    pseudo-cluster centre of its class, and a head learns to predict the classes from the moved rows. The score is the
    accuracy on held-out rows.

    In short: Accuracy after a simulated fine-tuning of the features.

    Formula: in each run, four fifths of the rows train a linear map from the (standardised) features to C dimensions,
    whose rows are scaled to length 1 (E), and a linear head on `E - C (E - e_y)`, where e_y is the centre of class y.
    By default `C = (eta / B) E E'` for a batch of B rows, and this E is held constant. The loss is the cross-entropy of
    the head, plus `centre_weight` times the mean squared distance to the centres; the optimiser is AdamW. The accuracy
    on the last fifth is measured every 100 iterations, and the best one counts.

    Args:
        rate: eta.
        anchor: the paper's dis_b, for its adaptive rate: 1 - (1 - eta) anchor / d, between 0 and 1, where d is the mean
            distance of the standardised features to their class means. A number; `"dimension"`: the square root of D,
            which is that of features without classes; `"pool"`: the mean over the pool, interpolated between five
            rates, so that it takes five times as long and needs a pool; `"none"`: the same rate for all. None for
            `"none"` in the form `"code"` and `"dimension"` in `"paper"`.
        centre_weight: the paper's lambda, to which it gives no value. None for 0 in the form `"code"` and 1 in
            `"paper"`.
        steps: the paper's n: number of steps towards the centres.
        centres: `"one-hot"`; `"random"` orthogonal ones; the eigenvectors of the scatter (`"pca"`) or of the graph
            Laplacian (`"laplacian"`) of C random points.
        standardise: scale features to mean 0 and deviation 1 over all rows.
        leak_labels: whether validation rows also take the step towards the centre of their own class; see below. None
            for True in the form `"code"` and False in `"paper"`.
        iterations: of AdamW; the same as in the paper.
        batch_size: the same as in the paper.
        runs: number of runs to average; single runs of the port vary by 0.03 to 0.08. Five runs hold out each row once,
            and are trained side by side on the same batches.
        max_rows: with more rows than this, one sample of this size that keeps the class shares; None uses all rows.
        form: `"code"`, or `"paper"` for the appendix: each row moves by itself, at a rate of its candidate's own.
        matrix: C: `"first"` for (eta / B) E E' of the first E in all steps, `"current"` for that of the E that each
            step starts from, `"rate"` for eta. None for `"first"` in the form `"code"` and `"rate"` in `"paper"`.

    Components: `itm` is the accuracy. With `anchor="pool"`: `distance`, and the accuracy at each of five ratios of the
    base distance to it; the pool decides which one counts.

    Limits: With few rows for validation, the accuracy is coarse, and many candidates tie. The score is random: single
    runs vary, and candidates with smaller differences than that cannot be distinguished.

    Code and paper: The authors' code is at https://github.com/BUAAHugeGun/ITM; it could not be read here, and the
    default follows an unofficial port of it, with which it agrees within its variation over seeds. In plain words, the
    default measures how well a linear classifier generalises. Its step hardly moves a row: E E' / B has as many
    eigenvalues as there are classes, each about the inverse of their number, so a row goes by a share of about eta
    divided by the number of classes towards its centre. With
    a rate of 0 instead of 0.5, the scores hardly change.

    Measured on the twelve embedded networks, eight datasets and 100 rows (150 iterations), the mean weighted Kendall
    correlation with fine-tuning is 0.41 for the default, 0.40 for `rate=0`, 0.50 for `rate=3`, 0.38 for
    `leak_labels=False`, 0.42 and 0.45 for centres by PCA and Laplacian, and 0.40 for five steps with the current E.
    `form="paper"` has 0.38, and 0.41 with the same rate for all; with 0 and 10 as the weight of the centres, that is
    0.35 and 0.36. The largest of these differences, 0.09, is 1.2 standard errors. On 14 small
    networks, three datasets and 300 rows, with a linear probe as truth, it is 0.85 for the default, 0.84 for `rate=0`
    and 0.76 for `form="paper"` with the same rate for all.

    - C is (eta / B) E E', as a public summary gives it for the published version. The version for review has eta E E'
      in equation 7, and eta alone in equations 9 and 10: `matrix="rate"`.
    - All candidates have the same rate. The version for review adapts it (equation 12): `anchor="dimension"`.
    - The distance to the centres is no part of the loss. The paper adds it as L_pc: `centre_weight=1.0`.
    - Validation rows also take the step towards the centre of their own class, as in the port. **This leaks their
      labels**; the paper does not say: `leak_labels=False`.
    - The first E makes C in all steps. In equation 7 it is the E of each step: `matrix="current"`, if there are several
      steps (`steps=2`).
    - The score is the mean over five runs. The paper has one: `runs=1`.

    Source: sections 3.2 to 3.4, 4.4.3 and appendix A.3 of the version for review.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + 3 * labels[:, None]
    >>> ms.score(features, labels, "itm") > ms.score(features, rng.permutation(labels), ITM(leak_labels=False))
    True
    """

    name = "itm"
    requires = frozenset({"features", "labels"})
    citation = (
        "Y. Zheng, H. Wang, N. Zhou, D. Huang: Implicit Modeling for Transferability Estimation of Vision Foundation "
        "Models, NeurIPS 2025; the version for review: Anonymous: Generalizable Transferability Estimation of "
        "Foundation Vision Models via Implicit Learning, 2024"
    )
    cost = "iterative"
    stochastic = True

    def __init__(
        self,
        rate: float = 0.5,
        anchor: float | Literal["none", "dimension", "pool"] | None = None,
        centre_weight: float | None = None,
        steps: int = 1,
        centres: Literal["one-hot", "random", "pca", "laplacian"] = "one-hot",
        standardise: bool = True,
        leak_labels: bool | None = None,
        iterations: int = 500,
        batch_size: int = 256,
        runs: int = 5,
        max_rows: int | None = 20_000,
        form: Literal["code", "paper"] = "code",
        matrix: Literal["first", "current", "rate"] | None = None,
    ) -> None:
        self.rate = rate
        self.anchor = anchor
        self.centre_weight = centre_weight
        self.steps = steps
        self.centres = centres
        self.standardise = standardise
        self.leak_labels = leak_labels
        self.iterations = iterations
        self.batch_size = batch_size
        self.runs = runs
        self.max_rows = max_rows
        self.form = form
        self.matrix = matrix

    @property
    def relative(self) -> bool:  # type: ignore[override]
        """True if the base distance is that of the pool."""
        return self.anchor == "pool"

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        self._check()
        indices, n_classes = class_indices(evidence.labels, self.name)
        given: NDArray[Any] = evidence.features
        if self.max_rows is not None and len(indices) > self.max_rows:
            sample = stratified_sample(indices, self.max_rows, np.random.default_rng(evidence.seed))
            given, indices = given[sample], indices[sample]
        features = np.array(given, dtype=np.float32)
        standardised = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = np.sqrt(np.square(standardised).mean(axis=0, dtype=np.float64)).astype(np.float32)
        standardised /= np.where(deviation > 0, deviation, 1)
        rows = standardised if self.standardise else features
        if self.relative:
            distance = _distance(standardised, indices, n_classes)
            found = {_at(ratio): self._accuracy(rows, indices, self._rate(ratio), evidence.seed) for ratio in _RATIOS}
            return {"distance": distance, **found}
        rate = self._rate(self._ratio(standardised, indices, n_classes))
        return {self.name: self._accuracy(rows, indices, rate, evidence.seed)}

    def combine(self, scores: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """The accuracies; with the base distance of the pool, each at the rate that belongs to its distance."""
        if not self.relative:
            return super().combine(scores)
        distances = np.maximum([found["distance"] for found in scores], _TINY)
        ratios = distances.mean() / distances
        return np.array(
            [
                np.interp(ratio, _RATIOS, [found[_at(each)] for each in _RATIOS])
                for ratio, found in zip(ratios, scores, strict=True)
            ]
        )

    def _check(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            number = name == "anchor" and isinstance(value, int | float)
            if not number and value not in allowed:
                expected = " or ".join(map(repr, allowed)) + (" or a number" if name == "anchor" else "")
                raise InvalidInputError(f"{name} is {value!r}; expected {expected}")

    def _chosen(self, name: str) -> Any:
        """A parameter's value; where it is None, that of the form."""
        value = getattr(self, name)
        return _FORMS[self.form][name] if value is None else value

    def _ratio(self, standardised: Array, indices: NDArray[np.int64], n_classes: int) -> float:
        """The base distance over that of these features; 1 where all have the same rate."""
        anchor = self._chosen("anchor")
        if anchor == "none":
            return 1.0
        base = standardised.shape[1] ** 0.5 if anchor == "dimension" else anchor
        return float(base / max(_distance(standardised, indices, n_classes), _TINY))

    def _rate(self, ratio: float) -> float:
        """Equation 12."""
        return float(np.clip(1 - (1 - self.rate) * ratio, 0, 1)) if ratio != 1 else self.rate

    def _accuracy(self, rows: Array, indices: NDArray[np.int64], rate: float, seed: int) -> float:
        """The mean over the runs."""
        from threadpoolctl import threadpool_limits

        dynamics = _Dynamics(rate, self._chosen("matrix"), self.steps, self._chosen("centre_weight"))
        accuracies: list[float] = []
        with threadpool_limits(1):  # the order of sums, and so the result, depends on the number of threads
            for first in range(0, self.runs, _FOLDS):
                n_runs = min(self.runs - first, _FOLDS)
                rng = np.random.default_rng([seed, first])
                accuracies += self._accuracies(rows, indices, dynamics, n_runs, rng)
        return float(np.mean(accuracies))

    def _accuracies(
        self, rows: Array, indices: NDArray[np.int64], dynamics: _Dynamics, n_runs: int, rng: np.random.Generator
    ) -> list[float]:
        """Of runs that each hold out another fifth; those with nothing to hold out are left out."""
        n_classes, leak = int(indices.max()) + 1, self._chosen("leak_labels")
        folds = _folds(indices, n_classes, rng)
        validation = [np.flatnonzero(folds == run) for run in range(n_runs)]
        if len(validation[0]) == 0:
            raise NotApplicableError(
                f"{self.name} validates on rows that it does not train on, and {len(rows)} rows of {n_classes} classes "
                "leave none; give a larger probe"
            )
        validation = [held_out for held_out in validation if len(held_out)]
        runs = np.arange(len(validation))
        models = _Models(rows.shape[1], self._centres(len(runs), n_classes, rng), dynamics, rng)
        batches = _batches(folds, self.batch_size * _FOLDS // (_FOLDS - 1), rng)
        best = np.zeros(len(runs))
        for iteration, batch in zip(range(1, self.iterations + 1), batches, strict=False):
            models.learn(rows[batch], indices[batch], (folds[batch] != runs[:, None]).astype(np.float32))
            if iteration % _VALIDATE_EVERY == 0 or iteration == self.iterations:
                for run, held_out in enumerate(validation):
                    parts = np.split(held_out, range(self.batch_size, len(held_out), self.batch_size))
                    right = sum(
                        (models.predict(run, rows[p], indices[p] if leak else None) == indices[p]).sum() for p in parts
                    )
                    best[run] = max(best[run], right / len(held_out))
        accuracies: list[float] = best.tolist()
        return accuracies

    def _centres(self, n_runs: int, n_classes: int, rng: np.random.Generator) -> Array:
        """(R, C, C): for each run the centre of each class."""
        if self.centres == "one-hot":
            return np.broadcast_to(np.eye(n_classes, dtype=np.float32), (n_runs, n_classes, n_classes))
        points = rng.normal(size=(n_runs, n_classes, n_classes))
        if self.centres == "random":
            return np.linalg.qr(points)[0].astype(np.float32)
        if self.centres == "pca":
            points -= points.mean(axis=1, keepdims=True)
            symmetric = points.swapaxes(1, 2) @ points
        else:
            products = points @ points.swapaxes(1, 2)
            norms = np.diagonal(products, axis1=1, axis2=2)
            squares = norms[:, :, None] + norms[:, None] - 2 * products
            nearness = np.exp(-squares / (2 * n_classes))  # 2 C is the mean of the squared distances of such points
            symmetric = np.eye(n_classes) * nearness.sum(axis=2)[:, None] - nearness
        return np.ascontiguousarray(np.linalg.eigh(symmetric)[1].swapaxes(1, 2), dtype=np.float32)


_FORMS: dict[str, dict[str, Any]] = {
    "code": {"matrix": "first", "anchor": "none", "centre_weight": 0.0, "leak_labels": True},
    "paper": {"matrix": "rate", "anchor": "dimension", "centre_weight": 1.0, "leak_labels": False},
}
"""What parameters that are None stand for."""

_ALLOWED: dict[str, tuple[str | None, ...]] = {
    "form": ("code", "paper"),
    "matrix": (None, "first", "current", "rate"),
    "anchor": (None, "none", "dimension", "pool"),
    "centres": ("one-hot", "random", "pca", "laplacian"),
}
_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Base distances over a candidate's distance at which its accuracy is measured, for a base that is not known yet."""

_TINY = 1e-12


def _at(ratio: float) -> str:
    return f"ratio {ratio}"


def _distance(standardised: Array, indices: NDArray[np.int64], n_classes: int) -> float:
    """Mean distance of the rows to the means of their classes: the appendix's dis."""
    means = np.stack([standardised[indices == c].mean(axis=0) for c in range(n_classes)])
    return float(np.linalg.norm(standardised - means[indices], axis=1).mean())


_FOLDS = 5
_VALIDATE_EVERY = 100
_LEARNING_RATE, _WEIGHT_DECAY = 5e-3, 1e-2
_MOMENTUM, _VARIANCE_MOMENTUM, _EPSILON = 0.9, 0.999, 1e-8  # AdamW's usual values


@dataclass(frozen=True)
class _Dynamics:
    """How embeddings move towards the centres of their classes.

    Attributes:
        rate: eta.
        matrix: which C; see `ITM`.
        steps: n.
        centre_weight: lambda.
    """

    rate: float
    matrix: str
    steps: int
    centre_weight: float

    def moved(self, embedding: Array, target: Array, counts: Any) -> tuple[Array, list[Array]]:
        """(..., B, C) differences to the centres after the steps, and the embeddings that make C in each of them."""
        difference: Array = embedding - target
        makers: list[Array] = []
        for step in range(self.steps):
            makers.append(difference + target if step and self.matrix == "current" else embedding)
            difference = self.along(difference, makers[-1:], counts)
        return difference, makers

    def along(self, vectors: Array, makers: Iterable[Array], counts: Any) -> Array:
        """(I - C) for each of the makers in turn, times (..., B, C) vectors; never forms the B x B matrix."""
        for maker in makers:
            if self.matrix == "rate":
                vectors = (1 - self.rate) * vectors
            else:
                vectors = vectors - maker @ ((self.rate / counts) * (maker.swapaxes(-1, -2) @ vectors))
        return vectors


class _Models:
    """R models, learned side by side: the linear map, the step towards the centres, the head; gradients, AdamW.

    The maps are joined in one (D, R C) matrix, so that a batch needs one product. A row counts only for the models that
    use it: for the others, its embedding and its gradient are zero.
    """

    def __init__(self, width: int, centres: Array, dynamics: _Dynamics, rng: np.random.Generator) -> None:
        self.centres, self.dynamics = centres, dynamics
        n_runs, n_classes, _ = centres.shape
        self.parameters = [
            rng.uniform(-bound, bound, shape).astype(np.float32)
            for bound, shape in (
                (width**-0.5, (width, n_runs * n_classes)),
                (width**-0.5, (1, n_runs * n_classes)),
                (n_classes**-0.5, (n_runs, n_classes, n_classes)),
                (n_classes**-0.5, (n_runs, 1, n_classes)),
            )
        ]
        self.first = [np.zeros_like(parameter) for parameter in self.parameters]
        self.second = [np.zeros_like(parameter) for parameter in self.parameters]
        self.updates = 0

    def predict(self, run: int, rows: Array, classes: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """(B,) classes by one model; given the true ones, the rows take their steps towards them first."""
        weights, bias, heads, head_bias = self.parameters
        n_classes = heads.shape[1]
        own = slice(run * n_classes, (run + 1) * n_classes)
        output = rows @ weights[:, own] + bias[:, own]
        embedding: Array = output / _lengths(output)
        if classes is not None:
            target = self.centres[run, classes]
            embedding = self.dynamics.moved(embedding, target, len(rows))[0] + target
        predicted: NDArray[np.int64] = (embedding @ heads[run] + head_bias[run]).argmax(axis=1)
        return predicted

    def learn(self, rows: Array, classes: NDArray[np.int64], used: Array) -> None:
        """One iteration of AdamW on one batch; `used` is (R, B), 1 where a model learns from a row and 0 elsewhere."""
        self._update(self.gradients(rows, classes, used))

    def losses(self, rows: Array, classes: NDArray[np.int64], used: Array, makers: Sequence[Array] = ()) -> Array:
        """(R,) mean losses of a batch; `makers` are the embeddings that make the matrices of the steps, if given."""
        _, _, heads, head_bias = self.parameters
        embedding, _ = self._embed(rows, used)
        target = self.centres[:, classes]
        makers = makers or self.dynamics.moved(embedding, target, _counts(used))[1]
        difference = self.dynamics.along(embedding - target, makers, _counts(used))
        logits = (difference + target) @ heads + head_bias
        logits -= logits.max(axis=2, keepdims=True)
        entropy = np.log(np.exp(logits).sum(axis=2)) - logits[:, np.arange(len(rows)), classes]
        entropy += self.dynamics.centre_weight * np.square(difference).sum(axis=2)
        losses: Array = (entropy * used).sum(axis=1) / used.sum(axis=1)
        return losses

    def gradients(self, rows: Array, classes: NDArray[np.int64], used: Array) -> list[Array]:
        """Of the sum of `losses`, by the parameters."""
        _, _, heads, head_bias = self.parameters
        counts, target = _counts(used), self.centres[:, classes]
        embedding, lengths = self._embed(rows, used)
        difference, makers = self.dynamics.moved(embedding, target, counts)
        moved = difference + target
        residual: Array = moved @ heads
        residual += head_bias
        residual -= residual.max(axis=2, keepdims=True)
        np.exp(residual, out=residual)
        shares = used[:, :, None] / counts
        residual *= shares / residual.sum(axis=2, keepdims=True)
        residual[:, np.arange(len(rows)), classes] -= shares[:, :, 0]
        at_moved: Array = residual @ heads.transpose(0, 2, 1)
        if self.dynamics.centre_weight:
            at_moved += 2 * self.dynamics.centre_weight * shares * difference
        at_output = self.dynamics.along(at_moved, reversed(makers), counts)  # the matrices are symmetric
        at_output -= embedding * (at_output * embedding).sum(axis=2, keepdims=True)
        at_output /= lengths
        beside = at_output.transpose(1, 0, 2).reshape(len(rows), -1)
        return [
            rows.T @ beside,
            beside.sum(axis=0, keepdims=True),
            moved.transpose(0, 2, 1) @ residual,
            residual.sum(axis=1, keepdims=True),
        ]

    def _embed(self, rows: Array, used: Array) -> tuple[Array, Array]:
        """(R, B, C) embeddings, and (R, B, 1) the lengths before they were scaled to 1."""
        weights, bias = self.parameters[:2]
        beside = rows @ weights
        beside += bias
        output = np.ascontiguousarray(beside.reshape(len(rows), len(used), -1).transpose(1, 0, 2))
        lengths = _lengths(output)
        output *= used[:, :, None] / lengths
        return output, lengths

    def _update(self, gradients: list[Array]) -> None:
        self.updates += 1
        # `first` and `second` are AdamW's moments divided by (1 - momentum); the two factors correct for this.
        rate = _LEARNING_RATE * (1 - _MOMENTUM) / (1 - _MOMENTUM**self.updates)
        spread = ((1 - _VARIANCE_MOMENTUM) / (1 - _VARIANCE_MOMENTUM**self.updates)) ** 0.5
        for arrays in zip(self.parameters, gradients, self.first, self.second, strict=True):
            flat = [array.reshape(-1) for array in arrays]
            for start in range(0, flat[0].size, _CACHED):
                parameter, gradient, first, second = (array[start : start + _CACHED] for array in flat)
                first *= _MOMENTUM
                first += gradient
                second *= _VARIANCE_MOMENTUM
                gradient *= gradient
                second += gradient
                np.sqrt(second, out=gradient)
                gradient *= spread / rate
                gradient += _EPSILON / rate
                np.divide(first, gradient, out=gradient)
                parameter *= 1 - _LEARNING_RATE * _WEIGHT_DECAY
                parameter -= gradient


_CACHED = 1 << 14  # numbers that are processed at a time


def _counts(used: Array) -> Array:
    """(R, 1, 1) rows that each model uses."""
    counts: Array = np.maximum(used.sum(axis=1), 1)[:, None, None]
    return counts


def _lengths(vectors: Array) -> Array:
    """(..., 1), none so small that dividing by it overflows."""
    lengths: Array = np.maximum(np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True)), 1e-12)
    return lengths


def _folds(indices: NDArray[np.int64], n_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) fifths 0..4 that keep the class shares; -1, never held out, for the only row of a class."""
    shuffled = rng.permutation(len(indices))
    by_class = shuffled[np.argsort(indices[shuffled], kind="stable")]
    single = np.bincount(indices, minlength=n_classes)[indices[by_class]] == 1
    folds = np.full(len(indices), -1)
    folds[by_class[~single]] = np.arange(len(indices) - single.sum()) % _FOLDS
    return folds


def _batches(folds: NDArray[np.int64], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Batches of row numbers without end, in a new order in each epoch, with an even share of every fold in each."""
    while True:
        place = np.empty(len(folds))
        for fold in range(-1, _FOLDS):
            rows = rng.permutation(np.flatnonzero(folds == fold))
            place[rows] = (np.arange(len(rows)) + rng.random()) / max(len(rows), 1)
        order = np.argsort(place)
        for start in range(0, len(order), size):
            yield order[start : start + size]


def moved_rows(evidence: Evidence, rate: float = 0.5, iterations: int = 500) -> Array:
    """(N, C) the rows after one learned map and their step towards the centres of their classes, as in figure 7.

    In the form of the appendix: each row moves by itself, at the adaptive rate of its candidate.

    Args:
        evidence: features, and labels of all rows, which all train the map.
        rate: as of `ITM`.
        iterations: as of `ITM`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> moved_rows(Evidence.of(features=features, labels=labels)).shape
    (100, 2)
    """
    indices, n_classes = class_indices(np.asarray(evidence.labels), ITM.name)
    rows = np.array(evidence.features, dtype=np.float32)
    rows -= rows.mean(axis=0)
    deviation = rows.std(axis=0)
    rows /= np.where(deviation > 0, deviation, 1)
    ratio = rows.shape[1] ** 0.5 / max(_distance(rows, indices, n_classes), _TINY)
    dynamics = _Dynamics(float(np.clip(1 - (1 - rate) * ratio, 0, 1)), "rate", 1, 1.0)
    rng = np.random.default_rng(evidence.seed)
    centres = np.eye(n_classes, dtype=np.float32)
    models = _Models(rows.shape[1], centres[None], dynamics, rng)
    batches = _batches(_folds(indices, n_classes, rng), _BATCH, rng)
    for _, batch in zip(range(iterations), batches, strict=False):
        models.learn(rows[batch], indices[batch], np.ones((1, len(batch)), np.float32))
    weights, bias = models.parameters[:2]
    output = rows @ weights + bias
    difference, _ = dynamics.moved(output / _lengths(output), centres[indices], len(rows))
    moved: Array = difference + centres[indices]
    return moved


_BATCH = 256  # rows of a batch where only one map is learned


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [ITM()]
