"""Image files, PIL images and arrays of pixels to the input of every backbone's preprocessing: a PIL image in mode RGB.

The models are shown what people train on: what the library shows that usually reads such a source.

* A folder of files, and paths and contents of files in a list, are read as torchvision's and timm's image folders read
  them, which is Pillow's `convert("RGB")`. The EXIF orientation is not applied (Pillow itself applies that of a TIFF
  file), an alpha channel is dropped, and an animation gives its first frame.
* Images of `datasets`, of tables and of frames, also where a column holds their paths, are what
  `dataset[i]["image"].convert("RGB")` gives. The EXIF orientation is applied, and so is the mode of
  `datasets.Image(mode=...)`.
* A torch dataset and a list of PIL images give their images as they are.

The exception is grey of more than 8 bits, whose values above 255 Pillow cuts to white. It is scaled to 8 bits by the
range that the dataset uses: its white is the smallest 2**depth - 1, of 8 bits or more, that no value exceeds. Of TIFF
files with 12 bits and of PGM files the format states the range. Negative integers and floating-point numbers have no
white that everybody agrees on, and are refused.

No decoder is used that runs other programs, whatever the name of a file says.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.utils.shared import SharedChange

if TYPE_CHECKING:
    from PIL.Image import Image

    Raw: TypeAlias = bytes | Image | NDArray[Any]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".avif", ".heic", ".heif", ".jp2"}
    | {".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Suffixes of files that count as images: those of torchvision's `ImageFolder`, and of what else can be decoded."""

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P5", b"P6")
"""First bytes of the image files that a list or a column of bytes may hold."""


def has_image_suffix(path: str) -> bool:
    """True if the path of a file ends with one of `SUFFIXES`, in any case.

    >>> has_image_suffix("cats/1.JPG"), has_image_suffix("cats/.jpg"), has_image_suffix("cats/1.txt")
    (True, False, False)
    """
    stem, _, suffix = path.rpartition(".")
    return f".{suffix.lower()}" in SUFFIXES and not stem.endswith(("/", os.sep)) and stem != ""


LFS_POINTER = b"version https://git-lfs"
"""First bytes of the file that Git leaves in the place of a file that `git lfs` keeps."""

_PLUGINS = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "BMP": "Bmp",
    "DIB": "Bmp",
    "TIFF": "Tiff",
    "PPM": "Ppm",
    "GIF": "Gif",
    "AVIF": "Avif",
    "JPEG2000": "Jpeg2K",
}
"""The formats that a dataset's bytes may be in, and Pillow's plugins that decode them without running a program."""

_EXPECTED = "JPEG, PNG, WebP, GIF, AVIF, BMP, TIFF, PNM, JPEG 2000 or HEIC"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

_DEEP = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of grey that may have more than 8 bits."""

_MAGIC_OF_DEEP = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"P2", b"P5", b"\xffO\xffQ", b"\0\0\0\x0cjP")
"""First bytes of TIFF, PGM and JPEG 2000. A PNG file says in a fixed place whether it holds 16-bit grey."""

_SAME_RGB = (None, "RGB", "RGBA")  # modes on the way to RGB that change no pixel of an image with 8 bits
_ORIENTATION = 274
_TURNED = (5, 6, 7, 8)
_FULL = 65535


LARGEST_FILE = 1 << 30
"""Bytes of a file of an image, a mask or a sound, at most. More pixels than Pillow decodes take less."""


class UnreadableError(Exception):
    """One row cannot be read; the message is a short reason."""


def content_of(path: str | os.PathLike[str], largest: int = LARGEST_FILE) -> bytes:
    """The content of a file of at most this many bytes.

    Raises:
        UnreadableError: there is no such file, it is a pipe or a device, or it is larger.
        OSError: it cannot be read.
    """
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UnreadableError("no such file") from None
    if not stat.S_ISREG(state.st_mode):
        raise UnreadableError("not a file, but a folder, a pipe or a device")
    if state.st_size > largest:
        raise UnreadableError(f"the file has {state.st_size:,} bytes, and at most {largest:,} are read")
    if not state.st_size:  # as files of /proc say, some of which never end
        return b""
    with open(path, "rb") as file:
        return file.read(largest)


def _set_pillows_bound(pixels: int | None) -> None:
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = pixels


def _read_pillows_bound() -> int | None:
    import PIL.Image

    return PIL.Image.MAX_IMAGE_PIXELS


_PILLOWS_BOUND = SharedChange[int | None](_read_pillows_bound, _set_pillows_bound, lambda _: None)
"""`PIL.Image.MAX_IMAGE_PIXELS`, which must be lifted to decode a larger image: Pillow warns above it and refuses above
twice as many pixels, some decoders in the middle of their work."""


def _lifted_for(image: Image) -> AbstractContextManager[None]:
    bound = _PILLOWS_BOUND.usual()
    return nullcontext() if bound is None or image.width * image.height <= bound else _PILLOWS_BOUND.made()


def most_pixels() -> int | None:
    """The number of pixels above which Pillow refuses an image; None if the user has removed Pillow's bound."""
    bound = _PILLOWS_BOUND.usual()
    return None if bound is None else 2 * bound


