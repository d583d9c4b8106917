"""The `hub` zoo: checkpoints of timm and transformers on the Hugging Face Hub, such as `hub:microsoft/resnet-50`.

- `hub:owner/name[@revision]` is one model; the revision is a branch, a tag or a commit.
- `hub:owner/vit-*` matches an owner's models by name.
- `hub:?task=image-classification&library=timm&params=<50M&sort=downloads&limit=50` is a query of the Hub.

A candidate's revision is the commit at the time of the search; exactly this commit is loaded, whatever is pushed later.
Only files that loading needs are downloaded, into the cache that all clients of the Hub share.
"""

from __future__ import annotations

import fnmatch
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.text_classifier import TextClassifier
from modelselect.errors import CandidateError, ExpressionError, ModelSelectError, RemoteCodeError, SearchError
from modelselect_plugins.zoos import _export
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos._hub.query import NO_TASK, Query
from modelselect_plugins.zoos._support import (
    first_missing,
    is_glob,
    is_unsafe_pickle,
    language_codes,
    missing_library,
    one_line,
    required,
    sound,
    split_settings,
    unsafe_pickle,
    with_settings,
)
from modelselect_plugins.zoos._timm.models import configured, folder_skeleton, folder_skeleton_key, timm_folder
from modelselect_plugins.zoos._transformers import images as transformers_images
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers import zero_shot
from modelselect_plugins.zoos._transformers.texts import TEXT_TOWERS, TextSettings
from modelselect_plugins.zoos._weights import ADAPTER, ADAPTER_ALONE

if TYPE_CHECKING:
    import torch
    from huggingface_hub import ModelInfo

MAX_SCANNED = 10_000
"""Maximum number of entries checked for one query, if the Hub cannot apply all its conditions itself."""

CONFIGURATION = "config.json"

WELL_KNOWN = (
    "albert/albert-base-v2",
    "BAAI/bge-base-en-v1.5",
    "BAAI/bge-small-en-v1.5",
    "distilbert/distilbert-base-uncased",
    "distilbert/distilroberta-base",
    "FacebookAI/roberta-base",
    "FacebookAI/roberta-large",
    "FacebookAI/xlm-roberta-base",
    "google-bert/bert-base-cased",
    "google-bert/bert-base-multilingual-cased",
    "google-bert/bert-base-uncased",
    "google-bert/bert-large-uncased",
    "openai-community/gpt2",
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
)
"""Models that people call by their name alone. Most of them were on the Hub before it had owners."""

_NAME = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
_REVISION = re.compile(r"(?P<name>[^@]+)@(?P<revision>[\w-][\w./-]*)", re.ASCII)
_SMALL = re.compile(
    r"""(config|preprocessor_config|processor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab
    |modules|sentence_bert_config|config_sentence_transformers|\d+_\w+/config)\.json
    |vocab\.txt|merges\.txt|bpe\.codes|[\w-]+(\.bpe)?\.model""",
    re.VERBOSE | re.ASCII,
)
_CODE = re.compile(r"[A-Za-z_]\w*\.py", re.ASCII)
_SHARD = re.compile(r"[\w-][\w.-]*\.(safetensors|bin)", re.ASCII)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".pkl")
_BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16}
_TWO_LETTERS = (
    "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfyga"
    "gdglgngugvhahehihohrhthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulv"
    "mgmhmimkmlmnmrmsmtmynanbndnengnlnnnonrnvnyocojomorospapiplpsptqurmrnrorurwsascsdsesgshsiskslsmsnsosq"
    "srssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxhyiyozazhzu"
)
_LANGUAGES = frozenset({"multilingual", *re.findall("..", _TWO_LETTERS)})
"""The codes of ISO 639-1, and the word for many languages. Codes of three letters look like other
tags."""

