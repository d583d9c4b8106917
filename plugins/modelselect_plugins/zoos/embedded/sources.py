"""The pre-training data of the embedded zoo: images drawn by these functions, and scikit-learn's digits 0 to 4.

No task has a digit from 5 to 9: those are the demo's target. Everything is generated from a seed; nothing is
downloaded, and no system font is used (the font is Pillow's own).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFont import FreeTypeFont

SIDE = 32
CANVAS = 64  # drawn at twice the size, so that downsampling smooths the edges
_DIGIT_TEST_SHARE = 5  # every fifth digit of a class is held out
Split = Literal["train", "test"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceTask:
    """One classification task that networks of the zoo were pre-trained on.

    Attributes:
        name: the tag after the architecture in a candidate's name.
        description: what the images show, for the model card.
        class_names: of its classes, in label order.
        draw: (random generator, label, split) -> a (32, 32) uint8 image.
    """

    name: str
    description: str
    class_names: tuple[str, ...]
    draw: Callable[[np.random.Generator, int, Split], Pixels]

    def sample(self, split: Split, rows: int, seed: int = 0) -> tuple[Pixels, NDArray[np.int64]]:
        """(rows, 32, 32) images and their labels, with classes of nearly equal size; the same for the same seed.

        >>> images, labels = TASKS["shapes"].sample("test", 16)
        >>> images.shape, images.dtype.name, np.bincount(labels).tolist()
        ((16, 32, 32), 'uint8', [2, 2, 2, 2, 2, 2, 2, 2])
        """
        stream = [list(TASKS).index(self.name), 0 if split == "train" else 1, seed]
        random = np.random.default_rng(stream)
        labels = random.permutation(np.arange(rows, dtype=np.int64) % len(self.class_names))
        return np.stack([self.draw(random, int(label), split) for label in labels]), labels


# --- the tasks -------------------------------------------------------------------------------------------------------

_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "star", "crescent")
_TEXTURES = ("horizontal", "vertical", "diagonal", "checks", "dots", "rings", "grain", "clouds")
_COUNTS = ("one", "two", "three", "four", "five", "six")
_DIGITS = ("0", "1", "2", "3", "4")


def _draw_letter(random: np.random.Generator, label: int, split: Split) -> Pixels:
    return photograph(_glyph(_LETTERS[label], random), random)


def _draw_print(random: np.random.Generator, label: int, split: Split) -> Pixels:
    """Dark letters on light, uneven paper."""
    paper = _clouds(random) * random.uniform(0.1, 0.4)
    ink = photograph(_glyph(_LETTERS[label], random), random) / 255
    return _to_pixels(np.clip(1 - paper - random.uniform(0.5, 0.9) * ink, 0, 1))


def _draw_shape(random: np.random.Generator, label: int, split: Split) -> Pixels:
    from PIL import Image, ImageDraw

    image = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(image)
    radius = random.uniform(14, 26)
    thickness = int(random.integers(4, 8))
    box = [CANVAS / 2 - radius, CANVAS / 2 - radius, CANVAS / 2 + radius, CANVAS / 2 + radius]
    match _SHAPES[label]:
        case "disc":
            pen.ellipse(box, fill=255)
        case "ring":
            pen.ellipse(box, outline=255, width=thickness)
        case "square":
            pen.rectangle(box, fill=255)
        case "frame":
            pen.rectangle(box, outline=255, width=thickness)
        case "triangle":
            pen.polygon(_star_points(3, radius, radius / 2), fill=255)
        case "cross":
            pen.line([box[0], CANVAS / 2, box[2], CANVAS / 2], fill=255, width=thickness)
            pen.line([CANVAS / 2, box[1], CANVAS / 2, box[3]], fill=255, width=thickness)
        case "star":
            pen.polygon(_star_points(5, radius, radius * 0.4), fill=255)
        case "crescent":
            pen.ellipse(box, fill=255)
            pen.ellipse([box[0] + radius * 0.7, box[1], box[2] + radius * 0.7, box[3]], fill=0)
    return photograph(image, random, turn=180)


def _draw_texture(random: np.random.Generator, label: int, split: Split) -> Pixels:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    tilt, phase, waves = random.normal(0, 0.12), random.uniform(0, 2 * np.pi), random.uniform(3, 8)
    across, along = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    match _TEXTURES[label]:
        case "horizontal":
            pattern = np.sin(2 * np.pi * waves * along + phase)
        case "vertical":
            pattern = np.sin(2 * np.pi * waves * across + phase)
        case "diagonal":
            pattern = np.sin(2 * np.pi * waves * (across + along) / math.sqrt(2) + phase)
        case "checks":
            pattern = np.sign(np.sin(np.pi * waves * across + phase) * np.sin(np.pi * waves * along + phase))
        case "dots":
            pattern = np.sin(2 * np.pi * waves * across + phase) + np.sin(2 * np.pi * waves * along + phase) - 0.5
        case "rings":
            centre = random.uniform(0.2, 0.8, size=2)
            pattern = np.sin(2 * np.pi * waves * np.hypot(x - centre[0], y - centre[1]) + phase)
        case "grain":
            pattern = random.normal(size=(SIDE, SIDE))
        case "clouds":
            pattern = 2 * _clouds(random) - 1
    contrast = random.uniform(0.2, 0.5)
    return _to_pixels(0.5 + contrast * pattern + random.normal(0, random.uniform(0, 0.2), (SIDE, SIDE)))


def _draw_count(random: np.random.Generator, label: int, split: Split) -> Pixels:
    """Soft blobs, one more than the label, at a distance from one another."""
    places: list[NDArray[np.float64]] = []
    while len(places) <= label:
        place = random.uniform(5, SIDE - 5, size=2)
        if all(np.hypot(*(place - other)) > 8 for other in places):
            places.append(place)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image = np.zeros((SIDE, SIDE))
    for place in places:
        spread = random.uniform(1.5, 2.8)
        image += random.uniform(0.6, 1) * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * spread**2))
    return _to_pixels(image + random.normal(0, random.uniform(0, 0.1), (SIDE, SIDE)))


def _draw_digit(random: np.random.Generator, label: int, split: Split) -> Pixels:
    """Handwritten 0 to 4; training images are rotated and shifted a little, test images are not."""
    from PIL import Image

    images = _digits(label)
    held_out = np.arange(len(images)) % _DIGIT_TEST_SHARE == 0
    chosen = images[random.choice(np.flatnonzero(held_out if split == "test" else ~held_out))]
    image = Image.fromarray(chosen).resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
    if split == "test":
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return np.asarray(_move(image, random, turn=15).resize((SIDE, SIDE), Image.Resampling.BOX))


TASKS: Mapping[str, SourceTask] = MappingProxyType(
    {
        task.name: task
        for task in (
            SourceTask(
                "letters", "bright capital letters of one typeface, moved, blurred and noisy", _LETTERS, _draw_letter
            ),
            SourceTask("print", "dark capital letters of one typeface on uneven light paper", _LETTERS, _draw_print),
            SourceTask("shapes", "bright geometric shapes, turned, moved, blurred and noisy", _SHAPES, _draw_shape),
            SourceTask("textures", "periodic and random textures that fill the image", _TEXTURES, _draw_texture),
            SourceTask("counting", "one to six soft blobs; the class is their number", _COUNTS, _draw_count),
            SourceTask("digits0to4", "scikit-learn's handwritten digits, classes 0 to 4 alone", _DIGITS, _draw_digit),
        )
    }
)
"""Every source task by name. The order is part of the seed: add new tasks at the end."""


# --- drawing ---------------------------------------------------------------------------------------------------------


def _glyph(text: str, random: np.random.Generator) -> PILImage:
    from PIL import Image, ImageDraw

    image = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(image).text(
        (CANVAS / 2, CANVAS / 2),
        text,
        fill=255,
        font=_font(int(random.integers(40, 57))),
        anchor="mm",
        stroke_width=int(random.integers(0, 4)),
        stroke_fill=255,
    )
    return image


@cache
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, Pillow gives its own scalable font
    return font


@cache
def _digits(label: int) -> Pixels:
    images, digits = handwritten()
    return _to_pixels(images[digits == label] / 16)


@cache
def handwritten() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(1797, 8, 8) images, 0 to 16, and (1797,) digits: `sklearn.datasets.load_digits`, read without importing sklearn.

    Its import takes a second; its file of digits is read in a twentieth of one.
    """
    spec = find_spec("sklearn")
    file = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec is not None else Path()
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        table = np.column_stack(load_digits(return_X_y=True))
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def photograph(image: PILImage, random: np.random.Generator, turn: float = 20) -> Pixels:
    """The drawing as a poor camera sees it: moved, in a lower resolution, with less contrast and with noise."""
    from PIL import Image

    resolution = int(random.integers(8, SIDE + 1))
    moved = _move(image, random, turn).resize((resolution, resolution), Image.Resampling.BOX)
    seen = np.asarray(moved.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
    noise = random.normal(0, random.uniform(0, 0.15), (SIDE, SIDE))
    return _to_pixels(seen * random.uniform(0.6, 1) + noise)


def _move(image: PILImage, random: np.random.Generator, turn: float) -> PILImage:
    """Rotates by up to `turn` degrees, scales, shears and shifts about the centre."""
    from PIL import Image

    angle = math.radians(random.uniform(-turn, turn))
    scale, shear = random.uniform(0.7, 1.25), random.uniform(-0.2, 0.2)
    shift = random.uniform(-4, 4, size=2)
    a, b = scale * math.cos(angle), scale * (math.sin(angle) + shear)
    d, e = -scale * math.sin(angle), scale * math.cos(angle)
    centre = image.width / 2
    c, f = centre - a * centre - b * centre + shift[0], centre - d * centre - e * centre + shift[1]
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)


def _star_points(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
    radii = [outer, inner] * points
    angles = [math.pi * i / points - math.pi / 2 for i in range(2 * points)]
    centre = CANVAS / 2
    return [(centre + r * math.cos(t), centre + r * math.sin(t)) for r, t in zip(radii, angles, strict=True)]


def _clouds(random: np.random.Generator) -> NDArray[np.float64]:
    """(32, 32) smooth noise in [0, 1]."""
    from PIL import Image

    coarse = Image.fromarray(random.integers(0, 256, (5, 5), dtype=np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255


def _to_pixels(image: NDArray[np.floating]) -> Pixels:
    pixels: Pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels
