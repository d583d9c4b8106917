"""Image processors: what a model is shown equals what transformers' own processor gives, or the folder is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from modelselect.errors import CandidateError
from modelselect_plugins.zoos._transformers import images
from tests.plugins.zoos.image_models import SIDE, VISION

SQUARE = {"height": SIDE, "width": SIDE}
SHORT = {"shortest_edge": SIDE}

SHAPES = [(61, 97), (97, 61), (33, 33), (20, 50), (318, 205), (31, 64)]
"""(width, height) of images, odd and even, wide and tall, smaller and larger than the input."""


def shown() -> list[Image.Image]:
    """Smooth images, as photographs are, with a little noise."""
    found = []
    for width, height in SHAPES:
        small = np.random.default_rng(width).integers(0, 256, (5, 4, 3), dtype=np.uint8)
        found.append(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return found


def folder(path: Path, kind: str, **settings: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / images.PROCESSOR).write_text(json.dumps({"image_processor_type": kind, **settings}))
    transformers.ViTConfig(**VISION).save_pretrained(path)
    return path


def prepared(path: Path) -> Any:
    return images.preprocessing(path, transformers.AutoConfig.from_pretrained(path), False)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *(("ViTImageProcessor", {"size": SQUARE, "resample": code}) for code in range(4)),
        ("ViTImageProcessor", {"size": {"height": 24, "width": 40}}),
        ("ViTImageProcessor", {"size": SIDE}),
        ("ViTImageProcessor", {"size": SQUARE, "do_normalize": False}),
        ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False}),
        ("ViTImageProcessor", {"size": SQUARE, "rescale_factor": 1 / 127.5}),
        ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False, "do_normalize": False}),
        ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False, "image_mean": [127] * 3, "image_std": [50] * 3}),
        ("ViTImageProcessor", {"size": SQUARE, "image_mean": 0.5, "image_std": 0.2}),
        ("ViTImageProcessor", {"size": SQUARE, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3]}),
        ("ViTImageProcessorFast", {"size": SQUARE}),
        ("CLIPImageProcessor", {"size": SHORT, "crop_size": SIDE}),
        ("CLIPImageProcessor", {"size": SIDE, "crop_size": {"height": 30, "width": 28}}),
        ("CLIPImageProcessor", {"size": {"height": 40, "width": 36}, "crop_size": SIDE}),
        ("CLIPImageProcessor", {"size": SHORT, "crop_size": 64}),
        ("CLIPImageProcessorFast", {"size": SHORT, "crop_size": SQUARE}),
        ("BitImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": SQUARE, "do_convert_rgb": False}),
        ("ConvNextImageProcessor", {"size": SHORT, "crop_pct": 0.875}),
        ("ConvNextImageProcessor", {"size": SHORT, "crop_pct": 1.0}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
        ("EfficientNetImageProcessor", {"size": SQUARE, "include_top": True}),
        ("EfficientNetImageProcessor", {"size": SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
        ("MobileViTImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": SQUARE}),
        ("LevitImageProcessor", {"size": SHORT, "crop_size": SIDE}),
        ("PoolFormerImageProcessor", {"size": SHORT, "crop_size": SIDE, "crop_pct": 0.9}),
        ("DeiTImageProcessor", {"size": {"height": 36, "width": 36}, "crop_size": SQUARE}),
        ("BeitImageProcessor", {"size": SQUARE, "do_center_crop": True, "crop_size": 28}),
        ("DPTImageProcessor", {"size": SQUARE, "do_pad": True, "size_divisor": 16}),
        ("SegformerImageProcessor", {"size": SQUARE}),
        ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": SQUARE}),
        ("SiglipImageProcessor", {"size": SQUARE}),
        ("BlipImageProcessor", {"size": SQUARE}),
        ("DINOv3ViTImageProcessor", {"size": SQUARE}),
        ("FlavaImageProcessor", {"size": SQUARE, "crop_size": SQUARE}),
        ("PerceiverImageProcessor", {"size": SQUARE, "crop_size": SQUARE}),
    ],
)
def test_what_is_shown_is_what_the_processor_gives(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    path = folder(tmp_path / "a", kind, **settings)
    preprocessing = prepared(path)
    own = transformers.AutoImageProcessor.from_pretrained(path)
    for image in shown():
        expected = torch.as_tensor(own(image, return_tensors="pt")["pixel_values"][0]).double()
        given = preprocessing.finish(preprocessing.prepare(image)[None])[0].double()
        assert given.shape == expected.shape
        level = float(expected.max() - expected.min()) / 255
        assert float((given - expected).abs().mean()) <= images.LARGEST_DIFFERENCE * level


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("ViTImageProcessor", {"size": SHORT}, "keeps the shapes of images, so inputs differ in size"),
        ("ViTImageProcessor", {"size": {"shortest_edge": 32, "longest_edge": 64}}, "inputs differ in size"),
        ("ViTImageProcessor", {"size": {"max_height": 32, "max_width": 32}}, "inputs differ in size"),
        ("ViTImageProcessor", {"size": SQUARE, "do_resize": False}, "inputs differ in size (97 x 61 and 205 x 318)"),
        ("CLIPImageProcessor", {"size": SHORT, "do_center_crop": False}, "inputs differ in size"),
        ("DPTImageProcessor", {"size": SQUARE, "keep_aspect_ratio": True}, "inputs differ in size"),
        ("YolosImageProcessor", {"size": {"shortest_edge": 32, "longest_edge": 48}}, "inputs differ in size"),
        ("Swin2SRImageProcessor", {}, "inputs differ in size"),
    ],
)
def test_inputs_that_differ_in_size_are_refused_and_the_advice_works(
    tmp_path: Path, kind: str, settings: dict[str, Any], reason: str
) -> None:
    path = folder(tmp_path / "a", kind, **settings)
    with pytest.raises(CandidateError) as caught:
        prepared(path)
    assert reason in str(caught.value)
    advice = re.search(r'show them in: (".*)', str(caught.value))
    assert advice is not None
    folder(
        path,
        "ViTImageProcessor" if kind == "Swin2SRImageProcessor" else kind,
        **settings | json.loads("{" + advice[1] + "}"),
    )
    if kind != "DPTImageProcessor":
        assert prepared(path)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("NoSuchImageProcessor", {}, "transformers cannot build the image processor 'NoSuchImageProcessor'"),
        (
            "ViTImageProcessor",
            {"size": {"longest_edge": 64}},
            "does not prepare an image (ValueError: Size must contain",
        ),
        ("ViTImageProcessor", {"size": SQUARE, "image_mean": [0.5] * 4}, "does not prepare an image"),
        ("ViTImageProcessor", {"size": {"height": 10**6, "width": 10**6}}, "asks for inputs of size"),
        ("Siglip2ImageProcessor", {"patch_size": 8, "max_num_patches": 16}, "cuts images into patches (NaFlex)"),
    ],
)
def test_a_processor_that_gives_no_image_is_refused(
    tmp_path: Path, kind: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CandidateError) as caught:
        prepared(folder(tmp_path / "a", kind, **settings))
    assert reason in str(caught.value)
