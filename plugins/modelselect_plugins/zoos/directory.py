"""The `directory` zoo: models in local folders, such as `dir:path/to/models/*`.

A folder with `config.json` and `model.safetensors` is a candidate. `config.json` describes it in one of five forms:

- timm's `local-dir` form: `architecture`, `num_classes`, `model_args`, `pretrained_cfg`;
- transformers' form, as written by `save_pretrained`: `model_type`, `architectures` (and, in the same folder,
  `preprocessor_config.json` or a tokenizer);
- torchvision's, as written inside the folder of a fine-tuned winner: `torchvision`, the name of the weights;
- for a fine-tuned model that neither library can load, as written by `Row.save`: `fine_tuned_from`, the id of the
  candidate it came from, whose zoo must still have it, unless the folder holds the backbone in a folder of its own;
- `"builder": "file.py:function"`, code of its own, which runs only with `trust_remote_code=True`. The file is looked
  for in the folder, then in its parent. The function takes the folder and returns a module and a transform from a PIL
  image to a tensor; `module.forward_features(x)` gives (N, D) features and `module(x)` source logits. A grid of
  features is averaged over its places; `num_features` says which axis holds the channels where the module does not.

These keys of `config.json` are read in any form, if they are there: `num_classes`, `num_features`, `license` (or
`licence`), `languages`, `pretraining` (the dataset it was pre-trained on), `published_top1` (its accuracy there, in per
cent), and `input` with `size` and `channels`.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import math
import os
import re
import shutil
import stat
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone, Reader
from modelselect.candidates.expression import Expression
from modelselect.candidates.preprocessing import CallablePreprocessing, example_batch
from modelselect.candidates.readers import READING, reader_for, reader_of_features
from modelselect.candidates.text_classifier import TextClassifier
from modelselect.errors import CandidateError, ExpressionError, ModelSelectError, RemoteCodeError, did_you_mean
from modelselect.host.host import get_host
from modelselect.verification.export import BUNDLE, ORIGIN
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.signature import Signature
from modelselect_plugins.zoos import _export
from modelselect_plugins.zoos._bounds import check_configuration, check_files, is_file, without_network
from modelselect_plugins.zoos._support import (
    first_missing,
    is_glob,
    is_unsafe_pickle,
    language_codes,
    one_line,
    read_json,
    sound,
    split_settings,
    unsafe_pickle,
    with_settings,
)
from modelselect_plugins.zoos._timm.models import configured, folder_skeleton, timm_folder
from modelselect_plugins.zoos._torchvision import KEY as TORCHVISION
from modelselect_plugins.zoos._torchvision import torchvision_folder
from modelselect_plugins.zoos._transformers import images as transformers_images
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers import texts as transformers_texts
from modelselect_plugins.zoos._transformers import zero_shot
from modelselect_plugins.zoos._weights import (
    ADAPTER,
    ADAPTER_ALONE,
    CONFIGURATION,
    PICKLE,
    PICKLED_SHARDS,
    PICKLES,
    SHARDS,
    WEIGHTS,
    check_for_other_kinds,
    pickled_tensors,
    why_no_weights,
)

if TYPE_CHECKING:
    import torch

_BUILDER = re.compile(r"(?P<file>[\w-][\w.-]*\.py):(?P<function>[A-Za-z_]\w*)")
_REVISION = re.compile(r"(?P<path>.+)@(?P<revision>[0-9a-f]{12})", re.DOTALL)
_PINNED = re.compile(r"(?!(.*:)?hub:).*|.*@[0-9a-f]{40}", re.DOTALL)
"""An id that is no repository on the Hub, or one at a commit."""

_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked", "position_ids")  # counters and settings


class DirectoryZoo(Zoo):
    """Folders of models on this machine. The revision is a digest of their files, so it changes when they change.

    The pattern is a path, relative to the working directory: of one model, of a folder of models, or a glob (also with
    `**`). Settings of text encoders may follow, as in `models/bert?pooling=cls`; they are part of the candidate's name.
    """

    name = "directory"
    aliases = ("dir",)
    downloads = False

    def search(self, pattern: str) -> Iterable[Candidate]:
        revision = None
        match = _REVISION.fullmatch(pattern)
        if match and not Path(pattern).exists():
            pattern, revision = match["path"], match["revision"]
        place, settings = split_settings(pattern)
        pickled, of_text = _pickles_allowed(settings)
        transformers_texts.TextSettings.of(of_text)
        paths = _model_folders(place)
        if paths is None:
            raise ExpressionError(f"there is no folder {place!r} here ({Path.cwd()}).{_near(place)}")
        if not paths:
            check_for_other_kinds(Path(place).expanduser())
        candidates = [_Folder(path, pickled).candidate(settings) for path in paths]
        if revision is not None and [c.revision for c in candidates] != [revision]:
            raise ExpressionError(
                f"{pattern!r} holds {', '.join(str(c.revision) for c in candidates) or 'no model'}, not {revision}: "
                "the files have changed. Leave out the revision to use the present files."
            )
        return candidates

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        pooling = transformers_models.text_pooling(candidate.metadata)
        if modality != "text" or pooling is None:
            return candidate
        place, settings = split_settings(candidate.name)
        pickled, _ = _pickles_allowed(settings)
        return _Folder(Path(place), pickled).candidate({**settings, "pooling": pooling})

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        place, given = split_settings(candidate.name)
        pickled, settings = _pickles_allowed(given)
        folder = _Folder(Path(place), pickled)
        folder.check()
        if settings and folder.form != "transformers":
            raise CandidateError(
                f"the model takes images, but the settings {', '.join(settings)} are for text encoders; leave them out"
            )
        if candidate.revision is not None and candidate.revision != folder.revision:
            raise CandidateError(
                f"the files have changed: the model was found with revision {candidate.revision}, but now has "
                f"revision {folder.revision}. Search again"
            )
        if folder.form == "builder":
            return _build(folder, candidate, trust_remote_code)
        if folder.form == "fine-tuned":
            return _fine_tuned(folder, candidate, trust_remote_code)
        try:
            with without_network():
                if folder.form == "transformers":
                    return transformers_models.load(
                        folder.path,
                        candidate,
                        folder.digest,
                        trust_remote_code=trust_remote_code,
                        safetensors=not folder.is_pickled,
                        settings=settings,
                    )
                if folder.form == "torchvision":
                    return torchvision_folder(folder.path, candidate, folder.digest)
                return timm_folder(folder.path, candidate, folder.digest)
        except CandidateError:
            raise
        except Exception as error:
            if folder.is_pickled and is_unsafe_pickle(error):
                raise CandidateError(unsafe_pickle(folder.weights[0].name)) from error
            raise CandidateError(f"{folder.form} cannot load it ({one_line(error)})") from error

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module | None:
        place, given = split_settings(candidate.name)
        pickled, settings = _pickles_allowed(given)
        folder = _Folder(Path(place), pickled)
        folder.check()
        with without_network():
            if folder.form == "timm":
                return folder_skeleton(folder.path)
            if folder.form == "transformers":
                return transformers_models.skeleton(folder.path, trust_remote_code=trust_remote_code, settings=settings)
        return None  # builders and some zoos cannot build a model without weights

    def text_classifier(self, candidate: Candidate, texts: Sequence[Sequence[str]]) -> TextClassifier | None:
        if candidate.metadata.get("family") not in zero_shot.FAMILIES:
            return None
        place, given = split_settings(candidate.name)
        pickled, settings = _pickles_allowed(given)
        folder = _Folder(Path(place), pickled)
        if settings or folder.form != "transformers" or folder.revision != candidate.revision:
            return None
        with without_network():
            return zero_shot.text_classifier(folder.path, texts, safetensors=not folder.is_pickled)

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        return _export.export(backbone, head, class_names, folder)

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        source = _Folder(Path(split_settings(backbone.candidate.name)[0]))
        if source.form != "builder":
            return _export.bundle(backbone, folder)
        for path in (source.path / CONFIGURATION, *source.weights, source.builder[0]):
            shutil.copy(path, folder / path.name)
        return ""

    def availability(self) -> str | None:
        return first_missing("torch", "timm", "transformers")


@dataclass(frozen=True)
class _Folder:
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
            configuration = json.loads((self.path / CONFIGURATION).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
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
                names = sorted(set(json.loads((self.path / SHARDS).read_bytes())["weight_map"].values()))
            except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
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
        files, inside = [self.path / CONFIGURATION, self.path / transformers_images.PROCESSOR], None
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
                inside = _Folder(self.bundled[0]).digest
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
        _, of_text = _pickles_allowed(settings)
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


def _pickles_allowed(settings: Mapping[str, str]) -> tuple[bool, dict[str, str]]:
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


def _model_folders(pattern: str) -> list[Path] | None:
    """The folders of models that match a pattern, sorted; None if a path without glob characters does not exist.

    A folder whose name is not valid UTF-8 is left out, with a warning: no leaderboard could contain its name.
    """
    here = Path(pattern).expanduser()
    here = transformers_texts.encoder_folder(here) or here
    if os.path.lexists(here / CONFIGURATION):
        return [here]
    if here.is_dir():
        found: Iterable[Path] = here.iterdir()
    elif is_glob(pattern):
        found = map(Path, glob.glob(str(here), recursive=True))
    else:
        return None
    found = (transformers_texts.encoder_folder(path) or path for path in found)
    folders = sorted({path for path in found if os.path.lexists(path / CONFIGURATION)}, key=Path.as_posix)
    named = [path for path in folders if _is_utf8(path)]
    for path in folders:
        if path not in named:
            warnings.warn(
                f"the folder {str(path)!r} is left out, because its name is not valid UTF-8; rename it", stacklevel=3
            )
    return named


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _near(pattern: str) -> str:
    parent = Path(pattern).expanduser().parent
    if not parent.is_dir():
        return " Give a path relative to this folder, or an absolute path."
    return did_you_mean(pattern, [(parent / path.name).as_posix() for path in parent.iterdir() if path.is_dir()])


def _input_size(given: Any) -> tuple[int, int, int] | None:
    if not isinstance(given, dict) or not isinstance(given.get("size"), int):
        return None
    return given.get("channels", 3), given["size"], given["size"]


def _digest_of(file: Path) -> str:
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            return "not there"
        return _digest(str(file.resolve()), state.st_size, state.st_mtime_ns)
    except OSError:
        return "not there"


@lru_cache(maxsize=4096)
def _digest(path: str, size: int, modified: int) -> str:
    """Digest of the file's content; read again only if its size or its time of change differs."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fine_tuned(folder: _Folder, candidate: Candidate, trust_remote_code: bool) -> Backbone:
    """A folder written by `Row.save`, combined with the candidate that it was fine-tuned from."""
    from safetensors.numpy import load_file

    bundled = folder.bundled
    try:
        if bundled is None:
            if not _PINNED.fullmatch(folder.configuration[ORIGIN]):
                raise CandidateError("the id has no fixed revision, the commit behind an @")
            origin = Expression.parse(folder.configuration[ORIGIN])
            zoo = get_host().zoo(origin.zoo)
            found = list(zoo.search(origin.pattern))
        else:
            zoo = get_host().zoo(DirectoryZoo.name)
            found = [_Folder(bundled[0]).candidate(bundled[1])]
        if len(found) != 1:
            raise CandidateError(f"{len(found)} candidates have this id; expected one")
        if bundled is None and origin.pattern.rpartition("@")[2] != (found[0].revision or origin.pattern):
            raise CandidateError(f"the id has no fixed revision, such as @{found[0].revision}")
        backbone = zoo.load(found[0], trust_remote_code=trust_remote_code)
    except RemoteCodeError:
        raise
    except ModelSelectError as error:
        raise CandidateError(
            f"the model was fine-tuned from {folder.configuration[ORIGIN]!r}, which cannot be loaded here ({error})"
        ) from error
    (weights,) = folder.weights
    names = folder.configuration.get("label_names")
    labels = tuple(map(str, names)) if isinstance(names, list) else ()
    tuned = FineTuned(
        load_file(weights), labels, str(folder.configuration.get("method")), Signature.of_folder(folder.path)
    )
    return dataclasses.replace(tuned.on(backbone, folder.digest), candidate=candidate)


