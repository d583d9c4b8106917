"""Rows in memory: `(inputs, labels)`, where inputs are an array, or a list of images, texts, arrays or paths."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.images import SIGNATURES, UnreadableError, is_16_bit
from modelselect.probe.labels import GivenLabels, Labels
from modelselect.probe.paths import SAMPLE, Origin, name_of_path_row, origin_of_paths
from modelselect.probe.rows import ARRAY, AUDIO, IMAGE, TEXT, Rows
from modelselect.probe.sounds import are_sounds
from modelselect.probe.texts import PAIRS_REMARK, are_pairs, blank_texts
from modelselect.utils.containers import array_of_tensor, columns_of, is_a, is_tensor, opened

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_CHECKED_AT_ONCE = 1 << 24  # number of values; keeps the search for NaN in a large array small in memory
_LOOKED_AT = 100  # number of values that tell what a list holds

_NUMBER = (int, float, np.number, np.bool_)


class MemoryRows(Rows):
    """Inputs and labels as arrays, lists, or columns and tables of pandas, polars or PyArrow.

    Missing inputs (None, NaN) in a list are rows that cannot be read.

    Raises:
        DatasetError: the inputs are of different kinds, of no supported kind, or hold NaN; or the labels have another
            length.
    """

    source = "arrays"

    def __init__(self, inputs: Any, labels: Any) -> None:
        values = _values_of(inputs)
        self._open: Callable[[Any], Any] | None = None
        if isinstance(values, list):
            values, self._open = _of_list(values)
        if isinstance(values, np.ndarray):
            if values.ndim == 1 and values.dtype.kind in "biuf":
                _refuse_numbers(len(values))
            if values.ndim < 2 or 0 in values.shape[1:]:
                raise DatasetError(
                    f"inputs are an array of shape {values.shape}; expected (N, H, W[, 3]) uint8 or uint16 for images, "
                    "or (N, ...) of two or more dimensions for arrays."
                )
            _check_values(values)
            modality = modality_of(values[0]) if len(values) else ARRAY
        else:
            of_files = AUDIO if are_sounds(values[:SAMPLE]) else IMAGE
            modality = of_files if self._open is not None else _common_modality(values)
        self._inputs = values
        n_rows = len(values)
        super().__init__(modality, Labels.none(n_rows) if labels is None else GivenLabels(labels, n_rows, "labels"))
        if modality == ARRAY:
            self.remarks = _like_images(values)
        if modality == TEXT:
            pairs = any(isinstance(value, tuple) for value in values)
            self.remarks = ((PAIRS_REMARK,) if pairs else ()) + blank_texts(values)

    def raw(self, row: int) -> Any:
        value = self._inputs[row]
        if value is None or (isinstance(value, tuple) and None in value):
            raise UnreadableError("missing")
        if self._open is not None:
            return self._open(value)
        if isinstance(value, np.ndarray):
            value = as_torch_takes(value)
            return np.moveaxis(value, 0, -1) if self.modality == IMAGE and channels_first(value) else value
        return value

    def row_name(self, row: int) -> str:
        value = self._inputs[row]
        is_path = self._open is not None and isinstance(value, str)
        return name_of_path_row(row, value) if is_path else super().row_name(row)


def modality_of(value: Any) -> str:
    """The modality of one input: text, image, or array. An array of uint8 or uint16 pixels is an image.

    Raises:
        DatasetError: the input is none of these.
    """
    if isinstance(value, str) or (isinstance(value, tuple) and are_pairs([value])):
        return TEXT
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise DatasetError(f"inputs are arrays of {value.dtype}; expected uint8 pixels, or real numbers.")
        if value.dtype == np.uint8 and value.ndim in (2, 3):
            channels_first(value)
            return IMAGE
        if is_16_bit(value) and (value.ndim == 2 or (value.ndim == 3 and _has_channels(value))):
            return IMAGE
        return ARRAY
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(value, pil.Image):
        return IMAGE
    raise DatasetError(
        f"inputs hold {type(value).__name__}; expected images (PIL or uint8 arrays), strings or arrays. "
        "For image files, give the folder that holds one folder for each class."
    )


def as_torch_takes(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the machine's order of bytes and with numbers of 64 bits at most, since tensors have no others."""
    kind = np.dtype(np.float64) if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array.dtype
    return array.astype(kind.newbyteorder("="), copy=False)


def channels_first(pixels: NDArray[Any]) -> bool:
    """True for (C, H, W); False for (H, W), for (H, W, C), and where both readings are possible.

    Raises:
        DatasetError: neither axis can be the channels.
    """
    if pixels.ndim == 2:
        return False
    if not _has_channels(pixels):
        raise DatasetError(
            f"a uint8 input has shape {pixels.shape}; expected an image (H, W), (H, W, C) or (C, H, W) with C = 1, 3 "
            "or 4. If these are not images, give them as float32."
        )
    return pixels.shape[2] not in _CHANNELS