@dataclass(frozen=True, slots=True)
class Reading:
    """How the images of one dataset become pixels.

    Attributes:
        upright: the EXIF orientation is applied.
        mode: Pillow's mode that an image is converted to before it becomes RGB; None for its own.
        max_pixels: images with more are refused; None for no bound.
        white: the value that is white in grey of more than 8 bits; None while no such image was met.
    """

    upright: bool = False
    mode: str | None = None
    max_pixels: int | None = field(default_factory=most_pixels)
    white: int | None = None


class Verified(NamedTuple):
    """Attributes: see `mark`; and a sentence for the user on how such images are shown, if it is not plain."""

    mark: str
    remark: str | None


def decode(raw: Raw, reading: Reading) -> Image:
    """The image in RGB.

    Args:
        raw: the bytes of a file, a PIL image, or (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16.
        reading: of the dataset that the image is from.

    Raises:
        UnreadableError: corrupt, truncated, not an image, more pixels than `reading.max_pixels`, or of no known range.
        DatasetError: the file needs a decoder that is not installed.
    """
    with _reasons():
        if isinstance(raw, np.ndarray):
            return _of_pixels(raw, reading)
        image = _opened(raw, reading)
        with _lifted_for(image):
            return _shown(image, reading)


def stored_image(encoded: bytes, reading: Reading) -> Image:
    """The image in its own mode, such as places in a palette, decoded.

    Raises:
        UnreadableError, DatasetError: as `decode`.
    """
    with _reasons():
        image = _opened(encoded, reading)
        with _lifted_for(image):
            image.load()
        return image


def verify(raw: Raw, reading: Reading) -> Verified:
    """Raises what `decode` would raise, with less work: a JPEG is read to its end, but decoded at 1/8 of its size."""
    with _reasons():
        if isinstance(raw, np.ndarray):
            if raw.dtype != np.uint8 or not raw.size:
                _of_pixels(raw, reading)
            return Verified(mark(raw, reading), None)
        image = _opened(raw, reading)
        with _lifted_for(image):
            verified = Verified(_mark(image, reading), _remark(image, reading))
            if isinstance(raw, bytes):
                image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
            _shown(image, reading)
        return verified


def size_of(raw: Raw, reading: Reading) -> tuple[int, int]:
    """Width and height of what `decode` gives, from the header of the file where that says it.

    Other files are decoded; without a bound in `reading`, only within that of Pillow.

    Raises:
        UnreadableError, DatasetError: as `decode`.
    """
    if isinstance(raw, np.ndarray):
        return raw.shape[1], raw.shape[0]
    with _reasons():
        image = _opened(raw, reading)
        if image.format in ("JPEG", "PNG"):
            turned = reading.upright and image.getexif().get(_ORIENTATION) in _TURNED
            return image.size[::-1] if turned else image.size
        if reading.max_pixels is None:
            _check_size(image.width * image.height, Reading())
        with _lifted_for(image):
            return _loaded(image, reading)[0].size


