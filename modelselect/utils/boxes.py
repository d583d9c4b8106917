"""Boxes in an image, which models get to see with the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = "background"
"""The class of boxes that hold no object."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in an image.

    Attributes:
        image: in RGB.
        corners: left, upper, right and lower edge, as shares of the image's width and height, from 0 to 1.
        number: of the image in its dataset; boxes in one image have the same.
    """

    image: Image
    corners: tuple[float, float, float, float]
    number: int


@dataclass(frozen=True, slots=True)
class Boxes:
    """All boxes in an image.

    Attributes:
        image: in RGB.
        corners: (P, 4) as those of a `Box`; P is the same for all images of a dataset, and zeros follow the last box.
    """

    image: Image
    corners: NDArray[np.float32]


def overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) intersection over union of boxes.

    Args:
        first: (N, 4) left, upper, right and lower edges.
        second: (M, 4) the same.

    >>> overlaps(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[0.0, 0.0, 1.0, 2.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
    [[0.5, 0.0]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (first, second)]
    found: NDArray[np.float64] = both / np.maximum(areas[0][:, None] + areas[1][None, :] - both, 1e-12)
    return found
