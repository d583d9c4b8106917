"""`VerificationTask`: fine-tunes one candidate, or finds the result in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import VerificationResult
from modelselect.store.store import Store
from modelselect.utils.versions import numeric_versions
from modelselect.verification.fine_tuned import KIND
from modelselect.verification.recipe import FineTuning
from modelselect.verification.verifier import Verified, verify


@dataclass
class VerificationTask:
    """Fine-tunes one candidate, or finds the result in the store. Called by executors.

    Attributes:
        context: the conditions under which candidates are evaluated.
        settings: the recipe.
        identities: the names of candidates in the keys of their stored numbers, as far as they are known.
        method: what is trained; see `modelselect.verification.METHODS`.
        needs_checkpoint: whether a candidate is fine-tuned again if the store has its accuracy, but not its weights.
    """

    context: EvaluationContext
    settings: FineTuning
    identities: Mapping[str, str]
    method: str = "full"
    needs_checkpoint: bool = False

    def __call__(self, candidate: Candidate) -> VerificationResult:
        context, training, holdout = self.context, self.context.probe.training, self.context.probe.holdout
        assert holdout is not None
        store = Store(context.cache_dir)
        loader = Loader(context, candidate)
        parts: dict[str, Any] = {
            "candidate": self.identities.get(candidate.id) or loader.identity,
            "zoo": Keys(loader).zoo_version,
            "training": training.fingerprint,
            "holdout": holdout.fingerprint,
            "settings": asdict(self.settings),
            "method": self.method,
            "seed": context.seed,
            "device": context.compute.kind,
            "versions": numeric_versions(),
        }
        key, checkpoint = store.key("verification", **parts), store.key(KIND, **parts)
        with store.lock(key):
            entry, kept = store.get(key), store.contains(checkpoint)
            if entry is not None and (kept or not self.needs_checkpoint):
                stored = dict(entry.metadata)
                verified = Verified(**stored | {"interval": tuple(stored["interval"])})
                return VerificationResult(verified, checkpoint if kept else None, reused=True)
            verified = verify(
                loader.backbone,
                training,
                holdout,
                self.settings,
                method=self.method,
                seed=context.seed,
                device=context.compute.device,
                spool=context.spool,
                folder=store.scratch(key),
                keep=lambda weights, known: store.put(checkpoint, weights, known, sync=True),
            )
            store.put(key, {}, asdict(verified), sync=True)
            store.clear_scratch(key)
        return VerificationResult(verified, checkpoint, reused=False)
