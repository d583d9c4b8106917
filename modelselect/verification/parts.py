"""What a fine-tuned model says of the words of sentences, or of the pixels of images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.errors import CandidateError, DatasetError, InvalidInputError
from modelselect.host.host import get_host
from modelselect.probe.images import Reading
from modelselect.probe.inputs import Input, inputs_of
from modelselect.probe.rows import reason_of
from modelselect.tasks.task import Task
from modelselect.utils.target_kinds import BOX, WORD
from modelselect.utils.text import printable
from modelselect.utils.words import Sentence
from modelselect.verification.answers import Answers
from modelselect.verification.memory import within_memory
from modelselect.verification.prediction import Prediction
from modelselect.verification.signature import Signature

if TYPE_CHECKING:
    import torch

FEWEST_SHOWN = 0.005
"""Share of an image from which a class is printed."""


@dataclass(frozen=True)
class PartLogits:
    """The logits of the parts of each input, (B, ..., K), are the module's output, and its features, too."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        found = module(batch)
        return Outputs(found, found)


def task_of_parts(unit: str) -> Task:
    """The registered task whose rows are such parts of inputs.

    Raises:
        CandidateError: there is none.
    """
    found = next((task for task in get_host().tasks.values() if task.unit == unit), None)
    if found is None:
        raise CandidateError(f"the model predicts a class for each {unit}, and no task for that is registered")
    return found


@dataclass(frozen=True, eq=False, repr=False)
class TagPredictions(Answers):
    """The predicted tag of each word, sentence by sentence.

    Attributes:
        rows: one for each of the N sentences; `label` is the tuple of its tags, None for a word that the model does not
            see since the sentence is too long. `probability` is None.
        classes: the C tags.
        probabilities: (N, C) float32: the share of the words that have each tag.
        words: of each sentence.

    >>> rows = (Prediction("Ada sang", ("PER", "O"), None),)
    >>> print(TagPredictions(rows, ("O", "PER"), np.array([[0.5, 0.5]], np.float32), (("Ada", "sang"),)))
    input     tags
    Ada sang  Ada/PER sang/O
    """

    words: tuple[tuple[str, ...], ...]

    @property
    def headings(self) -> tuple[str, str]:
        return "input", "tags"

    def cells(self) -> list[tuple[str, ...]]:
        return [
            (name, " ".join(f"{printable(word)}/{tag or '?'}" for word, tag in zip(words, row.label, strict=True)))  # type: ignore[arg-type]
            for (name, _), words, row in zip(super().cells(), self.words, self.rows, strict=True)
        ]

    def text_of(self, values: Sequence[float]) -> str:
        return ""

    def described(self) -> list[dict[str, Any]]:
        """Each sentence as plain data: its words, each with its tag."""
        return [
            {"input": row.input, "words": list(words), "tags": list(row.label)}  # type: ignore[arg-type]
            for words, row in zip(self.words, self.rows, strict=True)
        ]


class MaskPredictions(Answers):
    """The predicted mask of each image.

    Attributes:
        rows: one for each of the N images; `label` is its mask: (H, W) classes, in the size of the image, as the masks
            of the training had them; or the path of the file that holds it. None if it could not be read, and where no
            masks are kept. `probability` is None.
        classes: the C classes.
        probabilities: (N, C) float32: the share of the pixels that have each class; NaN for what could not be read.

    >>> rows = (Prediction("a.png", np.array([[0, 0], [0, 1]]), None),)
    >>> print(MaskPredictions(rows, (0, 1), np.array([[0.75, 0.25]], np.float32)))
    input  classes
    a.png  0 75.0%, 1 25.0%
    """

    @property
    def headings(self) -> tuple[str, str]:
        return "input", "classes"

    def text_of(self, values: Sequence[float]) -> str:
        found = sorted(zip(values, map(str, self.classes), strict=True), key=lambda pair: (-pair[0], pair[1]))
        return ", ".join(f"{printable(name)} {share:.1%}" for share, name in found if share >= FEWEST_SHOWN)

    def described(self) -> list[dict[str, Any]]:
        """Each image as plain data, with the share of each class by its name."""
        return [{name: value for name, value in row.items() if name != "label"} for row in super().described()]


