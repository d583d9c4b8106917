"""Data frames of pandas and polars, and tables of Arrow, as a `datasets.Dataset`."""

from __future__ import annotations

import os
from typing import Any

from modelselect.errors import DatasetError
from modelselect.utils.containers import is_a


def frame_dataset(frame: Any) -> Any:
    """A frame, or any other value that `is_table`, as a `datasets.Dataset`.

    Raises:
        DatasetError: the frame cannot be read as a table.
    """
    import datasets
    import pyarrow as pa

    given = type(frame).__name__
    try:
        if is_a(frame, "polars", "DataFrame") and any(str(kind) == "Object" for kind in frame.dtypes):
            # Arrow would get the places in memory of such values
            return datasets.Dataset.from_dict({name: frame[name].to_list() for name in frame.columns})
        if is_a(frame, "pandas", "DataFrame"):
            frame = frame.rename(columns=str)
            may_hold = [c for c, kind in frame.dtypes.items() if str(kind) in ("object", "category")]
            paths = [c for c in may_hold if any(isinstance(value, os.PathLike) for value in frame[c])]
            for column in paths:
                frame = frame.assign(**{column: frame[column].map(str, na_action="ignore")})
            if any(_holds_images(frame[column]) for column in frame.columns):
                return datasets.Dataset.from_dict({column: frame[column].tolist() for column in frame.columns})
            frame = pa.Table.from_pandas(frame, preserve_index=False)
        elif is_a(frame, "polars", "DataFrame"):
            frame = frame.to_arrow()
        elif is_a(frame, "pyarrow", "RecordBatch"):
            frame = pa.Table.from_batches([frame])
        return datasets.Dataset(plain_table(frame))
    except Exception as error:
        raise DatasetError(
            f"the {given} cannot be read as a table ({' '.join(str(error).split())[:300]}). Give each column values of "
            "one kind, and ranges or periods as texts: frame[column].astype(str). If a column holds arrays, give "
            "(list(frame[column]), labels)."
        ) from error


def _holds_images(column: Any) -> bool:
    return any(is_a(value, "PIL.Image", "Image") for value in column.dropna().head(1))


def plain_table(table: Any) -> Any:
    """The table with categories as their values, and texts as Arrow's usual ones."""
    import pyarrow as pa

    def plain(kind: Any) -> Any:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.large_string() if kind == pa.string_view() else kind

    fields = [field.with_type(plain(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))
