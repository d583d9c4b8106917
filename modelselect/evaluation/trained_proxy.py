"""A proxy that is fine-tuned on the dataset before it describes it: the reference of `rsa` and `dds`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.zoo import Zoo
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.fine_tuning import parts_of_training, reporting
from modelselect.evaluation.loading import Loader
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.recipe import FineTuning
from modelselect.verification.verifier import verify

KIND = "trained_proxy"
"""Kind of the store's entries with the weights of a fine-tuned proxy."""


class TrainedProxy(Zoo):
    """The one candidate that a proxy becomes when it is fine-tuned.

    Args:
        proxy: the candidate that was fine-tuned.
        zoo: of the proxy.
        key: of its weights in the store.
        cache_dir: the store's folder.
    """

    name = "trained"
    downloads = False

    def __init__(self, proxy: Candidate, zoo: Zoo, key: str, cache_dir: Path) -> None:
        self._proxy = proxy
        self._zoo = zoo
        self._key = key
        self._cache_dir = cache_dir

    @property
    def candidate(self) -> Candidate:
        """The fine-tuned proxy; its revision stands for its weights."""
        return replace(self._proxy, zoo=self.name, revision=self._key.rpartition("-")[2][:16])

    def search(self, pattern: str) -> Iterable[Candidate]:
        return [self.candidate]

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        backbone = self._zoo.load(self._proxy, trust_remote_code=trust_remote_code)
        return FineTuned.of(self._key, [self._cache_dir]).on(backbone, self._key)


def trained(context: EvaluationContext, proxy: Candidate, recipe: FineTuning) -> TrainedProxy:
    """Fine-tunes all weights of a proxy on the training rows of the dataset, or finds its weights in the store.

    Held-out rows take no part. A killed training continues where it stopped.

    Raises:
        DatasetError: the dataset has fewer than two classes.
        CandidateError: the proxy cannot be loaded, or not be trained.
    """
    store, loader, training = context.store, Loader(context, proxy), context.probe.training
    key = store.key(KIND, **parts_of_training(loader, recipe))
    with store.lock(key):
        if store.get(key) is None:
            verify(
                loader.backbone,
                training,
                context.probe,  # measured because it has to be; nobody reads it
                recipe,
                seed=context.seed,
                device=context.compute.device,
                spool=context.spool,
                folder=store.scratch(key),
                keep=lambda weights, known: store.put(key, weights, known, sync=True),
                progress=reporting(context, proxy),
                task=context.task,
            )
            store.clear_scratch(key)
    return TrainedProxy(proxy, loader.zoo, key, context.cache_dir)
