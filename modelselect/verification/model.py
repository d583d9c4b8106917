"""`Model`: a loaded candidate that predicts, if it is fine-tuned; and `load`, which makes one by its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from modelselect import hub
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import alone_with, device_of
from modelselect.errors import (
    CandidateError,
    DatasetError,
    ExpressionError,
    InvalidInputError,
    SearchError,
    UnknownNameError,
)
from modelselect.extraction.devices import choose_device, is_out_of_memory
from modelselect.host.host import get_host
from modelselect.host.lookup import search
from modelselect.probe.images import Reading
from modelselect.probe.inputs import Input, inputs_of
from modelselect.probe.rows import reason_of
from modelselect.utils.paths import expanded
from modelselect.utils.system import usable_cores
from modelselect.utils.target_kinds import CLASSES, LABEL_SETS, NUMBERS, RELEVANCE, ROW
from modelselect.verification.answers import embeddings_of, label_sets_of, numbers_of
from modelselect.verification.export import CONFIGURATION, DIRECTORY
from modelselect.verification.parts import predicted_parts
from modelselect.verification.prediction import NOT_FINITE, Prediction, Predictions
from modelselect.verification.signature import Signature

if TYPE_CHECKING:
    import torch

HUB = "hub"
"""The zoo of the Hub's models."""


@dataclass
class Model(Backbone):
    """A candidate with its weights, ready to use.

    `Backbone` lists the other attributes. The module of a fine-tuned winner gives (N, classes) logits.

    Attributes:
        signature: what the model takes and what its answers mean; None if it is not fine-tuned.
    """

    signature: Signature | None = None

    @classmethod
    def of(cls, backbone: Backbone, signature: Signature | None) -> Self:
        """The backbone with what it takes and answers, if it is fine-tuned."""
        known = {name: getattr(backbone, name) for name in Backbone.__dataclass_fields__}
        if signature is not None and known["class_names"] is None:
            known["class_names"] = tuple(map(str, signature.labels))
        return cls(**known, signature=signature)

    def predict(
        self,
        inputs: Any,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_pixels: int | None = None,
        masks: str | os.PathLike[str] | bool = True,
    ) -> Predictions:
        """The most probable class of each input, with its probability; or its numbers, labels, tags, mask or embedding.

        Images are read as those of the training data were. An input that cannot be read costs only its own answer.
        Several threads may share a model: it answers one after the other.

        Args:
            inputs: for a model of images: the path of a file, a folder, which stands for the images in it, a PIL image,
                a uint8 array (H, W, 3) or (N, H, W, 3), or a list of any of these. For a model of texts: a text, a pair
                of texts as a tuple, or a list of these. For a model of words: a text, which is split at spaces, a list
                of texts, or a list of lists of words.
            device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`. The module goes back to its own device afterwards.
            batch_size: inputs in a forward pass. It is halved when memory runs out.
            max_pixels: images with more pixels are not read; None for twice PIL's `MAX_IMAGE_PIXELS`.
            masks: of a model of pixels: a folder, into which each mask is written as a PNG file when it is made, so
                that memory holds one at a time; False keeps none, and only the shares of classes are told.

        Raises:
            CandidateError: the model is not fine-tuned, or its forward pass fails.
            InvalidInputError: the inputs are not of the kind that the model takes, or the device cannot be used.
        """
        if self.signature is None:
            raise CandidateError(
                f"{self.candidate} is not fine-tuned on a dataset of yours, so it has no classes to predict. Fine-tune "
                "the winner with select(..., top_k=1) (--save FOLDER), and use board.best.predict()"
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size!r}; expected a whole number of 1 or more inputs")
        signature, device = self.signature, choose_device(device)
        reading = signature.reading
        reading = replace(reading, max_pixels=Reading().max_pixels if max_pixels is None else max_pixels)
        if signature.unit != ROW:
            with self._on(device):
                return predicted_parts(self, signature, inputs, reading, device, batch_size, masks)
        given = inputs_of(inputs, signature.modality)
        shares = np.full((len(given), len(signature.labels)), np.nan, np.float32)
        reasons: dict[int, str] = {}
        with self._on(device), ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(given), batch_size):
                batch = given[start : start + batch_size]
                prepared = list(pool.map(lambda each: self._prepared(each, reading), batch))
                reasons |= {start + i: row for i, row in enumerate(prepared) if isinstance(row, str)}
                read = {start + i: row for i, row in enumerate(prepared) if not isinstance(row, str)}
                if read:
                    shares[list(read)] = self._probabilities(list(read.values()), len(signature.labels), device)
                    reasons |= {i: NOT_FINITE for i in read if not np.isfinite(shares[i]).all()}
        if signature.target_kind == NUMBERS:
            return numbers_of(given, reasons, shares, signature.labels)
        if signature.target_kind == RELEVANCE:
            return embeddings_of(given, reasons, shares, signature.labels)
        if signature.target_kind == LABEL_SETS:
            return label_sets_of(given, reasons, shares, signature.labels)
        return Predictions(
            tuple(_prediction(each, reasons.get(i), shares[i], signature) for i, each in enumerate(given)),
            signature.labels,
            shares,
        )

    @contextlib.contextmanager
    def _on(self, device: str) -> Iterator[None]:
        """The module is on the device, for this thread alone."""
        with alone_with(self.module):
            home = device_of(self.module)
            try:
                self.module.to(device)
                yield
            finally:
                if home is not None:
                    self.module.to(home)

    def _prepared(self, given: Input, reading: Reading) -> torch.Tensor | str:
        """The input as a tensor, or why it cannot be read."""
        try:
            return self.preprocessing.prepare(given.read(reading))
        except DatasetError as error:  # its decoder is not installed
            return str(error)
        except Exception as error:
            return reason_of(error)

    def _meant(self, outputs: torch.Tensor) -> torch.Tensor:
        """(N, K) probabilities of classes or of labels, or numbers as they are."""
        kind = CLASSES if self.signature is None else self.signature.target_kind
        if kind in (NUMBERS, RELEVANCE):
            return outputs
        return outputs.sigmoid() if kind == LABEL_SETS else outputs.softmax(1)

    def _probabilities(self, rows: Sequence[torch.Tensor], classes: int, device: str) -> Any:
        """(N, classes) float32: probabilities, or numbers. Rows are split where memory runs out."""
        import torch

        try:
            with torch.no_grad():
                batch = self.preprocessing.finish(torch.stack(list(rows)).to(device))
                logits = self.read(self.module, batch).logits
            if logits is None:
                raise CandidateError(f"{self.candidate} gives no logits, so it cannot predict")
            if logits.shape != (len(rows), classes):
                raise CandidateError(
                    f"{self.candidate} gives logits of the shape {tuple(logits.shape)} for {len(rows)} inputs and "
                    f"{classes} classes: its files do not belong together. Save the winner again with "
                    "board.best.save(), or --save"
                )
            return self._meant(logits.float()).cpu().numpy()
        except Exception as error:
            if isinstance(error, CandidateError):
                raise
            if not is_out_of_memory(error):
                raise CandidateError(
                    f"the forward pass of {self.candidate} raised {type(error).__name__}: {error}"
                ) from error
            if len(rows) == 1:
                raise CandidateError(
                    f"one input does not fit into memory on {device!r}; use another device= (--device)"
                ) from None
        half = len(rows) // 2
        return np.concatenate([self._probabilities(part, classes, device) for part in (rows[:half], rows[half:])])