def _has_channels(pixels: NDArray[Any]) -> bool:
    return pixels.shape[2] in _CHANNELS or pixels.shape[0] in _CHANNELS


def _values_of(inputs: Any) -> NDArray[Any] | list[Any]:
    """The inputs as an array of numbers, or as a list of other values, in which None is missing."""
    if (columns := columns_of(inputs)) is not None:
        return _values_of_table(columns)
    if is_a(inputs, "torch.utils.data", "Dataset"):
        raise DatasetError(
            f"inputs are a {type(inputs).__name__}, a dataset of torch. Give it alone if it yields (input, label) "
            "pairs; otherwise give its inputs as a list, such as [inputs[row] for row in range(len(inputs))]."
        )
    if (
        isinstance(inputs, np.ndarray)
        and inputs.dtype.kind not in "biufc"
        and inputs.ndim == 2
        and inputs.shape[1] == 1
    ):
        inputs = inputs[:, 0]
    if hasattr(inputs, "toarray"):
        raise DatasetError(
            f"inputs are a sparse {type(inputs).__name__}; expected a dense array. Give inputs.toarray()."
        )
    if is_tensor(inputs) and inputs.layout is not sys.modules["torch"].strided:
        raise DatasetError("inputs are a sparse tensor; expected a dense one. Give inputs.to_dense().")
    if isinstance(inputs, np.ma.MaskedArray) and np.ma.is_masked(inputs) and inputs.dtype.kind in "biufc":
        raise DatasetError(
            "inputs hold masked values; expected numbers everywhere. Give, for example, inputs.filled(0)."
        )
    values = opened(inputs)
    if values is None:
        advice = ""
        if hasattr(inputs, "__next__") or (
            hasattr(inputs, "__iter__") and not isinstance(inputs, (str, bytes, Mapping))
        ):
            advice = " Give list(inputs)."
        raise DatasetError(
            f"inputs are {type(inputs).__name__}; expected an array, or a list of PIL images, strings or arrays."
            + advice
        )
    return [_plain(value) for value in values] if isinstance(values, list) else values


def _values_of_table(columns: Mapping[str, Any]) -> NDArray[Any] | list[Any]:
    if len(columns) == 1:
        values = _values_of(next(iter(columns.values())))
        return values[:, None] if isinstance(values, np.ndarray) and values.ndim == 1 else values
    values_by_name = {name: _values_of(column) for name, column in columns.items()}
    arrays = {name: _numbers(values) for name, values in values_by_name.items()}
    if not arrays:
        raise DatasetError("inputs are a table without columns; expected one column of inputs, or columns of numbers.")
    texts = [name for name, array in arrays.items() if array is None]
    if not texts:
        return np.stack([array for array in arrays.values() if array is not None], axis=1)
    if len(texts) == len(columns) == 2:
        pairs = list(zip(*values_by_name.values(), strict=True))
        if are_pairs(pairs):
            return pairs
    raise DatasetError(
        f"inputs are a table of which the columns {', '.join(map(repr, texts[:5]))} hold no numbers; "
        "expected one column of inputs, or only columns of numbers. Give one column, such as "
        f"inputs[{texts[0]!r}]."
    )


def _numbers(values: NDArray[Any] | list[Any]) -> NDArray[Any] | None:
    """A column of numbers, with NaN for missing ones; None for other values."""
    if isinstance(values, np.ndarray):
        return values if values.ndim == 1 else None
    if not all(value is None or isinstance(value, _NUMBER) for value in values):
        return None
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _plain(value: Any) -> Any:
    """A tensor as an array; None for every missing value; the content or path of a file that `datasets` describes."""
    if is_tensor(value):
        return array_of_tensor(value)
    if type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked:
        return None
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, Mapping) and {"bytes", "path"} >= value.keys():
        return value["bytes"] if value.get("bytes") is not None else value.get("path")
    if not isinstance(value, (str, np.ndarray, np.generic)) and hasattr(value, "__array__") and hasattr(value, "dtype"):
        return np.asarray(value)
    return value


def _of_list(values: list[Any]) -> tuple[NDArray[Any] | list[Any], Callable[[Any], Any] | None]:
    """The values, and how to read one that is the path or the content of an image file."""
    given = [row for row, value in enumerate(values) if value is not None]
    if not given:
        if values:
            raise DatasetError(f"all {len(values)} inputs are missing (None or NaN); expected images, texts or arrays.")
        return values, None
    first = values[given[0]]
    if isinstance(first, (bytes, bytearray)):
        return _of_bytes(values, given)
    if all(isinstance(values[row], (str, PurePath)) for row in given):
        return _of_strings(values, given)
    if are_pairs(values):
        return [pair if pair is None else tuple(map(_plain, pair)) for pair in values], None
    if all(isinstance(values[row], _NUMBER) for row in given):
        _refuse_numbers(len(values))
    if isinstance(first, (list, tuple)):
        return _of_lists(values, given), None
    return values, None


