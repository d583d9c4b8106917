"""Images are decoded as torchvision decodes them, and what cannot be decoded is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelselect.probe.images import UnreadableError, bombs_without_warnings, decode, verify
from modelselect.probe.probe import Probe
from tests.probe.material import ENCODINGS, folder_of, noise, pixels


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # of the reference
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P transparent", "RGB", "RGBA", "CMYK"])
def test_images_of_every_mode_become_the_rgb_that_torchvision_makes_of_them(tmp_path: Path, mode: str) -> None:
    from torchvision.datasets.folder import pil_loader

    root = folder_of(tmp_path, {"a": 1, "b": 1})
    image, options = Image.fromarray(noise(5, (9, 7, 3))), {}
    if mode == "P transparent":
        image, options = image.convert("P"), {"transparency": bytes(range(256))}
    elif mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(noise(6, (9, 7))))
    else:
        image = image.convert(mode)
    path = root / "a" / f"0.{'jpg' if mode == 'CMYK' else 'png'}"
    (root / "a" / "0.png").unlink()
    image.save(path, **options)
    item = Probe.of(root).item(0)
    assert item.mode == "RGB"
    assert np.array_equal(np.asarray(item), np.asarray(pil_loader(str(path))))


def test_16_bit_greyscale_keeps_its_contrast(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1})
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    Image.fromarray(values).save(root / "a" / "0.png")
    item = pixels(Probe.of(root), 0)
    assert np.array_equal(item[..., 0], values // 256)
    assert (item[..., 0] == item[..., 2]).all()


def test_the_exif_orientation_is_left_alone_as_torchvision_and_timm_leave_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1}, ".jpg")
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    Image.fromarray(noise(1, (10, 20, 3))).save(root / "a" / "0.jpg", exif=exif)
    assert Probe.of(root).item(0).size == (20, 10)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 9), st.randoms(use_true_random=False))
def test_verifying_finds_exactly_what_decoding_would_fail_on(encoding: str, changes: int, random: Any) -> None:
    damaged = bytearray(ENCODINGS[encoding])
    for _ in range(changes):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    damaged = damaged[: random.choice((len(damaged), random.randrange(len(damaged))))]

    def fails(read: Callable[[bytes], Any]) -> bool:
        try:
            read(bytes(damaged))
        except UnreadableError:
            return True
        return False

    with bombs_without_warnings():
        assert fails(verify) == fails(decode)


def test_a_decompression_bomb_is_a_corrupt_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.new("L", (40, 40)).save(root / "a" / "large.png")  # over the limit: PIL warns
    Image.new("L", (90, 90)).save(root / "a" / "larger.png")  # over twice the limit: PIL raises
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    skipped = dict(Probe.of(root).skipped)
    assert set(skipped) == {"a/large.png", "a/larger.png"}
    assert len(set(skipped.values())) == 1
    assert "decompression bomb" in skipped["a/large.png"]


def test_bytes_reach_image_decoders_only_whatever_the_suffix_says(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.fromarray(noise(0)).save(root / "a" / "postscript.eps")
    (root / "a" / "postscript.eps").rename(root / "a" / "postscript.jpg")
    assert [name for name, _ in Probe.of(root).skipped] == ["a/postscript.jpg"]
