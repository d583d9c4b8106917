"""`Rows`: what every source of data gives a probe: all labels at once, and inputs one by one."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from modelselect.errors import DatasetError
from modelselect.probe import images
from modelselect.probe.labels import Labels
from modelselect.utils.system import usable_cores

IMAGE, TEXT, ARRAY = "image", "text", "array"

_Result = TypeVar("_Result")


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
        labels: of all rows.
        skipped: (name, reason) of everything that was refused before any row was read.
        notes: for the provenance; can be written as JSON.
        remarks: sentences for the user, on the terminal and the board: what was left out, or how rows are read.
    """

    source: ClassVar[str]
    has_columns: ClassVar[bool] = False
    concurrent: ClassVar[bool] = True

    def __init__(self, modality: str, labels: Labels) -> None:
        self.modality = modality
        self.labels = labels
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.notes: dict[str, Any] = {}
        self.remarks: tuple[str, ...] = ()
        self._checks: dict[int, Check] = {}

    @abc.abstractmethod
    def raw(self, row: int) -> Any:
        """The input as it is stored: the bytes of an image file, a PIL image, an array (pixels or numbers), a text, or
        a pair of texts.

        Raises:
            UnreadableError: the row cannot be read. (Any other exception counts as the same.)
            DatasetError: the whole dataset is unusable.
        """

    def row_name(self, row: int) -> str:
        """The row's name in reports."""
        return f"row {row}"

    def __len__(self) -> int:
        return len(self.labels.indices)

    def item(self, row: int) -> Any:
        """The decoded input: a PIL image in RGB, a string, a tuple of two strings, or a copy of an array."""
        raw = self.raw(row)
        if isinstance(raw, (str, tuple)):
            return raw
        if isinstance(raw, bytes):
            return images.decode(raw)
        if not isinstance(raw, np.ndarray):
            return images.rgb(raw)
        if self.modality == IMAGE:
            return images.from_pixels(raw)
        return raw.copy()

    def check(self, rows: Iterable[int]) -> list[Check]:
        """Reads and decodes rows; the result for each is kept."""
        rows = list(rows)
        new = [row for row in rows if row not in self._checks]
        self._checks.update(zip(new, self._each(self._check, new), strict=True))
        return [self._checks[row] for row in rows]

    def digests(self, rows: Iterable[int]) -> list[bytes | None]:
        """Digest of each row's content, without decoding it; None for rows that cannot be read."""
        return self._each(self._digest, list(rows))

    def _check(self, row: int) -> Check:
        digest = b""
        try:
            raw = self.raw(row)
            digest = _digest(raw)
            if isinstance(raw, bytes):
                images.verify(raw)
            elif not isinstance(raw, (str, tuple, np.ndarray)):
                images.rgb(raw)
            return Check(digest, None)
        except DatasetError:
            raise
        except Exception as error:
            return Check(digest, reason_of(error))

    def _digest(self, row: int) -> bytes | None:
        try:
            return _digest(self.raw(row))
        except DatasetError:
            raise
        except Exception:
            return None

    def _each(self, function: Callable[[int], _Result], rows: Sequence[int]) -> list[_Result]:
        threads = usable_cores() if self.concurrent and len(rows) > 1 else 1
        with images.bombs_without_warnings():
            if threads == 1:
                return [function(row) for row in rows]
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(function, rows))


def reason_of(error: Exception) -> str:
    """One line that is the same in every run: without local paths and memory addresses."""
    if isinstance(error, images.UnreadableError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _digest(raw: Any) -> bytes:
    """SHA-256 of a row's content and of its kind, so that equal bytes of different kinds differ."""
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
    digest = hashlib.sha256(header.encode() + b"\0")
    digest.update(content)
    return digest.digest()
