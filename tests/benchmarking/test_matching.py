"""Names in a truth mean exactly one candidate each."""

from __future__ import annotations

from typing import Any

import pytest

from modelselect.benchmarking.matching import match, names_of
from modelselect.benchmarking.truth import Truth
from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError


def test_models_are_known_by_id_by_name_and_by_the_end_of_a_path() -> None:
    candidates = [
        Candidate("timm", "resnet18", "r1"),
        Candidate("hub", "org/resnet18"),
        Candidate("directory", "models/vgg"),
        Candidate("directory", "models/net"),
    ]
    truth = {"d": {"resnet18": 0.1, "hub:org/resnet18": 0.2, "vgg": 0.3, "directory:models/net": 0.4, "other": 0.5}}
    found, called = match(Truth(truth, rows={"d": {"vgg": 7, "other": 8}}), ["d"], candidates)
    assert list(found.accuracies["d"].values()) == [0.1, 0.2, 0.3, 0.4]
    assert list(found.accuracies["d"]) == [c.id for c in candidates]
    assert found.rows == {"d": {"directory:models/vgg": 7}}
    assert names_of(candidates, called)["directory:models/vgg"] == "vgg"


def test_a_name_without_a_tag_is_known_by_its_architecture_in_any_zoo() -> None:
    candidates = [
        Candidate("torchvision", "densenet121.IMAGENET1K_V1"),
        Candidate("timm", "inception_v3.tv_in1k"),
        Candidate("timm", "resnet50.a1_in1k"),
        Candidate("timm", "resnet50.a2_in1k"),
    ]
    truth = {"d": {"DenseNet-121": 0.1, "Inception V3": 0.2, "resnet50": 0.3, "inception_v3.gluon": 0.4}}
    found, called = match(Truth(truth), ["d"], candidates)
    assert found.accuracies["d"] == {"torchvision:densenet121.IMAGENET1K_V1": 0.1, "timm:inception_v3.tv_in1k": 0.2}
    assert called["timm:inception_v3.tv_in1k"] == "Inception V3"
    assert "DenseNet-121 as torchvision:densenet121.IMAGENET1K_V1" in found.notes[0]


def test_an_exact_name_hides_one_that_is_alike() -> None:
    candidates = [Candidate("timm", "resnet50.a1"), Candidate("timm", "vgg11")]
    truth = {"d": {"resnet50": 0.1, "resnet50.a1": 0.2, "vgg11": 0.3}}
    assert match(Truth(truth), ["d"], candidates)[0].accuracies["d"] == {"timm:resnet50.a1": 0.2, "timm:vgg11": 0.3}


def test_names_that_differ_in_the_tag_alone_are_said_to() -> None:
    candidates = [Candidate("timm", "resnet50.a1"), Candidate("timm", "resnet50.a2")]
    with pytest.raises(InvalidInputError, match=r"'resnet50' and timm:resnet50\.a1, timm:resnet50\.a2 have the same"):
        match(Truth({"d": {"resnet50": 0.1, "vgg11": 0.2}}), ["d"], candidates)


@pytest.mark.parametrize(
    ("model", "candidate", "said"),
    [
        ("resnet50", "timm:resnet50.a1", r"the tag \(none, not a1 or a2\)\."),
        ("timm:resnet50.a3", "timm:resnet50.a1", r"the tag \(a3, not a1 or a2\)\."),
        (
            "hub:resnet50.a3@r1",
            "timm:resnet50.a1",
            r"zoo \(hub, not timm\) and the tag .* and the revision \(r1, not none\)",
        ),
    ],
)
def test_the_error_says_which_part_of_a_name_differs(model: str, candidate: str, said: str) -> None:
    candidates = [Candidate("timm", "resnet50.a1"), Candidate("timm", "resnet50.a2")]
    with pytest.raises(InvalidInputError, match=rf"{candidate}, .*have the same architecture, and differ in .*{said}"):
        match(Truth({"d": {model: 0.1, "vgg11": 0.2}}), ["d"], candidates)


