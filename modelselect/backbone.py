"""A loaded candidate: its module, its preprocessing, and how features and source-class logits are read from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from modelselect.candidates import Candidate


class Outputs(NamedTuple):
    """What one forward pass says: `features` (B, D) and `logits` (B, S), None where there are no source classes."""

    features: torch.Tensor
    logits: torch.Tensor | None


class Preprocessing(Protocol):
    """One input (a PIL image, a text, an array) -> a tensor; then a batch of those -> what the module takes.

    The work is in two parts so that the first is done once and kept small: `prepare` decodes, resizes and crops, in
    uint8 where it can; `finish` turns a stacked batch, on the compute device, into the module's input.
    """

    @property
    def key(self) -> str:
        """Equal for two preprocessings exactly when they do the same; part of every stored number's identity."""
        ...

    def prepare(self, item: Any) -> torch.Tensor: ...

    def finish(self, batch: torch.Tensor) -> torch.Tensor: ...


class Reader(Protocol):
    """How to get `Outputs` from a module, in one forward pass where that is possible."""

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs: ...


@dataclass
class Backbone:
    """A candidate with its weights.

    Attributes:
        candidate: what was loaded.
        module: in evaluation mode, float32.
        preprocessing: of one input.
        read: how to get features and logits from the module.
        weights_key: digest of what was loaded (code and weights), so that changed weights never meet old evidence.
        source: sample of what it was pre-trained on, as `Probe.of` takes it, where the zoo has one at hand.
        skeleton: a function that builds the module without weights (for tracing), where the zoo knows one.
    """

    candidate: Candidate
    module: torch.nn.Module
    preprocessing: Preprocessing
    read: Reader
    weights_key: str
    source: Any = None
    skeleton: Callable[[], torch.nn.Module] | None = field(default=None, repr=False)


