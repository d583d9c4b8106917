"""Image files and pixel arrays to the input of every backbone's preprocessing: a PIL image in mode RGB.

The choices are those of torchvision's and timm's image folders, so that features agree with a fine-tuning pipeline
built on them: EXIF orientation is not applied, an alpha channel is dropped, and an animation gives its first frame.
The exception is 16-bit greyscale: PIL's own conversion clips it to white above 255; here it is scaled to 8 bits.
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

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Suffixes of files that count as images: those of torchvision's `ImageFolder`, and two more of JPEG files."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "PPM")
"""The decoders that may read a dataset's bytes, whatever the file's name. (PIL's EPS decoder would run Ghostscript.)"""


class UnreadableError(Exception):
    """One row cannot be read; the message is a short reason."""


def decode(encoded: bytes) -> Image:
    """The image in RGB.

    Raises:
        UnreadableError: corrupt, truncated, not an image, or more pixels than PIL's `MAX_IMAGE_PIXELS`.
    """
    with _reasons():
        return rgb(_open(encoded))


def verify(encoded: bytes) -> None:
    """Raises what `decode` would raise, with less work: a JPEG is read to its end, but decoded at 1/8 of its size."""
    with _reasons():
        image = _open(encoded)
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        rgb(image)


@contextmanager
def bombs_without_warnings() -> Iterator[None]:
    """Silences PIL's warnings of images that this module refuses anyway."""
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        yield


def rgb(image: Image) -> Image:
    """Any PIL image in mode RGB, by the choices in this module's docstring."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "F":
        raise UnreadableError("pixels are 32-bit floats of unknown range; convert the image to 8 bits")
    if image.mode.startswith("I"):
        return _scaled_to_8_bits(np.asarray(image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # PIL would warn otherwise; the colours stay the same
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
    """From 16-bit grey, or from integers that hold 8 or 16 bits."""
    import PIL.Image

    if pixels.dtype.itemsize == 2 or pixels.max(initial=0) > 255:
        pixels = pixels >> 8
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@contextmanager
def _reasons() -> Iterator[None]:
    """Turns whatever a decoder raises on hostile bytes into one reason, which is the same in every run."""
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
        raise UnreadableError("decoding needs more memory than is available") from None
    except Exception as error:
        raise UnreadableError(f"corrupt: {' '.join(str(error).split()) or type(error).__name__}") from error
