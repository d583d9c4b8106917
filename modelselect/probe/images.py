"""Image files and pixel arrays to what every backbone's preprocessing takes: a PIL image in mode RGB.

The choices are those of torchvision's and timm's image folders, so that features agree with a fine-tuning pipeline
built on them: the EXIF orientation is not applied, an alpha channel is dropped, and of an animation the first frame is
taken. The exception is 16-bit greyscale, which PIL's own conversion clips to white above 255: it is scaled to 8 bits.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Files that are taken for images, as torchvision's `ImageFolder` does."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "PPM")
"""Decoders that a dataset's bytes may reach, whatever the file is called: EPS, for one, would start Ghostscript."""


class UnreadableError(Exception):
    """One row cannot be read; the message is the reason, in a few words."""


def decode(encoded: bytes) -> Image:
    """The image in RGB.

    Raises:
        UnreadableError: corrupt, truncated, not an image, or more pixels than PIL's `MAX_IMAGE_PIXELS`.
    """
    with _reasons():
        return rgb(_open(encoded))


def verify(encoded: bytes) -> None:
    """Raises what `decode` would raise, for less work: a JPEG is read to its end, but its pixels at 1/8 of the size."""
    with _reasons():
        image = _open(encoded)
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        rgb(image)


@contextmanager
def bombs_without_warnings() -> Iterator[None]:
    """PIL warns of images that this module refuses anyway."""
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        yield


def rgb(image: Image) -> Image:
    """Any PIL image in mode RGB, by the choices that this module states."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "F":
        raise UnreadableError("pixels are 32-bit floats, whose range nobody knows; convert it to 8 bits")
    if image.mode.startswith("I"):
        return _scaled_to_8_bits(np.asarray(image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # PIL wants it so; the palette's colours stay the same
    return image.convert("RGB")


def from_pixels(pixels: NDArray[Any]) -> Image:
    """The image in RGB of a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    import PIL.Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return rgb(PIL.Image.fromarray(np.ascontiguousarray(pixels)))


def _open(encoded: bytes) -> Image:
    import PIL.Image

    if not encoded:
        raise UnreadableError("empty file")
    image = PIL.Image.open(io.BytesIO(encoded), formats=_FORMATS)
    if PIL.Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > PIL.Image.MAX_IMAGE_PIXELS:
        raise PIL.Image.DecompressionBombError
    return image


def _scaled_to_8_bits(pixels: NDArray[Any]) -> Image:
    """16-bit grey, or integers that hold 8 or 16 bits."""
    import PIL.Image

    if pixels.dtype.itemsize == 2 or pixels.max(initial=0) > 255:
        pixels = pixels >> 8
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@contextmanager
def _reasons() -> Iterator[None]:
    """What a decoder raises on hostile bytes is of any type, and becomes one reason that is the same in every run."""
    import PIL.Image

    try:
        yield
    except UnreadableError:
        raise
    except PIL.UnidentifiedImageError:
        raise UnreadableError("not a JPEG, PNG, WebP, BMP, TIFF or PPM image") from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise UnreadableError(
            f"more than {PIL.Image.MAX_IMAGE_PIXELS:,} pixels, PIL's limit against decompression bombs"
        ) from None
    except MemoryError:
        raise UnreadableError("needs more memory than there is") from None
    except Exception as error:
        raise UnreadableError(f"corrupt: {' '.join(str(error).split()) or type(error).__name__}") from error
