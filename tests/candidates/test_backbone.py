"""Preprocessing agrees with torchvision's to the last bit; readers give, in one pass, what the module itself gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision import transforms

from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import (
    CallablePreprocessing,
    ImagePreprocessing,
    as_preprocessing,
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
from modelselect.errors import CandidateError, InvalidInputError

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(width * 10_000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def torchvision_transform(preprocessing: ImagePreprocessing) -> Callable[[Any], torch.Tensor]:
    resize = preprocessing.resize
    mode = transforms.InterpolationMode(preprocessing.interpolation)
    steps: list[Any] = [] if resize is None else [transforms.Resize(resize, interpolation=mode)]
    steps += [
        transforms.CenterCrop(preprocessing.size),
        transforms.ToTensor(),
        transforms.Normalize(preprocessing.mean, preprocessing.std),
    ]
    return transforms.Compose(steps)


def whole(preprocessing: Any, image: Image.Image) -> torch.Tensor:
    return preprocessing.finish(preprocessing.prepare(image)[None])[0]


# --- preprocessing ---------------------------------------------------------------------------------------------------

sides = st.integers(1, 300)


@settings(max_examples=150, deadline=None)
@given(
    width=sides,
    height=sides,
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    resize=st.none() | st.integers(1, 80) | st.tuples(st.integers(1, 80), st.integers(1, 80)),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
@example(width=2, height=3000, size=(32, 32), resize=36, interpolation="bicubic")  # a strip
@example(width=3000, height=1, size=(32, 32), resize=32, interpolation="bilinear")
@example(width=7, height=5, size=(64, 64), resize=None, interpolation="bilinear")  # smaller than the crop
@example(width=10, height=500, size=(33, 64), resize=None, interpolation="bilinear")  # in one direction
@example(width=256, height=256, size=(224, 224), resize=256, interpolation="bicubic")  # nothing to resize
def test_agrees_with_torchvision_to_the_last_bit(
    width: int,
    height: int,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None,
    interpolation: str,
) -> None:
    preprocessing = ImagePreprocessing(size, resize, interpolation, **IMAGENET)
    image = noise(width, height)
    assert torch.equal(whole(preprocessing, image), torchvision_transform(preprocessing)(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_any_kind_of_image_is_read_as_rgb(mode: str) -> None:
    preprocessing = ImagePreprocessing((24, 24), 28, **IMAGENET)
    image = noise(60, 40, mode)
    assert torch.equal(whole(preprocessing, image), torchvision_transform(preprocessing)(image.convert("RGB")))


def test_grey_is_one_channel_of_luma() -> None:
    preprocessing = ImagePreprocessing((24, 24), 28, mean=(0.5,), std=(0.25,), channels=1)
    image = noise(60, 40)
    assert torch.equal(whole(preprocessing, image), torchvision_transform(preprocessing)(image.convert("L")))


def test_what_is_prepared_is_bytes() -> None:
    prepared = ImagePreprocessing((24, 24), 28).prepare(noise(60, 40))
    assert prepared.dtype == torch.uint8
    assert prepared.is_contiguous()


def test_the_prepared_batch_is_not_changed_by_finishing_it() -> None:
    preprocessing = ImagePreprocessing((24, 24), 28, **IMAGENET)
    batch = preprocessing.prepare(noise(60, 40))[None]
    before = batch.clone()
    first, again = preprocessing.finish(batch), preprocessing.finish(batch)
    assert torch.equal(batch, before)
    assert torch.equal(first, again)


def test_preprocessing_has_the_same_key_exactly_when_it_does_the_same() -> None:
    base = ImagePreprocessing((24, 24), 28, **IMAGENET)
    others = [
        replace(base, size=(24, 25)),
        replace(base, resize=29),
        replace(base, resize=(28, 28)),
        replace(base, resize=None),
        replace(base, interpolation="bicubic"),
        replace(base, mean=(0.5, 0.5, 0.5)),
        replace(base, std=(0.5, 0.5, 0.5)),
        ImagePreprocessing((24, 24), 28, mean=(0.5,), std=(0.5,), channels=1),
    ]
    assert replace(base).key == base.key
    assert len({base.key, *(other.key for other in others)}) == len(others) + 1


def test_one_mean_and_std_are_needed_for_each_channel() -> None:
    with pytest.raises(InvalidInputError, match="3 values of mean and 3 of std for 1"):
        ImagePreprocessing((24, 24), 28, **IMAGENET, channels=1)


def scaled(factor: float) -> Callable[[Image.Image], torch.Tensor]:
    def transform(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1) * factor

    return transform


def test_functions_of_the_same_code_share_a_key_exactly_when_they_do_the_same() -> None:
    key = CallablePreprocessing.of(scaled(0.5), "code").key
    assert CallablePreprocessing.of(scaled(0.5), "code").key == key
    assert CallablePreprocessing.of(scaled(0.25), "code").key != key
    assert CallablePreprocessing.of(scaled(0.5), "other code").key != key


def test_a_transform_that_depends_on_chance_is_refused() -> None:
    with pytest.raises(CandidateError, match="different tensors for the same image"):
        CallablePreprocessing.of(lambda image: torch.rand(3, 8, 8), "code")


def test_a_transform_that_gives_no_tensor_is_refused() -> None:
    with pytest.raises(CandidateError, match="returns ndarray; expected a tensor"):
        CallablePreprocessing.of(lambda image: np.array(image), "code")  # type: ignore[arg-type, return-value]


def test_an_equal_transform_is_replaced_by_the_shared_one_and_another_is_kept() -> None:
    expressed = ImagePreprocessing((24, 24), 28, **IMAGENET)
    assert as_preprocessing(expressed, torchvision_transform(expressed), "code") is expressed
    different = torchvision_transform(replace(expressed, interpolation="bicubic"))
    assert isinstance(as_preprocessing(expressed, different, "code"), CallablePreprocessing)
    assert isinstance(as_preprocessing(None, different, "code"), CallablePreprocessing)


# --- readers ---------------------------------------------------------------------------------------------------------


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


# --- identity --------------------------------------------------------------------------------------------------------


def test_the_digest_changes_with_any_number_or_name() -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    module = make()
    digest = weights_digest(module)
    assert weights_digest(make()) == digest
    with torch.no_grad():
        module[1].running_mean[1] += 1e-6  # type: ignore[index, union-attr, operator]
    changed = weights_digest(module)
    assert (
        len({digest, changed, weights_digest(make().half()), weights_digest(nn.Sequential(*make(), nn.ReLU()), "x")})
        == 4
    )


def test_the_digest_covers_buffers_that_are_not_saved() -> None:
    module = nn.Identity()
    module.register_buffer("table", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
    digest = weights_digest(module)
    module.table += 1  # type: ignore[operator]
    assert weights_digest(module) != digest
