"""The benchmark for a GPU says why it does nothing without one, and every part of it runs on a processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu


def test_without_a_device_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--output", str(tmp_path / "gpu.json")])
    assert "no CUDA device" in capsys.readouterr().out
    assert "no CUDA device" in json.loads((tmp_path / "gpu.json").read_text())["skipped"]


def test_a_part_after_the_minutes_is_skipped(tmp_path: Path) -> None:
    gpu.main(["decoding", "--device", "cpu", "--tiny", "--minutes", "-1", "--output", str(tmp_path / "gpu.json")])
    assert "minutes are over" in json.loads((tmp_path / "gpu.json").read_text())["decoding"]["skipped"]


def test_every_part_runs_on_a_processor(tmp_path: Path) -> None:
    gpu.main(["--device", "cpu", "--tiny", "--output", str(tmp_path / "gpu.json")])
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["tests"]["skipped"] == "no CUDA device"
    assert not [part for part in gpu.PARTS if "failed" in report[part]]
    assert report["extraction"]["test_resnet float32"]["ratio"] > 0.05
    assert report["decoding"]["rows a second, decoded"] > 0
    assert all(report["estimators"][name]["apart"] < 1e-9 for name in gpu.TINY.estimators)
    assert report["training"]["bare"] > 0
