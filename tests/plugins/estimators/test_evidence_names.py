"""Keys of weights and architectures: what shares weights, what is a relative, and any text at all."""

from __future__ import annotations

import pytest
import timm
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision import models as torchvision_models

from modelselect_plugins.estimators._evidence import public
from modelselect_plugins.estimators._evidence.names import (
    architecture_key,
    are_relatives,
    is_of_weights,
    share_weights,
    weights_key,
)

IDS = st.one_of(
    st.text(),
    st.builds("{}:{}".format, st.sampled_from(["timm", "torchvision", "hub", "directory", "embedded"]), st.text()),
    st.builds("hub:timm/{}".format, st.text()),
    st.sampled_from([row["id"] for table in ("weights", "architecture") for row in public.rows(f"same_{table}.csv")]),
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("timm:resnet50.a1_in1k", "hub:timm/resnet50.a1_in1k@0123456789abcdef0123456789abcdef01234567"),
        ("timm:resnet50.tv_in1k", "torchvision:resnet50.IMAGENET1K_V1@0676ba61"),
        ("timm:resnet50.tv2_in1k", "torchvision:resnet50.IMAGENET1K_V2@11ad3fa6"),
        ("timm:efficientnet_b0.ra_in1k", "torchvision:efficientnet_b0.IMAGENET1K_V1"),
        ("timm:regnety_160.swag_ft_in1k", "torchvision:regnet_y_16gf.IMAGENET1K_SWAG_E2E_V1"),
        ("timm:vit_base_patch16_224.orig_in21k_ft_in1k", "hub:google/vit-base-patch16-224"),
        ("timm:vit_base_patch32_clip_224.openai", "hub:openai/clip-vit-base-patch32"),
        ("timm:vit_base_patch32_clip_224.laion2b", "hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        (
            "hub:sentence-transformers/all-MiniLM-L6-v2",
            "hub:sentence-transformers/all-MiniLM-L6-v2?pooling=cls@8b3219a",
        ),
    ],
)
def test_the_same_weights_have_one_key_in_every_zoo(first: str, second: str) -> None:
    assert weights_key(first) == weights_key(second)
    assert share_weights(first, second)
    assert not are_relatives(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("timm:resnet50.tv_in1k", "timm:resnet50.a1_in1k"),
        ("torchvision:resnet50.IMAGENET1K_V1", "torchvision:resnet50.IMAGENET1K_V2"),
        ("torchvision:resnet50", "timm:resnet50.tv_in1k"),
        ("torchvision:mobilenet_v2.IMAGENET1K_V1", "timm:mobilenetv2_100.ra_in1k"),
        ("torchvision:swin_t.IMAGENET1K_V1", "timm:swin_tiny_patch4_window7_224.ms_in1k"),
        ("timm:deit_base_patch16_224.fb_in1k", "timm:vit_base_patch16_224.dino"),
        ("hub:microsoft/resnet-50", "hub:timm/resnet50.a1_in1k"),
    ],
)
def test_another_training_of_the_same_architecture_is_a_relative(first: str, second: str) -> None:
    assert are_relatives(first, second)
    assert not share_weights(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("timm:resnet50.tv_in1k", "timm:resnet101.tv_in1k"),
        ("timm:resnet50.tv_in1k", "hub:someone/resnet50.tv_in1k"),
        ("directory:models/resnet50.tv_in1k", "timm:resnet50.tv_in1k"),
        ("hub:intfloat/e5-base", "hub:intfloat/e5-base-v2"),
    ],
)
def test_what_is_not_known_to_be_the_same_is_not_taken_for_it(first: str, second: str) -> None:
    assert not share_weights(first, second)
    assert not are_relatives(first, second)


@given(IDS)
@example("timm:")
@example("hub:timm/timm/x")
@example("hub:İ@")
def test_any_text_has_keys_that_are_their_own_keys(candidate_id: str) -> None:
    key, architecture = weights_key(candidate_id), architecture_key(candidate_id)
    assert weights_key(key) == key
    assert architecture_key(architecture) == weights_key(architecture) == architecture
    assert architecture_key(key) == architecture
    assert share_weights(candidate_id, candidate_id) == is_of_weights(key)


@given(IDS, IDS)
def test_no_two_candidates_share_weights_and_are_relatives(first: str, second: str) -> None:
    assert not (share_weights(first, second) and are_relatives(first, second))
    assert share_weights(first, second) == share_weights(second, first)
    assert are_relatives(first, second) == are_relatives(second, first)


def test_every_name_of_timm_and_torchvision_in_the_tables_exists() -> None:
    timm_names = {f"timm:{name.lower()}" for name in timm.list_models(pretrained=True)}
    timm_names |= {f"timm:{architecture.lower()}" for architecture in timm.list_models()}
    torchvision_names = {
        f"torchvision:{model}.{weights.name}".lower()
        for model in torchvision_models.list_models(module=torchvision_models)
        for weights in torchvision_models.get_model_weights(model)
    }
    torchvision_names |= {name.split(".")[0] for name in torchvision_names}
    for table, column in (("same_weights.csv", "weights"), ("same_architecture.csv", "architecture")):
        for row in public.rows(table):
            assert row[column] in timm_names
            assert row["id"].startswith(("hub:", "timm:vit-")) or row["id"] in timm_names | torchvision_names


def test_no_id_of_the_tables_stands_for_another() -> None:
    for table, column in (("same_weights.csv", "weights"), ("same_architecture.csv", "architecture")):
        rows = public.rows(table)
        ids = [row["id"] for row in rows]
        assert ids == sorted(set(ids))
        assert not {row[column] for row in rows} & set(ids)
