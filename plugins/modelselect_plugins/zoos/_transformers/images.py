"""Image processors of transformers as preprocessing: what a folder says of images, for networks of 3 or 1 channels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Preprocessing
from modelselect.candidates.preprocessing import (
    CallablePreprocessing,
    example_batch,
    image_of,
    noise_images,
    per_channel,
)
from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import check_sides, one_line, read_json, required

if TYPE_CHECKING:
    import torch

PROCESSOR = "preprocessor_config.json"
NESTED_PROCESSOR = "processor_config.json"
TIMM_INSIDE = "timm_wrapper"
"""The model type of timm's models in transformers, whose `config.json` also has timm's keys."""

LARGEST_DIFFERENCE = 1.0
"""Mean difference in grey levels between Pillow's and torchvision's resizing of noise, up to which Pillow is used."""

_CHANNELS = ("num_channels", "in_channels", "num_input_channels", "in_chans")


def image_processor(path: Path) -> dict[str, Any] | None:
    """How images are prepared, as one of the two files says that transformers writes; None if there is no such file."""
    nested = read_json(path / NESTED_PROCESSOR).get("image_processor")
    if isinstance(nested, dict):
        return nested
    return read_json(path / PROCESSOR) if (path / PROCESSOR).is_file() else None


def preprocessing(path: Path, configuration: Any, trust_remote_code: bool) -> Preprocessing:
    """The folder's image processor.

    Raises:
        CandidateError: there is none, or its inputs do not fit the network, or differ in size from image to image.
    """
    declared = configuration.to_dict()
    channels = _channels_of(declared)
    if channels not in (1, 3):
        raise CandidateError(
            f"the network takes images of {channels} channels, but rows are shown in 3 (RGB) or 1 (grey)"
        )
    check_sides(input_size(path, {}) or ())
    _check_steps(image_processor(path) or {})
    file, processor = _processor(path, configuration, trust_remote_code)
    if channels == 1:
        _fit_one_channel(processor, file)
    key = f"transformers:{type(processor).__qualname__}:{json.dumps(processor.to_dict(), sort_keys=True, default=str)}"
    if channels == 1:
        key += ":grey"
    parts = ProcessorPreprocessing(processor, key, channels)

    def whole(image: Any) -> torch.Tensor:
        return processed(processor, image, channels).float()

    try:
        sizes = [tuple(whole(image).shape) for image in noise_images()]
    except Exception as error:
        raise CandidateError(f"the {file} does not prepare an image ({one_line(error)})") from error
    _check_sizes(sizes, channels, file)
    return parts if _same(parts, whole) else CallablePreprocessing.of(whole, key)


def _check_steps(processor: Mapping[str, Any]) -> None:
    """Raises CandidateError if a step of an image processor makes images of an implausible size."""
    for step in ("size", "crop_size", "pad_size"):
        asked = processor.get(step)
        if isinstance(asked, Mapping):
            check_sides(asked[name] for name in ("height", "width") if name in asked)
            check_sides(asked[name] for name in ("shortest_edge",) if name in asked)
        elif asked is not None:
            check_sides(asked if isinstance(asked, list | tuple) else (asked, asked))


def _processor(path: Path, configuration: Any, trust_remote_code: bool) -> tuple[str, Any]:
    """The name of the file that describes the image processor, and the image processor."""
    transformers = required("transformers")
    file = NESTED_PROCESSOR if image_processor(path) and not (path / PROCESSOR).is_file() else PROCESSOR
    if configuration.model_type == TIMM_INSIDE:
        file = "config.json"
    elif image_processor(path) is None:
        example = {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 224, "width": 224},
            "image_mean": [0.5] * _channels_of(configuration.to_dict()),
            "image_std": [0.5] * _channels_of(configuration.to_dict()),
        }
        raise CandidateError(
            f"the folder has no {PROCESSOR}, so the preprocessing of images is unknown. Write this file with the "
            f"values that the model was trained with, such as {json.dumps(example)}"
        )
    found, errors = [], []
    for backend in ("pil", "torchvision"):  # PIL first, since nearly all were trained with it
        try:
            found.append(
                transformers.AutoImageProcessor.from_pretrained(
                    path, backend=backend, trust_remote_code=trust_remote_code, local_files_only=True
                )
            )
        except Exception as error:
            errors.append(error)
    if not found:
        kind = (image_processor(path) or {}).get("image_processor_type")
        reason = one_line(errors[0]).split(". Should have")[0]  # what follows lists all model types
        raise CandidateError(f"transformers cannot build the image processor {kind!r} of the {file} ({reason})")
    return file, found[0] if _agree(found) else found[-1]


def _agree(processors: Sequence[Any]) -> bool:
    """False if Pillow and torchvision, transformers' own choice, differ by more than resizing does."""
    import torch

    for image in noise_images():
        try:
            first, last = (torch.as_tensor(each(image, return_tensors="pt")["pixel_values"][0]) for each in processors)
        except Exception:  # there is only one, or it takes no such image
            return True
        if first.shape != last.shape:
            return False
        span = float(last.max() - last.min()) or 1.0
        if float((first.double() - last.double()).abs().mean()) > LARGEST_DIFFERENCE / 255 * span:
            return False
    return True


