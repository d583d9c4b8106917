"""A loaded candidate: its module, its preprocessing, and how features and source-class logits are read from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modelselect.errors import CandidateError, InvalidInputError

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
        class_names: of the logits that its module gives, in order, where it was fine-tuned and is ready to use.
    """

    candidate: Candidate
    module: torch.nn.Module
    preprocessing: Preprocessing
    read: Reader
    weights_key: str
    source: Any = None
    class_names: tuple[str, ...] | None = None


# --- preprocessing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize the shorter side, crop the centre, normalise: what nearly every image backbone was trained to see.

    `prepare` works on PIL images in uint8 and `finish` scales to [0, 1] and normalises, in float32: together they agree
    with torchvision's transforms of PIL images, and so with timm's, to the last bit.

    Attributes:
        size: (height, width) in pixels of the module's input.
        resize: the shorter side in pixels before cropping; (height, width) squashes both; None keeps the image's size.
        interpolation: `nearest`, `bilinear`, `bicubic` or `lanczos`.
        mean, std: per channel, of pixels in [0, 1].
        channels: 3 (RGB) or 1 (grey, by PIL's luma).

    >>> from PIL import Image
    >>> preprocessing = ImagePreprocessing(size=(224, 224), resize=256)
    >>> preprocessing.prepare(Image.new("RGB", (640, 480))).shape
    torch.Size([3, 224, 224])
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: int = 3

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.channels:
            raise InvalidInputError(
                f"preprocessing has {len(self.mean)} values of mean and {len(self.std)} of std for {self.channels} "
                "channels; expected one of each for every channel"
            )

    @property
    def key(self) -> str:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return "image:" + json.dumps(fields, sort_keys=True)

    def prepare(self, item: Any) -> torch.Tensor:
        """(C, H, W) uint8 from a PIL image."""
        import numpy as np
        import PIL.Image
        import torch

        if not isinstance(item, PIL.Image.Image):
            raise CandidateError(
                f"it takes images, and the probe's rows are {type(item).__name__}. Give images: a folder, uint8 "
                "arrays, or a torch dataset without a transform to tensors."
            )
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
                image = image.resize((width, height), PIL.Image.Resampling[self.interpolation.upper()])
        image = _centre_crop(image, self.size)
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if self.channels == 1 else pixels.permute(2, 0, 1).contiguous()

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) uint8 -> float32, normalised."""
        return (
            batch.float().div_(255).sub_(per_channel(self.mean, batch.device)).div_(per_channel(self.std, batch.device))
        )

    def does_the_same_as(self, function: Callable[[Any], torch.Tensor]) -> bool:
        """True if `function` gives the same tensors, but for rounding, for noise images: a tall one and a wide one."""
        import torch

        for image in _noise_images():
            given = function(image)
            own = self.finish(self.prepare(image)[None])[0]
            if own.shape != given.shape or not torch.allclose(own, given.float(), rtol=0, atol=1e-5):
                return False
        return True


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
    def of(
        cls, function: Callable[[Any], torch.Tensor], code_key: str, inputs: Iterable[Any] | None = None
    ) -> CallablePreprocessing:
        """With a key made of `code_key` (digest of the function's code) and of what it does to `inputs`.

        Two closures of the same code differ only in their settings, and settings that matter change the outputs.

        Args:
            function: input -> tensor.
            code_key: digest of its code.
            inputs: what to try it on; None for two noise images.

        Raises:
            CandidateError: the function gives no tensor, or different tensors for one input.
        """
        import torch

        digest = hashlib.sha256(code_key.encode())
        what = "image" if inputs is None else "row"
        for row in _noise_images() if inputs is None else inputs:
            given, again = function(row), function(row)
            if not isinstance(given, torch.Tensor):
                raise CandidateError(f"its transform gives {type(given).__name__}; expected a tensor for one {what}")
            if not torch.equal(given, again):
                raise CandidateError(
                    f"its transform gives different tensors for one {what}, so that no score could be repeated. "
                    "Give the transform of evaluation, without random augmentation."
                )
            digest.update(f"{tuple(given.shape)}:{given.dtype}:".encode())
            digest.update(tensor_bytes(given))
        return cls(function, f"callable:{digest.hexdigest()}")

    def prepare(self, item: Any) -> torch.Tensor:
        return self.function(item)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.float() if batch.is_floating_point() else batch


PADDING = -1
"""Where a text has ended, in a row of token ids: no token has this id, whatever a tokenizer pads with."""


@dataclass(frozen=True)
class TextPreprocessing:
    """Token ids, at most as many as the module takes.

    `prepare` gives rows of one length, so that one array keeps them; `finish` cuts a batch to its longest text. Whoever
    reads the module tells text from padding by `PADDING`, and never by the id that stands for it.

    Attributes:
        encode: a text -> its token ids, special tokens included, at least one and at most `length`.
        length: of every row.
        key: see `Preprocessing`.

    >>> import torch
    >>> preprocessing = TextPreprocessing(lambda text: [ord(letter) for letter in text[:6]], 6, "letters")
    >>> preprocessing.prepare("cat")
    tensor([ 99,  97, 116,  -1,  -1,  -1], dtype=torch.int32)
    >>> preprocessing.finish(torch.stack([preprocessing.prepare(text) for text in ("cat", "a")]))
    tensor([[ 99,  97, 116],
            [ 97,  -1,  -1]])
    """

    encode: Callable[[str], Sequence[int]]
    length: int
    key: str

    def prepare(self, item: Any) -> torch.Tensor:
        """(length,) int32 from a text."""
        import torch

        if not isinstance(item, str):
            raise CandidateError(f"it takes texts, and the probe's rows are {type(item).__name__}. Give strings.")
        ids = self.encode(item.encode("utf-8", "replace").decode())  # half a surrogate pair is no text
        row = torch.full((self.length,), PADDING, dtype=torch.int32)
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int32)
        return row

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, length) int32 -> (B, longest text) int64."""
        longest = int((batch != PADDING).sum(1).max())
        return batch[:, :longest].long()


def as_preprocessing(
    expressed: ImagePreprocessing | None, function: Callable[[Any], torch.Tensor], code_key: str
) -> Preprocessing:
    """`expressed` where it does the same as `function`, for it is faster and shared; else `function` as it is."""
    if expressed is not None and expressed.does_the_same_as(function):
        return expressed
    return CallablePreprocessing.of(function, code_key)


def example_batch(preprocessing: Preprocessing) -> torch.Tensor:
    """Two images of noise as the module takes them: enough to see what it does with its inputs."""
    import torch

    return preprocessing.finish(torch.stack([preprocessing.prepare(image) for image in _noise_images()]))


def _centre_crop(image: Image, size: tuple[int, int]) -> Image:
    """Crop to (height, width), padding with black where the image is smaller, as torchvision's CenterCrop does."""
    import PIL.Image

    height, width = size
    if image.size == (width, height):
        return image
    if image.width < width or image.height < height:
        canvas = PIL.Image.new(image.mode, (max(width, image.width), max(height, image.height)))
        canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
        image = canvas
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


@cache
def per_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """(1, C, 1, 1) float32, kept on the device: to send it anew for every batch would make the device wait."""
    import torch

    with torch.inference_mode(False):  # it outlives the caller's inference mode
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


def _noise_images() -> Iterator[Image]:
    import numpy as np
    import PIL.Image

    for width, height in ((61, 97), (318, 205)):
        yield PIL.Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadInput:
    """Features are what the classifier is given; logits are what the module returns. One forward pass.

    Attributes:
        head: name of the classifier's submodule.
        has_logits: False where the head is an identity or not a classifier of source classes.

    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 10)).eval()
    >>> features, logits = HeadInput("1")(module, torch.zeros(2, 8))
    >>> features.shape, logits.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
    """

    head: str
    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        captured: list[torch.Tensor] = []

        def capture(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = _first_tensor(arguments, named)
            if given is not None:  # a copy, because the head may work in place
                captured.append(pool(given).clone())

        handle = module.get_submodule(self.head).register_forward_pre_hook(capture, with_kwargs=True)
        try:
            output = call(module, batch)
        finally:
            handle.remove()
        if not captured:
            raise CandidateError(f"the forward pass never reached the classifier {self.head!r}")
        return Outputs(captured[-1], _logits(output) if self.has_logits else None)


@dataclass(frozen=True)
class FeatureMethod:
    """Features from `module.forward_features`, logits from calling the module: two passes where nothing is shared."""

    has_logits: bool = True

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        features = pool(module.forward_features(batch))  # type: ignore[operator]
        return Outputs(features, _logits(module(batch)) if self.has_logits else None)


@dataclass(frozen=True)
class WholeOutput:
    """Features are what the module returns; no source classes."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(pool(call(module, batch)), None)


def call(module: torch.nn.Module, batch: Any) -> Any:
    """What the module returns for a batch: a tensor, or a mapping of keyword arguments."""
    return module(**batch) if isinstance(batch, Mapping) else module(batch)


def without_head(module: torch.nn.Module) -> torch.nn.Module:
    """A module around this one whose forward pass is `forward_features`: what is left to run where there is no head."""
    import torch

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.module.forward_features(batch)  # type: ignore[no-any-return, operator]

    return Body()


def device_of(module: torch.nn.Module) -> torch.device | None:
    """Where the module's first parameter or buffer is; None where it has neither."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), None)


@contextlib.contextmanager
def in_evaluation_mode(*modules: torch.nn.Module) -> Iterator[None]:
    """The modules in evaluation mode; afterwards each of their submodules in the mode that it was in."""
    training = [(submodule, submodule.training) for module in modules for submodule in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for submodule, mode in training:
            submodule.training = mode


def pool(features: torch.Tensor) -> torch.Tensor:
    """(B, D) from a feature map (B, D, H, W) by the mean over its places, from tokens (B, T, D) by the mean over them.

    >>> import torch
    >>> pool(torch.ones(2, 8, 7, 7)).shape, pool(torch.ones(2, 197, 8)).shape, pool(torch.ones(2, 8)).shape
    (torch.Size([2, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """
    if features.dim() < 2:
        raise CandidateError(f"features have shape {tuple(features.shape)}; expected a row for each input")
    if features.dim() == 2:
        return features
    return features.mean(1 if features.dim() == 3 else tuple(range(2, features.dim())))


def reader_for_feature_method(module: torch.nn.Module, example: torch.Tensor) -> Reader:
    """The one-pass reader of a module that has `forward_features` and returns source logits when called.

    Looks for the submodule that is given the features, by value on `example`, and hooks it. Where there is none, two
    passes; where calling the module fails (no head), features alone. Where `forward_features` gives tokens (B, T, D)
    and there is a classifier, the features are what the classifier is given.

    Args:
        module: in evaluation mode.
        example: a batch of at least two different inputs; noise is best, for it makes chance agreement unlikely.
    """
    import torch

    found: dict[bool, str] = {}  # by whether the agreement is exact
    with torch.no_grad():
        given_features = module.forward_features(example)  # type: ignore[operator]
        if given_features.dim() == 3:
            reader = reader_for_module(module, example)
            if isinstance(reader, HeadInput):
                return reader
        features = pool(given_features)

        def compare(name: str, given: torch.Tensor | None) -> None:
            if given is None or given.dim() < 2 or True in found:
                return
            pooled = pool(given)
            if pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4, atol=1e-5):
                found.setdefault(torch.equal(pooled, features), name)

        handles = [
            submodule.register_forward_pre_hook(
                lambda _, arguments, named, name=name: compare(name, _first_tensor(arguments, named)), with_kwargs=True
            )
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
    if found:
        return HeadInput(found.get(True) or found[False])
    return FeatureMethod()


def reader_for_module(module: torch.nn.Module, example: Any) -> HeadInput | WholeOutput:
    """The reader of any module: the last linear layer or convolution is the classifier if its output is the module's.

    Otherwise the module's own output is taken as features, without source classes. (An encoder that ends in a linear
    projection looks like a classifier; give it as `Backbone` with `WholeOutput` to say otherwise.)

    Args:
        module: in evaluation mode; returns a tensor, or an object with `logits` as transformers' models do.
        example: a batch of at least two different inputs: a tensor, or a mapping of keyword arguments.

    Raises:
        CandidateError: the module returns neither.
    """
    import torch

    outputs: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        handles = [
            submodule.register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, pool(output)))
            for name, submodule in module.named_modules()
            if name and isinstance(submodule, (torch.nn.Linear, torch.nn.Conv2d))
        ]
        try:
            result = _logits(call(module, example))
        finally:
            for handle in handles:
                handle.remove()
    for name, output in reversed(outputs.items()):
        if output.shape == result.shape and torch.equal(output, result):
            return HeadInput(name)
    return WholeOutput()


def _logits(output: Any) -> torch.Tensor:
    """(B, S) from what a classifier returns: a tensor, or an object with `logits`."""
    import torch

    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor):
        raise CandidateError(f"the module returns {type(output).__name__}; expected one tensor of logits or features")
    return pool(logits)


def _first_tensor(arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor | None:
    import torch

    return next((a for a in chain(arguments, named.values()) if isinstance(a, torch.Tensor)), None)


# --- identity --------------------------------------------------------------------------------------------------------


def weights_digest(module: torch.nn.Module, *more: str) -> str:
    """SHA-256 over the module's parameters and buffers by name, and over whatever else identifies it.

    >>> import torch
    >>> weights_digest(torch.nn.Identity()) == weights_digest(torch.nn.Identity(), "other code")
    False
    """
    digest = hashlib.sha256("\0".join(more).encode())
    for name, tensor in sorted(chain(module.named_parameters(), module.named_buffers())):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def tensor_bytes(tensor: torch.Tensor) -> Any:
    """The numbers as a buffer, for any dtype."""
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