def _of_bytes(values: list[Any], given: Sequence[int]) -> tuple[list[Any], Callable[[Any], Any] | None]:
    other = next((row for row in given if not isinstance(values[row], (bytes, bytearray))), None)
    if other is not None:
        raise DatasetError(
            f"inputs hold bytes in row {given[0]} and {type(values[other]).__name__} in row {other}; give rows of one "
            "kind."
        )
    if any(values[row].startswith(SIGNATURES) for row in given[:_LOOKED_AT]):
        return values, bytes
    texts = list(values)
    for row in given:
        try:
            texts[row] = bytes(values[row]).decode()
        except UnicodeDecodeError:
            raise DatasetError(
                f"inputs hold bytes that are neither an image file nor a text in UTF-8, first in row {row}. Decode "
                'them first, such as [text.decode("latin-1") for text in inputs].'
            ) from None
    return texts, None


def _refuse_numbers(n_rows: int) -> NoReturn:
    raise DatasetError(
        f"inputs are numbers of shape ({n_rows},), one for each row; expected images, texts, or arrays of two or more "
        "dimensions. If a number is the one feature of a row, give np.reshape(inputs, (-1, 1))."
    )


def _of_lists(values: list[Any], given: Sequence[int]) -> NDArray[Any]:
    """Lists of numbers of equal length as an array."""
    row = next((row for row in given if not isinstance(values[row], (list, tuple))), None)
    if row is not None:
        raise DatasetError(
            f"inputs hold a list in row {given[0]} and {type(values[row]).__name__} in row {row}; give rows of one "
            "kind."
        )
    words = next((row for row in given if all(isinstance(each, str) for each in values[row])), None)
    if words is not None:
        raise DatasetError(
            f"inputs hold a list of {len(values[words])} strings in row {words}; expected one text for each row. Join "
            'them, such as [" ".join(texts) for texts in inputs].'
        )
    missing = next((row for row, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise DatasetError(
            f"inputs are lists of numbers, and row {missing} is missing. Leave out such rows, and their labels."
        )
    rows = []
    for row in given:
        try:
            rows.append(np.asarray(values[row]))
        except ValueError:
            raise DatasetError(
                f"inputs hold in row {row} lists of different lengths; give each row as an array."
            ) from None
        if rows[-1].shape != rows[0].shape:
            raise DatasetError(
                f"inputs are lists of different lengths: {rows[0].shape} in row 0 and {rows[-1].shape} in row {row}. "
                "Fill them up to one length, or give texts instead of numbers of words."
            )
    array = np.stack(rows)
    if array.dtype.kind not in "biuf":
        raise DatasetError(f"inputs are lists of {array.dtype}; expected lists of numbers of one length.")
    return array


def _of_strings(values: list[Any], given: Sequence[int]) -> tuple[list[Any], Callable[[Any], Any] | None]:
    """Texts, or paths of image files and how to read one."""
    texts = [value if value is None else str(value) for value in values]
    sample = [texts[row] for row in given[:: max(1, len(given) // SAMPLE)]]
    origin = origin_of_paths(sample, lambda: texts, Origin.user(), where="the inputs")
    if origin is not None:
        return texts, origin.read
    path = next((row for row in given if isinstance(values[row], PurePath)), None)
    if path is not None:
        raise DatasetError(
            f"the inputs hold the path {texts[path]!r} in row {path}; expected paths of image files. If the files hold "
            "texts, give ([Path(path).read_text() for path in paths], labels)."
        )
    return texts, None


def _common_modality(inputs: Sequence[Any]) -> str:
    rows: dict[str, int] = {}
    for row, value in enumerate(inputs):
        if value is None:
            continue
        try:
            rows.setdefault(modality_of(value), row)
        except DatasetError as error:
            raise DatasetError(f"row {row}: {error}") from None
    if len(rows) > 1:
        first = ", ".join(f"{modality} in row {row}" for modality, row in sorted(rows.items()))
        raise DatasetError(f"inputs hold {' and '.join(sorted(rows))} rows ({first}); give rows of one modality.")
    for row, value in enumerate(inputs):
        if isinstance(value, np.ndarray):
            _check_values(value[None], row)
    return next(iter(rows), ARRAY)


def _like_images(arrays: NDArray[Any] | list[Any]) -> tuple[str, ...]:
    """The remark that arrays of numbers look like images of another type than `uint8`; none if they do not."""
    if not len(arrays) or not isinstance(first := arrays[0], np.ndarray) or first.ndim != 3:
        return ()
    if 3 not in (first.shape[0], first.shape[2]) or first.min() < 0 or first.max() > 255:
        return ()
    typed = "x.round().astype(np.uint8)" if first.max() > 1 else "(255 * x).round().astype(np.uint8)"
    return (
        f"The inputs are {first.dtype} arrays of shape {first.shape}, so each model is given them unchanged, without "
        f"its own resizing and normalization. If they are images, give [{typed} for x in inputs].",
    )


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
