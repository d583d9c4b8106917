"""Tiny sound models with random weights, as `save_pretrained` writes them, and sound files."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
RATE = 16_000


def sound_folder(folder: Path, family: str) -> Any:
    """A model of the family `Wav2Vec2`, `AST` or `Whisper` with its feature extractor."""
    import transformers

    torch.manual_seed(0)
    if family == "Wav2Vec2":
        layers = {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "vocab_size": 8}
        positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
        configuration = transformers.Wav2Vec2Config(**_SIZES, **layers, **positions)
        extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE)
    elif family == "AST":
        configuration = transformers.ASTConfig(**_SIZES, max_length=64, num_mel_bins=16)
        extractor = transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=16)
    else:
        layers = {"encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        widths = {"d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_mel_bins": 16, "vocab_size": 60}
        tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        configuration = transformers.WhisperConfig(**layers, **widths, max_source_positions=50, **tokens)
        extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    model = getattr(transformers, f"{family}Model")(configuration).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model


def write_sound(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """A WAV file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def sound(kind: str, seed: int, rate: int = RATE, seconds: float = 0.3) -> np.ndarray:
    """A tone, or noise, of a height or loudness that the seed decides."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds)) / rate
    if kind == "tone":
        return 0.5 * np.sin(2 * np.pi * rng.uniform(300, 900) * time)
    return rng.uniform(0.1, 0.3) * rng.uniform(-1, 1, len(time))


def sounds_of_two_classes(folder: Path, rows: int = 30, rate: int = RATE) -> Path:
    """Class folders of tones and noises."""
    for kind in ("noise", "tone"):
        for row in range(rows // 2):
            write_sound(folder / kind / f"{row:02}.wav", sound(kind, row, rate), rate)
    return folder
