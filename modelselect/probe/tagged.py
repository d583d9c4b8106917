"""Sentences as lists of words with a tag for each word: Python lists, columns of a table, and CoNLL files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.columns import Label, is_text, kind
from modelselect.probe.grouped import GroupedRows
from modelselect.probe.labels import Labels, in_utf8
from modelselect.probe.lines import lines_of
from modelselect.probe.rows import TEXT, Check
from modelselect.probe.splits import WHOLE, kind_of_split
from modelselect.probe.texts import are_pairs
from modelselect.utils.containers import is_sequence, opened
from modelselect.utils.target_kinds import WORD
from modelselect.utils.text import counted, listed
from modelselect.utils.words import Sentence, Word

MISSING = (None, "", -1, -100)
"""What stands for a tag that is not known. Such a word is read with its sentence, and is no row."""

WORD_NAMES = ("tokens", "words", "token", "word", "forms")
"""Names of columns that hold the words of a sentence."""

TAG_NAMES = ("tags", "ner_tags", "labels", "label", "pos_tags", "upos", "xpos", "chunk_tags", "tag", "ner", "pos")
"""Names of columns that hold the tags of the words."""

SUFFIXES = (".conll", ".conll2003", ".bio", ".iob", ".iob2", ".iobes")
"""Files with a word and its tag on each line. A `.txt` file that looks like one is read, too."""

_LOOKED_AT = 200
"""Lines of a text file that are looked at."""

_DOCUMENT = "-DOCSTART-"


class TaggedRows(GroupedRows):
    """Each word of a sentence is a row, and its tag is its class.

    Args:
        sentences: the words of each sentence.
        tags: a tag for each word: a name, a number from 0, or one of `MISSING`.
        names: of the tags 0, 1, ...
        source: what the rows come from.
        has_columns: whether `input` and `label` name columns.

    Raises:
        DatasetError: a sentence has no words, or another number of tags; a word or a tag is of another kind; or there
            is one tag only.
    """

    source = "tagged words"

    def __init__(
        self,
        sentences: Sequence[Any],
        tags: Sequence[Any],
        *,
        names: Sequence[str] | None = None,
        has_columns: bool = False,
    ) -> None:
        self._sentences = [_words(words, number) for number, words in enumerate(sentences)]
        lengths = _lengths(self._sentences, tags)
        labels = _labels([_tags(each, number) for number, each in enumerate(tags)], names)
        groups = np.repeat(np.arange(len(lengths)), lengths)
        super().__init__(TEXT, labels, WORD, groups)
        self._starts = np.cumsum(lengths) - lengths
        self.has_columns = has_columns
        unknown = int((labels.indices < 0).sum())
        left = (
            f" {counted(unknown, 'word')} without a tag {'does' if unknown == 1 else 'do'} not count."
            if unknown
            else ""
        )
        self.remarks = (
            f"Each row is a word: {counted(len(groups), 'word')} of {counted(len(lengths), 'sentence')}, with "
            f"{counted(len(labels.names), 'tag')}.{left}",
        )
        if labels.names and all(name.isdigit() for name in labels.names):
            self.remarks += (
                "The tags are numbers without names, so words next to each other with one number are a span. Give "
                "names, or a column with the feature ClassLabel.",
            )

    def raw(self, row: int) -> Word:
        group = int(self.groups[row])
        return Word(self._sentences[group], row - int(self._starts[group]))

    def item(self, row: int) -> Word:
        return self.raw(row)

    def row_name(self, row: int) -> str:
        word = self.raw(row)
        return f"{word.words[word.place]!r} (word {word.place} of sentence {int(self.groups[row])})"

    def check(self, rows: Iterable[int]) -> list[Check]:
        return [Check(digest, None) for digest in self._digests(rows)]

    def digests(self, rows: Iterable[int]) -> list[bytes | None]:
        return list(self._digests(rows))

    def whole(self, group: int) -> Sentence:
        return Sentence(self._sentences[group])

    def whole_targets(self, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        longest = max((len(self._sentences[group]) for group in groups.tolist()), default=0)
        found = np.full((len(groups), longest), -1, np.int64)
        for row, group in enumerate(groups.tolist()):
            start, count = int(self._starts[group]), len(self._sentences[group])
            found[row, :count] = self.labels.indices[start : start + count]
        return found

    def _digests(self, rows: Iterable[int]) -> Iterator[bytes]:
        of_sentence: dict[int, bytes] = {}
        for row in rows:
            group = int(self.groups[row])
            if group not in of_sentence:
                content = "\0".join(self._sentences[group]).encode("utf-8", "surrogatepass")
                of_sentence[group] = hashlib.sha256(b"words\0" + content).digest()
            yield hashlib.sha256(of_sentence[group] + f" {row - int(self._starts[group])}".encode()).digest()


def tagged_lists(inputs: Any, labels: Any) -> TaggedRows | None:
    """The rows of a list of word lists and a list of tag lists; None for anything else."""
    if getattr(getattr(inputs, "dtype", None), "kind", None) == "O":  # an array or a column of lists
        inputs = inputs.tolist()
    if labels is None or not isinstance(inputs, list | tuple) or not _are_word_lists(inputs) or are_pairs(inputs):
        return None
    tags = opened(labels)
    if tags is None or not len(tags) or not all(is_sequence(each) for each in tags):
        return None
    return TaggedRows(inputs, list(tags))


def tagged_columns(dataset: Any, input: Any, label: Label) -> TaggedRows | None:
    """The rows of a table with a column of word lists and a column of tag lists; None for other tables.

    Args:
        dataset: a `datasets.Dataset`.
        input: the name of the column of words, or None.
        label: the name of the column of tags, or None.

    Raises:
        DatasetError: several columns may hold the tags, or the tags do not belong to the words.
    """
    features = dataset.features
    lists = [name for name, feature in features.items() if _is_list(feature)]
    of_texts = [name for name in lists if is_text(features[name].feature)]
    named = [name for name in of_texts if name == input or (input is None and name.lower() in WORD_NAMES)]
    if not named and input is None and not any(is_text(feature) for feature in features.values()):
        named = [name for name in of_texts if name.lower() not in TAG_NAMES and name != label]
    if len(named) != 1:
        return None
    words = named[0]
    tags = [name for name in lists if name == label or (label is None and name != words and _may_be_tags(name))]
    if not tags:
        return None
    if len(tags) > 1:
        raise DatasetError(
            f"the columns {listed(tags)} may all hold the tags of the words; expected one. Name it with label= "
            f"(--label), such as label={tags[0]!r}."
        )
    feature = features[tags[0]].feature
    names = feature.names if kind(feature) == "ClassLabel" else None
    columns = dataset.with_format(None).select_columns([words, tags[0]])[:]
    if len(dataset) == 1 and any(" " in str(word) for word in columns[words][0] or ()):
        raise DatasetError(
            f"the table has one row, whose columns {words!r} and {tags[0]!r} hold lists of texts and labels, as if "
            "each list were a column. Read the file yourself, and give pandas.DataFrame(columns)."
        )
    rows = TaggedRows(columns[words], columns[tags[0]], names=names, has_columns=True)
    rows.notes = {"input": words, "label": tags[0]}
    return rows


def is_conll(path: Path) -> bool:
    """True for a file with a word and its tag on each line, and a blank line after each sentence."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() != ".txt":
        return False
    try:
        lines = [line.split() for _, line in zip(range(_LOOKED_AT), lines_of(path), strict=False)]
    except DatasetError:
        return False
    widths = {len(line) for line in lines if line and line[0] != _DOCUMENT}
    return len(widths) == 1 and min(widths) > 1 and any(not line for line in lines)


