"""Which columns are read: the ones that plainly fit; what fits equally well is refused, with advice that works."""

from __future__ import annotations

import re
from typing import Any

import datasets
import pytest
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import noise

N = 12
HALVES = [0, 1] * 6
THIRDS = [0, 1, 2] * 4


def texts(word: str) -> list[str]:
    return [f"{word} {i}" for i in range(N)]


def pictures(first: int) -> list[Image.Image]:
    return [Image.fromarray(noise(first + i)) for i in range(N)]


def table(classes: dict[str, list[str]] | None = None, **columns: Any) -> Any:
    made = datasets.Dataset.from_dict(columns)
    for column, names in (classes or {}).items():
        made = made.cast_column(column, datasets.ClassLabel(names=names))
    return made


def taken(data: Any, **named: Any) -> tuple[Any, str]:
    source = Probe.of(data, **named).provenance["source"]
    return source["input"], source["label"]


def refusal(data: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        Probe.of(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (table(text=texts("a"), label=HALVES), ("text", "label")),
        (table(idx=list(range(N)), text=texts("a"), label=HALVES), ("text", "label")),
        (table(id=texts("a"), text=texts("b"), label=HALVES), ("text", "label")),
        (table(text=texts("a"), label=HALVES, label_text=["no", "yes"] * 6), ("text", "label")),
        (table(text=texts("a"), target=["no", "yes"] * 6, labels=HALVES), ("text", "labels")),
        (
            table({"label": ["x", "y"], "lang": ["u", "v", "w"]}, text=texts("a"), label=HALVES, lang=THIRDS),
            ("text", "label"),
        ),
        (table(Text=texts("a"), LABEL=HALVES), ("Text", "LABEL")),
        (table(caption=texts("a"), image=pictures(0), label=HALVES), ("image", "label")),
        (table(premise=texts("a"), hypothesis=texts("b"), label=HALVES), (["premise", "hypothesis"], "label")),
        (table(sentence=texts("b"), question=texts("a"), label=HALVES), (["question", "sentence"], "label")),
        (table(text_pair=texts("b"), text=texts("a"), label=HALVES), (["text", "text_pair"], "label")),
        (table(sentence_B=texts("b"), sentence_A=texts("a"), label=HALVES), (["sentence_A", "sentence_B"], "label")),
        (
            table(idx=HALVES, sentence2=texts("b"), sentence1=texts("a"), label=HALVES),
            (["sentence1", "sentence2"], "label"),
        ),
        (
            table(gold_label=HALVES, sentence1=texts("a"), sentence2=texts("b"), sentence1_parse=["( ( a ) b )"] * N),
            (["sentence1", "sentence2"], "gold_label"),
        ),
    ],
)
def test_columns_that_plainly_fit_are_found(data: Any, columns: tuple[Any, str]) -> None:
    assert taken(data) == columns


@pytest.mark.parametrize(
    ("data", "names", "argument"),
    [
        (
            table(
                {"fine_label": ["a", "b", "c"], "coarse_label": ["x", "y"]},
                img=pictures(0),
                fine_label=THIRDS,
                coarse_label=HALVES,
            ),
            ("fine_label", "coarse_label"),
            "label",
        ),
        (
            table({"lang": ["u", "v", "w"]}, text=texts("a"), category=["no", "yes"] * 6, lang=THIRDS),
            ("category", "lang"),
            "label",
        ),
        (table(text=texts("a"), labels=HALVES, target=THIRDS), ("labels", "target"), "label"),
        (table(text=texts("a"), label=HALVES, category=THIRDS), ("label", "category"), "label"),
        (table(image=pictures(0), thumbnail=pictures(50), label=HALVES), ("image", "thumbnail"), "input"),
        (table(img=pictures(0), mask=pictures(50), label=HALVES), ("img", "mask"), "input"),
        (table(title=texts("a"), content=texts("b"), label=HALVES), ("title", "content"), "input"),
        (table(title=texts("a"), text=texts("b"), label=HALVES), ("title", "text"), "input"),
        (table(text=texts("a"), notes=["a note of some more words"] * N, label=HALVES), ("text", "notes"), "input"),
        (
            table(text1=texts("a"), text2=texts("b"), text3=texts("c"), label=HALVES),
            ("text1", "text2", "text3"),
            "input",
        ),
        (
            table(question=texts("a"), context=texts("b"), answer=texts("c"), label=HALVES),
            ("question", "context", "answer"),
            "input",
        ),
    ],
)
def test_columns_that_fit_equally_well_are_refused_and_each_can_be_named(
    data: Any, names: tuple[str, ...], argument: str
) -> None:
    message = refusal(data)
    assert all(repr(name) in message for name in names)
    assert f"{argument}= (on the command line: --{argument} NAME)" in message
    for name in names:
        assert name in taken(data, **{argument: name})
    for advised in re.findall(rf"{argument}=(\(.*?\)|'\w+')", message):
        taken(data, **{argument: eval(advised)})


