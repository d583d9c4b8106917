"""Readers find features and logits in any module."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from modelselect.candidates.preprocessing import (
    ImagePreprocessing,
    example_batch,
)
from modelselect.candidates.readers import (
    FeatureMethod,
    HeadInput,
    WholeOutput,
    pool,
    reader_for_feature_method,
    reader_for_module,
)
from modelselect.errors import CandidateError

# --- readers ---------------------------------------------------------------------------------------------------------


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module", params=["resnet18", "vit_tiny_patch16_224"])
def timm_module(request: pytest.FixtureRequest) -> nn.Module:
    import timm

    torch.manual_seed(0)
    return timm.create_model(request.param, num_classes=7).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return example_batch(ImagePreprocessing((224, 224), 256, **IMAGENET))


def test_readers_find_the_classifier_of_real_modules(timm_module: Any, images: torch.Tensor) -> None:
    with torch.inference_mode():
        pre_logits = timm_module.forward_head(timm_module.forward_features(images), pre_logits=True)
        logits = timm_module(images)
        for locate in (reader_for_module, reader_for_feature_method):
            reader = locate(timm_module, images)
            outputs = reader(timm_module, images)
            assert isinstance(reader, HeadInput)
            assert torch.equal(outputs.features, pre_logits)
            assert torch.equal(outputs.logits, logits)


def test_reading_is_one_pass_and_leaves_no_hook(timm_module: Any, images: torch.Tensor) -> None:
    reader = reader_for_feature_method(timm_module, images)
    passes = []
    first = next(module for module in timm_module.modules() if isinstance(module, nn.Conv2d))
    handle = first.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        reader(timm_module, images)
    handle.remove()
    assert len(passes) == 1
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in timm_module.modules())


class Small(nn.Module):
    """(B, 3, H, W) -> 5 logits over 4 features; `head` and what comes before it are up to the test."""

    def __init__(self, head: nn.Module, num_classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Conv2d(3, 4, 3)
        self.body.bias.data = torch.linspace(-1, 1, 4)  # features of both signs
        self.head = head
        self.num_classes = num_classes

    def forward_features(self, batch: torch.Tensor) -> torch.Tensor:
        return self.body(batch).mean((2, 3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if not self.num_classes:
            raise RuntimeError("no head")
        return self.head(self.forward_features(batch))


@pytest.fixture
def small_images() -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_a_head_that_works_in_place_does_not_change_the_features(small_images: torch.Tensor) -> None:
    module = Small(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5))).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        assert isinstance(reader, HeadInput)
        assert torch.equal(reader(module, small_images).features, module.forward_features(small_images))


def test_a_head_that_is_called_by_keyword_is_found(small_images: torch.Tensor) -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 5)

        def forward(self, *, tokens: torch.Tensor) -> torch.Tensor:
            return self.linear(tokens)

    class Model(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.head(tokens=self.forward_features(batch))

    module = Model(Keyword()).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        assert torch.equal(reader(module, small_images).features, module.forward_features(small_images))


def test_features_that_nothing_is_given_cost_a_second_pass(small_images: torch.Tensor) -> None:
    class Apart(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(batch).amax((2, 3)))

    module = Apart(nn.Linear(4, 5)).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        outputs = reader(module, small_images)
        assert reader == FeatureMethod()
        assert torch.equal(outputs.features, module.forward_features(small_images))
        assert torch.equal(outputs.logits, module(small_images))


def test_a_backbone_without_a_head_gives_features_alone(small_images: torch.Tensor) -> None:
    module = Small(nn.Identity(), num_classes=0).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
    assert logits is None


def test_the_output_is_the_features_where_no_layer_makes_it(small_images: torch.Tensor) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    reader = reader_for_module(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert reader == WholeOutput()
        assert torch.equal(features, module(small_images))
    assert logits is None


def test_an_output_object_is_read_by_its_logits(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> Any:
            return SimpleNamespace(logits=self.head(self.forward_features(batch)))

    module = Model(nn.Linear(4, 5)).eval()
    reader = reader_for_module(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
        assert torch.equal(logits, module(small_images).logits)


def test_a_module_that_returns_no_tensor_is_refused(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> Any:
            return {"boxes": batch}

    with pytest.raises(CandidateError, match="returns dict; expected one tensor"):
        reader_for_module(Model(nn.Identity()).eval(), small_images)


def test_a_head_that_is_never_reached_is_reported(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.forward_features(batch)

    with pytest.raises(CandidateError, match="never reached the classifier 'head'"):
        HeadInput("head")(Model(nn.Linear(4, 5)).eval(), small_images)


def test_pooling_is_the_mean_over_places_and_over_tokens() -> None:
    given = torch.arange(48.0)
    assert torch.equal(pool(given.view(2, 3, 2, 4)), given.view(2, 3, 8).mean(2))
    assert torch.equal(pool(given.view(2, 8, 3)), given.view(2, 8, 3).mean(1))
    assert torch.equal(pool(given.view(2, 24)), given.view(2, 24))
    with pytest.raises(CandidateError, match=r"shape \(48,\)"):
        pool(given)
