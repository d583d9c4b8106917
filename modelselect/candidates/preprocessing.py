"""From one row to the tensor that a module takes: images, texts, and the user's own functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Preprocessing
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.utils.code import tensor_bytes
from modelselect.utils.waveforms import Waveform, resampled

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image


REPEATS = 6
"""How often a transform is called again on each example. With two examples, one that flips half of all images is taken
for a fixed one in 1 of 4,096 cases."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize the shorter side, crop the centre, normalise: what nearly every image backbone was trained with.

    `prepare` works on PIL images in uint8; `finish` scales to [0, 1] and normalises in float32. The result is equal to
    that of torchvision's transforms of PIL images, and so of timm's, to the last bit.

    Attributes:
        size: (height, width) in pixels of the module's input.
        resize: the shorter side in pixels before cropping; (height, width) ignores the aspect ratio; None: no resizing.
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
                "channels; expected one mean and one std per channel"
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

        image, mode = image_of(item), "RGB" if self.channels == 3 else "L"
        if image.mode != mode:  # otherwise convert() would copy the whole image
            image = image.convert(mode)
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
        """True if `function` gives the same tensors, up to rounding, for two noise images, a tall and a wide one."""
        import torch

        for image in noise_images():
            given = function(image)
            own = self.finish(self.prepare(image)[None])[0]
            if own.shape != given.shape or not torch.allclose(own, given.float(), rtol=0, atol=1e-5):
                return False
        return True


@dataclass(frozen=True)
class CallablePreprocessing:
    """A function from an input to a tensor, used unchanged.

    Attributes:
        function: input -> tensor.
        key: see `Preprocessing`; `CallablePreprocessing.of` derives one where none is known.
        dtype: of the module's weights, if that is not float32.
    """

    function: Callable[[Any], torch.Tensor]
    key: str
    dtype: torch.dtype | None = None

    @classmethod
    def of(
        cls, function: Callable[[Any], torch.Tensor], code_key: str, inputs: Iterable[Any] | None = None
    ) -> CallablePreprocessing:
        """With a key made of `code_key` (digest of the function's code) and of the function's outputs for `inputs`.

        Two closures of the same code differ only in their settings, and settings that matter change the outputs.

        Args:
            function: input -> tensor.
            code_key: digest of its code.
            inputs: what to call the function on; None for two noise images.

        Raises:
            CandidateError: the function returns no tensor, or different tensors for the same input.
        """
        import torch

        digest = hashlib.sha256(code_key.encode())
        what = "image" if inputs is None else "row"
        for row in noise_images() if inputs is None else inputs:
            given = function(row)
            if not isinstance(given, torch.Tensor):
                raise CandidateError(f"the transform returns {type(given).__name__}; expected a tensor for one {what}")
            if not all(torch.equal(given, function(row)) for _ in range(REPEATS)):
                raise CandidateError(
                    f"the transform returns different tensors for the same {what}, so no score could be repeated. "
                    "Give the transform for evaluation, without random augmentation."
                )
            digest.update(f"{tuple(given.shape)}:{given.dtype}:".encode())
            digest.update(tensor_bytes(given))
        return cls(function, f"callable:{digest.hexdigest()}")

    def prepare(self, item: Any) -> torch.Tensor:
        return self.function(item)

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        if not batch.is_floating_point():
            return batch
        return batch.float() if self.dtype is None else batch.to(self.dtype)


PADDING = -1
"""Fills the rest of a row of token ids after the end of the text. No token has this id, whatever a tokenizer uses."""


@dataclass(frozen=True)
class TextPreprocessing:
    """Token ids, at most as many as the module takes.

    `prepare` gives rows of equal length, so that one array can hold them; `finish` cuts a batch to its longest text.
    Readers have to recognise padding by `PADDING`, never by the tokenizer's own padding id.

    Attributes:
        encode: a text -> its token ids, special tokens included, at least one and at most `length`.
        length: of every row, in tokens.
        key: see `Preprocessing`.
        encode_pair: two texts -> what `encode` gives for one. None: pairs of texts cannot be taken.
        encode_words: the words of a sentence -> their token ids, and for each word the place of its first token, or
            None for a word beyond `length`. None: sentences cannot be taken as words.

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
    encode_pair: Callable[[str, str], Sequence[int]] | None = None
    encode_words: Callable[[Sequence[str]], tuple[Sequence[int], Sequence[int | None]]] | None = None

    def prepare(self, item: Any) -> torch.Tensor:
        """(length,) int32 from a text, or from a tuple of two texts."""
        import torch

        if isinstance(item, str):
            ids = self.encode(_valid(item))
        elif isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item):
            if self.encode_pair is None:
                raise CandidateError("the candidate takes single texts, but the probe's rows are pairs of texts.")
            ids = self.encode_pair(*map(_valid, item))
        else:
            raise CandidateError(
                f"the candidate takes texts, but the probe's rows are {type(item).__name__}. Give strings."
            )
        row = torch.full((self.length,), PADDING, dtype=torch.int32)
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int32)
        return row

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, length) int32 -> (B, longest text) int64."""
        longest = int((batch != PADDING).sum(1).max())
        return batch[:, :longest].long()