_IMAGE_TASKS = ("image-classification", "image-feature-extraction", "zero-shot-image-classification")
_TEXT_TASKS = ("fill-mask", "sentence-similarity", "text-classification", "token-classification")
_TAGS_BY_MODALITY = {"image": _IMAGE_TASKS, "text": (*_TEXT_TASKS, "feature-extraction")}

TAGS = {
    "audio-classification": ("audio-classification", "automatic-speech-recognition", "feature-extraction"),
    "detection": ("object-detection", *_IMAGE_TASKS),
    "retrieval": ("sentence-similarity", "feature-extraction", "fill-mask"),
    "segmentation": ("image-segmentation", *_IMAGE_TASKS),
    "text-pair": ("sentence-similarity", "text-classification", "feature-extraction", "fill-mask"),
    "token-classification": ("token-classification", "fill-mask"),
}
"""The Hub's tags of models whose features suit a task. Other tasks take what suits the modality of the rows."""


class HubZoo(Zoo):
    """Models on the Hugging Face Hub, or on the server in `HF_ENDPOINT`."""

    name = "hub"

    def search(self, pattern: str) -> Iterable[Candidate]:
        required("huggingface_hub")
        if pattern.startswith("?"):
            return _listed(Query.parse(pattern[1:]), pattern)
        match = _REVISION.fullmatch(pattern)
        name, revision = (match["name"], match["revision"]) if match else (pattern, None)
        repository, settings = split_settings(name)
        if is_glob(repository):
            return _globbed(repository)
        if _NAME.fullmatch(repository) is None or ".." in pattern:
            raise ExpressionError(
                f"{pattern!r} is not a pattern of the Hub; expected 'hub:owner/name', 'hub:owner/name@revision', "
                "'hub:owner/glob*' or 'hub:?key=value&...', such as 'hub:?task=image-classification&limit=20'"
            )
        if settings:
            TextSettings.of(settings)
        return [_resolved(repository, revision, settings)]

    def for_task(self, pattern: str, task: str, modality: str) -> str:
        tags = TAGS.get(task) or _TAGS_BY_MODALITY.get(modality)
        if tags is None or not pattern.startswith("?"):
            return pattern
        query = Query.parse(pattern[1:])
        if query.tasks:
            return pattern
        if query.author is not None:  # whose models are often without a tag, and few
            tags = (*tags, NO_TASK)
        return "&".join(filter(None, [pattern, f"task={'|'.join(tags)}"])).replace("?&", "?")

    def plain_names(self) -> Mapping[str, str]:
        return {pattern.split("/")[1]: pattern for pattern in WELL_KNOWN}

    def is_here(self, candidate: Candidate) -> bool:
        repository, _ = split_settings(candidate.name)
        folder = client.cached(repository, candidate.revision)
        if folder is None or not (folder / CONFIGURATION).is_file():
            return False
        names = {file.name for file in folder.iterdir() if file.is_file()}
        chosen = next((name for name in _WEIGHTS if name in names), None)
        try:
            return chosen is not None and names.issuperset(_shards(folder / chosen))
        except CandidateError:
            return False

    def is_reachable(self) -> bool:
        return client.is_reachable()

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        pooling = transformers_models.text_pooling(candidate.metadata)
        if modality != "text" or pooling is None:
            return candidate
        repository, settings = split_settings(candidate.name)
        return _resolved(repository, candidate.revision, {**settings, "pooling": pooling})

    def in_detail(self, candidate: Candidate) -> Candidate:
        repository, settings = split_settings(candidate.name)
        folder = client.cached(repository, candidate.revision)
        known = {} if folder is None else _described(folder, settings)
        return replace(candidate, metadata={**known, **candidate.metadata})

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        repository, settings = split_settings(candidate.name)
        found = _fetched(candidate, weights=True, trust_remote_code=trust_remote_code)
        weights_key = f"hub:{repository}@{found.commit}"
        try:
            if found.form == "timm":
                if settings:
                    raise CandidateError(
                        f"the model takes images, but the settings {', '.join(settings)} are for text encoders; leave "
                        "them out"
                    )

                return timm_folder(found.path, candidate, weights_key)
            return transformers_models.load(
                found.path,
                candidate,
                weights_key,
                trust_remote_code=trust_remote_code,
                safetensors=not found.pickled,
                settings=settings,
            )
        except CandidateError:
            raise
        except Exception as error:
            raise CandidateError(_why_not_loaded(found, error)) from error

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        found = _fetched(candidate, weights=False, trust_remote_code=trust_remote_code)
        if found.form == "timm":
            return folder_skeleton(found.path)
        _, settings = split_settings(candidate.name)
        return transformers_models.skeleton(found.path, trust_remote_code=trust_remote_code, settings=settings)

    def skeleton_key(self, candidate: Candidate, *, trust_remote_code: bool = False) -> str | None:
        found = _fetched(candidate, weights=False, trust_remote_code=trust_remote_code)
        return folder_skeleton_key(found.path) if found.form == "timm" else None

    def text_classifier(self, candidate: Candidate, texts: Sequence[Sequence[str]]) -> TextClassifier | None:
        _, settings = split_settings(candidate.name)
        if settings or candidate.metadata.get("family") not in zero_shot.FAMILIES:
            return None
        found = _fetched(candidate, weights=True, trust_remote_code=False)
        if found.form == "timm":
            return None
        return zero_shot.text_classifier(found.path, texts, safetensors=not found.pickled)

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        return _export.export(backbone, head, class_names, folder)

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        return _export.bundle(backbone, folder)

    def availability(self) -> str | None:
        return first_missing("huggingface_hub", "torch", "transformers", "timm")