def mark(raw: Raw, reading: Reading) -> str:
    """What the pixels shown depend on besides the row's content; empty for what is shown as Pillow reads it."""
    if isinstance(raw, np.ndarray):
        return f"white {reading.white}" if is_16_bit(raw) else ""
    if isinstance(raw, bytes) and not (
        _may_be_deep(raw) or reading.mode not in _SAME_RGB or (reading.upright and _may_be_turned(raw))
    ):
        return ""
    try:
        image = _opened(raw, reading)
        with _lifted_for(image):
            return _mark(image, reading)
    except Exception:
        return ""  # the row is found unreadable when it is decoded


def is_16_bit(array: NDArray[Any]) -> bool:
    """True for uint16 in either order of bytes."""
    return array.dtype.kind == "u" and array.dtype.itemsize == 2


def needs_white(raw: Raw, reading: Reading) -> bool:
    """True for grey of more than 8 bits whose range has to be found in the dataset."""
    if isinstance(raw, np.ndarray):
        return is_16_bit(raw)
    if isinstance(raw, bytes) and not _may_be_deep(raw) and reading.mode in _SAME_RGB:
        return False
    try:
        image = _opened(raw, reading)
    except Exception:
        return False
    return _shown_mode(image, reading) in _DEEP and _stated_white(image) is None


def extremes(raw: Raw, reading: Reading) -> tuple[int, int] | None:
    """The least and the greatest value of an image that `needs_white`; None for any other row."""
    if not needs_white(raw, reading):
        return None
    try:
        if isinstance(raw, np.ndarray):
            pixels = raw
        else:
            image = _opened(raw, reading)
            with _lifted_for(image):
                pixels = np.asarray(_loaded(image, reading)[0])
    except Exception:
        return None
    return int(pixels.min(initial=0)), int(pixels.max(initial=0))


def white_above(greatest: Iterable[int]) -> int:
    """The value that is white, if these are the greatest values of some images.

    >>> white_above([900, 3871]), white_above([12])
    (4095, 255)
    """
    return max(255, (1 << max(greatest).bit_length()) - 1)


def _opened(raw: bytes | Image, reading: Reading) -> Image:
    """The image with its size and mode known, and its pixels not yet decoded."""
    image = _open(raw, reading) if isinstance(raw, bytes) else raw
    if not hasattr(image, "width"):
        raise UnreadableError(f"no image, but {type(raw).__name__}")
    _check_size(image.width * image.height, reading)
    return image


def _open(encoded: bytes, reading: Reading) -> Image:
    """As PIL.Image.open, which warns of images that are large but within the bound."""
    import PIL.Image

    if not encoded:
        raise UnreadableError("empty file")
    if encoded.startswith(LFS_POINTER):
        raise UnreadableError("a pointer of Git LFS; get the file with `git lfs pull`")
    if _is_heic(encoded):
        return _open_heic(encoded)
    without_decoder = None
    for name, (factory, accepts) in _decoders().items():
        try:
            accepted = accepts(encoded[:16]) if accepts is not None else True
            if isinstance(accepted, str):  # Pillow knows the format, but was built without its decoder
                without_decoder = name
            elif accepted:
                return _made(factory, encoded, reading)
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    if without_decoder is not None or ("AVIF" not in _decoders() and encoded[4:12] == b"ftypavif"):
        name = without_decoder or "AVIF"
        raise UnreadableError(f"the installed Pillow {PIL.__version__} cannot decode {name}; pip install -U pillow can")
    if encoded.startswith(_MAGIC_OF_DEEP[:4]):
        raise UnreadableError(_about_tiff(encoded))
    raise PIL.UnidentifiedImageError


def _made(factory: Any, encoded: bytes, reading: Reading) -> Image:
    import PIL.Image

    try:
        return factory(io.BytesIO(encoded), "")  # type: ignore[no-any-return]
    except PIL.Image.DecompressionBombError:
        bound = most_pixels()
        if bound is not None and reading.max_pixels is not None and reading.max_pixels <= bound:
            raise UnreadableError(_too_large("the image has too many", reading)) from None
        with _PILLOWS_BOUND.made():
            return factory(io.BytesIO(encoded), "")  # type: ignore[no-any-return]


@cache
def _decoders() -> dict[str, tuple[Any, Any]]:
    """Pillow's format -> what makes an image of a file, and what says whether the first bytes are of that format."""
    import PIL.Image

    for plugin in set(_PLUGINS.values()):
        try:
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError:  # of AVIF, before Pillow 11.3
            continue
    return {name: PIL.Image.OPEN[name] for name in _PLUGINS if name in PIL.Image.OPEN}


