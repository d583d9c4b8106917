"""Arrays, texts and images in memory are rows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from modelselect.probe.probe import Probe
from tests.probe.material import noise, pixels


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (8, 6, 4), (1, 8, 6), (3, 8, 6)])
def test_uint8_arrays_are_images_with_channels_last_or_first(shape: tuple[int, ...]) -> None:
    array = noise(0, (4, *shape))
    for inputs in (array, list(array)):
        probe = Probe.of((inputs, [0, 1, 0, 1]))
        assert probe.modality == "image"
        image = array[2].reshape(8, 6) if 1 in shape or len(shape) == 2 else array[2]
        image = np.moveaxis(image, 0, -1) if shape == (3, 8, 6) else image
        image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
        assert np.array_equal(pixels(probe, 2), image)


def test_floats_are_arrays_and_strings_are_text_and_both_come_back_as_they_were() -> None:
    inputs = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    arrays = Probe.of((inputs, [0, 1, 0, 1]))
    assert arrays.modality == "array"
    assert np.array_equal(arrays.item(3), inputs[3])
    arrays.item(3)[:] = 0  # a copy: what a preprocessing does to it stays there
    assert np.array_equal(arrays.item(3), inputs[3])
    for texts in (["a", "bc", "ä", ""], np.array(["a", "bc", "ä", ""])):
        text = Probe.of((texts, [0, 1, 0, 1]))
        assert text.modality == "text"
        assert [text.item(i) for i in range(4)] == ["a", "bc", "ä", ""]
    assert text.fingerprint != Probe.of((["a", "b", "cä", ""], [0, 1, 0, 1])).fingerprint


def test_pil_images_are_images() -> None:
    images = [Image.fromarray(noise(i)).convert("P") for i in range(4)]
    probe = Probe.of((images, list("abab")))
    assert np.array_equal(pixels(probe, 1), np.asarray(images[1].convert("RGB")))