def _fit_one_channel(processor: Any, file: str) -> None:
    """One value of mean and deviation for a grey network, where the file has the same value for every channel."""
    for name in ("image_mean", "image_std"):
        values = getattr(processor, name, None)
        if isinstance(values, list | tuple):
            if len(set(values)) != 1:
                raise CandidateError(
                    f"the {file} has {len(values)} values of {name} ({', '.join(map(str, values))}), but the network "
                    f'takes one channel. Write the one that it was trained with, such as "{name}": [{values[0]}]'
                )
            setattr(processor, name, [values[0]])


def _check_sizes(sizes: Sequence[tuple[int, ...]], channels: int, file: str) -> None:
    if len(sizes[0]) == 4:
        raise CandidateError(f"the {file} prepares videos (frames, channels, height, width); the model takes no images")
    if len(sizes[0]) == 2:
        raise CandidateError(
            f"the {file} cuts images into patches (NaFlex) and has no one size for them, which is not supported. Give "
            "the variant of the model for one size, such as google/siglip2-base-patch16-224"
        )
    if any(len(size) != 3 for size in sizes):
        raise CandidateError(
            f"the image processor gives inputs of shape {sizes[0]} for one image; expected (channels, height, width)"
        )
    if len(set(sizes)) > 1:
        shown = " and ".join(f"{height} x {width}" for _, height, width in sizes)
        raise CandidateError(
            f"the {file} keeps the shapes of images, so inputs differ in size ({shown}) and cannot be batched. Write "
            'there the one size to show them in: "do_resize": true, "size": {"height": 224, "width": 224}'
        )
    if sizes[0][0] != channels:
        raise CandidateError(f"the {file} gives images of {sizes[0][0]} channels, but the network takes {channels}")


def _same(parts: ProcessorPreprocessing, whole: Callable[[Any], torch.Tensor]) -> bool:
    """True if the two parts of the processor give the result of the whole; some processors have further steps."""
    import torch

    try:
        halves = example_batch(parts)
        wholes = example_batch(CallablePreprocessing(whole, parts.key))
    except Exception:  # the processor lacks these switches
        return False
    return halves.shape == wholes.shape and torch.allclose(halves, wholes, rtol=0, atol=1e-5)


@dataclass(frozen=True)
class ProcessorPreprocessing:
    """An image processor of transformers in two parts: resize and crop in uint8, then normalise whole batches.

    Attributes:
        processor: of transformers.
        key: see `Preprocessing`.
        channels: 3 (RGB) or 1 (grey).
    """

    processor: Any
    key: str
    channels: int = 3

    def prepare(self, item: Any) -> torch.Tensor:
        return processed(self.processor, item, self.channels, do_rescale=False, do_normalize=False)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        processor = self.processor
        batch = batch.float() * (processor.rescale_factor if processor.do_rescale else 1)
        if not processor.do_normalize:
            return batch
        mean, std = (
            per_channel(_per_channel_values(v, self.channels), batch.device)
            for v in (processor.image_mean, processor.image_std)
        )
        return (batch - mean) / std


def processed(processor: Any, item: Any, channels: int, **settings: Any) -> torch.Tensor:
    """(C, H, W) from an image, as the processor gives it for an image of that many channels."""
    import numpy as np

    image = image_of(item)
    if hasattr(processor, "val_transforms"):  # timm's, which has no steps to leave out
        if settings:
            raise TypeError(f"the image processor has no settings {', '.join(settings)}")
        whole: torch.Tensor = processor.val_transforms(image.convert("L" if channels == 1 else "RGB"))
        return whole
    if channels == 1:
        grey = np.array(image.convert("L"))[..., None]
        settings |= {"do_convert_rgb": False, "input_data_format": "channels_last"}
        prepared = processor(grey, return_tensors="pt", **settings)
    else:
        prepared = processor(image.convert("RGB"), return_tensors="pt", **settings)
    pixels: torch.Tensor = prepared["pixel_values"][0]
    return pixels


def _per_channel_values(given: Any, channels: int) -> tuple[float, ...]:
    return tuple(given) if isinstance(given, list | tuple) else (given,) * channels


def input_size(path: Path, configuration: Mapping[str, Any]) -> tuple[int, int, int] | None:
    processor = image_processor(path) or {}
    channels = _channels_of(configuration)
    crop = processor.get("crop_size") if processor.get("do_center_crop", True) is not False else None
    own = (configuration.get("pretrained_cfg") or {}).get("input_size")
    if isinstance(own, list | tuple) and len(own) == 3:
        return channels, own[1], own[2]
    for size in (crop, processor.get("size"), configuration.get("image_size")):
        if isinstance(size, int):
            return channels, size, size
        if isinstance(size, list | tuple) and len(size) == 2:
            return channels, size[0], size[1]
        if isinstance(size, dict) and "height" in size:
            return channels, size["height"], size["width"]
        if isinstance(size, dict) and "shortest_edge" in size:
            return channels, size["shortest_edge"], size["shortest_edge"]
    return None


def _channels_of(configuration: Mapping[str, Any]) -> int:
    """Number of channels that a network takes, by its configuration."""
    size = (configuration.get("pretrained_cfg") or {}).get("input_size")  # timm's, in timm_wrapper
    if isinstance(size, list | tuple) and size:
        arguments = configuration.get("model_args") or {}
        return int(arguments.get("in_chans") or size[0])
    found = next((configuration[key] for key in _CHANNELS if isinstance(configuration.get(key), int)), 3)
    return int(found)
