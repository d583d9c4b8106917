"""Which columns of a table are read: one of labels, and one of images or texts, or two of pairs of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelselect.errors import DatasetError, did_you_mean
from modelselect.probe.paths import SAMPLE, may_be_paths
from modelselect.utils.text import listed

Input = str | Sequence[str] | None
"""The columns of inputs: a name; two names for pairs of texts; or None to find them."""

Label = str | Sequence[str] | None
"""The columns of labels: a name; several names, or names with commas between them; or None to find them."""


@dataclass(frozen=True)
class Asked:
    """What the user names of a dataset; None is found.

    Attributes:
        input: the columns of inputs.
        label: the columns of labels.
        split: the split to draw from.
    """

    input: Input = None
    label: Label = None
    split: str | None = None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "fine_label",
    "coarse_label",
    "gold_label",
    "targets",
    "y",
)
"""Names of columns that may hold the labels, whatever their type."""

_PLAIN_LABELS = ("label", "labels")

PAIRS = (
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "passage"),
    ("question", "answer"),
    ("query", "passage"),
    ("query", "document"),
    ("claim", "evidence"),
    ("text", "text_pair"),
    ("sentence", "sentence_pair"),
)
"""Names of two columns that hold pairs of texts. So do two columns whose names differ in 1 and 2, or in a and b."""

QUERY_NAMES = ("query", "question", "anchor")
"""Names of columns that hold queries, the first one first."""

DOCUMENT_NAMES = ("document", "passage", "positive", "answer", "context", "text", "response")
"""Names of columns that hold a query's document. As `label`, it stands for the column that has one of these names."""

_NUMBERED = re.compile(r"(?P<stem>.*[a-z])([ _-]?(?P<number>[0-9]+)|[ _-](?P<letter>[a-e]))")

TEXT_NAMES = _words(
    """
    text sentence content title body headline document article abstract summary description review comment post
    tweet message utterance query question answer premise hypothesis context passage claim evidence caption subject
    prompt response text_pair sentence_pair
    """
)
"""Names of columns that hold texts to rank on. A column with another name does if its texts are long."""

_NO_INPUT = _words(
    """
    id idx index uid uuid guid pairid captionid url uri link md5 sha256 date time timestamp lang language split
    source file filename file_name filepath file_path path image img image_id img_id image_path img_path image_file
    image_name photo picture
    author user username label_text label_name class_name
    """
)
"""Names of columns that are not texts to rank on, unless the user names them."""

_SHOWN = 20
"""Number of columns that a message lists."""

_PROSE_WORDS = 4
"""Mean number of words from which a column of any name holds texts."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        inputs: one column, or two columns of pairs of texts.
        label: the column of labels, or several columns: one-hot labels, sets of labels, or several numbers.
        remarks: what the user should know of the choice.
    """

    inputs: tuple[str, ...]
    label: str | tuple[str, ...]
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Any, input: str | Sequence[str] | None, label: Label) -> Columns:
        """The named columns, or the ones that plainly fit.

        Args:
            dataset: a `datasets.Dataset`.
            input: a name; two names, or two names with a comma between them, for pairs of texts; None finds it.
            label: a name; several names, or names with commas between them; None finds it.

        Raises:
            DatasetError: a column is missing, no column fits, or several fit.
        """
        features = dataset.features
        if label is DOCUMENT_NAMES:
            return cls._of_queries(features, input)
        found, about_label = _label(dataset, features, label)
        if input is not None:
            return cls(_named(features, input), found, about_label)
        columns, about_input = _inputs(dataset, features, (found,) if isinstance(found, str) else found)
        return cls(columns, found, (*about_label, *about_input))

    @classmethod
    def _of_queries(cls, features: Mapping[str, Any], input: str | Sequence[str] | None) -> Columns:
        """The columns of queries and of documents."""
        by_name = {column.lower(): column for column in features if is_text(features[column])}
        queries, documents = (
            [by_name[name] for name in names if name in by_name] for names in (QUERY_NAMES, DOCUMENT_NAMES)
        )
        chosen = queries[:1] if input is None else list(_named(features, input))
        documents = [column for column in documents if column not in chosen]
        if len(chosen) != 1 or not documents:
            raise DatasetError(
                f"no columns of queries and documents found among {_listed(features)}; expected names such as query "
                "and document. Name them with input= and label= (--input query --label document)."
            )
        others = [column for column in by_name.values() if column not in (*chosen, documents[0])]
        unread = f", not from {_quoted(others)}" if others else ""
        said = (
            f"Queries are read from the column {chosen[0]!r} and their documents from {documents[0]!r}{unread}. To "
            "choose, name the columns with input= and label= (--input, --label)."
        )
        return cls((chosen[0],), documents[0], (said,))


def kind(feature: Any) -> str:
    """What a message calls a column's type."""
    dtype = getattr(feature, "dtype", None)
    return dtype if type(feature).__name__ == "Value" and isinstance(dtype, str) else type(feature).__name__


def is_image(feature: Any) -> bool:
    """True for a column of image files or sound files."""
    import datasets

    return isinstance(feature, datasets.Image | datasets.Audio)


