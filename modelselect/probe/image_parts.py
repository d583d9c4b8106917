"""Rows that are parts of images: pixels with masks, and boxes. Images are decoded once for several of their parts."""

from __future__ import annotations

import abc
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe import images
from modelselect.probe.grouped import GroupedRows
from modelselect.probe.images import Reading, UnreadableError
from modelselect.probe.labels import Labels
from modelselect.probe.memory import channels_first
from modelselect.probe.rows import IMAGE, Check, reason_of
from modelselect.utils.boxes import Box
from modelselect.utils.containers import array_of_tensor, is_sequence, is_tensor
from modelselect.utils.pixels import Pixel

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT = 8
"""Decoded images that are kept, since several parts of an image follow each other."""

Load = Callable[[], Any]
"""Gives an image as it is stored."""


class ImageParts(GroupedRows):
    """Rows that are parts of images.

    Args:
        images: of each image: its name, and a function that gives it.
        labels: of all rows.
        unit: what a row is.
        groups: (N,) the number of each row's image, ascending.
        upright: whether the EXIF orientation is applied.
    """

    def __init__(
        self,
        images: Sequence[tuple[str, Load]],
        labels: Labels,
        unit: str,
        groups: NDArray[np.int64],
        *,
        upright: bool = False,
    ) -> None:
        super().__init__(IMAGE, labels, unit, groups)
        self.reading = Reading(upright=upright)
        self._images = images
        self._recent: OrderedDict[int, Image] = OrderedDict()
        self._lock = threading.Lock()
        self._faults: dict[int, Check] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recent": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_lock": threading.Lock()}

    @abc.abstractmethod
    def place(self, row: int) -> list[float]:
        """Where a part is in its image: two parts of an image with the same place are the same."""

    @abc.abstractmethod
    def refuse_other(self, group: int, image: Image) -> None:
        """Raises if what is said of an image does not suit it.

        Raises:
            DatasetError: its size is another one.
        """

    def raw(self, row: int) -> Any:
        return self._stored(int(self.groups[row]))

    def check(self, rows: Iterable[int]) -> list[Check]:
        rows = list(rows)
        new = sorted({int(self.groups[row]) for row in rows} - set(self._faults))
        self._faults.update(zip(new, self._each(self._checked_image, new), strict=True))
        return [self._check_of(row, self._faults[int(self.groups[row])]) for row in rows]

    def digests(self, rows: Iterable[int]) -> list[bytes | None]:
        return [None if check.reason is not None else check.digest for check in self.check(rows)]

    def name(self, group: int) -> str:
        """The name of an image."""
        return self._images[group][0]

    def decoded(self, group: int) -> Image:
        """An image in RGB."""
        with self._lock:
            if group in self._recent:
                return self._recent[group]
        raw = self._stored(group)
        image = images.decode(raw, self._reading_of(raw))
        with self._lock:
            self._recent[group] = image
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return image

    def _stored(self, group: int) -> Any:
        return stored(self._images[group][1])

    def _checked_image(self, group: int) -> Check:
        try:
            image = self.decoded(group)
        except DatasetError:
            raise
        except Exception as error:
            return Check(b"", reason_of(error))
        self.refuse_other(group, image)
        return Check(hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest(), None)

    def _check_of(self, row: int, of_image: Check) -> Check:
        if of_image.reason is not None:
            return of_image
        return Check(hashlib.sha256(of_image.digest + repr(self.place(row)).encode()).digest(), None)


def stored(load: Load) -> Any:
    """An image as it is stored; arrays have their channels last.

    Raises:
        UnreadableError: it is missing.
    """
    given = load()
    if given is None:
        raise UnreadableError("missing")
    return np.moveaxis(given, 0, -1) if isinstance(given, np.ndarray) and channels_first(given) else given


def without_place(item: Any) -> Any:
    """What a module runs on: the image of a pixel or a box; other items as they are."""
    return item.image if isinstance(item, Pixel | Box) else item


def images_in(inputs: Any) -> Any:
    """The images in memory as a sequence, an array for a tensor; None for anything else."""
    if is_tensor(inputs):
        inputs = array_of_tensor(inputs)
    return inputs if is_sequence(inputs) else None


def as_given(value: Any) -> Any:
    """An image in memory as it is stored."""
    return array_of_tensor(value) if is_tensor(value) else value


def cell(table: Any, read: Callable[[str], bytes], row: int, column: str) -> Any:
    """The content of an image in a table; None if it is missing.

    Args:
        table: a `datasets.Dataset` whose images are not decoded.
        read: gives the content of a file that the table names.
        row: its number.
        column: of images, or of paths.
    """
    value = table[row][column]
    if isinstance(value, dict):
        if value["bytes"] is not None:
            return value["bytes"]
        value = value["path"]
    return read(value) if value else None
