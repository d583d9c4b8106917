"""`Row`: a ranked candidate that can be loaded, saved and published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import CandidateError
from modelselect.host.host import get_host
from modelselect.leaderboard import model_card
from modelselect.ranking.row import RankedCandidate
from modelselect.verification import export
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.model import Model
from modelselect.verification.prediction import Predictions


class Row(RankedCandidate):
    """One candidate on the leaderboard. `RankedCandidate` lists its attributes."""

    @classmethod
    def of(cls, candidate: RankedCandidate) -> Self:
        """The same candidate with the methods of a row."""
        return cls(**{name: getattr(candidate, name) for name in candidate.__dataclass_fields__})

    def load(
        self,
        *,
        fine_tuned: bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> Model:
        """Loads the candidate, ready to use: fine-tuned if its fine-tuned weights were kept, else pre-trained.

        A fine-tuned model predicts: `model.predict("photo.jpg")`. Its module gives (N, classes) logits of
        `class_names`, for a batch that its preprocessing made.

        Args:
            fine_tuned: False loads the pre-trained weights in any case; True raises if there are no fine-tuned ones.
            cache_dir: the store that holds the fine-tuned weights; by default the store of the run, then the user's
                default store.
            trust_remote_code: whether the candidate may run code that it brings.

        Raises:
            CandidateError: the candidate cannot be loaded; its weights have changed since it was ranked; its
                fine-tuned weights are missing; or it is a bare module, which only the caller has.
        """
        if self.candidate.zoo == OWN_MODULES:
            raise CandidateError(
                f"{self.candidate} is a bare module that was given to select(), and no zoo can load the caller's own "
                "modules. Use the module itself; if it was fine-tuned, save() writes its weights."
            )
        tuned = None
        if fine_tuned or (fine_tuned is None and self.fine_tuned is not None):
            tuned = self._tuned(cache_dir)
        backbone = get_host().zoo(self.candidate.zoo).load(self.candidate, trust_remote_code=trust_remote_code)
        if self.weights_key is not None and backbone.weights_key != self.weights_key:
            raise CandidateError(
                f"the weights of {self.candidate} have changed since it was ranked, so its scores belong to other "
                "weights. Rank it again with select()."
            )
        if tuned is None:
            return Model.of(backbone, None)
        return Model.of(tuned.on(backbone, str(self.fine_tuned)), tuned.signature_for(self.candidate))

    def predict(
        self,
        inputs: Any,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_pixels: int | None = None,
        masks: str | os.PathLike[str] | bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> Predictions:
        """Predicts with the fine-tuned candidate: the most probable class of each input, with its probability.

        The weights are read for each call. `model = board.best.load()` reads them once for many calls of
        `model.predict()`.

        Args:
            inputs: for images: the path of a file, a folder, which stands for the images in it, a PIL image, a uint8
                array (H, W, 3) or (N, H, W, 3), or a list of any of these. For texts: a text, a pair of texts as a
                tuple, or a list of these.
            device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
            batch_size: inputs in a forward pass. It is halved when memory runs out.
            max_pixels: images with more pixels are not read; None for twice PIL's `MAX_IMAGE_PIXELS`.
            masks: see `Model.predict`.
            cache_dir: see `load`.
            trust_remote_code: see `load`.

        Returns:
            A prediction for each input. An input that cannot be read has the reason in place of a class.

        Raises:
            CandidateError: the candidate was not fine-tuned, its fine-tuned weights are missing, or it cannot be
                loaded.
            InvalidInputError: the inputs are not of the kind that the model takes, or the device cannot be used.
        """
        model = self.load(fine_tuned=True, cache_dir=cache_dir, trust_remote_code=trust_remote_code)
        return model.predict(inputs, device=device, batch_size=batch_size, max_pixels=max_pixels, masks=masks)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Writes the fine-tuned candidate into a folder: weights as safetensors, class names and preprocessing.

        `timm.create_model("local-dir:PATH", pretrained=True)` loads a folder of a timm model, and
        `AutoModelForImageClassification` or `AutoModelForSequenceClassification` loads one of a transformers model.
        Both are also candidates, `dir:PATH`. Any other model becomes a folder that only `dir:PATH` loads, and only
        where the original candidate is available. For a bare module of the caller, only the weights are written.

        Args:
            path: a new folder, an empty one, or one in which this very model was saved, which stays as it is.
            cache_dir: see `load`.
            trust_remote_code: see `load`.

        Raises:
            CandidateError: the candidate was not fine-tuned, its fine-tuned weights are missing, or it cannot be
                loaded.
            InvalidInputError: `path` already holds something else, or cannot be written.
        """
        export.write(self._tuned(cache_dir), self.candidate, Path(path), trust_remote_code=trust_remote_code)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> str:
        """Uploads what `save` writes, with a model card, as a model repository.

        Args:
            repository: `owner/name`, or `name` for the token's owner; it is created if it does not exist.
            private: whether a new repository is private; None for the owner's default.
            token: None for the token that `hf auth login` stores, or that of the environment.
            cache_dir: see `load`.
            trust_remote_code: see `load`.

        Returns:
            The address of the commit's page.

        Raises:
            CandidateError: as `save`.
            InvalidInputError: `repository` is not the name of a repository.
            HubError: the Hub refuses, or cannot be reached.
        """
        return model_card.publish(
            self._tuned(cache_dir),
            self,
            repository,
            private=private,
            token=token,
            trust_remote_code=trust_remote_code,
        )

    def _tuned(self, cache_dir: str | os.PathLike[str] | None) -> FineTuned:
        if self.fine_tuned is None:
            why = (
                "it was not fine-tuned"
                if self.verified_accuracy is None
                else "only the best candidate's weights are kept"
            )
            raise CandidateError(
                f"{self.candidate} has no fine-tuned weights: {why}. Fine-tune with select(..., top_k=1) (--top-k 1), "
                "or load the pre-trained weights with load(fine_tuned=False)."
            )
        return FineTuned.of(self.fine_tuned, [cache_dir] if cache_dir else [self.fine_tuned_in, None])