# --- what exists -----------------------------------------------------------------------------------------------------


def _listed(query: Query, text: str, *, glob: str = "*") -> list[Candidate]:
    found: list[Candidate] = []
    try:
        for scanned, info in enumerate(client.listing(query), 1):
            if _NAME.fullmatch(info.id) is None or not client.is_commit(info.sha):
                continue  # the Hub itself never returns this
            metadata = _facts(info)
            if query.matches(metadata) and fnmatch.fnmatchcase(info.id.lower(), glob.lower()):
                found.append(Candidate("hub", info.id, info.sha, metadata))
            if len(found) == query.limit or query.exhausted(metadata):
                break
            if scanned == MAX_SCANNED:
                warnings.warn(
                    f"{text!r}: only the first {MAX_SCANNED:,} models that the Hub lists were checked, and "
                    f"{len(found)} match; add conditions that the Hub can apply: task, library, author, license, "
                    "search",
                    stacklevel=2,
                )
                break
    except ModelSelectError:
        raise
    except Exception as error:
        raise SearchError(f"{text!r} could not be searched: {client.why_not_listed(error, text)}") from error
    return found


def _globbed(pattern: str) -> list[Candidate]:
    """An owner's models by name; the Hub is searched for the longest part of the glob without wildcards."""
    owner, _, name = pattern.partition("/")
    if not name or is_glob(owner):
        raise ExpressionError(
            f"{pattern!r} matches models of any owner; name the owner, as in 'hub:google/vit-*', or give a query: "
            "'hub:?search=vit&task=image-classification'"
        )
    plain = max(re.split(r"\[[^\]]*\]|[*?]+", name), key=len)
    query = Query(author=owner, search=plain or None, limit=MAX_SCANNED)
    return _listed(query, pattern, glob=pattern)


