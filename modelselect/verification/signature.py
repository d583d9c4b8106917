"""`Signature`: what a fine-tuned model takes and what its answers mean, kept together with its weights."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from modelselect.errors import CandidateError
from modelselect.hub import LARGEST_DESCRIPTION, SIGNATURE
from modelselect.probe.images import Reading, UnreadableError, content_of
from modelselect.probe.probe import Probe
from modelselect.probe.rows import ARRAY, AUDIO, IMAGE, TEXT
from modelselect.utils.target_kinds import BOX, CLASSES, PIXEL, ROW, TARGET_KINDS, WORD

logger = logging.getLogger(__name__)

FILES = "files"
"""What the description of a saved model calls the checksums of its files."""

Label = str | int | bool
"""A class as the dataset calls it: its name, or, where classes have no names, the number or the truth value."""


@dataclass(frozen=True)
class Signature:
    """What a fine-tuned model takes, and what its answers mean.

    Attributes:
        labels: the class of each logit, as the dataset calls it; of other targets, the name of each output.
        modality: of the inputs: `image`, `text`, `audio` or `array`.
        reading: how the images of the dataset became pixels. Its bound of pixels is not kept.
        target_kind: what the outputs mean: logits of classes, numbers, logits of labels, or an embedding.
        unit: what has an output: an input, or each word, pixel or box of it.
    """

    labels: tuple[Label, ...]
    modality: str
    reading: Reading = field(default_factory=Reading)
    target_kind: str = CLASSES
    unit: str = ROW

    @classmethod
    def of_probe(cls, probe: Probe, classes: list[int]) -> Self:
        """Of a model that was trained on the rows of a probe.

        Args:
            probe: the training rows.
            classes: the number of the class of each logit.
        """
        labels = tuple(probe.labels_in_own_type[label] for label in classes)
        return cls(labels, probe.modality, probe.reading, probe.target_kind, probe.unit)

    @property
    def described(self) -> dict[str, Any]:
        """The signature as plain data, which `of_description` reads."""
        reading = {"upright": self.reading.upright, "mode": self.reading.mode, "white": self.reading.white}
        kind = {} if self.target_kind == CLASSES else {"targets": self.target_kind}
        unit = {} if self.unit == ROW else {"unit": self.unit}
        return {"labels": list(self.labels), "modality": self.modality, "reading": reading, **kind, **unit}

    @classmethod
    def of_description(cls, given: Mapping[str, Any]) -> Self | None:
        """The signature in plain data that may come from somebody else; None if there is none, or it is damaged."""
        labels, modality, reading = (given.get(key) for key in ("labels", "modality", "reading"))
        if not isinstance(labels, list | tuple) or not all(isinstance(label, str | int) for label in labels):
            return None
        if modality not in (IMAGE, TEXT, ARRAY, AUDIO) or not isinstance(reading, Mapping):
            return None
        mode, white = reading.get("mode"), reading.get("white")
        kind, unit = given.get("targets", CLASSES), given.get("unit", ROW)
        if not isinstance(mode, str | None) or not isinstance(white, int | None):
            return None
        if not isinstance(kind, str) or kind not in TARGET_KINDS or unit not in (ROW, WORD, PIXEL, BOX):
            return None
        read = Reading(upright=reading.get("upright") is True, mode=mode, white=white)
        return cls(tuple(labels), modality, read, kind, unit)

    @classmethod
    def of_folder(cls, folder: Path) -> Self | None:
        """The signature in a folder that `Row.save` wrote; None if the folder has none.

        Raises:
            CandidateError: the file of the signature is damaged.
        """
        path = folder / SIGNATURE
        if not path.is_file():
            return None
        try:
            found = json.loads(content_of(path, LARGEST_DESCRIPTION))
            signature = cls.of_description(found) if isinstance(found, dict) else None
        except (UnreadableError, OSError, ValueError, RecursionError):
            signature = None
        if signature is None:
            raise CandidateError(
                f"{str(path)!r} does not say what the model takes: the file is damaged. Save the model again with "
                "board.best.save(), or --save"
            )
        _warn_of_changes(folder, found.get(FILES))
        return signature


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and SHA-256 of each file of weights and of settings in a model's folder, by its path in the folder."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _is_of_model(path)}
    return {name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in files.items()}


def is_as_saved(folder: Path) -> bool:
    """Whether a folder holds a saved model, all files of which are those that were saved."""
    try:
        about = json.loads(content_of(folder / SIGNATURE, LARGEST_DESCRIPTION))
        return bool(about[FILES]) and about[FILES] == files_of(folder)
    except (UnreadableError, OSError, ValueError, RecursionError, LookupError, TypeError):
        return False


def _is_of_model(path: Path) -> bool:
    return path.suffix in (".safetensors", ".json") and path.name != SIGNATURE and path.is_file()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warn_of_changes(folder: Path, saved: Any) -> None:
    """Logs which files are not those that were saved. A model that an earlier version saved does not say."""
    if not isinstance(saved, dict):
        return
    changed = [repr(name) for name, about in saved.items() if not _is_as_saved(folder, Path(name), about)]
    if changed:
        logger.warning(
            "%s in %r %s not as saved: changed since, or damaged. If nobody changed the model, save it again with "
            "board.best.save(), or --save",
            " and ".join(changed[:3]),
            str(folder),
            "is" if len(changed) == 1 else "are",
        )


def _is_as_saved(folder: Path, name: Path, about: Any) -> bool:
    """Whether a file in the folder is the one that was saved. Only a file of the right size is read."""
    path = folder / name
    try:
        return (
            not name.is_absolute()
            and ".." not in name.parts
            and _is_of_model(path)
            and bool(path.stat().st_size == about["bytes"])
            and bool(_digest(path) == about["sha256"])
        )
    except (OSError, ValueError, TypeError, LookupError):
        return False
