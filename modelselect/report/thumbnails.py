"""Small pictures of the dataset for a report. A report has none unless the user asks, since data may be private."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelselect.errors import InvalidInputError
from modelselect.probe.probe import Probe
from modelselect.probe.rows import IMAGE
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.report.subject import Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 96
"""Longest side of a picture, in pixels."""

MOST_CLASSES, OF_EACH_CLASS, MOST_MISTAKES = 12, 3, 24

QUALITY = 70
"""Quality of the JPEG files."""


def pictures_of(board: Ranking, dataset: Any) -> Pictures:
    """Pictures of some rows of each class, and of the winner's mistakes.

    Args:
        board: the ranking, whose provenance says how the rows were drawn.
        dataset: the dataset that was given to `select()`, or a probe of it.

    Raises:
        InvalidInputError: it is another dataset, or one without images.
        DatasetError: the dataset cannot be read.
    """
    record = record_of(board, "dataset")
    probe, whole = Probe.again(dataset, record), record.get("part_of")
    if probe.modality != IMAGE:
        raise InvalidInputError(f"thumbnails show images, but the rows of the dataset are of the kind {probe.modality}")
    if probe.fingerprint != (whole if isinstance(whole, Mapping) else board.provenance).get("fingerprint"):
        raise InvalidInputError(
            "the dataset given for thumbnails is not the one of this leaderboard, or its rows have changed. Give the "
            "same dataset, or the Probe that was given to select()."
        )
    classes: dict[str, list[str]] = {}
    labels = [] if probe.labels is None else probe.labels.tolist()
    for row, label in enumerate(labels):
        if 0 <= label < MOST_CLASSES:
            shown = classes.setdefault(probe.class_names[label], [])
            if len(shown) < OF_EACH_CLASS:
                shown.append(_address(probe.item(row)))
    mistakes = board.best.mistakes[:MOST_MISTAKES] if board.ranked else ()
    held = probe.holdout
    found = {} if held is None else {row: _address(held.item(row)) for row, *_ in mistakes if 0 <= row < len(held)}
    return Pictures(dict(sorted(classes.items())), found)


def _address(image: Image) -> str:
    """A smaller copy of the image: the image itself may be one of the user's."""
    share = min(1.0, SIZE / max(image.size))
    width, height = (max(1, round(share * side)) for side in image.size)
    content = io.BytesIO()
    image.resize((width, height), reducing_gap=2.0).save(content, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
