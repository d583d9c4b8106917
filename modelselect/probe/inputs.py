"""Inputs without labels, as a user gives them to a model: files, folders, images, arrays, texts, or lists of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError
from modelselect.probe import images, sounds
from modelselect.probe.images import Reading, UnreadableError, has_image_suffix
from modelselect.probe.labels import in_utf8
from modelselect.probe.memory import channels_first, modality_of
from modelselect.probe.paths import Origin
from modelselect.probe.rows import ARRAY, AUDIO, IMAGE, TEXT
from modelselect.probe.sounds import has_sound_suffix
from modelselect.utils.containers import array_of_tensor, is_tensor, opened
from modelselect.utils.paths import expanded

_CHANNELS = (1, 3, 4)

_EXPECTED = {
    IMAGE: "a path of an image file or of a folder, a PIL image, a uint8 array (H, W, 3) or (N, H, W, 3), or a list of "
    "these",
    TEXT: "a text, a pair of texts as a tuple, or a list of these",
    AUDIO: "a path of a sound file or of a folder, the bytes of a file, or a list of these",
    ARRAY: "an array (N, ...) of numbers, or a list of arrays",
}


class Input(NamedTuple):
    """One input, before it is read.

    Attributes:
        name: the path of a file, a text itself, or the place in the list.
        value: a path, the bytes of a file, a PIL image, an array, a text or a pair of texts; None if it is missing.
        modality: of the content of a file, `image` or `audio`.
    """

    name: str
    value: Any
    modality: str = IMAGE

    def read(self, reading: Reading) -> Any:
        """The decoded input: a PIL image in RGB, a text, a pair of texts or an array.

        Raises:
            UnreadableError: it cannot be read.
            OSError: its file cannot be read.
        """
        value = self.value
        if value is None or (isinstance(value, tuple) and None in value):
            raise UnreadableError("missing")
        if isinstance(value, Path):
            value = Origin().read(str(value))
        if self.modality == AUDIO:
            return sounds.decode(value)
        if isinstance(value, (str, tuple)) or (isinstance(value, np.ndarray) and modality_of(value) != IMAGE):
            return value
        if isinstance(value, np.ndarray) and channels_first(value):
            value = np.moveaxis(value, 0, -1)
        return images.decode(value, reading)


def inputs_of(given: Any, modality: str) -> list[Input]:
    """The inputs that a user gives, one by one, in their order. A folder stands for the images in it.

    Args:
        given: for images a path of a file or a folder, a PIL image, the bytes of a file, a uint8 array (H, W, 3) or
            (N, H, W, 3), or a list of any of these; for texts a text, a pair of texts as a tuple, or a list of these;
            for arrays an array (N, ...) or a list of arrays.
        modality: of the model, `image`, `text` or `array`.

    Raises:
        InvalidInputError: something given is of another kind, or a folder holds no image.

    >>> inputs_of("a text", "text"), [each.name for each in inputs_of([("a", "b"), None], "text")]
    ([Input(name='a text', value='a text', modality='image')], ['a / b', 'input 1'])
    """
    if is_tensor(given):
        given = array_of_tensor(given)
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OSU":
        listed: list[Any] = list(_rows(given, modality))
    elif _is_one(given, modality):
        listed = [given]
    elif (values := opened(given)) is not None or isinstance(given, Iterable):
        listed = list(given if values is None else values)
    else:
        listed = [given]
    return [each for place, value in enumerate(listed) for each in _inputs(value, place, modality)]


def _is_one(given: Any, modality: str) -> bool:
    """True for a single input."""
    if given is None or isinstance(given, (str, bytes, bytearray, os.PathLike, Mapping)):
        return True
    if hasattr(given, "getpalette"):  # a PIL image
        return True
    return modality == TEXT and isinstance(given, tuple) and len(given) == 2 and all(isinstance(t, str) for t in given)


def _rows(array: NDArray[Any], modality: str) -> Iterable[NDArray[Any]]:
    """The inputs in one array: images of several channels, grey images, or one image."""
    is_one_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if modality == IMAGE and array.ndim == 3 and not is_one_image and array.shape[0] in _CHANNELS[1:]:
        raise InvalidInputError(
            f"the input has the shape {array.shape}, which is that of one image with its channels first, and that of "
            f"{array.shape[0]} grey images. Give x[None] for one image, or list(x) for {array.shape[0]}."
        )
    return [array] if modality == IMAGE and is_one_image else array


def _inputs(value: Any, place: int, modality: str) -> list[Input]:
    name = f"input {place}"
    if is_tensor(value):
        value = array_of_tensor(value)
    if value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType":
        return [Input(name, None)]
    if isinstance(value, Mapping) and {"bytes", "path"} >= value.keys():  # how `datasets` describes a file
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if modality in (IMAGE, AUDIO) and isinstance(value, (str, os.PathLike)):
        path = expanded(value)
        files = _files_in(path, modality) if path.is_dir() else [path]
        return [Input(in_utf8(str(each)), each, modality) for each in files]
    if modality == AUDIO and isinstance(value, (bytes, bytearray)):
        return [Input(name, bytes(value), modality)]
    if modality == IMAGE and isinstance(value, (bytes, bytearray)):
        return [Input(name, bytes(value))]
    if modality == TEXT and isinstance(value, str):
        return [Input(value, str(value))]
    if modality == TEXT and isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_may_be_text, value)):
        return [Input(" / ".join(text or "" for text in value), tuple(value))]
    kind = None
    if isinstance(value, np.ndarray) or hasattr(value, "getpalette"):
        kind = modality_of(value)
    if modality != TEXT and kind == modality:
        return [Input(name, value)]
    shown = f"an array of {value.dtype} and shape {value.shape}" if isinstance(value, np.ndarray) else type(value)
    shown = shown if isinstance(shown, str) else shown.__name__
    advice = ""
    if kind == ARRAY and modality == IMAGE:
        advice = ". Pixels from 0 to 1 become uint8 by (255 * x).round().astype('uint8')"
    if modality == TEXT and isinstance(value, os.PathLike):
        advice = ". Read the file first: Path(path).read_text()"
    raise InvalidInputError(
        f"{name} is {shown}, and the model takes {modality}s; expected {_EXPECTED[modality]}{advice}"
    )


def _may_be_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _files_in(folder: Path, modality: str) -> list[Path]:
    """The image files, or the sound files, in a folder and the folders in it, without hidden ones.

    Raises:
        InvalidInputError: there are none.
    """
    found, fits = [], has_sound_suffix if modality == AUDIO else has_image_suffix
    for inside, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        found += [Path(inside, file) for file in sorted(files) if fits(file) and not file.startswith(".")]
    if not found:
        raise InvalidInputError(
            f"the folder {str(folder)!r} holds no {'sound' if modality == AUDIO else 'image'} file; expected files "
            f"such as {'.wav' if modality == AUDIO else '.jpg or .png'}, in it or in folders in it"
        )
    return found
