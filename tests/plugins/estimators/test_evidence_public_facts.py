"""Public quality and ImageNet accuracy by candidate id, and the tables, derived again from the published results."""

from __future__ import annotations

import csv
import math
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelselect_plugins.estimators._evidence import public, reliabilities
from modelselect_plugins.estimators._evidence.names import architecture_key, weights_key
from modelselect_plugins.estimators._evidence.public_facts import (
    imagenet_top1,
    public_qualities,
    public_quality,
)
from modelselect_plugins.zoos.torchvision import TorchvisionZoo
from tests.conftest import shared_path
from tools import public_quality as tool


@pytest.mark.parametrize(
    ("better", "worse", "modality"),
    [
        ("timm:resnet101.tv_in1k", "timm:resnet18.tv_in1k", "image"),
        ("timm:convnext_large.fb_in22k", "timm:levit_128s.fb_dist_in1k", "image"),
        ("hub:openai/clip-vit-large-patch14", "hub:openai/clip-vit-base-patch32", "image-text"),
        ("hub:intfloat/e5-large-v2", "hub:minishlab/potion-base-2M", "text"),
    ],
)
def test_a_model_that_did_better_in_public_has_the_higher_quality(better: str, worse: str, modality: str) -> None:
    assert public_quality(better, modality) > public_quality(worse, modality)


def test_the_same_weights_have_the_same_quality_and_relatives_that_of_the_architecture() -> None:
    exact = public_quality("timm:resnet50.tv_in1k", "image")
    assert public_quality("torchvision:resnet50.IMAGENET1K_V1@0676ba61", "image") == exact
    assert public_quality("hub:timm/resnet50.tv_in1k", "image") == exact
    relative = public_quality("timm:resnet50.gluon_in1k", "image")
    assert (
        relative
        == public_quality("torchvision:resnet50", "image")
        == public_quality("hub:microsoft/resnet-50", "image")
    )
    assert relative != exact


def test_what_is_not_known_is_nan() -> None:
    for candidate_id in ("hub:someone/fine-tuned", "directory:resnet50.tv_in1k", "", "embedded:vit.letters"):
        assert math.isnan(public_quality(candidate_id, "image"))
        assert math.isnan(imagenet_top1(candidate_id, {}))
    assert math.isnan(public_quality("timm:resnet50.tv_in1k", "text"))
    assert math.isnan(public_quality("timm:resnet50.tv_in1k", "sound of music"))


def test_a_network_of_labelled_images_has_no_quality_as_a_clip_model() -> None:
    assert math.isfinite(public_quality("timm:convnext_base.clip_laion2b", "image-text"))
    assert math.isnan(public_quality("timm:convnext_base.fb_in1k", "image-text"))