def conll_files(folder: Path) -> dict[str, Path]:
    """The files of a folder with a word and its tag on each line, by the names of their splits."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_conll(path)]
    named = {path.stem: path for path in files if kind_of_split(path.stem)}
    return named or ({WHOLE: files[0]} if len(files) == 1 and files[0].suffix.lower() in SUFFIXES else {})


def conll_rows(path: Path) -> TaggedRows:
    """The rows of a file with lines of columns: the first is the word, and the last is its tag.

    Raises:
        DatasetError: a line has one column, or the file is not in UTF-8.
    """
    sentences: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    for number, text in enumerate(lines_of(path), 1):
        line = text.rstrip("\n")
        parts = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or parts[0] == _DOCUMENT:
            if sentences[-1]:
                sentences.append([])
                tags.append([])
        elif len(parts) < 2:
            raise DatasetError(
                f"line {number} of {path} is {line[:40]!r}; expected a word, and its tag in the last column. Lines "
                "that are blank end a sentence."
            )
        else:
            sentences[-1].append(parts[0].strip())
            tags[-1].append(parts[-1].strip())
    if not sentences[-1]:
        sentences, tags = sentences[:-1], tags[:-1]
    if not sentences:
        raise DatasetError(f"the file {path} holds no sentence; expected lines with a word and its tag.")
    return TaggedRows(sentences, tags)


# --- parts -----------------------------------------------------------------------------------------------------------


def _is_list(feature: Any) -> bool:
    return kind(feature) in ("List", "LargeList", "Sequence") and hasattr(feature, "feature")


def _may_be_tags(name: str) -> bool:
    return name.lower() in TAG_NAMES


def _are_word_lists(inputs: Sequence[Any]) -> bool:
    """True for lists of texts, some of which may be empty."""
    are_lists = all(isinstance(words, list | tuple | np.ndarray) and is_sequence(words) for words in inputs)
    return are_lists and isinstance(next((words[0] for words in inputs if len(words)), None), str)


def _words(words: Any, number: int) -> tuple[str, ...]:
    if words is None or not len(words):
        raise DatasetError(f"sentence {number} has no words; expected a list of words. Leave out such sentences.")
    for place, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            raise DatasetError(
                f"word {place} of sentence {number} is {ascii(word)[:40]}; expected a text that is not empty. Leave "
                "out such words, and their tags."
            )
    return tuple(words)


def _lengths(sentences: Sequence[tuple[str, ...]], tags: Sequence[Any]) -> NDArray[np.int64]:
    """(G,) the number of words of each sentence."""
    if len(sentences) != len(tags):
        raise DatasetError(f"there are {len(sentences)} sentences and {len(tags)} lists of tags; give one for each.")
    for number, (words, own) in enumerate(zip(sentences, tags, strict=True)):
        count = None if own is None else len(own)
        if count != len(words):
            raise DatasetError(
                f"sentence {number} has {len(words)} words and {count or 'no'} tags; expected a tag for each word. For "
                "a word whose tag is not known, give None."
            )
    return np.array([len(words) for words in sentences], np.int64)


def _tags(tags: Any, number: int) -> list[int | str | None]:
    """The tags of a sentence; None for those that are not known."""
    found: list[int | str | None] = []
    for place, tag in enumerate(tags.tolist() if isinstance(tags, np.ndarray) else tags):
        plain = tag.item() if isinstance(tag, np.generic) else tag
        if isinstance(plain, str | int | None) and plain in MISSING:
            found.append(None)
        elif isinstance(plain, str):
            found.append(in_utf8(plain.strip()))
        elif isinstance(plain, int) and not isinstance(plain, bool) and plain >= 0:
            found.append(plain)
        else:
            raise DatasetError(
                f"the tag of word {place} in sentence {number} is {ascii(plain)[:40]}; expected a name, or a number "
                "from 0. For a tag that is not known, give None or -100."
            )
    return found


def _labels(tags: Sequence[Sequence[int | str | None]], names: Sequence[str] | None) -> Labels:
    present = {tag for each in tags for tag in each if tag is not None}
    if len({type(tag) for tag in present}) > 1:
        raise DatasetError("the tags are both numbers and names; expected tags of one kind.")
    originals: tuple[Any, ...] = tuple(sorted(present, key=lambda tag: (str(type(tag)), tag)))
    if names is not None and originals and originals[-1] >= len(names):
        raise DatasetError(
            f"the tag {originals[-1]} is unknown: the column names {len(names)} tags, from 0. Repair the column, or "
            "give -100 for a tag that is not known."
        )
    called = tuple(str(tag) if names is None else in_utf8(str(names[tag])) for tag in originals)
    if len(called) < 2:
        raise DatasetError(
            f"the words have {'one tag only, ' + repr(called[0]) if called else 'no tags'}; expected at least two. "
            "Check that you named the right column with label= (--label)."
        )
    place = {tag: index for index, tag in enumerate(originals)}
    flat = [-1 if tag is None else place[tag] for each in tags for tag in each]
    return Labels(np.array(flat, np.int64), called, originals)
