"""What is loaded from the Hub: the files of a commit that loading needs, in the cache that all its clients share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from modelselect import Candidate
from modelselect.errors import CandidateError, ModelSelectError, RemoteCodeError
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos._hub.files import (
    CODE,
    CONFIGURATION,
    SMALL,
    WEIGHTS,
    chosen_weights,
    is_timms,
    needs_code,
    no_configuration,
    shards,
)
from modelselect_plugins.zoos._support import is_unsafe_pickle, one_line, split_settings, unsafe_pickle


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


def fetched(candidate: Candidate, *, weights: bool, trust_remote_code: bool) -> _Snapshot:
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
        raise CandidateError(no_configuration(digests))
    path = fetch(CONFIGURATION).parent
    form = _form(path, trust_remote_code)
    for name in sorted(digests):
        if SMALL.fullmatch(name) or (trust_remote_code and CODE.fullmatch(name)):
            fetch(name)
    if not weights:
        return _Snapshot(path, commit, form, None)
    chosen = chosen_weights(digests, form)
    fetch(chosen)
    for shard in shards(path / chosen):
        if shard not in digests:
            raise CandidateError(f"the {chosen} names {shard!r}, which is not in the repository")
        fetch(shard)
    return _Snapshot(path, commit, form, chosen)


def _held(path: Path, repository: str, weights: bool, trust_remote_code: bool, error: Exception) -> _Snapshot:
    """What the cache holds of a model, for use while the Hub is unreachable."""
    names = [file.name for file in path.iterdir() if file.is_file()]
    whole = CONFIGURATION in names
    form = _form(path, trust_remote_code) if whole else ""
    chosen = chosen_weights(names, form) if whole and weights and any(n in names for n in WEIGHTS) else None
    if weights:
        whole = chosen is not None and all(shard in names for shard in shards(path / chosen))
    if not whole:
        raise CandidateError(f"the files are not all in the local cache: {client.why(error, repository)}")
    return _Snapshot(path, path.name, form, chosen)


def _form(path: Path, trust_remote_code: bool) -> str:
    """The library that loads it, from its configuration."""
    try:
        configuration = json.loads((path / CONFIGURATION).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CandidateError(f"the {CONFIGURATION} cannot be read ({one_line(error)})") from None
    if isinstance(configuration, dict):
        if is_timms(configuration):
            return "timm"
        if needs_code(configuration) and not trust_remote_code:
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


def why_not_loaded(found: _Snapshot, error: Exception) -> str:
    if found.pickled and is_unsafe_pickle(error):
        return unsafe_pickle(str(found.weights))
    damaged = " (a file is truncated or damaged)" if "SafetensorError" in type(error).__name__ else ""
    return f"{found.form} cannot load it{damaged}: {one_line(error)}"