def _resolved(repository: str, revision: str | None, settings: Mapping[str, str]) -> Candidate:
    """One model, at the present commit of its revision; from the client's cache if the Hub is unreachable."""
    try:
        info = client.info(repository, revision)
    except Exception as error:
        path = client.cached(repository, revision) if client.unreachable(error) else None
        if path is None or not (path / CONFIGURATION).is_file():
            raise SearchError(f"{repository!r} could not be looked up: {client.why(error, repository)}") from error
        metadata = {"url": client.page(repository), **_described(path, settings)}
        return Candidate("hub", with_settings(repository, settings), path.name, metadata)
    metadata = _facts(info)
    try:
        files = [file.rfilename for file in info.siblings or [] if _is_description(file.rfilename)]
        paths = [client.download(info.id, str(info.sha), name) for name in sorted(files)]
        if paths:
            metadata |= _described(paths[0].parent, settings)
            if metadata.get("family") in TEXT_TOWERS and not metadata.get("source_classes"):
                metadata.pop("parameters", None)  # the Hub counts those of both towers
    except Exception:  # for example gated: loading it reports this
        pass
    return Candidate("hub", with_settings(info.id, settings), info.sha, metadata)


def _is_description(name: str) -> bool:
    return name in (CONFIGURATION, transformers_images.PROCESSOR, transformers_images.NESTED_PROCESSOR)


def _facts(info: ModelInfo) -> dict[str, Any]:
    """A candidate's metadata from the Hub's data about it."""
    names = [file.rfilename for file in info.siblings or []]
    tags = [tag for tag in info.tags or [] if isinstance(tag, str)]
    config = info.config if isinstance(info.config, dict) else {}  # written by others, so of any type
    library = info.library_name or next((tag for tag in ("timm", "transformers") if tag in tags), None)
    named = config.get("architectures")
    architectures = [config.get("architecture"), *(named if isinstance(named, list) else ())]
    known: dict[str, Any] = {
        "architecture": next(filter(None, architectures), None),
        "family": config.get("model_type"),
        "modality": _modality(info.pipeline_tag, library),
        "task": info.pipeline_tag,
        "library": library,
        "parameters": info.safetensors.total if info.safetensors else None,
        "source_dataset": ", ".join(tag.removeprefix("dataset:") for tag in tags if tag.startswith("dataset:")) or None,
        "license": next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None),
        "languages": language_codes(getattr(info.card_data, "language", None)) or _languages_among(tags),
        "downloads": info.downloads,
        "likes": info.likes,
        "gated": None if info.gated is None else bool(info.gated),
        "private": info.private,
        "weights": _kind_of_weights(names) if info.siblings is not None else None,
        "scan": _scan(info.security_repo_status),
        "download_bytes": _download_bytes(info),
        "url": client.page(info.id),
        "remote_code": _needs_code(config),
    }
    return sound(known)


