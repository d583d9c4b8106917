"""Rows in memory: `(inputs, labels)`, where inputs are an array, or a list of images, texts or arrays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.labels import Labels
from modelselect.probe.rows import ARRAY, IMAGE, TEXT, Rows
from modelselect.probe.texts import blank_texts

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_CHECKED_AT_ONCE = 1 << 24  # number of values; keeps the search for NaN in a large array small in memory


class MemoryRows(Rows):
    """Inputs and labels as arrays or lists.

    Raises:
        DatasetError: the inputs are of different kinds, of no supported kind, or hold NaN; or the labels have another
            length.
    """

    source = "arrays"

    def __init__(self, inputs: Any, labels: Any) -> None:
        inputs = inputs.numpy(force=True) if is_tensor(inputs) else inputs
        if not isinstance(inputs, np.ndarray):
            inputs = _listed(inputs)
        elif inputs.dtype.kind in "UO":
            inputs = inputs.tolist()
        if isinstance(inputs, np.ndarray):
            if inputs.ndim < 2 or 0 in inputs.shape[1:]:
                raise DatasetError(
                    f"inputs are an array of shape {inputs.shape}; expected (N, H, W[, 3]) uint8 for images, or "
                    "(N, ...) of two or more dimensions for arrays."
                )
            _check_values(inputs)
            modality = modality_of(inputs[0]) if len(inputs) else ARRAY
        else:
            modality = _common_modality(inputs)
        self._inputs = inputs
        n_rows = len(inputs)
        super().__init__(modality, Labels.none(n_rows) if labels is None else Labels.of(labels, n_rows, where="labels"))
        if modality == TEXT:
            self.remarks = blank_texts(inputs)

    def raw(self, row: int) -> Any:
        value = self._inputs[row]
        if isinstance(value, np.ndarray) and self.modality == IMAGE and channels_first(value):
            return np.moveaxis(value, 0, -1)
        return value


def is_tensor(value: Any) -> bool:
    """True for a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def modality_of(value: Any) -> str:
    """The modality of one input: text, image, or array. An array of uint8 pixels is an image.

    Raises:
        DatasetError: the input is none of these.
    """
    if isinstance(value, str):
        return TEXT
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise DatasetError(f"inputs are arrays of {value.dtype}; expected uint8 pixels, or real numbers.")
        if value.dtype == np.uint8 and value.ndim in (2, 3):
            channels_first(value)
            return IMAGE
        return ARRAY
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(value, pil.Image):
        return IMAGE
    raise DatasetError(
        f"inputs hold {type(value).__name__}; expected images (PIL or uint8 arrays), strings or arrays. "
        "For image files, give the folder that holds one folder for each class."
    )


def channels_first(pixels: NDArray[Any]) -> bool:
    """True for (C, H, W); False for (H, W), for (H, W, C), and where both readings are possible.

    Raises:
        DatasetError: neither axis can be the channels.
    """
    if pixels.ndim == 2:
        return False
    last = pixels.shape[2] in _CHANNELS
    if not last and pixels.shape[0] not in _CHANNELS:
        raise DatasetError(
            f"a uint8 input has shape {pixels.shape}; expected an image (H, W), (H, W, C) or (C, H, W) with C = 1, 3 "
            "or 4. If these are not images, give them as float32."
        )
    return not last


def _listed(inputs: Any) -> Sequence[Any]:
    if isinstance(inputs, (str, bytes)) or not (hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")):
        raise DatasetError(
            f"inputs are {type(inputs).__name__}; expected an array, or a list of PIL images, strings or arrays."
        )
    return [value.numpy(force=True) if is_tensor(value) else value for value in inputs]


def _common_modality(inputs: Sequence[Any]) -> str:
    modalities = {modality_of(value) for value in inputs}
    if len(modalities) > 1:
        raise DatasetError(f"inputs hold {' and '.join(sorted(modalities))} rows; give rows of one modality.")
    for row, value in enumerate(inputs):
        if isinstance(value, np.ndarray):
            _check_values(value[None], row)
    return modalities.pop() if modalities else ARRAY


def _check_values(array: NDArray[Any], first_row: int = 0) -> None:
    """Refuses NaN and infinity."""
    if array.dtype.kind != "f":
        return
    step = max(1, _CHECKED_AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), step):
        finite = np.isfinite(array[start : start + step]).all(axis=tuple(range(1, array.ndim)))
        if not finite.all():
            row = first_row + start + int(finite.argmin())
            raise DatasetError(f"inputs hold NaN or infinity, first in row {row}. Repair or remove such rows.")
