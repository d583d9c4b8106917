"""The models are shown what the library shows that people train with on a source, and what cannot be shown is said."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import pickle
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets.folder import pil_loader

import modelselect as ms
from modelselect.errors import DatasetError, NothingRankedError
from modelselect.probe import images
from modelselect.probe.images import Reading, UnreadableError, decode, verify
from modelselect.probe.probe import Probe
from tests.cli.conftest import run
from tests.probe.material import ENCODINGS, folder_of, noise, pixels

COLOURS = noise(5, (24, 36, 3))
RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8)


def image_of(mode: str) -> Image.Image:
    if mode in ("LA", "PA", "RGBA"):
        image = Image.fromarray(COLOURS).convert({"PA": "RGBA"}.get(mode, mode))
        image.putalpha(Image.fromarray(noise(6, (24, 36))))
        return image.convert("RGB").convert("PA") if mode == "PA" else image
    return Image.fromarray(COLOURS).convert(mode)


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[274] = orientation
    return data


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(noise(i, (24, 36, 3))) for i in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def tiff(array: np.ndarray[Any, Any], photometric: int, extra: tuple[int, ...] = (), planes: int = 1) -> bytes:
    """A TIFF file by hand: (H, W) or (H, W, bands) of unsigned, signed or floating-point numbers, in one strip."""
    array = array[..., None] if array.ndim == 2 else array
    height, width, bands = array.shape
    content = (array if planes == 1 else np.moveaxis(array, -1, 0)).astype(array.dtype.newbyteorder("<")).tobytes()
    bits, kind = 8 * array.itemsize, {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    strips = bands if planes == 2 else 1
    lengths = [len(content) // strips] * strips
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * bands), 259: ("H", [1]),
        262: ("H", [photometric]), 273: ("I", [8 + sum(lengths[:i]) for i in range(strips)]), 277: ("H", [bands]),
        278: ("I", [height]), 279: ("I", lengths), 284: ("H", [planes]), 339: ("H", [kind] * bands),
    }  # fmt: skip
    if extra:
        tags[338] = ("H", list(extra))
    at = 8 + len(content) + len(content) % 2
    beyond = at + 2 + 12 * len(tags) + 4
    table, rest = struct.pack("<H", len(tags)), b""
    for tag, (form, values) in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}{form}", *values)
        if len(data) > 4:
            table += struct.pack("<HHII", tag, 3 if form == "H" else 4, len(values), beyond + len(rest))
            rest += data + b"\0" * (len(data) % 2)
        else:
            table += struct.pack("<HHI", tag, 3 if form == "H" else 4, len(values)) + data.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", at) + content.ljust(at - 8, b"\0") + table + b"\0\0\0\0" + rest


def xmp_orientation(turn: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
        % turn
    )


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    **{f"png {mode}": (".png", lambda mode=mode: saved(image_of(mode), "PNG"))
       for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    **{f"jpeg {mode}": (".jpg", lambda mode=mode: saved(image_of(mode), "JPEG")) for mode in ("L", "RGB", "CMYK")},
    **{f"tiff {mode}": (".tif", lambda mode=mode: saved(image_of(mode), "TIFF"))
       for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")},
    **{f"pnm {mode}": (suffix, lambda mode=mode: saved(image_of(mode), "PPM"))
       for mode, suffix in (("1", ".pbm"), ("L", ".pgm"), ("RGB", ".pnm"))},
    "png palette, one colour transparent": (".png", lambda: saved(image_of("P"), "PNG", transparency=3)),
    "png palette, alpha for each colour": (".png", lambda: saved(image_of("P"), "PNG", transparency=bytes(range(256)))),
    "png grey, one value transparent": (".png", lambda: saved(image_of("L"), "PNG", transparency=7)),
    "png with 16 bits for each colour": (".png", lambda: png16(noise(3, (6, 8, 3)).astype(np.uint16) * 257)),
    "webp": (".webp", lambda: saved(image_of("RGB"), "WEBP")),
    "webp with alpha": (".webp", lambda: saved(image_of("RGBA"), "WEBP", lossless=True)),
    "gif": (".gif", lambda: saved(image_of("RGB"), "GIF")),
    "gif grey": (".gif", lambda: saved(image_of("L"), "GIF")),
    "avif": (".avif", lambda: saved(image_of("RGB"), "AVIF")),
    "avif with alpha": (".avif", lambda: saved(image_of("RGBA"), "AVIF")),
    "jpeg 2000": (".jp2", lambda: saved(image_of("RGB"), "JPEG2000")),
    "bmp palette": (".bmp", lambda: saved(image_of("P"), "BMP")),
    "bmp": (".dib", lambda: saved(image_of("RGB"), "BMP")),
    "animated gif": (".gif", lambda: animation("GIF")),
    "animated webp": (".webp", lambda: animation("WEBP")),
    "animated png": (".apng", lambda: animation("PNG")),
    "animated avif": (".avif", lambda: animation("AVIF")),
    "tiff of three pages": (".tiff", lambda: animation("TIFF")),
    "jpeg called jfif": (".jfif", lambda: saved(image_of("RGB"), "JPEG")),
    "jpeg called jpe": (".jpe", lambda: saved(image_of("RGB"), "JPEG")),
    "jpeg called png": (".png", lambda: saved(image_of("RGB"), "JPEG")),
    "progressive jpeg": (".JPG", lambda: saved(image_of("RGB"), "JPEG", progressive=True)),
    "jpeg with a colour profile": (".jpg", lambda: saved(image_of("RGB"), "JPEG", icc_profile=b"no profile" * 9)),
    "jpeg with large EXIF data": (".jpg", lambda: saved(image_of("RGB"), "JPEG", exif=b"Exif\0\0" + large_exif())),
    "two pictures in one jpeg": (
        ".jpg", lambda: saved(image_of("RGB"), "MPO", save_all=True, append_images=[image_of("L")])),
    "tiff, 0 is white, 8 bits": (".tif", lambda: tiff(noise(4, (6, 8)), 0)),
    "tiff, 0 is white, 1 bit": (".tif", lambda: saved(image_of("1"), "TIFF", tiffinfo={262: 0})),
    "tiff, bands apart": (".tif", lambda: tiff(noise(4, (6, 8, 3)), 2, planes=2)),
    "tiff, four bands of which three are colours": (".tif", lambda: tiff(noise(4, (6, 8, 4)), 2, extra=(0,))),
    "tiff, compressed": (".tif", lambda: saved(image_of("RGB"), "TIFF", compression="tiff_lzw")),
    "pgm with a maximum of 100": (".pgm", lambda: b"P5 8 6 100\n" + RAMP.astype(np.uint8).tobytes()),
    **{f"jpeg turned by {turn}": (".jpg", lambda turn=turn: saved(image_of("RGB"), "JPEG", exif=exif(turn)))
       for turn in range(1, 9)},
    "png turned": (".png", lambda: saved(image_of("RGB"), "PNG", exif=exif(6))),
    "webp turned": (".webp", lambda: saved(image_of("RGB"), "WEBP", exif=exif(5))),
    "avif turned": (".avif", lambda: saved(image_of("RGB"), "AVIF", exif=exif(6))),
    "tiff turned": (".tif", lambda: saved(image_of("RGB"), "TIFF", tiffinfo={274: 6})),
    "compressed tiff turned": (
        ".tif", lambda: saved(image_of("RGB"), "TIFF", compression="tiff_lzw", tiffinfo={274: 8})),
    "jpeg turned by XMP": (".jpg", lambda: saved(image_of("RGB"), "JPEG", xmp=xmp_orientation(6))),
}  # fmt: skip
"""Name -> suffix, and what makes the file: ordinary formats in every mode, and all that people were surprised by."""


def large_exif() -> bytes:
    data = exif(3)
    data[37510] = b"x" * 50000
    return data.tobytes()[6:]


def png16(values: np.ndarray[Any, Any]) -> bytes:
    """A PNG file with 16 bits for each of three colours, which Pillow cannot write."""
    import zlib

    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def folder_with(root: Path, files: dict[str, bytes]) -> Path:
    """The files in class `a`; other images in class `b`."""
    folder_of(root, {"b": 4})
    (root / "a").mkdir()
    for name, content in files.items():
        (root / "a" / name).write_bytes(content)
    return root


def hub_dataset(values: list[Any], mode: str | None = None) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(mode=mode), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": values, "label": [0, 1] * (len(values) // 2)}, features=features)


def deep_folder(root: Path, most: int, n: int = 6, kind: str = "PNG") -> Path:
    """Images of 16-bit grey in classes `a` and `b`, whose greatest value is `most`."""
    for label in "ab":
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / label / f"{i}.{kind.lower()}").write_bytes(saved(Image.fromarray(deep(most, i)), kind))
    return root


def deep(most: int, seed: int, shape: tuple[int, ...] = (6, 8)) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).integers(0, most + 1, shape).astype(np.uint16)
    values.flat[0] = most
    return values


# ---- equality with the reference libraries ----


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # of the reference
@pytest.mark.parametrize("name", FILES)
def test_a_folder_shows_what_torchvision_shows(tmp_path: Path, name: str) -> None:
    suffix, make = FILES[name]
    root = folder_with(tmp_path, {f"0{suffix}": make()})
    probe = Probe.of(root, max_corrupt=0)
    item = probe.item(0)
    assert item.mode == "RGB"
    assert np.array_equal(np.asarray(item), np.asarray(pil_loader(str(root / "a" / f"0{suffix}"))))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_datasets_show_what_they_yield(tmp_path: Path, name: str, as_bytes: bool) -> None:
    suffix, make = FILES[name]
    path = tmp_path / f"0{suffix}"
    path.write_bytes(make())
    other = saved(Image.fromarray(noise(9)), "PNG")
    first = {"bytes": make(), "path": None} if as_bytes else str(path)
    given = hub_dataset([first, {"bytes": other, "path": None}] if as_bytes else [first, first])
    probe = Probe.of(given, max_corrupt=0)
    assert np.array_equal(pixels(probe, 0), np.asarray(given[0]["image"].convert("RGB")))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", FILES)
def test_torch_datasets_and_lists_of_images_show_the_images_as_they_are(tmp_path: Path, name: str) -> None:
    from torch.utils.data import Dataset

    encoded = FILES[name][1]()

    class Files(Dataset[Any]):
        targets = (0, 1)

        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> tuple[Image.Image, int]:
            return Image.open(io.BytesIO(encoded)), row

    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    assert np.array_equal(pixels(Probe.of(Files(), max_corrupt=0), 0), expected)
    listed = [Image.open(io.BytesIO(encoded)) for _ in range(2)]
    assert np.array_equal(pixels(Probe.of((listed, [0, 1]), max_corrupt=0), 1), expected)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
@pytest.mark.parametrize("stored", ["L", "RGB", "RGBA", "P", "CMYK"])
def test_the_mode_of_a_datasets_image_is_honoured(mode: str, stored: str) -> None:
    source = image_of(stored)
    if mode == "I;16":
        source = source.convert("L")
    given = hub_dataset([source, Image.fromarray(noise(3, (24, 36))).convert(source.mode)], mode)
    expected = given[0]["image"]
    assert expected.mode == mode
    assert np.array_equal(pixels(Probe.of(given, max_corrupt=0), 0), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBX", "RGBa", "LA", "PA", "HSV", "LAB", "YCbCr", "CMYK", "1"])
def test_pil_images_of_every_mode_become_what_pillow_makes_of_them(mode: str) -> None:
    source = Image.fromarray(noise(1, (6, 8, 4)), "RGBA") if mode == "RGBa" else image_of("RGB")
    listed = [source.convert(mode), source.rotate(180).convert(mode)]
    assert np.array_equal(pixels(Probe.of((listed, [0, 1])), 0), np.asarray(listed[0].convert("RGB")))


def test_the_orientation_is_applied_where_the_dataset_was_saved_and_where_it_has_columns(tmp_path: Path) -> None:
    values = [{"bytes": saved(image_of("RGB"), "JPEG", exif=exif(turn)), "path": None} for turn in (6, 8, 3, 1)]
    hub_dataset(values).save_to_disk(str(tmp_path / "saved"))
    probe = Probe.of(tmp_path / "saved")
    assert [probe.item(i).size for i in range(4)] == [(24, 36), (24, 36), (36, 24), (36, 24)]


# ---- grey of more than 8 bits ----


@pytest.mark.parametrize("depth", [8, 9, 10, 11, 12, 13, 14, 15, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_by_the_range_of_the_dataset(tmp_path: Path, depth: int, kind: str) -> None:
    probe = Probe.of(deep_folder(tmp_path, 2**depth - 1, kind=kind), max_corrupt=0)
    for i in range(6):
        assert np.array_equal(pixels(probe, i)[..., 0], deep(2**depth - 1, i) >> (depth - 8))
    assert probe.remarks == (
        f"These images hold {depth}-bit grey: values from 0 to {2**depth - 1} are shown as black to white.",
    )
    assert probe.provenance["remarks"] == list(probe.remarks)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i2", "<i4", "<u4"])
def test_deep_grey_is_read_in_every_type_of_integer(dtype: str) -> None:
    arrays = [deep(4095, i) for i in range(6)]
    listed = [Image.fromarray(array.astype(dtype)) for array in arrays]
    files = [{"bytes": saved(image, "TIFF"), "path": None} for image in listed]
    for dataset in ((listed, [0, 1] * 3), hub_dataset(files)):
        assert np.array_equal(pixels(Probe.of(dataset, max_corrupt=0), 2)[..., 1], arrays[2] >> 4)


def test_uint16_arrays_and_tensors_are_images() -> None:
    import torch
    from torch.utils.data import TensorDataset

    labels = [0, 1] * 3
    for shape in ((6, 8), (6, 8, 1), (6, 8, 3), (3, 6, 8)):
        array = np.stack([deep(1023, i, shape) for i in range(6)])
        expected = np.moveaxis(array[3], 0, -1) if shape[0] == 3 else array[3]
        expected = (expected.reshape(6, 8, -1) >> 2) * np.ones((1, 1, 1), np.uint16)
        tensors = TensorDataset(torch.from_numpy(array), torch.tensor(labels))
        swapped = array.astype(">u2")
        for dataset in (
            (array, labels),
            (list(array), labels),
            (swapped, labels),
            (torch.from_numpy(array), labels),
            tensors,
        ):
            probe = Probe.of(dataset)
            assert probe.modality == "image"
            assert np.array_equal(pixels(probe, 3), np.broadcast_to(expected, (6, 8, 3)))
    assert Probe.of((np.zeros((6, 7, 8, 9), np.uint16), labels)).modality == "array"


def test_the_range_is_one_for_probe_training_rows_and_holdout(tmp_path: Path) -> None:
    deep_folder(tmp_path / "train", 4095, n=30)
    deep_folder(tmp_path / "val", 300)
    probe = Probe.of(tmp_path, size=4, holdout=0.2)
    assert probe.holdout is not None
    assert np.array_equal(pixels(probe.holdout, 0)[..., 0], deep(300, 0) >> 4)
    assert len(probe.training) == 60
    assert np.array_equal(pixels(probe.training, 3)[..., 0], deep(4095, 11) >> 4)  # files are in the order of names
    again = pickle.loads(pickle.dumps(probe))
    assert np.array_equal(pixels(again, 0), pixels(probe, 0))


def test_the_range_is_found_in_evenly_spaced_rows_and_rows_above_it_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelselect.probe.rows._LOOKED_AT", (4,))
    deep_folder(tmp_path, 1023, n=20)
    (tmp_path / "a" / "5.png").write_bytes(saved(Image.fromarray(deep(4000, 0)), "PNG"))
    probe = Probe.of(tmp_path)
    assert probe.skipped == (("a/5.png", "values up to 4000, though white is 1023 in the other images of the dataset"),)
    assert "1023" in probe.remarks[0]


def test_a_few_deep_images_among_others_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelselect.probe.rows._LOOKED_AT", (4, 8, 1000))
    folder_of(tmp_path, {"a": 30, "b": 30})
    (tmp_path / "a" / "7.png").write_bytes(saved(Image.fromarray(deep(1000, 0)), "PNG"))
    probe = Probe.of(tmp_path, max_corrupt=0)
    rows = [i for i in range(60) if probe.item(i).size == (8, 6)]
    assert np.array_equal(pixels(probe, rows[0])[..., 0], deep(1000, 0) >> 2)


def test_a_dataset_with_one_much_brighter_image_says_that_the_others_are_dark(tmp_path: Path) -> None:
    deep_folder(tmp_path, 4000)
    (tmp_path / "a" / "9.png").write_bytes(saved(Image.fromarray(deep(65535, 0)), "PNG"))
    remarks = Probe.of(tmp_path).remarks
    assert "no value above 4000" in remarks[0]
    assert "65535" in remarks[1]


def test_deep_grey_that_cannot_be_decoded_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep_folder(tmp_path, 4095)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    looks = []
    monkeypatch.setattr(images, "extremes", lambda raw, reading: looks.append(1))
    with pytest.raises(DatasetError, match="corrupt"):
        Probe.of(tmp_path)
    assert len(looks) == 12


def test_the_range_that_a_format_states_is_used(tmp_path: Path) -> None:
    values = deep(900, 0)
    pgm = b"P5 8 6 1000\n" + values.astype(">u2").tobytes()
    plain = b"P2 8 6 1000\n" + b" ".join(str(value).encode() for value in values.ravel())
    probe = Probe.of(folder_with(tmp_path, {"0.pgm": pgm, "1.pgm": plain}), max_corrupt=0)
    for row in (0, 1):
        assert np.abs(pixels(probe, row)[..., 0] - values * (255 / 1000)).max() <= 1
    assert not probe.remarks


def test_a_pgm_file_whose_maximum_says_nothing_is_scaled_by_the_range_of_the_dataset(tmp_path: Path) -> None:
    files = {f"{i}.pgm": b"P5 8 6 65535\n" + deep(4095, i).astype(">u2").tobytes() for i in range(4)}
    probe = Probe.of(folder_with(tmp_path, files), max_corrupt=0)
    assert np.array_equal(pixels(probe, 2)[..., 0], deep(4095, 2) >> 4)


def test_12_bit_tiff_is_scaled_by_its_own_depth(tmp_path: Path) -> None:
    values = deep(1000, 3, (6, 8))
    packed = bytearray()
    for left, right in values.reshape(-1, 2).tolist():
        packed += bytes((left >> 4, (left & 15) << 4 | right >> 8, right & 255))
    content = bytearray(tiff(values, 1))
    content[8 : 8 + len(packed)] = packed
    for tag, value in ((258, 12), (279, len(packed))):
        at = content.index(struct.pack("<HH", tag, 3 if tag == 258 else 4)) + 8
        content[at : at + 2] = struct.pack("<H", value)
    probe = Probe.of(folder_with(tmp_path, {"0.tif": bytes(content)}), max_corrupt=0)
    assert np.array_equal(pixels(probe, 0)[..., 0], values >> 4)


def test_negative_values_are_refused_and_the_advice_works(tmp_path: Path) -> None:
    scans = np.stack([deep(4095, i).astype(np.int16) - 1024 for i in range(6)])
    listed, labels = [Image.fromarray(scan) for scan in scans], [0, 1] * 3
    for i, image in enumerate(listed):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        image.save(tmp_path / "ab"[i % 2] / f"{i}.tif")
    for dataset in (tmp_path, (listed, labels)):
        with pytest.raises(DatasetError, match=r"values from -102\d to 3071.*Hounsfield.*window.*uint8 arrays as"):
            Probe.of(dataset)
    windowed = (np.clip((scans - -160) / 400, 0, 1) * 255).astype(np.uint8)
    assert Probe.of((windowed, labels)).modality == "image"


def test_one_image_with_negative_values_is_left_out(tmp_path: Path) -> None:
    deep_folder(tmp_path, 1023, n=20, kind="TIFF")
    Image.fromarray(np.full((4, 4), -5, np.int16)).save(tmp_path / "a" / "3.tiff")
    probe = Probe.of(tmp_path)
    assert probe.skipped == (("a/3.tiff", "negative values (down to -5), of which it is not known what is black"),)


def test_floating_point_images_are_refused_and_the_advice_works(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((6, 6, 8)).astype(np.float32)
    for i, image in enumerate(values):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i}.tif")
    with pytest.raises(DatasetError, match=r"floating-point numbers.*8 bits, or give uint8 arrays as"):
        Probe.of(tmp_path)
    assert Probe.of(((values * 255).astype(np.uint8), [0, 1] * 3)).modality == "image"


def test_colours_of_12_bits_in_16_are_refused_for_pillow_shows_them_black(tmp_path: Path) -> None:
    dark = noise(0, (6, 8, 3)).astype(np.uint16) * 16
    files = {f"{i}.png": png16(noise(i, (6, 8, 3)).astype(np.uint16) * 256) for i in range(12)}
    probe = Probe.of(folder_with(tmp_path, files | {"dark.png": png16(dark)}))
    assert [name for name, _ in probe.skipped] == ["a/dark.png"]
    assert "nearly black" in probe.skipped[0][1]


def test_a_mode_that_cuts_deep_grey_shows_what_datasets_shows_and_says_so() -> None:
    files = [{"bytes": saved(Image.fromarray(deep(4095, i)), "PNG"), "path": None} for i in range(4)]
    given = hub_dataset(files, "L")
    probe = Probe.of(given)
    assert np.array_equal(pixels(probe, 1), np.asarray(given[1]["image"].convert("RGB")))
    (remark,) = probe.remarks
    assert "greater values are white" in remark
    scaled = Probe.of(given.cast_column("image", datasets.Image()))  # what the remark advises
    assert np.array_equal(pixels(scaled, 1)[..., 0], deep(4095, 1) >> 4)


def test_16_bit_grey_with_0_as_white_is_shown_as_pillow_reads_it_and_said(tmp_path: Path) -> None:
    values = deep(4095, 0)
    probe = Probe.of(folder_with(tmp_path, {"0.tif": tiff(values, 0)}), max_corrupt=0)
    assert np.array_equal(pixels(probe, 0)[..., 0], np.asarray(Image.open(tmp_path / "a" / "0.tif")) >> 4)
    assert any("say that 0 is white" in remark for remark in probe.remarks)


# ---- what the fingerprint covers ----


def first_digest(given: Any) -> bytes:
    (digest,) = Probe.of(given, max_corrupt=1)._drawn_from.rows.digests([0])
    assert digest is not None
    return digest


def test_the_digest_of_a_row_changes_with_what_is_shown_and_only_then(tmp_path: Path) -> None:
    def rows(turn: int, mode: str | None = None, image: Image.Image | None = None) -> datasets.Dataset:
        content = saved(image or image_of("RGB"), "PNG", exif=exif(turn))
        return hub_dataset([{"bytes": content, "path": None}, {"bytes": ENCODINGS["png"], "path": None}], mode)

    def in_folder(content: bytes, name: str) -> Path:
        return folder_with(tmp_path / name, {"0.png": content})

    plain, turned = saved(image_of("RGB"), "PNG", exif=exif(1)), saved(image_of("RGB"), "PNG", exif=exif(6))
    assert first_digest(rows(1)) == first_digest(in_folder(plain, "plain"))
    assert first_digest(rows(1, "RGB")) == first_digest(rows(1)) == first_digest(rows(1, "RGBA"))
    assert first_digest(rows(6)) != first_digest(in_folder(turned, "turned"))
    assert first_digest(rows(1, "L")) != first_digest(rows(1))
    digests = {}
    for most in (1023, 4095, 65535):  # the same bytes among others that reach further
        root = folder_with(tmp_path / str(most), {"0.png": saved(Image.fromarray(deep(1000, 0)), "PNG")})
        (root / "b" / "9.png").write_bytes(saved(Image.fromarray(deep(most, 1)), "PNG"))
        digests[most] = first_digest(root)
    assert len(set(digests.values())) == 3
    assert digests[65535] == _digest_of_version_0_1_0(saved(Image.fromarray(deep(1000, 0)), "PNG"))


def _digest_of_version_0_1_0(content: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(b"file\0" + content).digest()


@pytest.mark.parametrize("name", FILES)
def test_a_row_has_one_digest_whether_or_not_it_is_decoded(tmp_path: Path, name: str) -> None:
    content = FILES[name][1]()
    given = hub_dataset([{"bytes": content, "path": None}, {"bytes": ENCODINGS["png"], "path": None}])
    for rows in (Probe.of(given, max_corrupt=0)._drawn_from.rows,):
        assert [check.digest for check in rows.check([0, 1])] == rows.digests([0, 1])
    assert images.mark(content, Reading()) == ""


# ---- the bound on pixels ----


def test_an_image_above_pillows_bound_is_left_out_and_the_advice_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.new("L", (40, 40)).save(root / "a" / "large.png")  # Pillow warns
    for suffix in ("png", "tif", "webp", "gif"):
        Image.new("L", (90, 90)).save(root / "a" / f"larger.{suffix}")  # Pillow refuses
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = Probe.of(root, max_corrupt=0.5)
        assert sorted(name for name, _ in probe.skipped) == [f"a/larger.{s}" for s in ("gif", "png", "tif", "webp")]
        assert all("max_pixels= (on the command line: --max-pixels)" in why for _, why in probe.skipped)
        assert "the image has 8100 pixels, and at most 2000 are read" in dict(probe.skipped)["a/larger.png"]
        probe = Probe.of(root, max_pixels=8100, max_corrupt=0)
        assert sorted(probe.item(i).size for i in range(len(probe)))[-4:] == [(90, 90)] * 4
    assert Image.MAX_IMAGE_PIXELS == 1000
    strict = Probe.of(root, max_pixels=1599, max_corrupt=0.5)
    assert "a/large.png" in dict(strict.skipped)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert not Probe.of(root).skipped


def test_many_large_images_are_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1})
    for i in range(40):
        Image.fromarray(noise(i, (60, 60))).save(root / "ab"[i % 2] / f"large{i}.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("modelselect.probe.rows.usable_cores", lambda: 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Probe.of(root, max_pixels=4000).skipped
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_the_bound_holds_for_the_holdout_and_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(tmp_path / "train", {"a": 10, "b": 10})
    folder_of(tmp_path / "val", {"a": 10, "b": 10})
    Image.new("L", (90, 90)).save(tmp_path / "val" / "a" / "large.png")
    probe = Probe.of(tmp_path, holdout=0.2, max_pixels=2000)
    assert probe.holdout is not None
    assert [name for name, _ in probe.holdout.skipped] == ["val/a/large.png"]
    asked = ["-c", "embedded:plain.random", "--max-pixels", "2000", "--estimators", "centroid"]
    code, out, _ = run(capsys, "select", tmp_path / "val", *asked)
    assert code == 0
    assert "8100 pixels" in " ".join(out.split())


def test_max_pixels_is_a_whole_number_of_pixels_and_needs_rows_to_read(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2})
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(DatasetError, match="max_pixels is"):
            Probe.of(root, max_pixels=wrong)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="max_pixels= and targets= cannot apply"):
        Probe.of(Probe.of(root), max_pixels=5)


# ---- what cannot be read ----


@settings(max_examples=150)
@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 9), st.booleans(), st.randoms(use_true_random=False))
def test_verifying_finds_exactly_what_decoding_would_fail_on(
    encoding: str, changes: int, upright: bool, random: Any
) -> None:
    damaged = bytearray(ENCODINGS[encoding])
    for _ in range(changes):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    damaged = damaged[: random.choice((len(damaged), random.randrange(len(damaged))))]

    def fails(read: Callable[[bytes, Reading], Any]) -> bool:
        try:
            read(bytes(damaged), Reading(upright=upright, white=65535))
        except UnreadableError:
            return True
        return False

    assert fails(verify) == fails(decode)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Tag data larger", "ignore:Truncated File Read")
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_unreadable_or_shown(name: str) -> None:
    content = FILES[name][1]()
    for length in (0, 1, 5, 20, len(content) // 2):
        for read in (decode, verify):
            with contextlib.suppress(UnreadableError):
                read(content[:length], Reading(upright=True, white=65535))


@pytest.mark.parametrize(
    ("array", "photometric", "extra", "said"),
    [
        (noise(0, (6, 8, 5)), 1, (0, 0, 0, 0), "5 bands of 8-bit integers"),
        (noise(0, (6, 8, 8)).astype(np.uint16), 1, (0,) * 7, "8 bands of 16-bit integers"),
        (noise(0, (6, 8, 4)).astype(np.float32), 1, (0,) * 3, "4 bands of 32-bit floating-point numbers"),
        (noise(0, (6, 8)).astype(np.float64), 1, (), "1 band of 64-bit floating-point numbers"),
        (noise(0, (6, 8)).astype(np.int64), 1, (), "1 band of 64-bit signed integers"),
    ],
)
def test_a_tiff_of_many_bands_says_what_it_holds_and_the_advice_works(
    tmp_path: Path, array: np.ndarray[Any, Any], photometric: int, extra: tuple[int, ...], said: str
) -> None:
    root = folder_with(tmp_path, {f"{i}.tif": tiff(array, photometric, extra) for i in range(4)})
    with pytest.raises(DatasetError, match=rf"{said}, which Pillow cannot decode\. Save .*8 bits.*arrays as \(inputs"):
        Probe.of(root)
    inputs = np.stack([array] * 4).astype(np.float32)
    assert Probe.of((inputs, [0, 1, 0, 1])).modality == "array"


def test_bytes_reach_image_decoders_only_whatever_the_suffix_says(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.fromarray(noise(0)).save(root / "a" / "postscript.eps")
    (root / "a" / "postscript.eps").rename(root / "a" / "postscript.jpg")
    assert [name for name, _ in Probe.of(root).skipped] == ["a/postscript.jpg"]


def test_images_are_read_without_the_decoders_that_run_programs() -> None:
    code = (
        "import sys, io; from modelselect.probe.images import decode, Reading, _decoders; _decoders(); "
        "print([name for name in sys.modules if name in ('PIL.EpsImagePlugin', 'PIL.WmfImagePlugin')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- HEIC ----

heic = pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="needs pillow-heif")


def heic_file(seed: int, orientation: int = 1) -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    image = Image.fromarray(np.kron(noise(seed, (4, 5, 3)), np.ones((8, 8, 1), np.uint8)))
    pillow_heif.from_pillow(image).save(buffer, quality=90, exif=exif(orientation).tobytes())
    return buffer.getvalue()


@heic
def test_heic_is_read_as_its_library_reads_it(tmp_path: Path) -> None:
    import pillow_heif

    root = folder_with(tmp_path, {"0.heic": heic_file(0), "1.HEIC": heic_file(1, 6), "2.heif": heic_file(2)})
    probe = Probe.of(root, max_corrupt=0)
    for row, name in enumerate(["0.heic", "1.HEIC", "2.heif"]):
        expected = pillow_heif.open_heif(root / "a" / name).to_pillow().convert("RGB")
        assert np.array_equal(pixels(probe, row), np.asarray(expected))
    assert "HEIF" not in Image.OPEN  # the user's Pillow is left as it is


@heic
def test_heic_without_its_library_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_with(tmp_path, {"0.heic": heic_file(0)})
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DatasetError, match=re.escape("pip install 'modelselect-automl[heic]'")):
        Probe.of(root)
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'^heic = \["pillow-heif', extras, re.MULTILINE)


# ---- arrays that are not read as images ----


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "bool"])
def test_pixels_in_other_types_are_arrays_and_the_advice_of_an_image_model_works(dtype: str) -> None:
    unit = dtype in ("float32", "bool")
    inputs = noise(0, (12, 8, 8)) / (255 if unit else 1)
    inputs = (inputs > 0.5) if dtype == "bool" else inputs.astype(dtype)
    labels = ["a", "b"] * 6
    with pytest.raises(NothingRankedError) as raised:
        ms.select((inputs, labels), "embedded:plain*", estimators="centroid", progress=False)
    message = str(raised.value)
    assert f"arrays of {dtype}" in message
    advised = re.findall(r"`([^`]+)`", message)[0 if unit else 1]
    fixed = eval(advised, {"inputs": inputs})
    assert fixed.dtype == np.uint8
    board = ms.select((fixed, labels), "embedded:plain*", estimators="centroid", progress=False)
    assert len(board.rows) > 0


def test_a_pointer_of_git_lfs_is_called_what_it_is(tmp_path: Path) -> None:
    for row in range(24):
        (tmp_path / "ab"[row % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (row, 0, 0)).save(tmp_path / "ab"[row % 2] / f"{row}.png")
    (tmp_path / "a" / "0.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n")
    assert Probe.of(tmp_path).skipped == (("a/0.png", "a pointer of Git LFS; get the file with `git lfs pull`"),)
