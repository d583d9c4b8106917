"""One folder of a model: what its files say, without loading the model."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from modelselect import Candidate
from modelselect.candidates.inspection import READING
from modelselect.errors import CandidateError, ExpressionError
from modelselect.hub import LARGEST_DESCRIPTION
from modelselect.probe.images import UnreadableError, content_of
from modelselect.verification.export import BUNDLE, ORIGIN
from modelselect_plugins.zoos._bounds import check_configuration, check_files, is_file
from modelselect_plugins.zoos._support import language_codes, one_line, read_json, sound, split_settings, with_settings
from modelselect_plugins.zoos._timm.models import configured
from modelselect_plugins.zoos._torchvision import KEY as TORCHVISION
from modelselect_plugins.zoos._transformers import images as transformers_images
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers import texts as transformers_texts
from modelselect_plugins.zoos._weights import (
    ADAPTER,
    ADAPTER_ALONE,
    CONFIGURATION,
    PICKLE,
    PICKLED_SHARDS,
    PICKLES,
    SHARDS,
    WEIGHTS,
    pickled_tensors,
    why_no_weights,
)

_BUILDER = re.compile(r"(?P<file>[\w-][\w.-]*\.py):(?P<function>[A-Za-z_]\w*)")
_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked", "position_ids")  # counters and settings

_LARGEST_HOLE = 8 * 1024**3
"""Bytes of a file that are not on the disk: reading terabytes of zeros would take hours."""


@dataclass(frozen=True)
class Folder:
    """One model's folder: what its files say, without loading the model.

    Attributes:
        path: the folder.
        pickled: whether pickled weights may be read.
    """

    path: Path
    pickled: bool = False

    @cached_property
    def configuration(self) -> Mapping[str, Any]:
        """The content of `config.json`.

        Raises:
            CandidateError: the file cannot be read, or is not an object.
        """
        if not is_file(self.path / CONFIGURATION):
            raise CandidateError(f"the {CONFIGURATION} cannot be read: expected a file, not a pipe, a device or a loop")
        try:
            configuration = json.loads(content_of(self.path / CONFIGURATION, LARGEST_DESCRIPTION))
        except (UnreadableError, OSError, ValueError, RecursionError) as error:
            raise CandidateError(f"the {CONFIGURATION} cannot be read ({one_line(error)})") from None
        if not isinstance(configuration, dict):
            raise CandidateError(f"the {CONFIGURATION} holds {type(configuration).__name__}; expected an object")
        return configuration

    @property
    def form(self) -> str:
        """`builder`, `fine-tuned`, `timm`, `transformers` or `torchvision`.

        Raises:
            CandidateError: it has none of these forms.
        """
        keys = {
            "builder": "builder",
            ORIGIN: "fine-tuned",
            "architecture": "timm",
            "model_type": "transformers",
            TORCHVISION: "torchvision",
        }
        if self.configuration.get("model_type") == transformers_images.TIMM_INSIDE:
            return "transformers"
        for key, form in keys.items():
            if isinstance(self.configuration.get(key), str):
                return form
        raise CandidateError(
            f"the {CONFIGURATION} has no key that says how to build the model; expected 'architecture' (timm), "
            "'model_type' (transformers), 'fine_tuned_from' (a candidate's id) or 'builder' (\"file.py:function\")"
        )

    @cached_property
    def weights(self) -> list[Path]:
        """The files of weights: one file, or the shards listed in an index.

        Raises:
            CandidateError: there are no weights, or an index names files in other folders.
        """
        if (self.path / WEIGHTS).is_file():
            return [self.path / WEIGHTS]
        if (self.path / SHARDS).is_file():
            try:
                index = json.loads(content_of(self.path / SHARDS, LARGEST_DESCRIPTION))
                names = sorted(set(index["weight_map"].values()))
            except Exception as error:  # the file may hold anything
                raise CandidateError(f"the {SHARDS} cannot be read ({one_line(error)})") from None
            if any(not isinstance(name, str) or Path(name).name != name for name in names):
                raise CandidateError(f"the {SHARDS} names files outside its folder")
            return [self.path / name for name in names]
        if self.pickled:
            return self._pickles
        raise CandidateError(why_no_weights(self.path))

    @property
    def is_pickled(self) -> bool:
        return self.pickled and self.weights[0].suffix in PICKLES

    @property
    def _pickles(self) -> list[Path]:
        """The pickled weights that transformers or timm read: one file, or the shards listed in an index."""
        if (self.path / PICKLE).is_file():
            return [self.path / PICKLE]
        names = read_json(self.path / PICKLED_SHARDS).get("weight_map")
        if isinstance(names, dict):
            return [self.path / Path(str(name)).name for name in sorted(set(map(str, names.values())))]
        raise CandidateError(f"the folder has no {PICKLE}, the only name of pickled weights that is read from a folder")

    @cached_property
    def tensors(self) -> Mapping[str, int]:
        """The number of elements of each tensor, by name, from the headers of the weights.

        Raises:
            CandidateError: a file of weights is missing, truncated or damaged.
        """
        from safetensors import safe_open

        if self.is_pickled:
            return pickled_tensors(self.weights)
        found: dict[str, int] = {}
        for path in self.weights:
            try:
                with safe_open(path, framework="np") as tensors:
                    for name in tensors.keys():  # noqa: SIM118 - not a mapping
                        found[name] = math.prod(tensors.get_slice(name).get_shape())
            except Exception as error:
                raise CandidateError(f"the {path.name} is truncated or damaged ({one_line(error)})") from None
        return found

    def parameters(self, settings: Mapping[str, str]) -> int | None:
        """Number of parameters of the part that is loaded; None if the files do not say it."""
        prefix: str | None = ""
        if self.form == "transformers":
            prefix = transformers_models.parameter_prefix(self.path, self.configuration, settings)
        if prefix is None:
            return None
        counted = (n for name, n in self.tensors.items() if name.startswith(prefix))
        skipped = (n for name, n in self.tensors.items() if name.startswith(prefix) and name.endswith(_NOT_PARAMETERS))
        return (sum(counted) - sum(skipped)) or None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all files that loading reads: configuration, preprocessing, code and weights."""
        configuration = self.path / CONFIGURATION
        if is_file(configuration) and (size := configuration.stat().st_size) > LARGEST_DESCRIPTION:
            return hashlib.sha256(f"{size} bytes of configuration, which are not read".encode()).hexdigest()
        files, inside = [configuration, self.path / transformers_images.PROCESSOR], None
        if (self.path / transformers_images.NESTED_PROCESSOR).is_file():
            files.append(self.path / transformers_images.NESTED_PROCESSOR)
        try:
            files += self.weights
            if self.form == "builder":
                files.append(self.builder[0])
            elif self.form == "transformers":
                files += transformers_texts.files(self.path)
                files += sorted(self.path.glob("*.py")) if "auto_map" in self.configuration else []
            elif self.bundled is not None:
                inside = Folder(self.bundled[0]).digest
        except (CandidateError, OSError):
            pass  # a broken folder has a digest, too, of the files it has
        parts = [f"{file.name}:{_digest_of(file)}" for file in files]
        if inside is not None:
            parts.append(f"{BUNDLE}:{inside}")
        if self._is_read_by_its_module():
            parts.append(f"reading:{READING}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def revision(self) -> str:
        return self.digest[:12]

    @property
    def bundled(self) -> tuple[Path, dict[str, str]] | None:
        """The folder of the backbone inside a folder that `Row.save` wrote, and its settings; None if there is none."""
        name = self.configuration.get(BUNDLE)
        if self.form != "fine-tuned" or not isinstance(name, str) or not (self.path / BUNDLE).is_dir():
            return None
        return self.path / BUNDLE, split_settings(name)[1]

    def _is_read_by_its_module(self) -> bool:
        """True if `config.json` leaves out a number of its features or classes that its module then has to show."""
        try:
            numbers = [self.configuration.get(key) for key in ("num_features", "num_classes")]
            return self.form == "builder" and None in numbers
        except CandidateError:
            return False

    @property
    def builder(self) -> tuple[Path, str]:
        """The file and the name of the function that builds the model.

        Raises:
            CandidateError: the configuration does not name a file in the folder or its parent.
        """
        spec = str(self.configuration["builder"])
        match = _BUILDER.fullmatch(spec)
        if match is None:
            raise CandidateError(
                f"the builder is {spec!r}; expected 'file.py:function', with a file in the model's folder or its parent"
            )
        here = self.path.resolve()
        for place in (here, here.parent):
            if (place / match["file"]).is_file():
                return place / match["file"], match["function"]
        raise CandidateError(f"the builder {match['file']!r} is neither in the model's folder nor in its parent")

    def check(self) -> None:
        """Raises CandidateError if the folder cannot be loaded in any form."""
        if not self.path.is_dir():
            raise CandidateError(f"there is no folder {str(self.path)!r} here ({Path.cwd()})")
        check_files(self.path)
        if (self.path / ADAPTER).is_file():
            raise CandidateError(ADAPTER_ALONE)
        if self.form == "timm" and [path.name for path in self.weights] not in ([WEIGHTS], [PICKLE]):
            raise CandidateError(
                f"timm reads weights from one file, but they are in {len(self.weights)}; write them into one {WEIGHTS}"
            )
        if self.form != "builder":
            check_configuration(self.configuration, len(self.tensors))
        _ = self.tensors

    def candidate(self, settings: Mapping[str, str]) -> Candidate:
        """With the metadata that can be read. A broken folder has none; loading it reports the fault."""
        try:
            self.check()
            metadata = self._metadata(settings)
        except Exception:  # the files come from others and may hold anything
            metadata = {}
        return Candidate("directory", with_settings(self.path.as_posix(), settings), self.revision, metadata)

    def _metadata(self, settings: Mapping[str, str]) -> dict[str, Any]:
        configuration = self.configuration
        _, of_text = pickles_allowed(settings)
        known = {
            "modality": "image",
            "parameters": self.parameters(of_text),
            "feature_dim": configuration.get("num_features"),
            "input_size": _input_size(configuration.get("input")),
            "source_dataset": configuration.get("pretraining"),
            "source_classes": configuration.get("num_classes"),
            "source_accuracy": configuration.get("published_top1"),
            "license": str(configuration.get("license", configuration.get("licence")) or "").split(" (")[0] or None,
            "languages": language_codes(configuration.get("languages", configuration.get("language"))),
            "size_bytes": sum(path.stat().st_size for path in self.weights),
            "remote_code": self.form == "builder",
        }
        if self.form == "timm":
            known |= configured(configuration)
        elif self.form == "transformers":
            known |= transformers_models.metadata(self.path, configuration, of_text)
        elif self.form == "fine-tuned":
            known["remote_code"] = None  # known only for its origin
        elif isinstance(configuration.get("arch"), dict):
            known["family"] = configuration["arch"].get("family")
        return sound(known)


def pickles_allowed(settings: Mapping[str, str]) -> tuple[bool, dict[str, str]]:
    """Whether `weights=pickle` is among the settings in a name, and the other settings.

    Raises:
        ExpressionError: `weights` has another value.
    """
    others = {name: value for name, value in settings.items() if name != "weights"}
    if settings.get("weights", "pickle") != "pickle":
        raise ExpressionError(
            f"weights={settings['weights']} is unknown; expected weights=pickle, or nothing for safetensors"
        )
    return "weights" in settings, others


def _input_size(given: Any) -> tuple[int, int, int] | None:
    if not isinstance(given, dict) or not isinstance(given.get("size"), int):
        return None
    return given.get("channels", 3), given["size"], given["size"]


def _digest_of(file: Path) -> str:
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            return "not there"
        if state.st_size - 512 * state.st_blocks > _LARGEST_HOLE:
            return f"a hole of {state.st_size} bytes, changed at {state.st_mtime_ns}"
        return _digest(str(file.resolve()), state.st_size, state.st_mtime_ns)
    except OSError:
        return "not there"


@lru_cache(maxsize=4096)
def _digest(path: str, size: int, modified: int) -> str:
    """Digest of the file's content; read again only if its size or its time of change differs."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
