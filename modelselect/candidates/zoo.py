"""`Zoo`: lists, loads and exports candidates."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.text_classifier import TextClassifier

if TYPE_CHECKING:
    from pathlib import Path

    import torch

OWN_MODULES = "module"
"""The zoo of the caller's own torch modules. Its candidates' names mean nothing in another run."""


BYTES_PER_PARAMETER = 4
"""Weights are float32 once loaded, and mostly in files, too."""


class Zoo(abc.ABC):
    """A source of candidates. Subclass it, and register an instance with `modelselect_register_zoos`.

    Attributes:
        name: the part before the colon of its candidates' ids; unique among zoos.
        aliases: other prefixes for the same zoo (`dir` for `directory`).
        downloads: False if its candidates are already on this machine.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    downloads: ClassVar[bool] = True

    @abc.abstractmethod
    def search(self, pattern: str) -> Iterable[Candidate]:
        """Candidates that match `pattern`, in a stable order. Must be cheap: metadata only, no weights.

        Args:
            pattern: the part after the colon of an expression: a name, a glob, or `?key=value&...`.

        Raises:
            ExpressionError: the pattern is not valid. (No match is an empty result, not an error.)
        """

    def architectures(self, pattern: str) -> Iterable[Candidate]:
        """One candidate for each architecture that matches `pattern`, in a stable order; for uses without weights.

        By default the same as `search`. These candidates need not be loadable, but `skeleton` must accept them.
        """
        return self.search(pattern)

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        """The candidate as it reads rows of a modality, `image` or `text`. By default the candidate itself.

        Only for models that read both, such as CLIP: they are found as image models, and this gives their text tower.
        """
        return candidate

    def for_task(self, pattern: str, task: str, modality: str) -> str:
        """The pattern, narrowed to candidates that are for a task and a modality. By default the pattern itself.

        Only for queries that leave the task open, in zoos that know what their candidates are for.
        """
        return pattern

    def in_detail(self, candidate: Candidate) -> Candidate:
        """The candidate with all metadata that files on this machine give. By default the candidate itself.

        Only for zoos whose `search` gives less, such as a listing of the Hub. Called after `skeleton`. Must be cheap,
        and ask no network.
        """
        return candidate

    def plain_names(self) -> Mapping[str, str]:
        """By plain name, such as `resnet50`, the pattern that it means here; users then need not name the zoo.

        Only names that the zoo knows without a network. By default there are none.
        """
        return {}

    def is_here(self, candidate: Candidate) -> bool:
        """Whether the candidate can be loaded without a download. By default this is so unless the zoo `downloads`.

        Must be cheap, and ask no network. The candidate may lack its revision and its metadata.
        """
        return not self.downloads

    def behind(self, candidate: Candidate) -> Zoo:
        """The zoo whose code loads the candidate. By default this one.

        A zoo that passes its candidates on to others, as `layer` does, names the other: the version of the other's
        plugin is part of the keys of all stored numbers. Must be cheap, and ask no network.
        """
        return self

    def choices(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Sequence[Candidate]:
        """The candidates that this one stands for; `select()` takes the one that suits the dataset best.

        By default there are none, and the candidate stands for itself. It should need no weights where possible.
        """
        return ()

    def is_reachable(self) -> bool:
        """Whether the zoo can download now. Asked once before candidates are chosen; answers within seconds."""
        return True

    @abc.abstractmethod
    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        """The candidate with its weights, in evaluation mode, float32, on the CPU.

        Raises:
            CandidateError: the candidate cannot be loaded; the message becomes the row's status.
            RemoteCodeError: the candidate brings code of its own and `trust_remote_code` is false.
        """

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Any:
        """The candidate's module on the meta device, without weights, or None if the zoo cannot build one cheaply.

        A new one each time, which the caller may change.
        """
        return None

    def skeleton_key(self, candidate: Candidate, *, trust_remote_code: bool = False) -> str | None:
        """A text on which the skeleton depends, and nothing else of the candidate; None if there is no such text.

        Only for zoos in which many candidates have the same architecture, such as fine-tuned copies on the Hub: of
        those with the same text, one is built and traced. By default None.
        """
        return None

    def text_classifier(self, candidate: Candidate, texts: Sequence[Sequence[str]]) -> TextClassifier | None:
        """A classifier of the candidate's features whose classes are texts; None if it does not compare the two.

        Args:
            candidate: a model of images and texts, such as CLIP; its features are those of `load`.
            texts: for each class, the texts that stand for it.
        """
        return None

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        """Writes a fine-tuned candidate into a folder in a form that the zoo's own library can load.

        By default nothing is written; only the `directory` zoo can then load the folder.

        Args:
            backbone: of a candidate of this zoo, with fine-tuned weights in its module; it may be taken apart.
            head: from (N, D) features, as `backbone.read` gives them, to (N, classes) logits.
            class_names: of the logits, in order.
            folder: exists, and is empty.

        Returns:
            True if the candidate was written, with weights as safetensors, preprocessing and class names, and gives
            the same logits. False if the library has no suitable form; the folder is then still empty.
        """
        return False

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        """Writes a candidate into a folder from which `dir:` loads it without this zoo, for what `export` cannot write.

        By default nothing is written; the original candidate is then needed to use what was fine-tuned from it.

        Args:
            backbone: of a candidate of this zoo, with fine-tuned weights in its module.
            folder: exists, and is empty.

        Returns:
            The settings to load it with, such as `?pooling=mean`, or an empty text; None if nothing was written.
        """
        return None

    def availability(self) -> str | None:
        """None if the zoo can be used here, else one line: what is missing, and the command that installs it."""
        return None