def test_names_without_a_tag_do_not_differ_in_the_tag() -> None:
    candidates = [Candidate("directory", "a/resnet18"), Candidate("directory", "b/resnet18")]
    with pytest.raises(InvalidInputError, match="differ in nothing but their number: name one of them"):
        match(Truth({"d": {"ResNet-18": 0.1, "vgg11": 0.2}}), ["d"], candidates)


def test_the_same_weights_are_known_by_the_tag_of_each_zoo() -> None:
    candidates = [Candidate("timm", "resnet50.tv_in1k"), Candidate("timm", "resnet34.tv_in1k")]
    truth = {"d": {"torchvision:resnet50.IMAGENET1K_V1": 0.1, "resnet34.IMAGENET1K_V1": 0.2, "resnet50.a1": 0.3}}
    found, _ = match(Truth(truth), ["d"], candidates)
    assert found.accuracies["d"] == {"timm:resnet50.tv_in1k": 0.1, "timm:resnet34.tv_in1k": 0.2}
    assert "Matched by the weights, in another zoo: torchvision:resnet50.IMAGENET1K_V1 as timm" in found.notes[0]


def test_weights_of_timm_are_the_same_on_the_hub() -> None:
    candidates = [Candidate("timm", "resnet50.a1_in1k", "r1"), Candidate("hub", "timm/resnet34.a1_in1k", "r2")]
    truth = {"d": {"hub:timm/resnet50.a1_in1k": 0.1, "timm:resnet34.a1_in1k": 0.2}}
    found, _ = match(Truth(truth), ["d"], candidates)
    assert found.accuracies["d"] == {candidates[0].id: 0.1, candidates[1].id: 0.2}
    assert "Matched by the weights, in another zoo" in found.notes[0]


@pytest.mark.parametrize(
    ("model", "candidate"),
    [
        ("timm:resnet50.a1_in1k@abc", Candidate("timm", "resnet50.a1_in1k", "def")),
        ("torchvision:resnet50.IMAGENET1K_V1@abc", Candidate("timm", "resnet50.tv_in1k", "def")),
        ("hub:someone/resnet50.a1_in1k", Candidate("timm", "resnet50.a1_in1k", "def")),
        ("hub:someone/resnet50.tv_in1k", Candidate("timm", "resnet50.tv_in1k")),
        ("x/model.v2", Candidate("directory", "y/Model.v2")),
        ("directory:x/model.v2", Candidate("timm", "model.v2")),
        ("torchvision:resnet50.a1_in1k", Candidate("timm", "resnet50.a1_in1k")),
    ],
)
def test_an_equal_tag_alone_does_not_mean_the_same_weights(model: str, candidate: Candidate) -> None:
    others = [Candidate("timm", "vgg11"), candidate]
    with pytest.raises(InvalidInputError, match="1 of the truth's 2 models"):
        match(Truth({"d": {"timm:vgg11": 0.1, model: 0.2}}), ["d"], others)


@pytest.mark.parametrize(
    ("truth", "complaint"),
    [
        ({"pet": {"a": 0.1, "b": 0.2}}, "no dataset 'pets'.*Did you mean 'pet'"),
        ({"pets": {"a": 0.1, "x": 0.2}}, "1 of the truth's 2 models on pets .* are among the 3 candidates"),
        ({"pets": {"a": 0.1, "same": 0.2}}, "model 'same' matches one:same, two:same"),
        ({"pets": {"a": 0.1, "timm:a": 0.2}}, "two accuracies of timm:a"),
    ],
)
def test_what_does_not_match_is_an_error_that_names_it(truth: dict[str, Any], complaint: str) -> None:
    candidates = [Candidate("timm", "a"), Candidate("one", "same"), Candidate("two", "same")]
    with pytest.raises(InvalidInputError, match=complaint):
        match(Truth(truth), ["pets"], candidates)