def _build(folder: _Folder, candidate: Candidate, trust_remote_code: bool) -> Backbone:
    file, function = folder.builder
    if not trust_remote_code:
        raise RemoteCodeError(
            f"the model brings code of its own ({file.name}:{function}), which runs only with your permission: read "
            "the code, then pass trust_remote_code=True (on the command line: --trust-remote-code)"
        )
    module, transform, code_key = _run_builder(file, function, folder.path)
    preprocessing = CallablePreprocessing.of(transform, code_key)
    module = module.float().eval()
    backbone = Backbone(
        candidate=candidate,
        module=module,
        preprocessing=preprocessing,
        read=_reader(module, example_batch(preprocessing), folder.configuration),
        weights_key=folder.digest,
    )
    _check_widths(backbone, example_batch(preprocessing), folder.configuration)
    return backbone


def _run_builder(file: Path, function: str, folder: Path) -> tuple[torch.nn.Module, Callable[[Any], torch.Tensor], str]:
    """The function's result after checks, and the digest of its code."""
    import torch

    try:
        source = file.read_bytes()
        code_key = hashlib.sha256(source).hexdigest()
        made = getattr(_module_of(str(file), source, code_key), function)(str(folder))
    except (Exception, SystemExit) as error:
        raise CandidateError(f"the builder {file.name}:{function} failed ({one_line(error)})") from error
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module) and callable(made[1])):
        raise CandidateError(
            f"the builder {file.name}:{function} returned {type(made).__name__}; expected (torch.nn.Module, transform)"
        )
    if not hasattr(made[0], "forward_features"):
        raise CandidateError(f"the module built by {file.name}:{function} has no method `forward_features`")
    return *made, f"{code_key}:{function}"