def _is_heic(encoded: bytes) -> bool:
    if encoded[4:8] != b"ftyp":
        return False
    brands = encoded[8 : min(int.from_bytes(encoded[:4], "big"), 256)]
    return not _HEIC_BRANDS.isdisjoint(brands[i : i + 4] for i in range(0, len(brands), 4))


def _open_heic(encoded: bytes) -> Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise DatasetError(
            "the dataset holds HEIC images, and the library that decodes them is not installed. Install it with: pip "
            "install 'modelselect-automl[heic]'"
        ) from None
    factory: Any = HeifImageFile
    image: Image = factory(io.BytesIO(encoded))
    return image


def _about_tiff(encoded: bytes) -> str:
    """Why Pillow cannot decode a TIFF file, as far as its tags say."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    advice = "Save the image with 8 bits for each of red, green and blue, or give arrays as (inputs, labels)"
    try:
        file = io.BytesIO(encoded)
        header = file.read(8)
        if header[2] == 43 or header[3] == 43:
            header += file.read(8)
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        bands, bits = int(tags.get(277, 1)), tags.get(258, (1,))
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(tags.get(339, (1,))[0], "integers")
        depth = " and ".join(str(each) for each in sorted(set(bits)))
    except Exception:
        return f"a TIFF file that Pillow cannot decode. {advice}"
    return (
        f"a TIFF file with {bands} band{'s' * (bands != 1)} of {depth}-bit {kind}, which Pillow cannot decode. {advice}"
    )


def _check_size(pixels: int, reading: Reading) -> None:
    if not pixels:
        raise UnreadableError("an image without pixels")
    if reading.max_pixels is not None and pixels > reading.max_pixels:
        raise UnreadableError(_too_large(f"the image has {pixels}", reading))


def _too_large(given: str, reading: Reading) -> str:
    return (
        f"{given} pixels, and at most {reading.max_pixels} are read, as a protection against decompression bombs. If "
        "you trust the file, allow more with max_pixels= (on the command line: --max-pixels)"
    )


def _shown(image: Image, reading: Reading) -> Image:
    upper_bytes = _gives_upper_bytes(image)
    rgb = _rgb(*_loaded(image, reading))
    if upper_bytes and max(greatest for _, greatest in rgb.getextrema()) < 16:  # type: ignore[misc]
        raise UnreadableError(
            "colours of at most 12 bits in a file for 16, of which Pillow reads the upper 8: the image would be nearly "
            "black. Save the image with 8 bits for each colour"
        )
    return rgb


def _gives_upper_bytes(image: Image) -> bool:
    """True for colours of 16 bits, before they are decoded: Pillow has no mode for them, and takes the upper byte."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode in _DEEP:
        return False
    arguments = tiles[0][3]
    rawmode = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    return ";16" in str(rawmode) or (tiles[0][0].startswith("ppm") and arguments[-1] == _FULL)


def _loaded(image: Image, reading: Reading) -> tuple[Image, int | None]:
    """The image as the source's own library gives it, and the value that is white in deep grey."""
    import PIL.ImageOps

    white = _stated_white(image) or reading.white
    image.load()
    if reading.upright and image.getexif().get(_ORIENTATION) is not None:
        image = PIL.ImageOps.exif_transpose(image)
    stored, mode = image.mode, _shown_mode(image, reading)
    if mode != stored and (stored, mode) != ("P", "RGB"):  # see `_rgb`
        image = image.convert(mode)
        if mode == "F":
            image = image.convert("RGB")  # floating-point numbers made of 8 bits, whose white is 255
    return image, white


def _shown_mode(image: Image, reading: Reading) -> str:
    """The mode of the image as the source's own library gives it."""
    if reading.mode is None:
        return image.mode
    return "I" if reading.mode == "F" and image.mode in _DEEP else reading.mode  # equal as whole numbers