# --- preprocessing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize the shorter side, crop the centre, normalise: what nearly every image backbone was trained to see.

    `prepare` works on PIL images in uint8, so that it agrees with torchvision's and timm's transforms to the last bit;
    `finish` scales to [0, 1] and normalises.

    Attributes:
        size: (height, width) in pixels of the module's input.
        resize: the shorter side in pixels before cropping; (height, width) squashes both; None keeps the image's size.
        interpolation: `nearest`, `bilinear`, `bicubic` or `lanczos`.
        mean, std: per channel, of pixels in [0, 1].
        channels: 3 (RGB) or 1 (grey, by PIL's luma).
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: int = 3

    @property
    def key(self) -> str:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return "image:" + json.dumps(fields, sort_keys=True)

    def prepare(self, item: Any) -> torch.Tensor:
        """(C, H, W) uint8 from a PIL image."""
        import numpy as np
        import torch
        from PIL import Image as PIL

        image: Image = item.convert("RGB" if self.channels == 3 else "L")
        if self.resize is not None:
            width, height = image.size
            if isinstance(self.resize, tuple):
                height, width = self.resize
            elif width <= height:
                width, height = self.resize, int(self.resize * height / width)
            else:
                width, height = int(self.resize * width / height), self.resize
            if image.size != (width, height):
                image = image.resize((width, height), PIL.Resampling[self.interpolation.upper()])
        image = _centre_crop(image, self.size)
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if self.channels == 1 else pixels.permute(2, 0, 1).contiguous()

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) uint8 -> float32, normalised."""
        import torch

        mean = torch.tensor(self.mean, device=batch.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=batch.device).view(1, -1, 1, 1)
        return batch.float().div_(255).sub_(mean).div_(std)


@dataclass(frozen=True)
class CallablePreprocessing:
    """A function from an input to a tensor, taken as it is.

    Attributes:
        function: input -> tensor.
        key: see `Preprocessing`; `CallablePreprocessing.of` derives one where none is known.
    """

    function: Callable[[Any], torch.Tensor]
    key: str

    @classmethod
    def of(cls, function: Callable[[Any], torch.Tensor], code_key: str) -> CallablePreprocessing:
        """With a key made of `code_key` (digest of the function's code) and of what it does to two noise images.

        Two closures of the same code differ only in their settings, and settings that matter change the outputs.
        """
        digest = hashlib.sha256(code_key.encode())
        for size in ((61, 97), (318, 205)):
            digest.update(function(_noise_image(size)).contiguous().numpy().tobytes())
        return cls(function, f"callable:{digest.hexdigest()}")

    def prepare(self, item: Any) -> torch.Tensor:
        return self.function(item)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


def _centre_crop(image: Image, size: tuple[int, int]) -> Image:
    """Crop to (height, width), padding with black where the image is smaller, as torchvision's CenterCrop does."""
    from PIL import Image as PIL

    height, width = size
    if image.size == (width, height):
        return image
    if image.width < width or image.height < height:
        canvas = PIL.new(image.mode, (max(width, image.width), max(height, image.height)))
        canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
        image = canvas
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _noise_image(size: tuple[int, int]) -> Image:
    import numpy as np
    from PIL import Image as PIL

    width, height = size
    return PIL.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadInput:
    """Features are what the classifier is given; logits are what the module returns. One forward pass.

    Attributes:
        head: name of the classifier's submodule.
        has_logits: False where the head is an identity or not a classifier of source classes.
    """

    head: str
    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        captured: list[torch.Tensor] = []
        head = module.get_submodule(self.head)
        handle = head.register_forward_pre_hook(lambda _, arguments: captured.append(arguments[0]))
        try:
            output = module(batch)
        finally:
            handle.remove()
        if not captured:
            raise CandidateError(f"the forward pass never reached the classifier {self.head!r}")
        return Outputs(pool(captured[-1]), output.flatten(1) if self.has_logits else None)


@dataclass(frozen=True)
class FeatureMethod:
    """Features from `module.forward_features`, logits from calling the module: two passes, for want of a shared point."""

    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        features = module.forward_features(batch)  # type: ignore[operator]
        return Outputs(pool(features), module(batch).flatten(1) if self.has_logits else None)


@dataclass(frozen=True)
class WholeOutput:
    """Features are what the module returns; no source classes."""

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        return Outputs(pool(module(batch)), None)


def pool(features: torch.Tensor) -> torch.Tensor:
    """(B, D) from a feature map (B, D, H, W) by its mean, or from anything else by flattening.

    >>> import torch
    >>> pool(torch.ones(2, 8, 7, 7)).shape
    torch.Size([2, 8])
    """
    return features.mean((2, 3)) if features.dim() == 4 else features.flatten(1)


def reader_for_feature_method(module: torch.nn.Module, example: torch.Tensor) -> Reader:
    """The one-pass reader of a module that has `forward_features` (B, D) and returns source logits when called.

    Looks for the submodule whose input is the features, by value on `example` (B >= 2), and hooks it. Where there is
    none, two passes; where calling the module fails (no head), features alone.
    """
    import torch

    inputs: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        features = pool(module.forward_features(example))  # type: ignore[operator]
        handles = [
            submodule.register_forward_pre_hook(_recorder(inputs, name))
            for name, submodule in module.named_modules()
            if name
        ]
        try:
            module(example)
        except Exception:  # the documented sign of a backbone without a head; its features are all there is
            return FeatureMethod(has_logits=False)
        finally:
            for handle in handles:
                handle.remove()
    for name, given in inputs.items():
        pooled = pool(given)
        if pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4, atol=1e-5):
            return HeadInput(name)
    return FeatureMethod()


def reader_for_module(module: torch.nn.Module, example: torch.Tensor) -> Reader:
    """The reader of any module: the last linear layer or convolution is the classifier if its output is the module's.

    Otherwise the module's own output is taken as features, without source classes.
    """
    import torch

    outputs: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        handles = [
            submodule.register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, output))
            for name, submodule in module.named_modules()
            if name and isinstance(submodule, (torch.nn.Linear, torch.nn.Conv2d))
        ]
        try:
            result = module(example)
        finally:
            for handle in handles:
                handle.remove()
    if not isinstance(result, torch.Tensor):
        raise CandidateError(f"the module returns {type(result).__name__}; expected one tensor of logits or features")
    for name, output in reversed(outputs.items()):
        pooled = pool(output)
        if pooled.shape == result.flatten(1).shape and torch.equal(pooled, result.flatten(1)):
            return HeadInput(name)
    return WholeOutput()


def weights_digest(module: torch.nn.Module, *more: str) -> str:
    """SHA-256 over the module's parameters and buffers by name, and over whatever else identifies it."""
    digest = hashlib.sha256("\0".join(more).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(_bytes()).numpy().tobytes())
    return digest.hexdigest()


def _bytes() -> torch.dtype:
    import torch

    return torch.uint8


def _recorder(inputs: dict[str, torch.Tensor], name: str) -> Callable[..., None]:
    def record(_: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and hasattr(arguments[0], "dim") and arguments[0].dim() >= 2:
            inputs[name] = arguments[0]

    return record
