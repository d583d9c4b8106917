"""`Probe`: the sample of the user's dataset that every candidate is evaluated on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError, ModelSelectError, contained, message_of
from modelselect.probe.drawing import (
    CheckedRows,
    DrawingSettings,
    DrawnRows,
    draw,
    fingerprint_of,
    whole_number,
)
from modelselect.probe.faults import sparse, unread
from modelselect.probe.grouped import GroupedRows, Wholes
from modelselect.probe.images import Reading
from modelselect.probe.opening import ProbeSettings, open_dataset
from modelselect.probe.queries import draw_queries
from modelselect.probe.rows import TEXT, reason_of
from modelselect.utils.target_kinds import CLASSES, NUMBERS, RELEVANCE
from modelselect.utils.text import printable

__all__ = ["DEFAULT_HOLDOUT", "Probe"]

DEFAULT_HOLDOUT = 0.2
"""Share of the rows that `select()` holds out for verification if the dataset has no validation split."""

SHARE_LOOKED_AT = 0.5
"""Held-out rows that are looked at for unreadable ones even if nothing is fine-tuned, as a share of the probe's rows:
all of them where a fifth is held out, and the probe has all others."""


class Probe:
    """A labelled or unlabelled sample of a dataset, on which every candidate is evaluated. Made by `Probe.of`.

    Stratified, seeded, and fingerprinted by content; drawn from training or validation rows, never from a test split.
    Inputs are decoded on demand. A probe can be pickled: paths, references and arrays are kept, decoded images are not.

    Attributes:
        name: of the dataset.
        class_names: of the classes 0, 1, ..., or of the labels of label sets; empty if no row is labelled, and for
            numbers.
        seed: of the sample.
        holdout: rows to measure a fine-tuned candidate on; None if none were asked for.
    """

    def __init__(
        self,
        drawn_from: DrawnRows,
        settings: DrawingSettings,
        record: dict[str, Any],
        *,
        training: Probe | None = None,
        holdout: Probe | None = None,
        checked: CheckedRows | None = None,
    ) -> None:
        self.name = drawn_from.name
        self.class_names = drawn_from.class_names
        self.seed = settings.seed
        self.holdout = holdout
        self._training = training
        self._drawn_from = drawn_from
        self._settings = settings
        self._record = record
        self._known = checked

    @classmethod
    def of(  # noqa: PLR0913 (the public way to draw)
        cls,
        dataset: Any,
        *,
        size: int | None = 2000,
        seed: int = 0,
        holdout: float = 0.0,
        deduplicate: bool = False,
        label: str | tuple[str, ...] | None = None,
        input: str | tuple[str, str] | None = None,
        split: str | None = None,
        max_corrupt: float = 0.1,
        max_pixels: int | None = None,
        test_as_holdout: bool = False,
        may_keep_all: bool = False,
        targets: str | None = None,
    ) -> Probe:
        """A probe of a dataset.

        Sampled rows are read and decoded once, here: a corrupt row is reported in `skipped` and replaced by another row
        of its class, if there is one. The other rows of `training`, and those of `holdout`, are read on first use.
        Unlabelled rows are drawn only if there are too few labelled ones.

        Args:
            dataset: a folder `FOLDER/CLASS/*.jpg` or `FOLDER/{train,val}/CLASS/*.jpg`; a folder that
                `datasets.save_to_disk` made; the id of a dataset on the Hub, `owner/name[:config]` (a local folder of
                that name takes precedence); a `datasets.Dataset` or `DatasetDict`; a table
                (a file, a folder of such files, or a DataFrame of pandas or polars); a map-style
                `torch.utils.data.Dataset` of (image, label) pairs; `(inputs, labels)`, with None for no labels; or a
                dict of these by split. Inputs are a uint8 or uint16 array (N, H, W) or (N, H, W, C) of images, any
                other real array (N, ...), or a list of PIL images, of paths of image files, of strings, of pairs of
                strings or of arrays. Labels are integers, strings or booleans; -1 and None mean unlabelled. Or they
                are numbers, (N,) or (N, T), or sets of labels: a list of labels for each row, or 0 and 1 for each
                label, (N, C). For retrieval: a folder in the layout of BEIR, a dict of `corpus`, `queries` and `qrels`,
                or any of the others with a query as input and the text of a relevant document as label. A `Probe` is
                returned unchanged.
            size: maximum number of rows, 2 or more; None takes all.
            seed: of the sample and of the held-out rows.
            holdout: above 0, `Probe.holdout` is the dataset's validation split, or, without one, this share of every
                class of the training rows, cut off before sampling.
            deduplicate: of training rows with the same content (file, pixels, text), keep only the first, and none in
                the holdout.
            label: name of the label column, for datasets with columns, or several names.
            input: name of the column of images or texts, for datasets with columns, or two names for pairs of texts.
            split: the split to draw from; by default train, or validation without a train split. `"all"` says that the
                folders of a folder are classes, though they are called like splits.
            max_corrupt: maximum share of corrupt rows among those that were read.
            max_pixels: images with more pixels are not read and count as corrupt; None for twice PIL's
                `MAX_IMAGE_PIXELS`, from which PIL refuses an image by itself.
            test_as_holdout: make the labelled test split, if there is one, the holdout. For benchmarks, which judge
                methods and select no model.
            may_keep_all: hold nothing out where the ranking would lose more by it than a share of its rows, or where
                that is not needed: without labels, with fewer than five rows for a class on average, and with a
                validation split. The training rows are then still those of a probe that holds rows out, but for
                datasets of so few rows. `select()` draws like this if it fine-tunes nothing.
            targets: what the labels are: `"classes"`, `"numbers"`, `"label_sets"` or `"relevance"`. None: classes if
                they can be read as classes, else numbers if some are not whole, else sets of labels; relevance of a
                folder in the layout of BEIR and of a dict of the same.

        Raises:
            DatasetError: the dataset cannot serve as a probe; the message says what was given, what was expected, and
                what to do.

        >>> import numpy as np
        >>> pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
        >>> probe = Probe.of((pixels, ["cat"] * 20 + ["dog"] * 10), size=6)
        >>> probe
        Probe(arrays: 6 image rows, 2 classes)
        >>> probe.labels.tolist(), probe.class_names, probe.item(0).size
        ([0, 0, 0, 0, 1, 1], ('cat', 'dog'), (8, 8))
        """
        if isinstance(dataset, Probe):
            if input or label or split or max_pixels or targets not in (None, dataset.target_kind):
                raise DatasetError(
                    "the dataset is a Probe, whose rows are drawn already, so input=, label=, split=, max_pixels= and "
                    "targets= cannot apply. Leave them out, or give them to Probe.of() with the dataset itself."
                )
            return dataset
        settings = ProbeSettings(
            size=size,
            seed=seed,
            holdout=holdout,
            deduplicate=deduplicate,
            label=label,
            input=input,
            split=split,
            max_corrupt=max_corrupt,
            max_pixels=max_pixels,
            test_as_holdout=test_as_holdout,
            may_keep_all=may_keep_all,
            targets=targets,
        )
        with _explained():
            return cls._drawn(dataset, settings)

    @classmethod
    def _drawn(cls, dataset: Any, settings: ProbeSettings) -> Probe:
        opened = open_dataset(dataset, settings)
        drawing, record = settings.drawing, opened.record
        all_rows = replace(drawing, size=None)
        held_out = None if opened.held_out is None else cls(opened.held_out, all_rows, opened.held_out_record)
        whole = cls(opened.available, all_rows, record | {"requested_size": None}, holdout=held_out)
        probe = cls(opened.available, drawing, record, training=whole, holdout=held_out)
        probe._checked  # noqa: B018  read now, so that faults of the rows are reported here
        return probe

    @classmethod
    def again(cls, dataset: Any, provenance: Mapping[str, Any]) -> Probe:
        """The probe of a dataset that was drawn before; a `Probe` is returned unchanged.

        Where a budget was spent on a part of the probe, the whole probe is drawn.

        Args:
            dataset: the dataset of that time.
            provenance: `Probe.provenance` of that time, which may come from a file.

        Raises:
            DatasetError: see `of`.

        >>> drawn = Probe.of((["a", "b", "c", "d"], [0, 1, 0, 1]), size=2, seed=3)
        >>> Probe.again((["a", "b", "c", "d"], [0, 1, 0, 1]), drawn.provenance).fingerprint == drawn.fingerprint
        True
        """
        if isinstance(dataset, Probe):
            return dataset
        return cls.of(dataset, **ProbeSettings.of_record(provenance))

    def __len__(self) -> int:
        return len(self._checked.rows)

    def item(self, index: int) -> Any:
        """Row `index`, decoded: a PIL image in mode RGB, a string, or an array of its own.

        Raises:
            DatasetError: the row could be read when the probe was made, but not any more.
        """
        rows, row = self._drawn_from.rows, int(self._checked.rows[index])
        try:
            return rows.item(row)
        except Exception as error:
            raise DatasetError(
                f"{rows.row_name(row)} of {self.name} could be read when the probe was made, but not now "
                f"({reason_of(error)}). Do not change the dataset while it is used."
            ) from error

    def row_name(self, index: int) -> str:
        """What row `index` is called: the path of its file, where it has one, else its number in the dataset."""
        return self._drawn_from.rows.row_name(int(self._checked.rows[index]))

    def take(self, rows: NDArray[np.integer[Any]]) -> Probe:
        """The probe of some of its rows, in ascending order; `training` and `holdout` stay the same.

        Args:
            rows: (M,) the rows' numbers in this probe, each once. M = N returns this probe itself.
        """
        rows = np.unique(rows)
        if len(rows) == len(self):
            return self
        source, positions, labels = self._drawn_from.rows, self._checked.rows[rows], self._checked.labels[rows]
        labels.flags.writeable = False
        targets = None if self._checked.targets is None else self._checked.targets.take(rows)
        digests = [check.digest for check in source.check(positions.tolist())]
        whole = {"fingerprint": self.fingerprint, "requested_size": self._record["requested_size"]}
        fingerprint = fingerprint_of(self.modality, digests, labels, targets)
        return Probe(
            replace(self._drawn_from, positions=positions, labels=labels, targets=targets),
            self._settings,
            {"part_of": whole} | self._record | {"requested_size": len(rows)},
            training=self.training,
            holdout=self.holdout,
            checked=CheckedRows(positions, labels, fingerprint, self.skipped, targets),
        )

    def redrawn(self, *, size: int | None = None, per_class: int | None = None, seed: int = 0) -> Probe:
        """Another probe of the same training rows; `training` and `holdout` stay the same.

        Args:
            size: maximum number of rows, 2 or more; None takes all.
            per_class: instead of a size, maximum number of rows of each class. Unlabelled rows are not drawn.
            seed: of the sample.

        Raises:
            DatasetError: the rows are all of one class, too many are corrupt, or the dataset has no labels for
                `per_class`.
        """
        if self._training is not None:
            return self._training.redrawn(size=size, per_class=per_class, seed=seed)
        if per_class is not None and (not self.class_names or self.target_kind != CLASSES):
            raise DatasetError(f"{self.name} has no classes, so rows of each class cannot be drawn; give a size.")
        size = None if size is None else whole_number("size", size, 2)
        probe = Probe(
            self._drawn_from,
            replace(self._settings, seed=whole_number("seed", seed, 0), size=size, per_class=per_class),
            self._record | {"seed": seed, "requested_size": size, "requested_per_class": per_class},
            training=self,
            holdout=self.holdout,
        )
        probe._checked  # noqa: B018  read now, so that faults of the rows are reported here
        return probe

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) int64, read-only: the index into `class_names`, or -1 for unlabelled rows.

        None if no row is labelled, and for targets that are no classes.
        """
        return self._checked.labels if self.class_names and self.target_kind == CLASSES else None

    @property
    def target_kind(self) -> str:
        """What is to be predicted: `"classes"`, `"numbers"`, `"label_sets"` or `"relevance"`."""
        return self._drawn_from.target_kind

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the T columns of `targets`; the names of the classes where the targets are classes."""
        found = self._drawn_from.targets
        return self.class_names if found is None else found.names

    @property
    def targets(self) -> NDArray[Any] | None:
        """What is to be predicted of each row: `labels`, or (N, T) float64, read-only; None if no row is labelled.

        Of label sets, 1 says that the row has the label, 0 that it has not, and NaN that this is not known. Relevance
        is read by `modelselect.utils.relevance.Relevance.of`.
        """
        found = self._checked.targets
        if found is None:
            return self.labels
        found.values.flags.writeable = False
        return found.values

    @property
    def strata(self) -> NDArray[np.int64]:
        """(N,) the stratum of each row: its class, its bin of numbers, or its rarest label; -1 for unlabelled rows."""
        return self._checked.labels

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def modality(self) -> str:
        """`"image"`, `"text"`, `"audio"` or `"array"`."""
        return self._drawn_from.rows.modality

    @property
    def unit(self) -> str:
        """What a row is: `"row"` for an input of its own, `"word"` of a sentence, `"pixel"` or `"box"` of an image."""
        return self._drawn_from.rows.unit

    @property
    def wholes(self) -> Wholes | None:
        """The sentences or images that the rows are parts of; None if each row is an input of its own."""
        rows = self._drawn_from.rows
        if not isinstance(rows, GroupedRows):
            return None
        return Wholes.of(rows, self._checked.rows, self.class_names, self.fingerprint)

    @property
    def n_inputs(self) -> int:
        """The number of inputs to draw from: rows, or the sentences or images that rows are parts of."""
        drawn = self._drawn_from
        groups = drawn.rows.groups
        return len(drawn.positions) if groups is None else len(np.unique(groups[drawn.positions]))

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """(N,) the sentence or image that each row is a part of; None if each row is an input of its own."""
        groups = self._drawn_from.rows.groups
        return None if groups is None else groups[self._checked.rows]

    @property
    def holds_pairs(self) -> bool:
        """True if each row is a pair of texts."""
        return self.modality == TEXT and isinstance(self.item(0), tuple)

    @property
    def labels_in_own_type(self) -> tuple[int | str | bool, ...]:
        """The name of each class; the label itself, an integer or a boolean, where the dataset has no names."""
        if self.target_kind != CLASSES:
            return self.target_names
        labels = self._drawn_from.rows.labels
        own = {name: label for name, label in zip(labels.names, labels.originals, strict=True) if str(label) == name}
        return tuple(own.get(name, name) for name in self.class_names)

    @property
    def reading(self) -> Reading:
        """How the images become pixels."""
        return self._drawn_from.rows.reading

    @property
    def training(self) -> Probe:
        """All training rows that are not held out: the rows that the sample was drawn from."""
        return self if self._training is None else self._training

    @property
    def fingerprint(self) -> str:
        """Hex digest of the rows' content, labels and order. It does not depend on where the dataset is stored."""
        return self._checked.fingerprint

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(name, reason) of every file or row that was read and cannot be used."""
        return self._checked.skipped

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the rows that the user should read: what was left out, and what was read in a special way.

        What holds only for the rows that are held out begins with "In the held-out rows:".
        """
        rows, available = self._drawn_from.rows, self.training._drawn_from.labels  # noqa: SLF001  (a Probe, too)
        few = sparse(self._checked.labels, available, self.class_names) if self.target_kind == CLASSES else []
        own = tuple(map(printable, (*self._remarks_on_targets, *rows.remarks, *few, *unread(self.skipped))))
        if self.holdout is None:
            return own
        held = self.holdout._drawn_from.rows  # noqa: SLF001  (a Probe, too)
        faults = self._held_out_faults
        said = self.holdout._remarks_on_targets  # noqa: SLF001  (a Probe, too)
        others = [remark for remark in map(printable, (*said, *held.remarks, *faults)) if remark not in own]
        return (*own, *(f"In the held-out rows: {remark}" for remark in others))

    @property
    def _remarks_on_targets(self) -> tuple[str, ...]:
        found = self._drawn_from.targets
        if found is not None and found.kind == RELEVANCE:
            found = self._checked.targets
        return self._drawn_from.rows.labels.remarks if found is None else found.remarks

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the rows come from and how they were drawn; can be written as JSON."""
        labels = self._checked.labels
        of_classes = self.target_kind == CLASSES
        counts = np.bincount(labels[labels >= 0], minlength=self.n_classes).tolist() if of_classes else []
        return self._record | {
            "rows": len(self),
            "class_rows": counts,
            "unlabelled_rows": int((labels < 0).sum()),
            "modality": self.modality,
            "fingerprint": self.fingerprint,
            "skipped": [list(entry) for entry in self.skipped],
            "remarks": list(self.remarks),
        }

    def __repr__(self) -> str:
        checked = self._known  # printing must not read the dataset
        count = len(self._drawn_from.positions) if checked is None else len(checked.rows)
        unread = " not yet read" if checked is None else ""
        what = f"{self.n_classes} classes"
        if self.target_kind == RELEVANCE:
            strata = self._drawn_from.labels if checked is None else checked.labels
            what = f"{int((strata == 0).sum())} queries"
        elif self.target_kind != CLASSES:
            what = f"{len(self.target_names)} {'numbers' if self.target_kind == NUMBERS else 'labels'} each"
        return f"Probe({self.name}: {count} {self.modality} rows{unread}, {what})"

    @property
    def _checked(self) -> CheckedRows:
        """The sample, which the first use draws; every row was read and decoded once."""
        if self._known is None:
            if self._drawn_from.are_queries:
                self._known = draw_queries(self._drawn_from, self._settings)
            else:
                self._known = draw(self._drawn_from, self._settings, keep_every_class=self._training is not None)
        return self._known

    @cached_property
    def _held_out_faults(self) -> tuple[str, ...]:
        """Sentences on held-out rows that cannot be read. Of many held-out rows, only some are read for that."""
        assert self.holdout is not None
        held, drawn = self.holdout, self.holdout._drawn_from  # noqa: SLF001  (a Probe, too)
        most = max(1, round(SHARE_LOOKED_AT * len(self)))
        try:
            if len(drawn.positions) <= most:
                skipped: Sequence[tuple[str, str]] = held.skipped
            else:
                places = drawn.positions[np.linspace(0, len(drawn.positions) - 1, most, dtype=np.int64)].tolist()
                checks = zip(places, drawn.rows.check(places), strict=True)
                skipped = [(drawn.rows.row_name(place), check.reason) for place, check in checks if check.reason]
        except DatasetError as error:  # fine-tuning needs these rows, and ranking does not
            return (str(error),)
        return tuple(unread([entry for entry in skipped if entry not in self.skipped]))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What a dataset's own code raises, or a library that reads it, is a `DatasetError` afterwards."""
    try:
        with contained():
            yield
    except ModelSelectError:
        raise
    except Exception as error:
        raise DatasetError(
            f"the dataset cannot be read ({type(error).__name__}: {' '.join(message_of(error).split())}). Check that "
            "each row can be read by itself, or give (inputs, labels)."
        ) from error