@dataclass(frozen=True)
class SoundPreprocessing:
    """What a feature extractor makes of a waveform at its own rate.

    Waveforms are kept in their own length: `prepare` gives rows of equal length with NaN after the end of a sound, and
    readers cut it off. Spectrograms have one size.

    Attributes:
        extract: (T,) samples -> (T,) normalised samples, or a spectrogram of fixed size.
        rate: samples per second that it takes; other sounds are resampled.
        length: samples of a sound that are read, at most: its first ones.
        key: see `Preprocessing`.
    """

    extract: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    rate: int
    length: int
    key: str

    def prepare(self, item: Any) -> torch.Tensor:
        """(length,) float32 with NaN after the end, or the spectrogram, from a `Waveform`."""
        import torch

        if not isinstance(item, Waveform):
            raise CandidateError(
                f"the candidate takes sounds, but the probe's rows are {_kind(item)}. Give a folder of class folders "
                "with WAV files, or (paths, labels)."
            )
        made = torch.from_numpy(self.extract(resampled(item, self.rate)[: self.length]))
        if made.dim() != 1:
            return made.contiguous()
        row = torch.full((self.length,), torch.nan)
        row[: len(made)] = made
        return row

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        return batch

    def examples(self) -> list[Waveform]:
        """Two sounds of noise, of different length: enough to see how the module treats its inputs."""
        import numpy as np

        rng = np.random.default_rng(0)
        return [Waveform(rng.normal(0, 0.1, self.rate // part).astype(np.float32), self.rate) for part in (1, 2)]


def _valid(text: str) -> str:
    """The text in valid UTF-8: half a surrogate pair is not."""
    return text.encode("utf-8", "replace").decode()


def image_of(row: Any) -> Image:
    """The row, which has to be a PIL image.

    Raises:
        CandidateError: the row is something else; the message says what to give.
    """
    import PIL.Image

    if not isinstance(row, PIL.Image.Image):
        raise CandidateError(
            f"the candidate takes images, but the probe's rows are {_kind(row)}. Give images: a folder, uint8 arrays, "
            "or a torch dataset that does not transform them to tensors. Pixels from 0 to 1 become uint8 by "
            "`(255 * inputs).round().astype('uint8')`, pixels from 0 to 255 by `inputs.astype('uint8')`."
        )
    return row


def as_preprocessing(
    expressed: ImagePreprocessing | None, function: Callable[[Any], torch.Tensor], code_key: str
) -> Preprocessing:
    """`expressed` if it does the same as `function`, because it is faster and shared; else `function` unchanged."""
    if expressed is not None and expressed.does_the_same_as(function):
        return expressed
    return CallablePreprocessing.of(function, code_key)


def example_batch(preprocessing: Preprocessing) -> torch.Tensor:
    """Two images or sounds of noise as the module takes them: enough to see how the module treats its inputs."""
    import torch

    rows = preprocessing.examples() if isinstance(preprocessing, SoundPreprocessing) else noise_images()
    return preprocessing.finish(torch.stack([preprocessing.prepare(row) for row in rows]))


def _kind(item: Any) -> str:
    dtype = getattr(item, "dtype", None)
    return type(item).__name__ if dtype is None else f"arrays of {dtype} and shape {item.shape}"


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
    """(1, C, 1, 1) float32, kept on the device, because sending it with every batch would make the device wait."""
    import torch

    with torch.inference_mode(False):  # the tensor is also used outside of inference mode
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


def noise_images() -> Iterator[Image]:
    """Two images of noise, a tall and a wide one: enough to tell two preprocessings apart."""
    import numpy as np
    import PIL.Image

    for width, height in ((61, 97), (318, 205)):
        yield PIL.Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
