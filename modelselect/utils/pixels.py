"""One pixel of an image, which models get to see with the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Pixel:
    """A pixel of an image.

    Attributes:
        image: in RGB.
        y, x: its centre, as shares of the image's height and width, from 0 to 1.
        number: of the image in its dataset; pixels of one image have the same.
    """

    image: Image
    y: float
    x: float
    number: int