def test_two_named_columns_are_a_pair_as_a_tuple_and_as_the_command_line_writes_them() -> None:
    data = table(title=texts("a"), content=texts("b"), label=HALVES)
    probe = Probe.of(data, input=("title", "content"))
    assert probe.item(3) == ("a 3", "b 3")
    assert Probe.of(data, input="title,content").fingerprint == probe.fingerprint
    assert Probe.of(data, input=("content", "title")).fingerprint != probe.fingerprint
    odd = table(**{"a, b": texts("a")}, text=texts("b"), label=HALVES)
    assert Probe.of(odd, input="a, b").item(0) == "a 0"
    for wrong, message in (
        (("title", "label"), r"label \(int64\); expected one column of images"),
        (("title", "title"), "expected one column"),
        ("title,contents", "'contents' is not a column. Did you mean 'content'"),
        (("title",), None),
    ):
        if message is None:
            assert taken(data, input=wrong) == ("title", "label")
        else:
            with pytest.raises(DatasetError, match=message):
                Probe.of(data, input=wrong)  # type: ignore[arg-type]


def test_a_column_named_label_is_taken_before_one_that_fits_by_its_type_alone() -> None:
    data = table({"lang": ["u", "v", "w"]}, text=texts("a"), label=["no", "yes"] * 6, lang=THIRDS)
    probe = Probe.of(data)
    assert probe.class_names == ("no", "yes")
    assert "column 'label', not from 'lang'" in probe.remarks[0]
    assert Probe.of(data, label="lang").class_names == ("u", "v", "w")


def test_a_column_named_label_that_holds_no_classes_is_not_taken_before_one_that_does() -> None:
    message = refusal(table({"lang": ["u", "v", "w"]}, text=texts("a"), label=[0.25, 1.5] * 6, lang=THIRDS))
    assert "the columns 'label' and 'lang' may all hold the labels" in message


def test_what_is_not_read_is_said() -> None:
    (remark,) = Probe.of(table(image=pictures(0), caption=texts("a"), label=HALVES)).remarks
    assert "column 'image', not from 'caption'" in remark
    (remark,) = Probe.of(
        table({"label": ["x", "y"], "lang": ["u", "v", "w"]}, text=texts("a"), label=HALVES, lang=THIRDS)
    ).remarks
    assert "column 'label', not from 'lang'" in remark
    assert Probe.of(table(text=texts("a"), label=HALVES)).remarks == ()


def test_a_column_of_several_labels_is_sets_of_labels_and_one_of_ids_alone_is_refused() -> None:
    assert Probe.of(table(text=texts("a"), labels=[[0, 1], [1]] * 6)).target_kind == "label_sets"
    assert "no input column found" in refusal(table(id=texts("a"), label=HALVES))
    assert taken(table(id=texts("a"), label=HALVES), input="id") == ("id", "label")


def test_tables_whose_classes_differ_are_not_joined_by_datasets() -> None:
    one = table({"label": ["cat", "dog"]}, text=texts("a"), label=HALVES)
    other = table({"label": ["dog", "cat"]}, text=texts("b"), label=HALVES)
    for join in (datasets.concatenate_datasets, datasets.interleave_datasets):
        with pytest.raises(ValueError, match="aligned"):
            join([one, other])
