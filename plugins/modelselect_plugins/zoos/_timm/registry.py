"""timm's registry as plain data, kept in the store: to import timm takes seconds, and to search it milliseconds."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from modelselect.errors import ExpressionError
from modelselect_plugins.zoos._support import keep_registry, kept_registry, required, unknown_name


@dataclass(frozen=True)
class Configuration:
    """What timm knows of the weights of a model, or of an architecture.

    Attributes:
        family: the module of timm that defines the architecture.
        input_size: (channels, height, width).
        classes: the number of outputs of its classifier.
        license: None if timm does not know it.
        hub_id: the repository with the weights; None if they are not on the Hub.
        hub_file: the file of weights in it; None for timm's default.
        origin: the address of the original weights, if timm knows it.
        tag: of the default weights of an architecture; empty if they have none.
    """

    family: str
    input_size: tuple[int, ...]
    classes: int
    license: str | None
    hub_id: str | None
    hub_file: str | None
    origin: str | None
    tag: str

    @property
    def url(self) -> str | None:
        return f"https://huggingface.co/{self.hub_id}" if self.hub_id else self.origin


@dataclass(frozen=True)
class Registry:
    """The names that timm knows, in its order.

    Attributes:
        pretrained: `architecture.tag` of all pre-trained weights.
        architectures: all architectures, also those without pre-trained weights.
        renamed: the new name by the old one; None where there is no new one.
        configurations: of all weights and architectures, by name.
    """

    pretrained: tuple[str, ...]
    architectures: tuple[str, ...]
    renamed: Mapping[str, str | None]
    configurations: Mapping[str, Configuration]

    def matching(self, pattern: str) -> list[str]:
        """The names of pre-trained weights that match a glob, which without a tag matches all, as timm does it."""
        architecture, _, tag = pattern.partition(".")
        globs = [pattern] if tag else [pattern, f"{architecture}.*"]
        return [name for name in self.pretrained if any(fnmatch.fnmatch(name, glob) for glob in globs)]

    def full_name(self, name: str) -> str:
        """The name with its tag: that of the default weights for an architecture without a tag.

        Raises:
            ExpressionError: the architecture, tag, or pre-trained weights do not exist; the message says what exists.
        """
        if name in self.configurations and name in set(self.pretrained):
            return name
        tags = [known for known in self.pretrained if known.split(".")[0] == name.split(".")[0]]
        if tags and "." in name:
            raise ExpressionError(f"zoo 'timm' has no {name!r}. Tags of this architecture: {', '.join(tags)}.")
        if tags:
            tag = self.configurations[name].tag
            return f"{name}.{tag}" if tag else name
        if name in self.renamed:
            raise ExpressionError(f"timm has renamed {name!r}: use {self.renamed[name] or 'another model'!r}.")
        if name in self.architectures:
            raise ExpressionError(f"timm has the architecture {name!r}, but no pre-trained weights for it.")
        raise unknown_name("timm", name, {*self.pretrained, *(known.split(".")[0] for known in self.pretrained)})


def registry() -> Registry:
    """The registry of timm; from the store, unless timm is imported and knows other names than those that it brings.

    Raises:
        ExpressionError: timm cannot be imported.
    """
    imported, kept = "timm" in sys.modules, kept_registry("timm", _from_json)
    if kept is not None and not imported:
        return kept
    timm = required("timm")
    names = tuple(timm.list_models(pretrained=True)), tuple(timm.list_models())
    if kept is not None and names == (kept.pretrained, kept.architectures):
        return kept
    found = _of_timm(*names)
    if not imported:  # a program that has imported timm may have added models of its own
        keep_registry("timm", asdict(found))
    return found


def _from_json(document: Mapping[str, Any]) -> Registry:
    return Registry(
        tuple(document["pretrained"]),
        tuple(document["architectures"]),
        document["renamed"],
        {
            name: Configuration(**{**fields, "input_size": tuple(fields["input_size"])})
            for name, fields in document["configurations"].items()
        },
    )


@cache
def _of_timm(pretrained: Sequence[str], architectures: Sequence[str]) -> Registry:
    models = required("timm").models
    found = {}
    for name in (*pretrained, *architectures):
        known = models.get_pretrained_cfg(name)
        found[name] = Configuration(
            family=models.model_entrypoint(name.split(".")[0]).__module__.rsplit(".", 1)[-1],
            input_size=tuple(known.input_size),
            classes=known.num_classes,
            license=None if known.license == "unknown" else known.license,
            hub_id=known.hf_hub_id or None,
            hub_file=known.hf_hub_filename or None,
            origin=known.origin_url or None,
            tag=known.tag or "",
        )
    return Registry(tuple(pretrained), tuple(architectures), dict(models.get_deprecated_models()), found)
