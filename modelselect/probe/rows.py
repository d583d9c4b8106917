"""`Rows`: what every source of data gives a probe: all labels at once, and inputs one by one."""

from __future__ import annotations

import abc
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe import images, sounds
from modelselect.probe.images import Reading
from modelselect.probe.labels import GivenLabels, Labels
from modelselect.probe.targets import Targets, read_targets
from modelselect.utils.system import usable_cores
from modelselect.utils.target_kinds import CLASSES, ROW

IMAGE, TEXT, ARRAY, AUDIO = "image", "text", "array", "audio"

_LOOKED_AT, _ENOUGH = (256, 1024, 4096, 16384), 128
"""Numbers of rows in which the range of deep grey is looked for, until that many of them are deep grey."""

_Result = TypeVar("_Result")

_one_looks = threading.RLock()


class Check(NamedTuple):
    """The result of reading a row to its end: a digest of its content, and why it is unusable (None: it is usable)."""

    digest: bytes
    reason: str | None


class Rows(abc.ABC):
    """The rows of one split. Picklable: it holds paths or references, never decoded inputs.

    Attributes:
        source: what kind of dataset the rows come from.
        has_columns: True if `input` and `label` can name columns of the dataset.
        concurrent: True if rows may be read from several threads.
        modality: of every input.
        given_labels: of all rows, as the dataset holds them.
        skipped: (name, reason) of everything that was refused before any row was read.
        notes: for the provenance; can be written as JSON.
        remarks: sentences for the user, on the terminal and the board: what was left out, or how rows are read.
        reading: how images become pixels.
        unit: what a row is: an input of its own, or a part of one, such as a word of a sentence.
        groups: (N,) the input that each row is a part of; None if each row is one.
    """

    source: ClassVar[str]
    has_columns: bool = False
    concurrent: ClassVar[bool] = True
    unit: str = ROW
    groups: NDArray[np.int64] | None = None

    def __init__(self, modality: str, labels: Labels | GivenLabels) -> None:
        self.modality = modality
        self.given_labels = labels
        self._targets: dict[str | None, Labels | Targets] = {}
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.notes: dict[str, Any] = {}
        self.remarks: tuple[str, ...] = ()
        self.reading = Reading()
        self._white_from: Rows = self
        self._looked = False
        self._checks: dict[int, Check] = {}

    @abc.abstractmethod
    def raw(self, row: int) -> Any:
        """The input as it is stored: the bytes of an image file or a sound file, a PIL image, an array (pixels or
        numbers), a text, or a pair of texts.

        Raises:
            UnreadableError: the row cannot be read. (Any other exception counts as the same.)
            DatasetError: the whole dataset is unusable.
        """

    def row_name(self, row: int) -> str:
        """The row's name in reports."""
        return f"row {row}"

    def __len__(self) -> int:
        given = self.given_labels
        return len(given.indices) if isinstance(given, Labels) else given.n_rows

    @property
    def labels(self) -> Labels:
        """The class of each row.

        Raises:
            DatasetError: the labels are no classes.
        """
        found = self.targets(CLASSES)
        assert isinstance(found, Labels)
        return found

    def targets(self, kind: str | None) -> Labels | Targets:
        """The labels as targets of a kind; see `read_targets`.

        Raises:
            DatasetError: the labels are no targets of that kind.
        """
        if kind not in self._targets:
            self._targets[kind] = read_targets(self.given_labels, kind)
        return self._targets[kind]

    def bound(self, max_pixels: int) -> None:
        """Sets the number of pixels above which an image is refused."""
        self.reading = replace(self.reading, max_pixels=max_pixels)

    def shown_as(self, training: Rows) -> None:
        """Sets that deep grey has the same white, and an image the same bound, as in the training rows."""
        self._white_from = training
        self.reading = replace(self.reading, max_pixels=training.reading.max_pixels)

    def item(self, row: int) -> Any:
        """The decoded input: a PIL image in RGB, a string, a tuple of two strings, a copy of an array, a `Waveform`."""
        raw = self.raw(row)
        if self.modality == AUDIO:
            return sounds.decode(raw)
        if not self._is_image(raw):
            return raw.copy() if isinstance(raw, np.ndarray) else raw
        return images.decode(raw, self._reading_of(raw))

    def check(self, rows: Iterable[int]) -> list[Check]:
        """Reads and decodes rows; the result for each is kept."""
        rows = list(rows)
        new = [row for row in rows if row not in self._checks]
        self._checks.update(zip(new, self._each(self._check, new), strict=True))
        return [self._checks[row] for row in rows]

    def digests(self, rows: Iterable[int]) -> list[bytes | None]:
        """Digest of each row's content, without decoding it; None for rows that cannot be read."""
        return self._each(self._digest, list(rows))

    def _is_image(self, raw: Any) -> bool:
        if self.modality == AUDIO or isinstance(raw, (str, tuple)):
            return False
        return self.modality == IMAGE or not isinstance(raw, np.ndarray)

    def _reading_of(self, raw: Any) -> Reading:
        """The reading with the white of deep grey, which is looked for when the first such row is met."""
        if self.reading.white is None and images.needs_white(raw, self.reading):
            with _one_looks:
                if not self._looked:
                    self._set_white()
        return self.reading

    def _set_white(self) -> None:
        self._looked = True
        white = self._white_from.white()
        if white is None and self._white_from is not self:
            white = self.white()
        if white is not None:
            self.reading = replace(self.reading, white=white)
            depth = white.bit_length()
            self._remark(f"These images hold {depth}-bit grey: values from 0 to {white} are shown as black to white.")

    def white(self) -> int | None:
        """The white of the deep grey in these rows, looked for in evenly spaced rows; None if there is no such row.

        Raises:
            DatasetError: most images hold negative values.
        """
        if self.reading.white is not None:
            return self.reading.white
        found: list[tuple[int, int]] = []
        for count in _LOOKED_AT:
            rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
            found = [values for values in self._each(self._extremes, rows.tolist()) if values is not None]
            if len(found) >= _ENOUGH or count >= len(self):
                break
        greatest = [high for low, high in found if low >= 0]
        if 2 * len(greatest) < len(found):
            least, most = min(low for low, _ in found), max(high for _, high in found)
            raise DatasetError(
                f"the images hold values from {least} to {most}, and where values are negative, as those of CT in "
                "Hounsfield units are, it is not known which are black and white. Choose a window of values, scale it "
                "to 0 to 255, and save the images with 8 bits; or give uint8 arrays as (inputs, labels)."
            )
        if not greatest:
            return None
        white, usual = images.white_above(greatest), int(np.median(greatest))
        if white > 255 and 4 * usual <= max(greatest):
            self._remark(
                f"Half of the images hold no value above {usual}, and the brightest one holds {max(greatest)}, so most "
                "are shown dark. If that is an error in a few images, remove them."
            )
        return white

    def _extremes(self, row: int) -> tuple[int, int] | None:
        try:
            raw = self.raw(row)
        except DatasetError:
            raise
        except Exception:
            return None
        return images.extremes(raw, self.reading) if self._is_image(raw) else None

    def _remark(self, sentence: str) -> None:
        with _one_looks:
            if sentence not in self.remarks:
                self.remarks += (sentence,)

    def _check(self, row: int) -> Check:
        try:
            raw = self.raw(row)
            if self.modality == AUDIO:
                sounds.decode(raw)
            if not self._is_image(raw):
                return Check(_digest(raw, ""), None)
            verified = images.verify(raw, self._reading_of(raw))
        except DatasetError:
            raise
        except Exception as error:
            return Check(b"", reason_of(error))
        if verified.remark is not None:
            self._remark(verified.remark)
        return Check(_digest(raw, verified.mark), None)

    def _digest(self, row: int) -> bytes | None:
        try:
            raw = self.raw(row)
            return _digest(raw, images.mark(raw, self._reading_of(raw)) if self._is_image(raw) else "")
        except DatasetError:
            raise
        except Exception:
            return None

    def _each(self, function: Callable[[int], _Result], rows: Sequence[int]) -> list[_Result]:
        threads = usable_cores() if self.concurrent and len(rows) > 1 else 1
        if threads == 1:
            return [function(row) for row in rows]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, rows))


Splits = Mapping[str, Callable[[], Rows]]
"""Functions that open the rows of each split, by its name; only those of used splits are called."""


def reason_of(error: Exception) -> str:
    """One line that is the same in every run: without local paths and memory addresses."""
    if isinstance(error, images.UnreadableError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _digest(raw: Any, mark: str) -> bytes:
    """SHA-256 of a row's content, of its kind, so that equal bytes of different kinds differ, and of `images.mark`."""
    if isinstance(raw, bytes):
        header, content = "file", raw
    elif isinstance(raw, str):
        header, content = "text", raw.encode("utf-8", "surrogatepass")
    elif isinstance(raw, tuple):
        first, second = (text.encode("utf-8", "surrogatepass") for text in raw)
        header, content = f"pair of texts {len(first)}", first + second
    elif isinstance(raw, np.ndarray):
        header, content = f"array {raw.dtype.str} {raw.shape}", raw.tobytes()
    else:
        palette = raw.getpalette() if raw.mode in ("P", "PA") else None
        header, content = f"pixels {raw.mode} {raw.size} {palette}", raw.tobytes()
    digest = hashlib.sha256(f"{header} {mark}".encode() if mark else header.encode())
    digest.update(b"\0")
    digest.update(content)
    return digest.digest()
