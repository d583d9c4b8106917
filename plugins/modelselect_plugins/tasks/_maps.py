"""How pixels are read from image models: the features of a pixel are those of the last map before pooling, there."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Outputs, Preprocessing, Together
from modelselect.candidates.layouts import FIRST, LAST, Layer, axis_after, axis_of_width, declared_axis, layer_of
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.watching import submodules
from modelselect.errors import CandidateError
from modelselect.utils.pixels import Pixel

if TYPE_CHECKING:
    import torch

MOST_PREFIX = 16
"""Tokens before those of the places, at most: a class token, and registers."""

_LEAST_CHANNELS = 8
"""Maps of fewer channels are no features."""

_PLACE = 8
"""Bytes that say which pixel a row is: its place, and the number of its image."""

_KEPT = 8
"""Prepared images that are kept, since several pixels of an image follow each other."""


class PixelPreprocessing:
    """The whole image at the size of the model's input, without a crop; and for a `Pixel`, which one it is.

    A pixel takes one more row in the prepared image: its place, and the number of its image.

    Args:
        image: resizes without a crop, and normalises.
    """

    def __init__(self, image: ImagePreprocessing) -> None:
        self.image = image
        self._recent: OrderedDict[int, tuple[Any, torch.Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.image,)

    @property
    def key(self) -> str:
        return f"pixels:{self.image.key}"

    def prepare(self, item: Any) -> torch.Tensor:
        """(C, H, W) uint8 from an image, (C, H + 1, W) from a `Pixel`."""
        import numpy as np
        import torch

        if not isinstance(item, Pixel):
            return self.image.prepare(item)
        pixels = self.prepared(item)
        row = torch.zeros((pixels.shape[0], 1, pixels.shape[2]), dtype=torch.uint8)
        place = np.array([round(65535 * item.y), round(65535 * item.x)], "<u2").tobytes()
        said = place + np.array([item.number], "<u4").tobytes()
        row[0, 0, :_PLACE] = torch.frombuffer(bytearray(said), dtype=torch.uint8)
        return torch.cat([pixels, row], 1)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """The same as float32, normalised; the additional row begins with the place, from 0 to 1, and the number."""
        import torch

        if batch.shape[2] == self.image.size[0]:
            return self.image.finish(batch)
        said = batch[:, 0, -1, :_PLACE].float()
        row = torch.zeros((len(batch), batch.shape[1], 1, batch.shape[3]), device=batch.device)
        row[:, 0, 0, 0] = (said[:, 0] + 256 * said[:, 1]) / 65535
        row[:, 0, 0, 1] = (said[:, 2] + 256 * said[:, 3]) / 65535
        row[:, 0, 0, 2] = said[:, 4] + 256 * said[:, 5] + 65536 * said[:, 6]
        return torch.cat([self.image.finish(batch[:, :, :-1]), row], 2)

    def prepared(self, pixel: Any) -> torch.Tensor:
        key = id(pixel.image)
        with self._lock:
            if key in self._recent:
                return self._recent[key][1]
        made = self.image.prepare(pixel.image)
        with self._lock:
            self._recent[key] = (pixel.image, made)  # the image, so that no other gets its id
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return made


@dataclass(frozen=True)
class MapAt:
    """The output of a submodule as a map (B, H, W, D).

    Attributes:
        name: of the submodule.
        axis: of the channels.
        grid: height and width of the map where the submodule gives tokens (B, T, D); else None.
    """

    name: str
    axis: int
    grid: tuple[int, int] | None = None

    def of(self, output: torch.Tensor) -> torch.Tensor:
        """The map in an output of the submodule."""
        if self.grid is None:
            return output.permute(0, 2, 3, 1) if self.axis == FIRST else output
        height, width = self.grid
        places = output[:, output.shape[1] - height * width :]
        return places.reshape(len(output), height, width, output.shape[2])


@dataclass(frozen=True)
class AtPixels:
    """The features of pixels: of one pixel of each row, (B, D), or the whole map, (B, H, W, D).

    An image is read once, even if several rows of a batch are pixels of it. Between the places of the map, features are
    interpolated, bilinearly: a linear head gives the same at a pixel as its own map of outputs, enlarged. An image
    without a pixel, such as those that a candidate was pre-trained on, gives the mean of its map.

    Attributes:
        read: the reader at the end, which runs the module.
        maps: where features are read: one place, or several for several candidates.
        height: of the images, in pixels.
        one: whether each row is one pixel.
    """

    read: Any
    maps: tuple[MapAt, ...]
    height: int
    one: bool = True

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        return self.several(module, batch)[0]

    def several(self, module: Any, batch: torch.Tensor) -> list[Outputs]:
        """The features at each of the places."""
        if not self.one:
            return [Outputs(found, None) for found in self._maps(module, batch)]
        if batch.shape[2] == self.height:
            return [Outputs(found.mean((1, 2)), None) for found in self._maps(module, batch)]
        pixels, place = batch[:, :, :-1], batch[:, 0, -1, :3]
        _, image, first = distinct(place[:, 2])
        found = self._maps(module, pixels[first].contiguous())
        return [Outputs(at_places(each, image, place[:, :2]), None) for each in found]

    def _maps(self, module: Any, images: torch.Tensor) -> list[torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def note(_: Any, __: Any, output: Any) -> None:
                seen[name] = _tensor(output).clone()  # what follows may work in place

            return note

        handles = [module.get_submodule(each.name).register_forward_hook(keep(each.name)) for each in self.maps]
        try:
            self.read(module, images)
        finally:
            for handle in handles:
                handle.remove()
        for each in self.maps:
            if each.name not in seen:
                raise CandidateError(f"the forward pass never reached {each.name!r}")
        return [each.of(seen[each.name]) for each in self.maps]


@dataclass(frozen=True)
class OfSeveral:
    """The features of several candidates that one forward pass gives.

    Attributes:
        read: of pixels or of boxes, at several places.
    """

    read: Any

    def __call__(self, module: Any, batch: torch.Tensor) -> list[Outputs]:
        found: list[Outputs] = self.read.several(module, batch)
        return found


def at_places(maps: torch.Tensor, image: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """(B, D) features at pixels.

    Args:
        maps: (I, H, W, D) of I images.
        image: (B,) the image of each pixel.
        place: (B, 2) its centre, y and x, from 0 to 1.
    """
    import torch

    height, width = maps.shape[1:3]
    y, x = place[:, 0] * height - 0.5, place[:, 1] * width - 0.5
    below, right = (each.floor().long() for each in (y, x))
    found = torch.zeros((len(place), maps.shape[-1]), dtype=maps.dtype, device=maps.device)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = (below + dy).clamp(0, height - 1), (right + dx).clamp(0, width - 1)
            weight = (1 - (y - (below + dy)).abs()) * (1 - (x - (right + dx)).abs())
            found += weight[:, None].to(maps.dtype) * maps[image, row, column]
    return found


def at_pixels(backbone: Backbone, *, one: bool) -> Backbone:
    """The backbone, read at pixels.

    Raises:
        CandidateError: it gives no map of features, or its preprocessing is no resizing with a normalisation.
    """
    read = backbone.read
    if isinstance(read, AtPixels):
        return replace(backbone, read=replace(read, one=one))
    if isinstance(backbone.preprocessing, PixelPreprocessing):
        raise CandidateError("the candidate was fine-tuned for pixels already. Give the model that it comes from")
    preprocessing = whole_image(backbone.preprocessing)
    found = AtPixels(read, (last_map(backbone.module, read, preprocessing),), preprocessing.size[0], one)
    together = backbone.together
    return replace(
        backbone,
        preprocessing=PixelPreprocessing(preprocessing),
        read=found,
        together=None if together is None else _Together(together, preprocessing),
    )


@dataclass(frozen=True)
class _Together:
    """Layers of one model in one pass, read at pixels."""

    given: Any
    preprocessing: ImagePreprocessing

    def __call__(self) -> Together:
        found: Together = self.given()
        whole = found.backbone
        names: Sequence[str] = [name for name, _ in found.read.layers]  # type: ignore[attr-defined]  # of the zoo of layers
        ending = last_map(whole.module, whole.read, self.preprocessing)
        maps = [last_map(whole.module, whole.read, self.preprocessing, until=name) for name in names]
        read = OfSeveral(AtPixels(whole.read, (*maps, ending), self.preprocessing.size[0]))
        backbone = replace(whole, preprocessing=PixelPreprocessing(self.preprocessing), together=None)
        return Together(backbone, read, tuple(found.parts))


def whole_image(given: Preprocessing) -> ImagePreprocessing:
    """A preprocessing that normalises as the given one does, and shows whole images at the size of the input.

    Raises:
        CandidateError: it takes no images, or does more than resizing, cropping and normalising.
    """
    import PIL.Image
    import torch

    if isinstance(given, ImagePreprocessing):
        return dataclasses.replace(given, resize=given.size)
    shown = []
    for value in (0, 255, 51):
        try:
            made = given.finish(given.prepare(PIL.Image.new("RGB", (320, 320), (value,) * 3))[None])
        except Exception as error:
            raise CandidateError(
                "the task needs the features of each pixel, and the candidate takes no images"
            ) from error
        if not isinstance(made, torch.Tensor) or made.dim() != 4 or made.shape[1] not in (1, 3):
            raise CandidateError("the task needs the features of each pixel, and the candidate takes no images")
        shown.append(made[0].float())
    black, white, grey = shown
    low, span = black.mean((1, 2)), (white - black).mean((1, 2))
    expected = low + 0.2 * span
    flat = all(float((each - each.mean((1, 2), keepdim=True)).abs().max()) < 1e-3 for each in shown)
    if not flat or bool((span <= 0).any()) or float((grey.mean((1, 2)) - expected).abs().max()) > 1e-3:
        raise CandidateError(
            "the task needs the features of each pixel, and the candidate's preprocessing does more than resizing and "
            "normalising, so it is not known where a pixel is afterwards"
        )
    size = (int(black.shape[1]), int(black.shape[2]))
    std = tuple((1 / span).tolist())
    mean = tuple((-low / span).tolist())
    return ImagePreprocessing(size, size, "bilinear", mean, std, len(mean))


def last_map(module: Any, read: Any, preprocessing: ImagePreprocessing, until: str | None = None) -> MapAt:
    """Where a module gives its last map of features before pooling: (B, D, H, W), (B, H, W, D), or tokens (B, T, D).

    Args:
        module: runs on images.
        read: the reader that runs it.
        preprocessing: of its images.
        until: name of a layer whose output it is; None for the last one of all.

    Raises:
        CandidateError: there is none.
    """
    import PIL.Image
    import torch

    found: list[MapAt] = []
    last: list[Layer | None] = [None]

    def note(name: str) -> Callable[..., None]:
        def leave(part: torch.nn.Module, _: Any, output: Any) -> None:
            last[0] = layer_of(part, output) or last[0]
            made = _tensor(output)
            if made is not None and (until is None or name == until):
                at = _map_of(name, made, module, last[0], preprocessing.size)
                if at is not None:
                    found.append(at)

        return leave

    handles = [
        part.register_forward_hook(note(name))
        for name, part in submodules(module)
        if not isinstance(part, torch.jit.ScriptModule)
    ]
    blank = PIL.Image.new("RGB", (64, 64))
    try:
        with torch.no_grad():
            read(module, preprocessing.finish(torch.stack([preprocessing.prepare(blank)] * 2)))
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise CandidateError(
            "the task needs the features of each pixel, and the candidate gives no map of features that can be found"
        )
    return found[-1]


def _tensor(output: Any) -> Any:
    """An output that is a tensor, or the first of a tuple; None for others."""
    import torch

    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, torch.Tensor) else None


def _map_of(name: str, output: torch.Tensor, module: Any, last: Layer | None, size: tuple[int, int]) -> MapAt | None:
    """The map in an output; None if it is none."""
    shape = tuple(output.shape)
    if len(shape) == 4:
        axis = axis_after(last, shape) or declared_axis(module, shape)
        if axis is None:
            axis = axis_of_width([max(shape[1], shape[3])], shape) or FIRST
        sides = shape[2:] if axis == FIRST else shape[1:3]
        return MapAt(name, axis) if min(sides) > 1 and shape[axis] >= _LEAST_CHANNELS else None
    if len(shape) == 3 and shape[2] >= _LEAST_CHANNELS and (grid := _grid(shape[1], size)) is not None:
        return MapAt(name, LAST, grid)
    return None


def _grid(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of the places of tokens, with the aspect of the input; None if they are no grid.

    >>> _grid(197, (224, 224)), _grid(201, (224, 224)), _grid(50, (224, 224)), _grid(33, (32, 64))
    ((14, 14), (14, 14), (7, 7), (4, 8))
    """
    for stride in range(1, min(size) + 1):
        if size[0] % stride or size[1] % stride:
            continue
        height, width = size[0] // stride, size[1] // stride
        if height * width <= tokens and min(height, width) > 1:
            return (height, width) if tokens - height * width <= MOST_PREFIX else None
    return None


def distinct(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The distinct numbers, the place of each among them, and the first row of each."""
    import torch

    distinct, place = torch.unique(numbers, return_inverse=True)
    rows = torch.arange(len(numbers), device=numbers.device)
    first = torch.full((len(distinct),), len(numbers), device=numbers.device, dtype=rows.dtype)
    return distinct, place, first.scatter_reduce(0, place, rows, "amin")
