"""The kinds of targets: what is to be predicted for each row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CLASSES, NUMBERS, LABEL_SETS = "classes", "numbers", "label_sets"
RELEVANCE = "relevance"

ROW, WORD, PIXEL, BOX = "row", "word", "pixel", "box"
"""What a row of a probe is, and of evidence: an input of its own, a word of a sentence, or a pixel of an image or a box
in it.
"""

TARGET_KINDS: Mapping[str, str] = MappingProxyType(
    {
        CLASSES: "one class for each row",
        NUMBERS: "one number or several numbers for each row",
        LABEL_SETS: "a set of labels for each row",
        RELEVANCE: "documents that are relevant to queries",
    }
)
"""Every kind of targets, and what it means. A task takes one or several kinds, and so does an estimator."""
