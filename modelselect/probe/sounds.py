"""Sound files: which files count as sounds, and how one becomes a waveform."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.probe.images import UnreadableError
from modelselect.utils.waveforms import Waveform

WAV = frozenset({".wav", ".wave"})
SUFFIXES = WAV | {".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif"}
"""Suffixes of files that count as sounds. All but WAV are read by soundfile, where it is installed."""

SHORTEST = 0.025
"""Seconds, the usual length of the window of a spectrogram: a shorter sound fills none."""

MOST_SECONDS = 3600.0
"""A longer file is refused: it would take more than a gigabyte of memory."""


def has_sound_suffix(path: str) -> bool:
    """True if the path of a file ends with one of `SUFFIXES`, in any case.

    >>> has_sound_suffix("dogs/1.WAV"), has_sound_suffix("dogs/.wav"), has_sound_suffix("dogs/1.txt")
    (True, False, False)
    """
    stem, _, suffix = path.rpartition(".")
    return f".{suffix.lower()}" in SUFFIXES and not stem.endswith(("/", os.sep)) and stem != ""


def are_sounds(values: Iterable[Any]) -> bool:
    """True if there are paths or contents of files among some values, and all of them are of sound files."""
    files = [value for value in values if isinstance(value, str | bytes | bytearray) and value]
    return bool(files) and all(
        has_sound_suffix(file) if isinstance(file, str) else file[:4] == b"RIFF" and file[8:12] == b"WAVE"
        for file in files
    )


def decode(content: bytes) -> Waveform:
    """The waveform in a file; several channels are averaged.

    Raises:
        UnreadableError: the file is empty, damaged, too short or too long, or of a kind that is not read here.
    """
    if not content:
        raise UnreadableError("the file is empty")
    samples, rate = _of_wav(content) if content[:4] in (b"RIFF", b"RIFX", b"RF64") else _of_other(content)
    if samples.ndim == 2:
        samples = samples.mean(axis=1, dtype=np.float32)
    if rate <= 0:
        raise UnreadableError(f"the file says that it has {rate} samples per second")
    seconds = len(samples) / rate
    if seconds < SHORTEST:
        raise UnreadableError(f"it is {seconds:.3g} s long; expected at least {SHORTEST} s")
    if seconds > MOST_SECONDS:
        raise UnreadableError(f"it is {seconds:,.0f} s long; expected at most {MOST_SECONDS:,.0f} s")
    if not np.isfinite(samples).all():
        raise UnreadableError("it holds NaN or infinity")
    return Waveform(samples, int(rate))


def _of_wav(content: bytes) -> tuple[NDArray[np.float32], int]:
    """(T,) or (T, C) samples of a WAV file, and their rate."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
            rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # a damaged header makes it raise anything
        raise UnreadableError(f"the WAV file is damaged ({' '.join(str(error).split())[:100]})") from error
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / np.float32(128), rate
    if samples.dtype.kind == "i":
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32), rate
    return samples.astype(np.float32), rate


def _of_other(content: bytes) -> tuple[NDArray[np.float32], int]:
    """(T, C) samples of a file of another kind, by soundfile."""
    try:
        import soundfile  # type: ignore[import-not-found]
    except ImportError:
        raise UnreadableError(
            "it is no WAV file, and other kinds are read by soundfile (pip install soundfile)"
        ) from None
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except Exception as error:
        raise UnreadableError(f"the file is damaged or no sound ({' '.join(str(error).split())[:100]})") from error
    return samples, rate
