"""Twelve tiny networks in the package itself, so that everything can be tried and tested offline.

They were really pre-trained, by `python -m modelselect_plugins.zoos.embedded.train`, on generated images and on
scikit-learn's digits 0 to 4; one keeps its random initialisation, and two were stopped early. `zoo.json` lists them,
`cards/` describes them, and `demo.py` holds the task that they are ranked on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.candidates.zoo import Zoo
from modelselect.demo import Demo
from modelselect.errors import CandidateError, ExpressionError, did_you_mean
from modelselect.host.hookspecs import hookimpl
from modelselect_plugins.zoos._support import first_missing, without_values
from modelselect_plugins.zoos.embedded import demo
from modelselect_plugins.zoos.embedded.sources import TASKS

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).parent
SOURCE_ROWS = 300
"""Rows of the pre-training data that a backbone includes, for methods that need source features."""

PREPROCESSING = ImagePreprocessing(size=(32, 32), resize=(32, 32), mean=(0.5,), std=(0.5,), channels=1)
_REVISION_DIGITS = 12


class EmbeddedZoo(Zoo):
    """`embedded:<architecture>.<source>`: small, offline, and the same on every machine.

    >>> [candidate.name for candidate in EmbeddedZoo().search("resnet.*")]
    ['resnet.letters', 'resnet.textures']
    """

    name = "embedded"
    downloads = False

    def search(self, pattern: str) -> Iterator[Candidate]:
        """Candidates whose name, or name@revision, matches a glob, in alphabetical order."""
        if pattern.startswith("?"):
            raise ExpressionError(
                f"the embedded zoo takes no query, but got {pattern!r}. Give a name or a glob: 'embedded:*', "
                "'embedded:resnet.*', 'embedded:*.letters'."
            )
        for name, entry in _index().items():
            candidate = Candidate(self.name, name, entry["sha256"][:_REVISION_DIGITS], _metadata(entry))
            if fnmatchcase(name, pattern) or fnmatchcase(f"{name}@{candidate.revision}", pattern):
                yield candidate

    def plain_names(self) -> Mapping[str, str]:
        return {name: name for name in _index()}

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        from safetensors import SafetensorError
        from safetensors.torch import load

        entry = _entry(candidate)
        path = HERE / "weights" / f"{candidate.name}.safetensors"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CandidateError(f"{path.name} cannot be read ({error}). Install modelselect-automl again.") from None
        found = hashlib.sha256(content).hexdigest()
        if found != entry["sha256"]:
            raise CandidateError(
                f"{path.name} is damaged: its sha256 is {found[:16]}..., expected {entry['sha256'][:16]}.... "
                "Install modelselect-automl again."
            )
        module = _build(entry)
        try:
            module.load_state_dict(load(content))
        except (SafetensorError, RuntimeError) as error:
            raise CandidateError(f"{path.name} does not fit its network: {error}") from error
        return Backbone(
            candidate,
            module.eval(),
            PREPROCESSING,
            HeadInput("head", has_logits=entry["source_classes"] > 0),
            weights_digest(module, _code()),
            source=None if entry["source_task"] is None else partial(_source_sample, entry["source_task"]),
        )

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        return _skeleton(_entry(candidate))

    def availability(self) -> str | None:
        return first_missing("torch")

    def demo(self) -> Demo:
        """The data of `modelselect demo`: a task that no candidate was trained on, and the true accuracies on it."""

        def accuracies(table: Mapping[str, Any]) -> dict[str, float]:
            return {name: row["mean"] for name, row in table["candidates"].items()}

        return Demo(
            description=demo.DESCRIPTION,
            dataset=demo.demo_dataset(),
            truth=accuracies(demo.truth()),
            measure=lambda progress: accuracies(demo.measure_truth(self, progress=progress)),
            fine_tuning=demo.FINE_TUNING,
            remember=demo.remember_other_datasets,
        )


@hookimpl
def modelselect_register_zoos() -> Sequence[Zoo]:
    return [EmbeddedZoo()]


@cache
def _index() -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = json.loads((HERE / "zoo.json").read_text(encoding="utf-8"))
    return dict(sorted(entries.items()))


def _entry(candidate: Candidate) -> dict[str, Any]:
    entry = _index().get(candidate.name)
    if entry is None:
        raise CandidateError(
            f"the embedded zoo has no {candidate.name!r}.{did_you_mean(candidate.name, _index())} "
            "`modelselect search 'embedded:*'` lists them."
        )
    revision = entry["sha256"][:_REVISION_DIGITS]
    if candidate.revision not in (None, revision):
        raise CandidateError(
            f"revision {candidate.revision!r} of {candidate.name!r} is not in this version of the package, which has "
            f"{revision!r}. Leave out the revision, or install the version of the package that had it."
        )
    return entry


def _metadata(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _build(entry: dict[str, Any]) -> torch.nn.Module:
    from modelselect_plugins.zoos.embedded.networks import build  # which imports torch

    return build(entry["architecture"], entry["source_classes"])


def _skeleton(entry: dict[str, Any]) -> torch.nn.Module:
    with without_values():
        return _build(entry).eval()


def _source_sample(task: str) -> tuple[list[Any], Any]:
    """Images and labels of the training part of a source task."""
    from PIL import Image

    pixels, labels = _drawn(task)
    return [Image.fromarray(image) for image in pixels], labels


@cache
def _drawn(task: str) -> tuple[Any, Any]:
    """Pixels and labels that networks of one task share: 0.3 MB each."""
    pixels, labels = TASKS[task].sample("train", SOURCE_ROWS)
    pixels.setflags(write=False)
    labels.setflags(write=False)
    return pixels, labels


@cache
def _code() -> str:
    return (HERE / "networks.py").read_text(encoding="utf-8")