def is_sound(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.Audio)


def is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "string_view")


def sample_of(dataset: Any, column: str) -> list[Any]:
    """Some values of a column, spread over its rows."""
    step = max(1, len(dataset) // SAMPLE)
    return list(dataset.with_format(None).select_columns([column])[: len(dataset) : step][column][:SAMPLE])


def values_of(dataset: Any, column: str) -> Any:
    """All values of a column, as a chunked array of Arrow."""
    return in_order(dataset, dataset.data.column(column))


def in_order(dataset: Any, stored: Any) -> Any:
    """One value for each row, from one for each stored row: shuffling and selecting do not move what is stored."""
    order = dataset._indices  # noqa: SLF001 (none is public, and a million rows in that order would take 10 s)
    return stored if order is None else stored.take(order.column(0))


def is_whole(feature: Any) -> bool:
    """True for a column of integers that are no classes."""
    return kind(feature).startswith(("int", "uint"))


def _label(dataset: Any, features: Mapping[str, Any], wanted: Label) -> tuple[str | tuple[str, ...], tuple[str, ...]]:
    if wanted is not None:
        return _named_labels(features, wanted), ()
    fitting = _may_be_labels(features)
    if not fitting:
        if several := _of_zeros_and_ones(dataset, features):
            return several, ()
        if (only := _only_numbers(features)) is not None:
            return only, (
                f"Labels are read from {only!r}, the only column of numbers. To choose, name a column with label= (on "
                "the command line: --label NAME).",
            )
        raise DatasetError(
            f"no label column found among {_listed(features)}; expected one ClassLabel column, or one with the name "
            f"{', '.join(LABEL_NAMES)}. Name it with label= (on the command line: --label NAME). To use unlabelled "
            "rows, give (inputs, None)."
        )
    plain = [column for column in fitting if _is_plainly_the_label(features, column, fitting)]
    if len(plain) == 1 and len(fitting) > 1:
        others = [column for column in fitting if column != plain[0]]
        said = f"Labels are read from the column {plain[0]!r}, not from {_quoted(others)}."
        return plain[0], (f"{said} To choose, name a column with label= (on the command line: --label NAME).",)
    if len(fitting) == 1 or _same_classes(dataset, fitting):
        return min(fitting, key=_place), ()
    raise DatasetError(
        f"the columns {_quoted(fitting)} may all hold the labels ({_listed({c: features[c] for c in fitting})}); "
        f"expected one. Name it with label= (on the command line: --label NAME), such as label={fitting[0]!r}."
    )


def _named_labels(features: Mapping[str, Any], wanted: str | Sequence[str]) -> str | tuple[str, ...]:
    """The columns that the user named."""
    if isinstance(wanted, str) and (wanted in features or "," not in wanted):
        return _present(features, wanted, "label")
    names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    for name in names:
        _present(features, name, "label")
    return names[0] if len(names) == 1 else tuple(names)


def _only_numbers(features: Mapping[str, Any]) -> str | None:
    """The one column of numbers that are not whole by their type; None if there is none, or several."""
    numbers = [c for c in features if kind(features[c]).startswith("float") and c.lower() not in _NO_INPUT]
    return numbers[0] if len(numbers) == 1 else None


def _of_zeros_and_ones(dataset: Any, features: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of 0 and 1, if there are several and only one other column; else none."""
    numbers = [c for c in features if kind(features[c]).startswith(("int", "uint", "float", "bool"))]
    columns = [c for c in numbers if c.lower() not in _NO_INPUT and set(sample_of(dataset, c)) <= {0, 1}]
    if len(columns) < 2 or len(features) - len(columns) > 1:  # a third column may hold the labels
        return ()
    return tuple(columns)


def _is_plainly_the_label(features: Mapping[str, Any], column: str, fitting: Sequence[str]) -> bool:
    """True for a column named `label` that holds classes, if another column fits only by its type."""
    import datasets

    feature = features[column]
    if column.lower() not in _PLAIN_LABELS or isinstance(feature, datasets.ClassLabel):
        return column.lower() in _PLAIN_LABELS
    others = [other for other in fitting if other != column]
    holds_classes = is_text(feature) or kind(feature).startswith(("int", "uint", "bool"))
    return holds_classes and not any(other.lower() in LABEL_NAMES for other in others)


def _may_be_labels(features: Mapping[str, Any]) -> list[str]:
    import datasets

    return [
        c for c, feature in features.items() if isinstance(feature, datasets.ClassLabel) or c.lower() in LABEL_NAMES
    ]


def _place(column: str) -> int:
    name = column.lower()
    return LABEL_NAMES.index(name) if name in LABEL_NAMES else len(LABEL_NAMES)


def _same_classes(dataset: Any, columns: Sequence[str]) -> bool:
    """True if each label of one column always stands next to the same label of the others, as a number and its name."""
    import datasets

    if any(not isinstance(dataset.features[c], (datasets.ClassLabel, datasets.Value)) for c in columns):
        return False
    values = [values_of(dataset, column).to_pylist() for column in columns]
    together = len(set(zip(*values, strict=True)))
    return all(len(set(each)) == together for each in values)


def _inputs(
    dataset: Any, features: Mapping[str, Any], labels: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    import datasets

    others = [c for c in features if c not in labels and not isinstance(features[c], datasets.ClassLabel)]
    unlike_labels = [c for c in others if c.lower() not in LABEL_NAMES] or others
    samples = {c: sample_of(dataset, c) for c in unlike_labels if is_text(features[c])}
    images = [
        c
        for c in unlike_labels
        if is_image(features[c]) or (c in samples and may_be_paths(samples[c], spaces=c.lower() in _NO_INPUT))
    ]
    texts = [c for c in samples if c not in images and c.lower() not in _NO_INPUT]
    if len(images) > 1:
        raise DatasetError(
            f"the columns {_quoted(images)} all hold images; expected one. Name it with input= (on the command line: "
            f"--input NAME), such as input={images[0]!r}."
        )
    if images:
        return (images[0],), _unread("Images are", images, texts)
    by_name = [c for c in texts if c.lower() in TEXT_NAMES or _NUMBERED.fullmatch(c.lower())]
    if (pair := _pair(texts)) is not None and not set(by_name) - set(pair):
        return pair, _unread("Pairs of texts are", pair, [c for c in texts if c not in pair], always=True)
    fitting = [c for c in texts if c in by_name or _is_prose(samples[c])] or texts
    if len(fitting) == 1:
        return (fitting[0],), _unread("Texts are", fitting, [c for c in texts if c not in fitting])
    if fitting:
        two = tuple(fitting[:2])
        raise DatasetError(
            f"the columns {_quoted(fitting)} all hold texts; expected one, or two that are known as a pair. Name one "
            "with input= (on the command line: --input NAME), or name two that are to be read as pairs: "
            f"input={two!r} (on the command line: --input {','.join(two)})."
        )
    raise DatasetError(
        f"no input column found among {_listed(features)}; expected one of images or of texts. Name it with input= (on "
        "the command line: --input NAME); a column may name image files in the table's folder, with or without their "
        "suffix. Or give (inputs, labels)."
    )


def _named(features: Mapping[str, Any], wanted: str | Sequence[str]) -> tuple[str, ...]:
    """The columns that the user named."""
    if isinstance(wanted, str):
        names = [wanted] if wanted in features else [name.strip() for name in wanted.split(",")]
    else:
        names = list(wanted)
    for name in names:
        _present(features, name, "input")
    if len(names) == 1 and any(fits(features[names[0]]) for fits in (is_image, is_text, is_whole)):
        return (names[0],)
    if len(names) == 2 and names[0] != names[1] and all(is_text(features[name]) for name in names):
        return (names[0], names[1])
    raise DatasetError(
        f"input={wanted!r} names {_listed({name: features[name] for name in names})}; expected one column of images "
        "(the feature datasets.Image) or of texts, or two columns of texts for pairs. Cast a column with "
        "dataset.cast_column(), or give (inputs, labels)."
    )


def _pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """The two columns that hold pairs; None if there are none, or several."""
    by_name = {column.lower(): column for column in texts}
    found = [(by_name[a], by_name[b]) for a, b in PAIRS if a in by_name and b in by_name]
    numbered: dict[str, dict[str, str]] = {}
    for name, column in by_name.items():
        if match := _NUMBERED.fullmatch(name):
            numbered.setdefault(match["stem"], {})[match["number"] or match["letter"]] = column
    for places in numbered.values():
        first, second = min(places), max(places)
        if len(places) == 2 and (first, second) in (("1", "2"), ("0", "1"), ("a", "b")):
            found.append((places[first], places[second]))
    return found[0] if len(found) == 1 else None


def _unread(what: str, columns: Sequence[str], others: Sequence[str], *, always: bool = False) -> tuple[str, ...]:
    """The remark that says which columns of texts are not read; none if there are no others, unless `always`."""
    if not others and not always:
        return ()
    where = f"the column {columns[0]!r}" if len(columns) == 1 else f"the columns {_quoted(columns)}"
    unread = f", not from {_quoted(others)}" if others else ""
    return (
        f"{what} read from {where}{unread}. To choose, name a column with input= (on the command line: --input NAME).",
    )


def _is_prose(sample: Iterable[Any]) -> bool:
    words = [len(text.split()) for text in sample if isinstance(text, str)]
    return bool(words) and sum(words) >= _PROSE_WORDS * len(words)


def _present(features: Mapping[str, Any], name: str, argument: str) -> str:
    if name not in features:
        raise DatasetError(
            f"{argument}={name!r} is not a column.{did_you_mean(name, features)} Columns: {_listed(features)}."
        )
    return name


def _quoted(names: Sequence[str]) -> str:
    return listed([repr(name) for name in names], len(names))


def _listed(features: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name} ({kind(feature)})" for name, feature in list(features.items())[:_SHOWN])
    return (shown or "no columns") + (f" and {len(features) - _SHOWN} more" if len(features) > _SHOWN else "")