def _described(path: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """A candidate's metadata from the configuration in a folder; unknown values are left out."""
    try:
        configuration = json.loads((path / CONFIGURATION).read_bytes())
        if _is_timms(configuration):
            return configured(configuration)
        known = transformers_models.metadata(path, configuration, settings) | {
            "remote_code": _needs_code(configuration)
        }
    except Exception:  # a file from others may hold anything; loading it reports faults
        return {}
    if known.get("input_size") is not None:
        known.setdefault("modality", "image")
    return sound(known)


def _languages_among(tags: Iterable[str]) -> tuple[str, ...] | None:
    """The codes of languages among a model's tags, which hold those of its card; a listing has no card."""
    return language_codes([tag for tag in tags if tag in _LANGUAGES])


def _modality(task: str | None, library: str | None) -> str | None:
    if task in _IMAGE_TASKS or library == "timm":
        return "image"
    return "text" if task in _TEXT_TASKS or library == "sentence-transformers" else None


def _kind_of_weights(names: Iterable[str]) -> str:
    """`safetensors`, `pickle`, or `none` if nothing can be loaded here."""
    there = set(names)
    chosen = next((name for name in _WEIGHTS if name in there), None)
    if chosen is None:
        return "none"
    return "safetensors" if "safetensors" in chosen else "pickle"


def _scan(status: Mapping[str, Any] | None) -> str | None:
    """Result of the Hub's scan for viruses and harmful pickles: `safe`, `pending`, or the files that it warns of."""
    if status is None:
        return None
    issues = [f"{issue.get('path')} ({issue.get('level')})" for issue in status.get("filesWithIssues") or []]
    return ", ".join(issues) or ("safe" if status.get("scansDone") else "pending")


def _download_bytes(info: ModelInfo) -> int | None:
    """Bytes of the files that loading needs, if their sizes are known; in a listing, those of the tensors only."""
    sizes = {file.rfilename: file.size for file in info.siblings or [] if file.size is not None}
    if not sizes:
        counts = info.safetensors.parameters if info.safetensors else None
        return sum(count * _BITS.get(dtype, 8) // 8 for dtype, count in counts.items()) if counts else None
    first = next((name for name in _WEIGHTS if name in sizes), None)
    taken = {name for name in sizes if _SMALL.fullmatch(name)} | ({first} if first else set())
    if first is not None and first.endswith(".index.json"):
        stem, kind = first.split(".")[0], first.split(".")[1]
        taken |= {name for name in sizes if name.startswith(f"{stem}-") and name.endswith(f".{kind}")}
    return sum(sizes[name] for name in taken)


def _needs_code(config: Mapping[str, Any]) -> bool:
    """True if only its own code can build it. By now, transformers may support its model type."""
    if "auto_map" not in config:
        return False
    kind = config.get("model_type")
    if missing_library("transformers") is not None or not isinstance(kind, str):
        return True
    return kind not in required("transformers").CONFIG_MAPPING


# --- what is loaded --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Snapshot:
    """A model's files on this machine, at one commit.

    Attributes:
        form: `timm` or `transformers`, the library that loads it.
        weights: the file of weights, or the index of their shards; None if they were not requested.
    """

    path: Path
    commit: str
    form: str
    weights: str | None

    @property
    def pickled(self) -> bool:
        return self.weights is not None and not self.weights.startswith("model.safetensors")


def _fetched(candidate: Candidate, *, weights: bool, trust_remote_code: bool) -> _Snapshot:
    """The candidate's files, downloaded if they are not in the cache: descriptions first, weights last.

    Raises:
        CandidateError: the files are not available or cannot be loaded; the message says why.
        RemoteCodeError: it needs its own code, which is not trusted; no large file has been downloaded by then.
    """
    repository, _ = split_settings(candidate.name)
    try:
        return _fetch(repository, candidate.revision, weights, trust_remote_code)
    except ModelSelectError:
        raise
    except Exception as error:
        raise CandidateError(client.why(error, repository)) from error


def _fetch(repository: str, revision: str | None, weights: bool, trust_remote_code: bool) -> _Snapshot:
    try:
        info = client.info(repository, revision)
    except Exception as error:
        path = client.cached(repository, revision) if client.unreachable(error) else None
        if path is None:
            raise
        return _held(path, repository, weights, trust_remote_code, error)
    if not client.is_commit(info.sha):
        raise CandidateError(f"the Hub gives {info.sha!r} instead of a commit: see {client.page(repository)}")
    commit = str(info.sha)
    digests = client.digests(info)

    def fetch(name: str) -> Path:
        return client.download(repository, commit, name, digests[name])

    if CONFIGURATION not in digests:
        raise CandidateError(_no_configuration(digests))
    path = fetch(CONFIGURATION).parent
    form = _form(path, trust_remote_code)
    for name in sorted(digests):
        if _SMALL.fullmatch(name) or (trust_remote_code and _CODE.fullmatch(name)):
            fetch(name)
    if not weights:
        return _Snapshot(path, commit, form, None)
    chosen = _chosen_weights(digests, form)
    fetch(chosen)
    for shard in _shards(path / chosen):
        if shard not in digests:
            raise CandidateError(f"the {chosen} names {shard!r}, which is not in the repository")
        fetch(shard)
    return _Snapshot(path, commit, form, chosen)


def _held(path: Path, repository: str, weights: bool, trust_remote_code: bool, error: Exception) -> _Snapshot:
    """What the cache holds of a model, for use while the Hub is unreachable."""
    names = [file.name for file in path.iterdir() if file.is_file()]
    whole = CONFIGURATION in names
    form = _form(path, trust_remote_code) if whole else ""
    chosen = _chosen_weights(names, form) if whole and weights and any(n in names for n in _WEIGHTS) else None
    if weights:
        whole = chosen is not None and all(shard in names for shard in _shards(path / chosen))
    if not whole:
        raise CandidateError(f"the files are not all in the local cache: {client.why(error, repository)}")
    return _Snapshot(path, path.name, form, chosen)


def _form(path: Path, trust_remote_code: bool) -> str:
    """The library that loads it, from its configuration."""
    try:
        configuration = json.loads((path / CONFIGURATION).read_bytes())
    except (OSError, ValueError) as error:
        raise CandidateError(f"the {CONFIGURATION} cannot be read ({one_line(error)})") from None
    if isinstance(configuration, dict):
        if _is_timms(configuration):
            return "timm"
        if _needs_code(configuration) and not trust_remote_code:
            raise RemoteCodeError(
                f"the model brings code of its own (model type {configuration.get('model_type')!r}), which runs "
                "only with your permission: read the code, then pass trust_remote_code=True (command line: "
                "--trust-remote-code)"
            )
        if isinstance(configuration.get("model_type"), str):
            return "transformers"
    raise CandidateError(
        f"the {CONFIGURATION} has no key that says how to build the model; expected 'architecture' (timm) or "
        "'model_type' (transformers)"
    )


def _is_timms(configuration: Mapping[str, Any]) -> bool:
    wrapped = configuration.get("model_type") == transformers_images.TIMM_INSIDE
    return isinstance(configuration.get("architecture"), str) and not wrapped


def _chosen_weights(names: Iterable[str], form: str) -> str:
    """The file of weights to load, or the index of its shards; safetensors are preferred to pickles."""
    there = set(names)
    wanted = _WEIGHTS if form == "transformers" else ("model.safetensors", "pytorch_model.bin")
    chosen = next((name for name in wanted if name in there), None)
    if chosen is None:
        others = sorted(name for name in there if name.endswith(_WEIGHT_SUFFIXES))
        raise CandidateError(
            f"the repository has no weights that can be loaded here; expected one of ({', '.join(wanted)})"
            + (f"; it has {', '.join(others[:3])}" if others else "")
        )
    return chosen


def _shards(index: Path) -> list[str]:
    """The files that an index of shards lists; none if the weights are in one file.

    Raises:
        CandidateError: the index cannot be read, or names files outside its folder.
    """
    if not index.name.endswith(".index.json"):
        return []
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise CandidateError(f"the {index.name} cannot be read ({one_line(error)})") from None
    outside = [name for name in names if not isinstance(name, str) or _SHARD.fullmatch(name) is None]
    if outside:
        raise CandidateError(f"the {index.name} names {outside[0]!r}, which is not a file of weights in its folder")
    return names


def _no_configuration(names: Iterable[str]) -> str:
    if ADAPTER in names:
        return ADAPTER_ALONE
    others = sorted(name for name in names if name.endswith(("config.json", "model_index.json", ".gguf")))
    return f"the repository has no {CONFIGURATION}, so the model cannot be built" + (
        f"; it has {', '.join(others[:3])}, which neither timm nor transformers loads as an encoder" if others else ""
    )


def _why_not_loaded(found: _Snapshot, error: Exception) -> str:
    if found.pickled and is_unsafe_pickle(error):
        return unsafe_pickle(str(found.weights))
    damaged = " (a file is truncated or damaged)" if "SafetensorError" in type(error).__name__ else ""
    return f"{found.form} cannot load it{damaged}: {one_line(error)}"


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [HubZoo()]