def _module_of(path: str, source: bytes, digest: str) -> types.ModuleType:
    """The code as a module, run once for all folders that share it. Exactly the hashed bytes are run."""
    name = "modelselect_builder_" + hashlib.sha256(f"{path}:{digest}".encode()).hexdigest()[:16]
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__file__ = path
        sys.modules[name] = module  # for dataclasses and pickle
        try:
            exec(compile(source, path, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _reader(module: torch.nn.Module, example: torch.Tensor, configuration: Mapping[str, Any]) -> Reader:
    """The reader of a module, which agrees with the `num_features` and `num_classes` of `config.json`."""
    locate = reader_of_features if configuration.get("num_classes") == 0 else reader_for
    width = configuration.get("num_features")
    try:
        return locate(module, example, [width] if isinstance(width, int) else [])
    except CandidateError as error:
        raise CandidateError(
            "the builder's module does not show what its features are. Let `forward_features` return one row of "
            f"numbers for each image, or set num_features in {CONFIGURATION} to the width of the features"
        ) from error
    except Exception as error:
        raise CandidateError(f"`forward_features` failed on two images of noise ({one_line(error)})") from error


def _check_widths(backbone: Backbone, example: torch.Tensor, configuration: Mapping[str, Any]) -> None:
    """Refuses a model that differs from its configuration, because its scores could not be trusted."""
    import torch

    with torch.no_grad():
        features, logits = backbone.read(backbone.module, example)
    given = {"num_features": features.shape[1], "num_classes": 0 if logits is None else logits.shape[1]}
    for key, width in given.items():
        if configuration.get(key, width) != width:
            raise CandidateError(f"the {CONFIGURATION} says {key} {configuration[key]}, but its module gives {width}")


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [DirectoryZoo()]
