"""Datasets in files and folders: a reader for each layout. The first one that knows a place opens it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from modelselect.errors import DatasetError
from modelselect.probe.coco import has_coco, is_coco, open_coco
from modelselect.probe.columns import Asked
from modelselect.probe.folders import listings_for, open_folder
from modelselect.probe.huggingface import is_saved, open_saved
from modelselect.probe.masks import has_masks, open_masks
from modelselect.probe.other_boxes import LABELME, YOLO, refuse_boxes
from modelselect.probe.retrieval import is_retrieval, open_retrieval
from modelselect.probe.rows import Rows, Splits
from modelselect.probe.splits import WHOLE
from modelselect.probe.tables import has_class_folders, open_table, open_tables, remark_on_tables
from modelselect.probe.tagged import conll_files, conll_rows, is_conll
from modelselect.probe.voc import is_voc, open_voc

Reader = Callable[[Path, Asked], Splits | None]
"""Gives the splits of a folder or of a file; None if the place has another layout."""


def open_place(path: Path, asked: Asked) -> Splits:
    """The splits of a folder or file that is there.

    Raises:
        DatasetError: it is damaged, or has no layout that is known.
    """
    for reader in OF_FOLDERS if path.is_dir() else OF_FILES:
        if (splits := reader(path, asked)) is not None:
            return splits
    raise AssertionError("the last reader of each list takes every place, or says what is wrong with it")


def _saved(folder: Path, asked: Asked) -> Splits | None:
    return open_saved(folder, input=asked.input, label=asked.label) if is_saved(folder) else None


def _voc(folder: Path, asked: Asked) -> Splits | None:
    if not is_voc(folder):
        return None
    if asked.input is not None:
        raise DatasetError(
            f"input={asked.input!r} names a column, and the images of {folder} are in a folder of the layout of PASCAL "
            "VOC. Leave out input= (--input)."
        )
    return open_voc(folder, asked.label)


def _beir(folder: Path, asked: Asked) -> Splits | None:
    return open_retrieval(folder) if is_retrieval(folder) else None


def _coco(folder: Path, asked: Asked) -> Splits | None:
    return open_coco(_without_columns(folder, "images and boxes", asked)) if has_coco(folder) else None


def _masks(folder: Path, asked: Asked) -> Splits | None:
    return open_masks(_without_columns(folder, "images and masks", asked)) if has_masks(folder) else None


def _class_folders(folder: Path, asked: Asked) -> Splits | None:
    """Folders of classes, whatever lies beside them."""
    listings = listings_for(folder)
    if not has_class_folders(folder, listings):
        return None
    remarks = remark_on_tables(folder)
    splits = open_folder(folder, asked.split, listings)
    return {name: partial(_with_remarks, open_rows, remarks) for name, open_rows in splits.items()}


def _conll(folder: Path, asked: Asked) -> Splits | None:
    return {name: partial(conll_rows, file) for name, file in conll_files(folder).items()} or None


def _labelme(folder: Path, asked: Asked) -> None:
    refuse_boxes(folder, LABELME)  # otherwise each file would be a table


def _yolo(folder: Path, asked: Asked) -> None:
    refuse_boxes(folder, YOLO)  # of images that no table has labels for


def _tables(folder: Path, asked: Asked) -> Splits | None:
    return open_tables(folder, input=asked.input, label=asked.label)


def _any_folder(folder: Path, asked: Asked) -> Splits:
    """Class folders once more: one alone, or the reason why there are none."""
    return open_folder(folder, asked.split)


def _conll_file(path: Path, asked: Asked) -> Splits | None:
    return {WHOLE: partial(conll_rows, path)} if is_conll(path) else None


def _coco_file(path: Path, asked: Asked) -> Splits | None:
    return open_coco(_without_columns(path, "images and boxes", asked)) if is_coco(path) else None


def _any_file(path: Path, asked: Asked) -> Splits:
    return open_table(path, input=asked.input, label=asked.label)


OF_FOLDERS: Sequence[Reader] = (
    _saved,
    _voc,
    _beir,
    _coco,
    _masks,
    _class_folders,
    _conll,
    _labelme,
    _tables,
    _yolo,
    _any_folder,
)
"""The readers of folders, in the order in which they are asked: a layout with files of its own first."""

OF_FILES: Sequence[Reader] = (_conll_file, _coco_file, _any_file)
"""The readers of files."""


def _without_columns(place: Path, what: str, asked: Asked) -> Path:
    """The place, which has no columns that a user could name."""
    if asked.input is not None or asked.label is not None:
        raise DatasetError(
            f"input= (--input) and label= (--label) name columns, and {place} holds {what}. Leave both out."
        )
    return place


def _with_remarks(open_rows: Callable[[], Rows], remarks: Sequence[str]) -> Rows:
    rows = open_rows()
    rows.remarks = (*rows.remarks, *remarks)
    return rows
