"""`Protocol`: a published experiment as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MEAN = "mean"
"""Stands for a dataset in a published table: the mean over the datasets."""

SCORE = "score"
"""Stands for a measure where a document prints the scores themselves, by model."""

Values = Mapping[str, Mapping[str, float]]
"""By row and column of a table."""


@dataclass(frozen=True, slots=True)
class Method:
    """An estimator with its settings: a row of a table.

    Attributes:
        label: the row's name in the published table.
        estimator: the registered name.
        settings: arguments of the estimator's class; the others keep their defaults.
        proxy: the candidate whose features describe the dataset, in this row alone; None for that of the protocol.
        train_proxy: whether the proxy is fine-tuned on each dataset first.
        dimensions: number of principal components that features are reduced to: those that the estimator reads, or, if
            it goes by the scores of another on other datasets, those that the other reads. None for all dimensions.
    """

    label: str
    estimator: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    proxy: str | None = None
    train_proxy: bool = False
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Figures that a document prints.

    Attributes:
        where: the place in the document, such as `Table 1`.
        measure: an attribute of `modelselect.Agreement`, or `score` for the scores themselves.
        values: by label of the method and dataset, of scores by label and model. The dataset `mean` is the mean over
            the datasets.
        factor: what the figures are multiplied by in the document: 100 for per cent.
    """

    where: str
    measure: str
    values: Values
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class TruthTable:
    """Accuracies after fine-tuning that were measured by others.

    Attributes:
        name: `truth:NAME` stands for the table wherever known accuracies are asked for.
        accuracies: in per cent, by dataset and by the table's name of the model.
        source: the repository or the document that holds the figures.
        commit: of the repository; empty for a document.
        licence: that the source states; `none stated` otherwise.
        models: by the table's name of a model, the candidate's id without the revision.
        note: what a user of the table must know.
    """

    name: str
    accuracies: Values
    source: str
    commit: str = ""
    licence: str = "none stated"
    models: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A table or figure of a document.

    Attributes:
        where: the place in the document, such as `Figure 5`.
        shows: what the table or figure shows, in a few words.
        obstacle: why the experiment cannot be run, whatever is downloaded; empty if it can.
    """

    where: str
    shows: str
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is watched from epoch to epoch.

    Attributes:
        architectures: candidate expressions.
        epochs: of the training.
        batch_size: rows in one step.
        learning_rate: of the optimiser at the start.
        watched: what is computed after each epoch: `persistence`, `nc`.
        rows: number of training rows that it is computed on.
        optimizer: `sgd` or `adamw`.
        pretrained: whether weights are those of the candidates, and a fifth of the rows shows the accuracy of each
            epoch; else they are random, and all rows are trained on.
    """

    architectures: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    watched: tuple[str, ...] = ("persistence", "nc")
    rows: int = 2048
    optimizer: str = "sgd"
    pretrained: bool = False


@dataclass(frozen=True, slots=True)
class Architectures:
    """A comparison of architectures; no weights are needed.

    Attributes:
        expressions: of the candidates.
        similarities: pairs of the expressions, and the cosine similarity of their vectors in the document.
    """

    expressions: tuple[str, ...]
    similarities: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """A published experiment, so that one command runs it. Register one with `modelselect_register_protocols`.

    Attributes:
        name: lower-case letters, digits, `_` and `-`; `modelselect reproduce NAME` runs it.
        title: what the experiment is, in one line.
        document: authors, title, venue and year.
        experiments: the tables and figures of the document that the protocol makes or explains.
        candidates: candidate expressions.
        datasets: by the name in the tables, what `select()` takes, such as `data:cifar10`.
        truth: what the scores are compared with.
        methods: the rows of the table.
        published: the figures of the document.
        measures: attributes of `modelselect.Agreement`; the first heads the table.
        probe_size: number of rows of the probe; None for all rows of the dataset.
        probe_sizes: further sizes of the probe.
        per_class: further sizes of the probe, in rows of each class.
        seeds: number of probes of each size.
        source: the dataset of pre-training, for methods that read it.
        source_size: number of its rows; None for all.
        proxy: the candidate whose features describe the dataset, for methods that read them; None for the default.
        fine_tuning: how accuracies are measured where there is no truth: arguments of `modelselect.FineTuning`, and
            perhaps `method`, which is `full`, `head` or `lora`; None if only a truth will do.
        by_hand: which weights or data no command downloads, and where they are; empty if there are none.
        hours: rough time of a whole run on one GPU, without downloads.
        quick: by estimator, the settings that make it quick on a stand-in.
        training: a training to watch, in place of scores.
        architectures: architectures to compare, in place of scores.
        picture: what draws a figure of features, in place of scores: a function, as `module:function`. It gets the
            `Evidence` by dataset and candidate id (features, labels, source probabilities, metadata; nothing without
            `datasets`), and returns a figure of matplotlib.

    >>> Protocol("mine", "My table.", "A. Author: My paper, 2026.", (Experiment("Table 1", "agreement"),)).name
    'mine'
    """

    name: str
    title: str
    document: str
    experiments: tuple[Experiment, ...]
    candidates: tuple[str, ...] = ()
    datasets: Mapping[str, str] = field(default_factory=dict)
    truth: TruthTable | None = None
    methods: tuple[Method, ...] = ()
    published: tuple[Published, ...] = ()
    measures: tuple[str, ...] = ("weighted_kendall",)
    probe_size: int | None = None
    probe_sizes: tuple[int, ...] = ()
    per_class: tuple[int, ...] = ()
    seeds: int = 1
    source: str | None = None
    source_size: int | None = 2000
    proxy: str | None = None
    fine_tuning: Mapping[str, Any] | None = None
    by_hand: str = ""
    hours: float = 1.0
    quick: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Training | None = None
    architectures: Architectures | None = None
    picture: str = ""

    @property
    def obstacle(self) -> str:
        """Why no experiment of the protocol can be run, whatever is downloaded; empty if one can."""
        obstacles = [experiment.obstacle for experiment in self.experiments]
        return obstacles[0] if obstacles and all(obstacles) else ""
