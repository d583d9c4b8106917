"""Tagged sentences from every form, the same rows from each; and one error for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.utils.words import Sentence, Word

WORDS = [["Ada", "met", "Charles", "Babbage"], ["She", "sang"], ["in", "London"]] * 4
TAGS = [["B-PER", "O", "B-PER", "I-PER"], ["O", "O"], ["O", "B-LOC"]] * 4
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def forms(folder: Path) -> dict[str, Any]:
    """The sentences in every form that is read."""
    import datasets
    import pandas as pd

    numbers = [[NAMES.index(tag) for tag in tags] for tags in TAGS]
    table = datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": TAGS, "id": list(range(len(WORDS)))})
    table.to_parquet(folder / "a.parquet")
    rows = [{"tokens": words, "ner_tags": tags} for words, tags in zip(WORDS, TAGS, strict=True)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["\n".join(f"{w}{{}}{t}" for w, t in zip(*pair, strict=True)) for pair in zip(WORDS, TAGS, strict=True)]
    (folder / "a.conll").write_text("-DOCSTART- -X- O\n\n" + "\n\n".join(lines).replace("{}", " NN B-NP ") + "\n")
    (folder / "a.txt").write_text("\n\n\n".join(lines).replace("{}", "\t"))
    labelled = datasets.Features(
        {
            "words": datasets.List(datasets.Value("string")),
            "tags": datasets.List(datasets.ClassLabel(names=NAMES)),
        }
    )
    return {
        "pair": (WORDS, TAGS),
        "rows": list(zip(WORDS, TAGS, strict=True)),
        "frame": pd.DataFrame({"tokens": WORDS, "ner_tags": TAGS}),
        "dataset": table,
        "class labels": datasets.Dataset.from_dict({"words": WORDS, "tags": numbers}, features=labelled),
        "parquet": folder / "a.parquet",
        "json lines": folder / "a.jsonl",
        "conll": folder / "a.conll",
        "two columns": folder / "a.txt",
        "splits": {"train": folder / "a.conll", "validation": folder / "a.txt"},
    }


def test_every_form_gives_the_same_rows(tmp_path: Path) -> None:
    expected = [
        (tag, word, place)
        for words, tags in zip(WORDS, TAGS, strict=True)
        for place, (word, tag) in enumerate(zip(words, tags, strict=True))
    ]
    for form, data in forms(tmp_path).items():
        probe = ms.Probe.of(data)
        items = [probe.item(row) for row in range(len(probe))]
        assert probe.labels is not None
        names = [probe.class_names[label] for label in probe.labels]
        found = [(name, item.words[item.place], item.place) for name, item in zip(names, items, strict=True)]
        assert found == expected, form
        assert (probe.unit, probe.modality) == ("word", "text")


def test_a_sentence_is_on_one_side_and_words_are_drawn_by_tag() -> None:
    probe = ms.Probe.of((WORDS, TAGS), size=16, holdout=0.25)
    assert probe.holdout is not None
    training, held = probe.training.wholes, probe.holdout.wholes
    assert training is not None
    assert held is not None
    assert len(training) + len(held) == len(WORDS)
    assert not set(training.groups) & set(held.groups)
    assert probe.labels is not None
    assert set(probe.labels.tolist()) == {0, 1, 2, 3}
    assert isinstance(probe.item(0), Word)
    assert isinstance(held.item(0), Sentence)
    for row in range(len(held)):
        words = held.item(row).words
        tags = TAGS[WORDS.index(list(words))]
        assert [probe.class_names[k] for k in held.targets[row, : len(words)]] == tags
        assert (held.targets[row, len(words) :] == -1).all()


def test_words_without_a_tag_are_read_and_do_not_count() -> None:
    tags = [[None, "O", -100, "B-PER"], ["O", ""], ["O", "B-LOC"]] * 4
    probe = ms.Probe.of((WORDS, [[None if t == -100 else t for t in each] for each in tags]))
    assert probe.labels is not None
    assert int((probe.labels < 0).sum()) == 12
    assert "12 words without a tag do not count" in " ".join(probe.remarks)
    numbers = ms.Probe.of((WORDS, [[-100, 0, 1, 2], [0, -1], [0, 1]] * 4))
    assert numbers.labels is not None
    assert int((numbers.labels < 0).sum()) == 8
    assert "numbers without names" in " ".join(numbers.remarks)


def test_a_folder_of_conll_files_has_their_splits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    forms(tmp_path / "a")
    folder = tmp_path / "b"
    folder.mkdir()
    lines = (tmp_path / "a" / "a.txt").read_text()
    for name in ("train.txt", "dev.txt", "test.txt"):
        (folder / name).write_text(lines)
    probe = ms.Probe.of(folder, holdout=0.2)
    assert probe.provenance["split"] == "train"
    assert probe.holdout is not None
    assert probe.holdout.provenance["split"] == "dev"
    assert probe.unit == "word"


def test_a_rare_letter_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("so\u0085me\tO\nPa\u2028ris\tB-place\n\nhere\tO\n", encoding="utf-8")
    probe = ms.Probe.of(tmp_path / "a.conll")
    assert [probe.item(row).words[probe.item(row).place] for row in range(3)] == ["so\u0085me", "Pa\u2028ris", "here"]


def test_copies_of_sentences_are_dropped_when_asked() -> None:
    assert len(ms.Probe.of((WORDS, TAGS), deduplicate=True)) == 8


def test_rows_of_equal_content_have_one_fingerprint(tmp_path: Path) -> None:
    found = {ms.Probe.of(data).fingerprint for form, data in forms(tmp_path).items() if form not in ("splits",)}
    assert len(found) == 2  # numbers of a ClassLabel are in another order than sorted names


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ([["a", "b"], []], [["X", "Y"], []], "sentence 1 has no words"),
        ([["a", "b", "c"], ["d"]], [["X", "Y"], ["X"]], "sentence 0 has 3 words and 2 tags; expected a tag for each"),
        ([["a", "b", "c"], ["d"]], [["X", "Y", "X"]], "2 sentences and 1 lists of tags"),
        ([["a", "b", "c"]], [["O", "O", "O"]], "one tag only, 'O'; expected at least two"),
        ([["a", "b", "c"]], [[None, None, None]], "the words have no tags; expected at least two"),
        ([["a", "b", "c"]], [["X", "Y", np.nan]], "the tag of word 2 in sentence 0 is nan"),
        ([["a", "b", "c"]], [[0, 1.5, 2]], "the tag of word 1 in sentence 0 is 1.5"),
        ([["a", "b", "c"]], [[0, -3, 2]], "the tag of word 1 in sentence 0 is -3"),
        ([["a", " ", "c"]], [["X", "Y", "Y"]], "word 1 of sentence 0 is ' '; expected a text that is not empty"),
        ([["a", "b", "c"]], [["X", "Y", 3]], "the tags are both numbers and names"),
    ],
)
def test_each_fault_is_one_clear_error(words: Any, tags: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ms.Probe.of((words, tags))


def test_tags_that_no_name_stands_for_and_tags_of_one_split_alone_are_refused(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_dict({"tokens": WORDS, "tags": [[9] * len(words) for words in WORDS]})
    kind = datasets.List(datasets.ClassLabel(names=[f"T{i}" for i in range(12)]))
    table = table.cast_column("tags", kind)
    table.info.features["tags"].feature.names = ["a", "b"]
    table.info.features["tags"].feature.num_classes = 2
    with pytest.raises(DatasetError, match="the tag 9 is unknown: the column names 2 tags"):
        ms.Probe.of(table)
    other = [["B-ORG" if tag == "B-LOC" else tag for tag in tags] for tags in TAGS]
    with pytest.raises(DatasetError, match="classes that the training split lacks: B-ORG"):
        ms.Probe.of({"train": (WORDS, TAGS), "validation": (WORDS, other)}, holdout=0.2)


def test_several_columns_of_tags_and_lines_of_one_column_are_refused(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": TAGS, "pos_tags": TAGS})
    with pytest.raises(DatasetError, match="ner_tags and pos_tags may all hold the tags"):
        ms.Probe.of(table)
    assert ms.Probe.of(table, label="pos_tags").unit == "word"
    (tmp_path / "a.conll").write_text("Ada B-PER\nmet\n")
    with pytest.raises(DatasetError, match=r"line 2 of .* is 'met'; expected a word, and its tag"):
        ms.Probe.of(tmp_path / "a.conll")


def test_sets_of_labels_and_pairs_of_texts_are_still_what_they_were() -> None:
    sets = ms.Probe.of((["a text", "another", "a third"] * 4, [["x", "y"], ["x"], []] * 4))
    assert (sets.target_kind, sets.unit) == ("label_sets", "row")
    pairs = ms.Probe.of(([["one", "two"], ["three", "four"]] * 4, ["x", "y"] * 4))
    assert pairs.holds_pairs
