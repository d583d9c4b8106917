"""Audio classification: features against transformers, files that cannot be read, and whole runs from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.host.host import get_host
from modelselect.probe.sounds import decode
from modelselect.testing.tasks import check_task
from modelselect.utils.waveforms import Waveform, resampled
from tests.cli.conftest import run
from tests.plugins.zoos.sound_models import RATE, sound, sound_folder, sounds_of_two_classes, write_sound

pytestmark = pytest.mark.usefixtures("cache")

FAMILIES = ("Wav2Vec2", "AST", "Whisper")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(model: Any, folder: Path, samples: np.ndarray, layer: int | None = None) -> np.ndarray:
    """What transformers itself computes for one sound, pooled over time."""
    import transformers

    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt")
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    name = encoder.main_input_name
    with torch.no_grad():
        output = encoder(**{name: inputs[name]}, output_hidden_states=True)
    if layer is not None:
        return output.hidden_states[layer].mean(1)[0].numpy()  # type: ignore[no-any-return]
    pooled = getattr(output, "pooler_output", None)
    return (output.last_hidden_state.mean(1) if pooled is None else pooled)[0].numpy()  # type: ignore[no-any-return]


def test_the_task_keeps_its_promises() -> None:
    check_task(get_host().task("audio-classification"))


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_those_of_transformers_for_each_sound_alone(here: Path, family: str) -> None:
    model = sound_folder(here / "model", family)
    rows = [sound("tone", 1), sound("noise", 2), sound("tone", 3, seconds=0.2), sound("noise", 4)]
    for number, samples in enumerate(rows * 2):
        write_sound(here / "sounds" / f"{number}.wav", samples)
    paths = sorted(map(str, (here / "sounds").glob("*.wav")))
    probe = ms.Probe.of((paths, [0, 1] * 4))
    assert probe.modality == "audio"
    evidence = ms.features(probe, "dir:model", progress=False)
    at = None if family == "Whisper" else ms.features(probe, "dir:model?layer=2", progress=False)
    assert evidence.features is not None
    for row in range(len(probe)):
        samples = probe.item(row).samples
        np.testing.assert_allclose(
            evidence.features[row], expected(model, here / "model", samples), rtol=1e-3, atol=1e-4
        )
        if at is not None and at.features is not None:
            layer = expected(model, here / "model", samples, layer=2)
            np.testing.assert_allclose(at.features[row], layer, rtol=1e-3, atol=1e-4)


def test_layers_of_sounds_share_a_pass_with_the_same_bits(here: Path) -> None:
    sound_folder(here / "model", "Wav2Vec2")
    data = sounds_of_two_classes(here / "data", 12)
    together = ms.features(data, ["dir:model?layer=*", "dir:model"], cache_dir=here / "a", progress=False)
    assert len(together) == 4
    for key, found in together.items():
        plain = key.removeprefix("layer:").partition("@")[0]
        alone = ms.features(data, plain, cache_dir=here / "b", progress=False)
        assert found.features.tobytes() == alone.features.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_tones_and_noises_are_ranked_fine_tuned_and_predicted_from_the_command_line(
    here: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sound_folder(here / "model", family)
    sounds_of_two_classes(here / "data", 40, rate=22_050)
    code, out, _ = run(
        capsys, "select", "data", "-c", "dir:model", "--task", "audio-classification", "--top-k", "1", "--verify",
        "head", "--save", "winner", "--quiet", "--no-history",
    )  # fmt: skip
    assert code == 0
    assert "verified accuracy" in " ".join(out.split())
    write_sound(here / "new" / "a.wav", sound("tone", 99))
    code, out, _ = run(capsys, "predict", "winner", "new")
    assert code == 0
    assert "a.wav" in out


def test_a_table_and_a_frame_of_paths_are_read(here: Path) -> None:
    import pandas as pd

    sound_folder(here / "model", "Wav2Vec2")
    data = sounds_of_two_classes(here / "data", 16)
    files = sorted(data.rglob("*.wav"))
    frame = pd.DataFrame({"file": [str(file) for file in files], "label": [file.parent.name for file in files]})
    by_folder = ms.Probe.of(data)
    by_frame = ms.Probe.of(frame)
    assert by_frame.modality == "audio"
    assert by_frame.fingerprint == by_folder.fingerprint
    frame.assign(file=[str(file.relative_to(data)) for file in files]).to_csv(data / "table.csv", index=False)
    assert ms.Probe.of(str(data / "table.csv")).modality == "audio"


def test_audio_columns_of_datasets_are_read_without_a_decoder_of_their_own(here: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = sounds_of_two_classes(here / "data", 16)
    files = sorted(data.rglob("*.wav"))
    table = datasets.Dataset.from_dict(
        {"sound": [str(file) for file in files], "label": [file.parent.name for file in files]}
    ).cast_column("sound", datasets.Audio())
    assert ms.Probe.of(table).fingerprint == ms.Probe.of(data).fingerprint


def test_a_sound_is_resampled_to_the_rate_of_the_model() -> None:
    rate, height = 44_100, 440.0
    tone = np.sin(2 * np.pi * height * np.arange(rate) / rate).astype(np.float32)
    made = resampled(Waveform(tone, rate), RATE)
    assert len(made) == RATE
    wanted = np.sin(2 * np.pi * height * np.arange(RATE) / RATE)
    np.testing.assert_allclose(made[500:-500], wanted[500:-500], atol=0.01)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "the WAV file is damaged"),
        (b"RIFF" + bytes(200), "the WAV file is damaged"),
        (b"no sound at all", "it is no WAV file, and other kinds are read by soundfile|damaged or no sound"),
        (None, r"it is 0.001 s long; expected at least 0.025 s"),
        ("cut", "the WAV file is damaged"),
    ],
)
def test_a_file_that_is_no_sound_costs_its_row_and_says_why(here: Path, content: Any, reason: str) -> None:
    data = sounds_of_two_classes(here / "data", 30)
    bad = data / "tone" / "bad.wav"
    if content is None:
        write_sound(bad, np.zeros(16))
    elif content == "cut":
        whole = (data / "tone" / "00.wav").read_bytes()
        bad.write_bytes(whole[:60] if len(whole) > 60 else whole)
    else:
        bad.write_bytes(content)
    probe = ms.Probe.of(data, size=None)
    [(name, why)] = probe.skipped
    assert name == "tone/bad.wav"
    assert "\n" not in why
    assert re.search(reason, why), why


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_wav_files_of_every_width_are_the_same_sound(dtype: str) -> None:
    import io

    from scipy.io import wavfile

    samples = sound("tone", 1)
    scaled = {
        "uint8": samples * 127 + 128,
        "int16": samples * 32767,
        "int32": samples * 2147483000,
        "float32": samples,
    }[dtype]
    content = io.BytesIO()
    wavfile.write(content, RATE, np.stack([scaled, scaled], 1).astype(dtype))
    found = decode(content.getvalue())
    assert found.rate == RATE
    assert found.samples.shape == samples.shape
    np.testing.assert_allclose(found.samples, samples, atol=0.02 if dtype == "uint8" else 1e-4)


def test_rows_that_are_no_sounds_and_models_that_take_none_are_refused(here: Path) -> None:
    texts = (["a", "b"] * 10, [0, 1] * 10)
    with pytest.raises(DatasetError, match=r"the task is audio-classification, and the rows of .* are no sounds"):
        ms.select(texts, "embedded:*", task="audio-classification", progress=False)
    data = sounds_of_two_classes(here / "data", 12)
    sound_folder(here / "model", "Wav2Vec2")
    board = ms.select(data, ["embedded:plain.letters", "dir:model"], estimators="knn", progress=False, history=False)
    failed = [row for row in board.rows if row.failure is not None]
    assert "the candidate takes images, but the probe's rows are" in failed[0].status
    images = (np.zeros((12, 32, 32, 3), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None, None], [0, 1] * 6)
    board = ms.select(images, ["embedded:plain.letters", "dir:model"], estimators="knn", progress=False, history=False)
    failed = [row for row in board.rows if row.failure is not None]
    assert "the candidate takes sounds, but the probe's rows are" in failed[0].status
