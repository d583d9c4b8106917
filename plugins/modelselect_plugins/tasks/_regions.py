"""How boxes are read from image models: the features of a box are the mean of the last map before pooling, in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Outputs, Together
from modelselect.errors import CandidateError
from modelselect.utils.boxes import Box, Boxes
from modelselect_plugins.tasks._maps import AtPixels, OfSeveral, PixelPreprocessing, at_pixels, distinct

if TYPE_CHECKING:
    import torch

SAMPLES = 14
"""Points in a row and in a column of a box at which the map is interpolated: 7 bins with 2 points each, as in the
detectors of torchvision. The mean over all points is the mean over the bins."""


_WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The corners of a whole image."""


class BoxPreprocessing(PixelPreprocessing):
    """The whole image at the size of the model's input, without a crop; and for a `Box` or `Boxes`, where they are.

    They take more rows in the prepared image, whose bytes are numbers: the number of the image, or of the boxes; and
    the corners of each box, as shares.
    """

    @property
    def key(self) -> str:
        return f"boxes:{self.image.key}"

    def prepare(self, item: Any) -> torch.Tensor:
        """(C, H, W) uint8 from an image, (C, H + k, W) from a `Box` or `Boxes`."""
        import numpy as np
        import torch

        if isinstance(item, Box):
            said = [item.number, *item.corners]
        elif isinstance(item, Boxes):
            said = [len(item.corners), *item.corners.reshape(-1).tolist()]
        else:
            return self.image.prepare(item)
        pixels = self.prepared(item)
        channels, _, width = pixels.shape
        content = np.array(said, "<f4").tobytes()
        rows = torch.zeros(channels * -(-len(content) // (channels * width)) * width, dtype=torch.uint8)
        rows[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return torch.cat([pixels, rows.view(channels, -1, width)], 1)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """The same as float32, normalised; the additional rows begin with the numbers."""
        import torch

        height = self.image.size[0]
        if batch.shape[2] == height:
            return self.image.finish(batch)
        content = batch[:, :, height:].flatten(1)
        numbers = content[:, : content.shape[1] // 4 * 4].reshape(-1).clone().view(torch.float32).view(len(batch), -1)
        rows = torch.zeros(content.shape, device=batch.device)
        rows[:, : numbers.shape[1]] = numbers
        return torch.cat([self.image.finish(batch[:, :, :height]), rows.view_as(batch[:, :, height:])], 2)


@dataclass(frozen=True)
class AtBoxes:
    """The features of boxes: of one box of each row, (B, D), or of all, (B, P, D) with zeros after the last one.

    An image is read once, even if several rows of a batch are boxes in it. An image without boxes, such as those that a
    candidate was pre-trained on, is one box.

    Attributes:
        maps: gives the maps of images.
        one: whether each row is one box.
    """

    maps: AtPixels
    one: bool = True

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        return self.several(module, batch)[0]

    def several(self, module: Any, batch: torch.Tensor) -> list[Outputs]:
        """The features at each of the places where maps are read."""
        import torch

        images, said = batch[:, :, : self.maps.height], batch[:, :, self.maps.height :].flatten(1)
        if self.one and not said.shape[1]:
            image, boxes = torch.arange(len(batch), device=batch.device), batch.new_tensor([_WHOLE] * len(batch))
        elif self.one:
            _, image, first = distinct(said[:, 0])
            images, boxes = images[first], said[:, 1:5]
        else:
            count = int(said[:, 0].max())
            image = torch.arange(len(batch), device=batch.device).repeat_interleave(count)
            boxes = said[:, 1 : 1 + 4 * count].reshape(-1, 4)
        found = [each.features for each in self.maps.several(module, images.contiguous())]
        if self.one:
            return [Outputs(in_boxes(each, image, boxes), None) for each in found]
        there = boxes[:, 2] > boxes[:, 0]
        outputs = []
        for each in found:
            features = each.new_zeros((len(boxes), each.shape[-1]))
            features[there] = in_boxes(each, image[there], boxes[there])
            outputs.append(Outputs(features.view(len(batch), count, -1), None))
        return outputs


def in_boxes(maps: torch.Tensor, image: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """(B, D) the mean of what RoIAlign gives of a box.

    K. He, G. Gkioxari, P. Dollár, R. Girshick: Mask R-CNN, ICCV 2017.

    Args:
        maps: (I, H, W, D) of I images.
        image: (B,) the image of each box.
        corners: (B, 4) left, upper, right and lower edge, from 0 to 1.
    """
    import torch
    from torchvision.ops import roi_align

    height, width = maps.shape[1:3]
    places = corners.float() * corners.new_tensor([width, height, width, height]).float()
    regions = torch.cat([image[:, None].float(), places], 1)
    found: torch.Tensor = roi_align(maps.permute(0, 3, 1, 2).float(), regions, 1, 1.0, SAMPLES, aligned=True)
    return found[:, :, 0, 0].to(maps.dtype)


def at_boxes(backbone: Backbone, *, one: bool) -> Backbone:
    """The backbone, read at boxes.

    Raises:
        CandidateError: as `at_pixels`.
    """
    if isinstance(backbone.read, AtBoxes):
        return replace(backbone, read=replace(backbone.read, one=one))
    if isinstance(backbone.preprocessing, BoxPreprocessing):
        raise CandidateError("the candidate was fine-tuned for boxes already. Give the model that it comes from")
    dense = at_pixels(backbone, one=False)
    together = dense.together
    return replace(
        _with_boxes(dense),
        read=AtBoxes(dense.read, one),  # type: ignore[arg-type]  # of `at_pixels`
        together=None if together is None else _Together(together),
    )


@dataclass(frozen=True)
class _Together:
    """Layers of one model in one pass, read at boxes."""

    given: Any

    def __call__(self) -> Together:
        found: Together = self.given()
        maps = replace(found.read.read, one=False)  # type: ignore[attr-defined]  # of `at_pixels`
        return Together(_with_boxes(found.backbone), OfSeveral(AtBoxes(maps)), found.parts)


def _with_boxes(dense: Backbone) -> Backbone:
    assert isinstance(dense.preprocessing, PixelPreprocessing)
    return replace(dense, preprocessing=BoxPreprocessing(dense.preprocessing.image))
