"""Sound models of transformers: the feature extractor as preprocessing, features pooled over time.

Waveform models, such as wav2vec 2.0, see each sound in its own length, so the padding of a batch changes no feature.
Spectrogram models, such as AST and Whisper's encoder, see the fixed length that their feature extractor makes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Outputs
from modelselect.candidates.preprocessing import SoundPreprocessing
from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import one_line, read_json, required
from modelselect_plugins.zoos._transformers.reading import missing_in, settings_of_folder

if TYPE_CHECKING:
    import torch

PROCESSOR = "preprocessor_config.json"

MOST_SECONDS = 10.0
"""Of a waveform, the first seconds that are read: attention grows with the square of the length."""

_INPUTS = ("input_values", "input_features")


def is_sound(path: Path, configuration: Mapping[str, Any]) -> bool:
    """True for a model of sounds, judged by the file that describes its feature extractor."""
    declared = read_json(path / PROCESSOR) or read_json(path / "processor_config.json").get("feature_extractor") or {}
    return isinstance(declared, dict) and isinstance(declared.get("sampling_rate"), int)


def metadata(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata from `config.json`, without transformers."""
    architecture = next(iter(configuration.get("architectures") or []), None)
    width = configuration.get("hidden_size", configuration.get("d_model"))
    return {
        "architecture": architecture,
        "family": configuration["model_type"],
        "modality": "audio",
        "feature_dim": width if isinstance(width, int) else None,
        "source_classes": 0,
        "remote_code": "auto_map" in configuration,
    }


def load(path: Path, configuration: Any, *, safetensors: bool) -> tuple[Any, SoundPreprocessing, Pooled]:
    """The encoder, its feature extractor, and how features are read.

    Raises:
        CandidateError: weights of the encoder are missing, or it cannot be read as an encoder of sounds.
    """
    import torch

    transformers = required("transformers")
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise CandidateError(f"the feature extractor cannot be loaded ({one_line(error)})") from error
    module, report = transformers.AutoModel.from_pretrained(
        path, config=configuration, **settings_of_folder(safetensors=safetensors)
    )
    encoder = module.get_encoder() if configuration.is_encoder_decoder else module
    needed = {name for name, _ in encoder.named_parameters()}
    missing = [
        key
        for key in missing_in(report)
        if key.removeprefix("encoder.") in needed and not key.endswith("masked_spec_embed")
    ]
    if missing:
        raise CandidateError(
            f"the weights lack {len(missing)} tensors of {type(encoder).__name__}, such as {', '.join(missing[:3])}, "
            "so features would come from random layers"
        )
    prepared = preprocessing(extractor)
    read = Pooled(encoder.main_input_name)
    encoder = encoder.float().eval()
    try:
        with torch.no_grad():
            read(encoder, prepared.finish(torch.stack([prepared.prepare(each) for each in prepared.examples()])))
    except Exception as error:
        raise CandidateError(f"the model cannot be read as a sound model with features ({one_line(error)})") from error
    return encoder, prepared, read


def preprocessing(extractor: Any) -> SoundPreprocessing:
    """The preprocessing of a feature extractor."""
    rate = int(extractor.sampling_rate)

    def extract(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        made = extractor(samples, sampling_rate=rate, return_tensors="np")
        name = next(name for name in _INPUTS if name in made)
        return np.asarray(made[name][0], np.float32)

    described = json.dumps(extractor.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(f"{type(extractor).__qualname__}:{MOST_SECONDS}:{described}".encode()).hexdigest()
    return SoundPreprocessing(extract, rate, int(rate * MOST_SECONDS), f"sound:{digest}")


@dataclass(frozen=True)
class Pooled:
    """Features: the mean over time of what the encoder gives, or its pooled output where it is a spectrogram's.

    Attributes:
        argument: the name of the encoder's input.
    """

    argument: str = "input_values"

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        return self.at(module, (), batch)[-1]

    def at(self, module: Any, layers: Sequence[str], batch: torch.Tensor) -> list[Outputs]:
        """The mean over time at each of these layers, and the features at the end, in one forward pass."""
        import torch

        groups = list(_of_one_length(batch))
        places = torch.cat([rows for rows, _ in groups]).argsort()
        parts = [self._one_length(module, layers, part) for _, part in groups]
        return [Outputs(torch.cat(each)[places], None) for each in zip(*parts, strict=True)]

    def _one_length(self, module: Any, layers: Sequence[str], batch: torch.Tensor) -> list[torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}

        def keep(layer: str) -> Any:
            def kept(_: Any, __: Any, output: Any) -> None:
                hidden = output if hasattr(output, "dim") else next(iter(output))
                seen[layer] = hidden.mean(1)

            return module.get_submodule(layer).register_forward_hook(kept)

        handles = [keep(layer) for layer in layers]
        try:
            output = module(**{self.argument: batch})
        finally:
            for handle in handles:
                handle.remove()
        pooled = getattr(output, "pooler_output", None)
        return [*(seen[layer] for layer in layers), output.last_hidden_state.mean(1) if pooled is None else pooled]


def _of_one_length(batch: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of each length, and their samples without the NaN after their end; spectrograms as they are."""
    import torch

    if batch.dim() != 2:
        yield torch.arange(len(batch), device=batch.device), batch
        return
    lengths = (~batch.isnan()).sum(1)
    for length in torch.unique(lengths).tolist():
        rows = (lengths == length).nonzero()[:, 0]
        yield rows, batch[rows, :length]
