"""Preprocessing agrees with torchvision to the last bit, and its key says what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from modelselect.candidates.preprocessing import (
    CallablePreprocessing,
    ImagePreprocessing,
    as_preprocessing,
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


@settings(max_examples=150)
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