def test_a_pool_is_on_one_scale() -> None:
    clip = ["hub:openai/clip-vit-base-patch32", "hub:openai/clip-vit-base-patch16", "hub:openai/clip-vit-large-patch14"]
    networks = ["timm:resnet50.tv_in1k", "timm:resnet18.tv_in1k"]
    np.testing.assert_array_equal(np.isfinite(public_qualities([*clip, *networks], "image")), [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(np.isfinite(public_qualities([clip[0], *networks], "image")), [0, 1, 1])
    assert public_qualities([], "image").shape == (0,)
    assert np.isnan(public_qualities(networks, "text")).all()
    assert np.isnan(public_qualities(networks, "smell")).all()


@given(st.text(), st.text())
def test_no_text_is_too_odd_to_ask_about(candidate_id: str, modality: str) -> None:
    assert isinstance(public_quality(candidate_id, modality), float)
    assert public_qualities([candidate_id], modality).shape == (1,)
    assert isinstance(imagenet_top1(candidate_id, {"source_dataset": candidate_id, "source_accuracy": 5}), float)


@pytest.mark.parametrize(
    ("dataset", "counts"),
    [
        ("ImageNet-1k", True),
        ("ImageNet-21k -> ImageNet-1k", True),
        ("Instagram-3.6B -> ImageNet-1k", True),
        ("ImageNet-1k (ILSVRC2012), supervised", True),
        ("imagenet-1k, imagenet-21k", True),
        ("ImageNet-12k", False),
        ("ImageNet-1k -> birds", False),
        ("miniImageNet (64 base classes), episodic metric learning", False),
        ("iNaturalist 2017 birds, supervised (fine-tuned from ImageNet)", False),
        ("CIFAR-10, supervised", False),
        (None, False),
    ],
)
def test_an_accuracy_counts_only_on_imagenet_1k(dataset: str | None, counts: bool) -> None:
    found = imagenet_top1("directory:models/mine", {"source_dataset": dataset, "source_accuracy": 71.5})
    assert found == 71.5 if counts else math.isnan(found)


def test_timms_table_knows_weights_fine_tuned_on_imagenet_and_no_others() -> None:
    metadata = {"source_dataset": "ImageNet-22k -> ImageNet-1k"}
    assert imagenet_top1("timm:convnext_base.fb_in22k_ft_in1k", metadata) == pytest.approx(85.8, abs=0.5)
    assert math.isnan(imagenet_top1("timm:convnext_base.fb_in22k", {"source_dataset": "ImageNet-22k"}))
    assert math.isnan(imagenet_top1("torchvision:resnet50", {}))


def test_torchvisions_own_figures_and_timms_table_agree_on_shared_weights() -> None:
    found = {
        each.id: (imagenet_top1(each.id, each.metadata), imagenet_top1(each.id, {}))
        for each in TorchvisionZoo().search("*")
    }
    assert all(math.isfinite(own) for own, _ in found.values())
    shared = {name: own - table for name, (own, table) in found.items() if math.isfinite(table)}
    assert len(shared) >= 50
    assert max(map(abs, shared.values())) < 2.5, shared  # the sizes of the input differ, at most 176 from 224
    for name in ("resnet18.IMAGENET1K_V1@f37072fd", "vgg16.IMAGENET1K_V1@397923af"):
        assert abs(shared[f"torchvision:{name}"]) < 0.05


def test_every_key_of_the_tables_is_found_by_its_own_name() -> None:
    for table in ("quality.csv", "imagenet.csv"):
        for row in public.rows(table):
            assert row["key"] in (weights_key(row["key"]), architecture_key(row["key"]))
    assert len({row["key"] for row in public.rows("imagenet.csv")}) == len(public.rows("imagenet.csv"))


def test_the_readme_names_every_table_with_its_number_of_rows() -> None:
    readme = (public.FOLDER / "README.md").read_text(encoding="utf-8")
    tables = [path.name for path in public.FOLDER.glob("*.csv")]
    assert len(tables) == 4
    for table in tables:
        assert f"| `{table}` | {len(public.rows(table)):,} |" in readme
    for source in tool.SOURCES:
        assert f"| {source.name} | " in readme


@pytest.mark.lab
def test_the_quality_is_what_is_derived_from_the_published_results() -> None:
    rows = [list(map(str, row)) for row in tool.quality_rows(shared_path("truth"))]
    shipped = [list(row.values()) for row in public.rows("quality.csv")]
    assert [(row[0], row[1], *row[3:]) for row in rows] == [(row[0], row[1], *row[3:]) for row in shipped]
    np.testing.assert_allclose([float(row[2]) for row in rows], [float(row[2]) for row in shipped], atol=0.0015)


@pytest.mark.lab
def test_the_imagenet_accuracies_are_those_of_timms_table() -> None:
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerows([("key", "top1"), *tool.imagenet_rows(shared_path("truth"))])
    assert written.getvalue() == (public.FOLDER / "imagenet.csv").read_text(encoding="utf-8")


@pytest.mark.lab
def test_the_quality_predicts_a_table_that_it_was_not_derived_from() -> None:
    sources = [source for source in tool.SOURCES if source.modality == "image"]
    found = tool.left_out([tool.columns(source, shared_path("truth")) for source in sources])
    assert np.nanmean([value for _, value in found]) > reliabilities.QUALITY


def test_the_additive_model_finds_the_quality_behind_made_up_results() -> None:
    rng = np.random.default_rng(0)
    quality, easiness = rng.normal(size=12), rng.normal(size=30)
    columns = [
        tool.Column(
            "made up",
            str(d),
            {
                tool.Model(f"hub:{i}", f"hub:{i}"): 100 / (1 + math.exp(-quality[i] - easy))
                for i in rng.permutation(12)[:8]
            },
        )
        for d, easy in enumerate(easiness)
    ]
    found = tool.derived(columns)
    values = np.array([found[f"hub:{i}"].value for i in range(12)])
    np.testing.assert_allclose(values - values.mean(), quality - quality.mean(), atol=0.15)
    assert sum(each.results for each in found.values()) == 30 * 8


def test_weights_with_few_results_are_nearer_to_their_architecture() -> None:
    strong, weak = tool.Model("timm:a.x", "timm:a"), tool.Model("timm:b.x", "timm:b")
    many = [tool.Column("s", str(d), {strong: 80.0, weak: 60.0}) for d in range(20)]
    gap = {
        n: (lambda found: found["timm:a.x"].value - found["timm:b.x"].value)(tool.derived(many[:n])) for n in (1, 20)
    }
    whole = tool.log_odds(80) - tool.log_odds(60)
    assert 0 < gap[1] < gap[20] < whole
    assert gap[20] == pytest.approx(whole, rel=0.1)