class MaskFiles:
    """Writes each mask into a folder when it is made: as a PNG file of grey values, named as its image.

    Args:
        folder: is made, if it is not there.
        names: of the images.
        classes: the greatest number of a class is written in 8 bits, or in 16.

    Raises:
        InvalidInputError: the folder cannot be written, two images have one name, or a class has no grey value.
    """

    def __init__(self, folder: Path, names: Sequence[str], classes: NDArray[np.int64]) -> None:
        self._folder = folder
        self._type = next(
            (kind for kind in (np.uint8, np.uint16) if classes.max(initial=0) <= np.iinfo(kind).max), None
        )
        if self._type is None or classes.min(initial=0) < 0:
            raise InvalidInputError(
                f"the classes {classes.min()} to {classes.max()} have no grey values from 0 to 65535"
            )
        stems = [Path(name).stem for name in names]
        if twice := [stem for stem, count in Counter(stems).items() if count > 1]:
            raise InvalidInputError(f"two images are called {twice[0]!r}; predict them in two runs")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def __call__(self, name: str, mask: NDArray[Any]) -> str:
        """The path of the file that the mask is written to."""
        import PIL.Image

        path = self._folder / f"{Path(name).stem}.png"
        try:
            PIL.Image.fromarray(mask.astype(self._type)).save(path)
        except OSError as error:
            raise self._unwritable(error) from error
        return str(path)

    def _unwritable(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(f"cannot write masks to {str(self._folder)!r}: {error.strerror or error}")


def predicted_parts(
    backbone: Backbone,
    signature: Signature,
    inputs: Any,
    reading: Reading,
    device: str,
    batch_size: int,
    masks: str | os.PathLike[str] | bool = True,
) -> Answers:
    """What the model says of each part of the inputs.

    Args:
        backbone: gives logits of parts; on the device.
        signature: what it takes and answers.
        inputs: see `Model.predict`.
        reading: how images become pixels.
        device: of the module.
        batch_size: inputs in a forward pass; halved when memory runs out.
        masks: see `Model.predict`.

    Raises:
        CandidateError: the parts are boxes, which nothing proposes.
    """
    if signature.unit == BOX:
        raise CandidateError(
            "the model tells the class of given boxes, and predictions are for whole images. Use its backbone in a "
            "detector: load() gives it as module.body"
        )
    task = task_of_parts(signature.unit)
    if signature.unit == WORD:
        return _tags(backbone, signature, task, sentences_of(inputs), device, batch_size)
    given = inputs_of(inputs, signature.modality)
    return _masks(backbone, signature, task, given, reading, device, batch_size, masks)


def sentences_of(given: Any) -> list[tuple[str, ...]]:
    """The words of sentences: of a text, of a list of texts, which are split at spaces, or of a list of lists of words.

    Raises:
        InvalidInputError: something given is no text, or holds no word.

    >>> sentences_of("Ada sang"), sentences_of([["Ada", "sang"], "She left"])
    ([('Ada', 'sang')], [('Ada', 'sang'), ('She', 'left')])
    """
    listed = [given] if isinstance(given, str) else list(given)
    found = []
    for place, each in enumerate(listed):
        words = tuple(each.split()) if isinstance(each, str) else tuple(each) if isinstance(each, list | tuple) else ()
        if not words or not all(isinstance(word, str) and word.strip() for word in words):
            raise InvalidInputError(
                f"input {place} is {ascii(each)[:60]}; expected a text with words, or a list of words for each sentence"
            )
        found.append(words)
    return found


def _tags(
    backbone: Backbone, signature: Signature, task: Task, sentences: list[tuple[str, ...]], device: str, batch_size: int
) -> TagPredictions:
    rows, shares = [], np.zeros((len(sentences), len(signature.labels)), np.float32)

    def attempt(size: int) -> list[NDArray[Any]]:
        found = []
        for start in range(0, len(sentences), size):
            part = sentences[start : start + size]
            logits = _logits(backbone, [backbone.preprocessing.prepare(Sentence(words)) for words in part], device)
            blank = np.empty((len(part), max(map(len, part))))
            for words, tags, each in zip(part, task.decoded(logits, blank), logits, strict=True):
                found.append(tags[: len(words)])
                _check_finite(backbone, each[: len(words)])
        return found

    for place, tags in enumerate(within_memory(attempt, batch_size, device)[0] if sentences else []):
        label: Any = tuple(signature.labels[tag] if tag >= 0 else None for tag in tags.tolist())
        shares[place] = np.bincount(tags[tags >= 0], minlength=len(signature.labels)) / len(tags)
        rows.append(Prediction(" ".join(sentences[place]), label, None))
    return TagPredictions(tuple(rows), signature.labels, shares, tuple(sentences))


def _masks(
    backbone: Backbone,
    signature: Signature,
    task: Task,
    given: list[Input],
    reading: Reading,
    device: str,
    batch_size: int,
    masks: str | os.PathLike[str] | bool,
) -> MaskPredictions:
    try:
        classes = np.array([int(label) for label in signature.labels], np.int64)
    except (ValueError, OverflowError) as error:
        raise CandidateError(
            f"the classes of the model are {ascii(signature.labels)[:60]}; expected numbers, as masks hold them"
        ) from error
    if len(classes) and classes.min() >= -(2**15) and classes.max() < 2**15:  # a mask of a photo has millions
        classes = classes.astype(np.uint8 if classes.min() >= 0 and classes.max() < 2**8 else np.int16)
    keep: Callable[[str, Any], Any] = lambda _, mask: mask if masks else None  # noqa: E731
    if not isinstance(masks, bool):
        keep = MaskFiles(Path(masks), [each.name for each in given], classes.astype(np.int64))
    rows: list[Prediction] = []
    shares = np.full((len(given), len(classes)), np.nan, np.float32)
    for start in range(0, len(given), batch_size):
        part = given[start : start + batch_size]
        shown = [_shown(each, reading) for each in part]
        images = [each for each in shown if not isinstance(each, str)]
        prepared = [backbone.preprocessing.prepare(image) for image in images]
        outputs: list[NDArray[Any]] = []
        if prepared:

            def attempt(size: int, rows: list[Any] = prepared) -> list[NDArray[Any]]:
                parts = [rows[first : first + size] for first in range(0, len(rows), size)]
                return [logits for each in parts for logits in _logits(backbone, each, device)]

            outputs = within_memory(attempt, len(prepared), device)[0]
        ready = iter(zip(outputs, images, strict=True))
        for each, image in zip(part, shown, strict=True):
            if isinstance(image, str):
                rows.append(Prediction(each.name, None, None, image))
                continue
            logits, own = next(ready)
            _check_finite(backbone, logits)
            found = task.decoded(logits[None], np.empty((1, own.height, own.width)))[0]
            shares[len(rows)] = np.bincount(found.reshape(-1), minlength=len(classes)) / found.size
            rows.append(Prediction(each.name, keep(each.name, classes[found]), None))
    return MaskPredictions(tuple(rows), signature.labels, shares)


def _shown(given: Input, reading: Reading) -> Any:
    """The image, or why it cannot be read."""
    try:
        return given.read(reading)
    except DatasetError as error:  # its decoder is not installed
        return str(error)
    except Exception as error:
        return reason_of(error)


def _check_finite(backbone: Backbone, logits: NDArray[Any]) -> None:
    if not np.isfinite(logits).all():
        raise CandidateError(
            f"{backbone.candidate} gives numbers that are not finite; its weights may be damaged. Save the winner "
            "again with board.best.save(), or --save"
        )


def _logits(backbone: Backbone, rows: Sequence[torch.Tensor], device: str) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        batch = backbone.preprocessing.finish(torch.stack(list(rows)).to(device))
        found: NDArray[np.float32] = backbone.module(batch).float().cpu().numpy()
    return found