def load(name: str | os.PathLike[str] | Candidate, *, trust_remote_code: bool = False) -> Model:
    """Loads a winner that was saved, or a candidate.

    Args:
        name: the folder that `Row.save` or `select --save` wrote, the repository that `Row.push_to_hub` or
            `select --push` made, a candidate, the expression of one candidate, such as `"timm:resnet18"`, or a plain
            name that one zoo knows, as for `select()`.
        trust_remote_code: whether the candidate may run code that it brings.

    Returns:
        The model. `predict` works if it is a saved or pushed winner; a candidate is pre-trained.

    Raises:
        InvalidInputError: there is no such folder or candidate, or there are several.
        CandidateError: the weights cannot be loaded.
        HubError: the files of a pushed winner cannot be fetched.

    >>> import modelselect as ms
    >>> ms.load("embedded:resnet.letters").candidate.name
    'resnet.letters'
    """
    if isinstance(name, Candidate):
        return Model.of(get_host().zoo(name.zoo).load(name, trust_remote_code=trust_remote_code), None)
    if not isinstance(name, str | os.PathLike):
        raise InvalidInputError(f"a model is {name!r}; expected its folder, or a candidate such as 'timm:resnet18'")
    folder, found = _folder(os.fsdecode(name)), []
    if folder is None:
        found = search(name) if isinstance(name, str) and ":" in name else _named(name)
        folder = _pushed(found)
    if folder is not None:
        found = list(get_host().zoo(DIRECTORY).search(str(folder)))
    if len(found) != 1:
        raise InvalidInputError(f"{str(name)!r} stands for {len(found)} candidates; expected one. Give its whole name")
    signature = None if folder is None else Signature.of_folder(folder)
    backbone = get_host().zoo(found[0].zoo).load(found[0], trust_remote_code=trust_remote_code)
    return Model.of(backbone, signature)


def _pushed(found: list[Candidate]) -> Path | None:
    """The files of a winner that was pushed to the Hub; None if the only candidate is none."""
    if len(found) != 1 or found[0].zoo != HUB or "?" in found[0].name:
        return None
    return hub.fetch_winner(found[0].name, found[0].revision or None)


def _named(name: str | os.PathLike[str]) -> list[Candidate]:
    """The candidates that a plain name stands for, such as `resnet18` or `owner/name`.

    Raises:
        InvalidInputError: it stands for none, or several zoos know it.
    """
    reason = ""
    if isinstance(name, str):
        try:
            return search(name)
        except (ExpressionError, UnknownNameError, SearchError) as error:
            reason = f" ({error})"
    raise InvalidInputError(
        f"there is no model {str(name)!r} here; expected a folder that --save or board.best.save() wrote, or a "
        f"candidate such as 'timm:resnet18'{reason}"
    )


def _folder(name: str) -> Path | None:
    """The folder of one model that is meant, with or without the zoo's name before it; None if it is none."""
    zoo = get_host().zoo(DIRECTORY)
    prefix, colon, rest = name.partition(":")
    path = expanded(rest if colon and prefix in (zoo.name, *zoo.aliases) else name)
    return path if (path / CONFIGURATION).is_file() else None


def _prediction(given: Input, reason: str | None, shares: Any, signature: Signature) -> Prediction:
    if reason is not None:
        return Prediction(given.name, None, None, reason)
    best = int(shares.argmax())
    return Prediction(given.name, signature.labels[best], float(shares[best]))