def _stated_white(image: Image) -> int | None:
    """The white of deep grey where the file's format states its range, before the pixels are decoded."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return None
    codec, arguments = tiles[0][0], tiles[0][3]
    if codec.startswith("ppm") and arguments[-1] != _FULL:
        return _FULL  # Pillow scales PGM by the maximum in the file's header
    return 4095 if arguments and arguments[0] == "I;12" else None


def _rgb(image: Image, white: int | None) -> Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise UnreadableError(
            "the pixels are floating-point numbers, and which of them are black and white is not known. Save the "
            "image with 8 bits, or give uint8 arrays as (inputs, labels)"
        )
    if image.mode in _DEEP:
        return _scaled(np.asarray(image), white).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # PIL would warn otherwise; the colours stay the same
    return image.convert("RGB")


def _of_pixels(pixels: NDArray[Any], reading: Reading) -> Image:
    import PIL.Image

    if not pixels.size:
        raise UnreadableError("an image without pixels")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if is_16_bit(pixels):
        return _scaled(pixels, reading.white).convert("RGB")
    return _rgb(PIL.Image.fromarray(np.ascontiguousarray(pixels)), reading.white)


def _scaled(pixels: NDArray[Any], white: int | None) -> Image:
    """To 8 bits."""
    import PIL.Image

    if white is None:
        raise UnreadableError("grey of more than 8 bits, and no row shows its range")
    least, greatest = int(pixels.min(initial=0)), int(pixels.max(initial=0))
    if least < 0:
        raise UnreadableError(f"negative values (down to {least}), of which it is not known what is black")
    if greatest > white:
        raise UnreadableError(f"values up to {greatest}, though white is {white} in the other images of the dataset")
    return PIL.Image.fromarray(np.ascontiguousarray(pixels >> (white.bit_length() - 8)).astype(np.uint8))


def _may_be_deep(encoded: bytes) -> bool:
    return encoded.startswith(_MAGIC_OF_DEEP) or (encoded[:4] == b"\x89PNG" and encoded[24:26] == b"\x10\0")


def _may_be_turned(encoded: bytes) -> bool:
    """False only if no EXIF orientation can be in the file; quicker than reading its headers."""
    if encoded[:3] != b"\xff\xd8\xff" and encoded[:4] != b"\x89PNG":
        return True
    return any(name in encoded for name in (b"Exif\0", b"eXIf", b"exif", b"rientation"))


def _mark(image: Image, reading: Reading) -> str:
    """See `mark`. The image's pixels are not yet decoded."""
    marks = []
    if reading.upright and image.format != "TIFF" and (turn := image.getexif().get(_ORIENTATION, 1)) != 1:
        marks.append(f"orientation {turn}")
    shown = _shown_mode(image, reading)
    if reading.mode not in _SAME_RGB or (reading.mode is not None and image.mode in _DEEP):
        marks.append(f"mode {reading.mode}")
    if shown in _DEEP and ((white := _stated_white(image) or reading.white) != _FULL or shown == "I"):
        marks.append(f"white {white}")
    return ", ".join(marks)


def _remark(image: Image, reading: Reading) -> str | None:
    if image.mode in _DEEP and _shown_mode(image, reading) not in _DEEP:
        return (
            f"datasets.Image(mode={reading.mode!r}) cuts grey of more than 8 bits at 255: greater values are white. "
            "Without a mode, the images are scaled by the range that they use."
        )
    tags = getattr(image, "tag_v2", {})
    if image.mode in _DEEP and tags.get(262) == 0:
        return "TIFF files with 16-bit grey say that 0 is white; they are shown as Pillow reads them, with 0 as black."
    return None


@contextmanager
def _reasons() -> Iterator[None]:
    """Turns whatever a decoder raises on hostile bytes into one reason, which is the same in every run."""
    import PIL.Image

    try:
        yield
    except (UnreadableError, DatasetError):
        raise
    except PIL.UnidentifiedImageError:
        raise UnreadableError(f"not a {_EXPECTED} image") from None
    except PIL.Image.DecompressionBombError:
        raise UnreadableError("a frame is larger than Pillow's bound against decompression bombs") from None
    except MemoryError:
        raise UnreadableError("decoding needs more memory than is available") from None
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise  # of a file that a PIL image reads from; the error's text would name a local path
        raise UnreadableError(f"corrupt: {' '.join(str(error).split()) or type(error).__name__}") from error
