"""A device and a precision are chosen and checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError, InvalidInputError, PluginError
from modelselect.extraction import devices
from modelselect.extraction.devices import check_precision, choose_device
from modelselect.extraction.extractor import Extractor, choose_extractor
from modelselect.host.host import get_host
from tests.extraction.material import backbone


@pytest.mark.parametrize(("precision", "words"), [("float16", "only be emulated"), ("int8", "expected one of")])
def test_a_precision_that_the_processor_has_not_is_refused(precision: str, words: str) -> None:
    check_precision("float32", "cpu")
    with pytest.raises(InvalidInputError, match=words):
        check_precision(precision, "cpu")


def test_bfloat16_is_for_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for instructions in ({"avx512_bf16": True}, {"bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=instructions: found, raising=False)
        check_precision("bfloat16", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    with pytest.raises(InvalidInputError, match="emulated"):
        check_precision("bfloat16", "cpu")


def test_the_device_is_chosen_and_checked() -> None:
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(InvalidInputError, match="abacus"):
        choose_device("abacus")
    assert choose_device("abacus:1", ["cpu", "abacus"]) == "abacus:1"
    if not torch.cuda.is_available():
        with pytest.raises(InvalidInputError, match="cuda"):
            choose_device("cuda", ["cpu", "cuda"])
    extractors: dict[str, Extractor] = get_host().extractors
    assert choose_extractor(extractors, backbone(), "cpu").name == "cpu"
    assert choose_extractor(extractors, backbone(), "cuda:1").name == "cuda"
    with pytest.raises(CandidateError, match="no extractor"):
        choose_extractor(extractors, backbone(), "xpu")


class Unsure(Extractor):
    name = "unsure"

    def supports(self, backbone: Backbone, device: str) -> bool:
        raise OSError("no driver")

    def extract(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def test_an_extractor_that_cannot_say_what_it_supports_leaves_it_to_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    extractors: dict[str, Extractor] = {"unsure": Unsure(), **get_host().extractors}
    assert choose_extractor(extractors, backbone(), "cpu").name == "cpu"
    assert "the extractor 'unsure' failed: OSError: no driver; the next extractor is asked" in caplog.text
    with pytest.raises(PluginError, match="the extractor 'unsure' failed: OSError: no driver"):
        choose_extractor(extractors, backbone(), "cpu", "unsure")


def test_torch_is_asked_for_a_gpu_only_where_there_may_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"  # torch is imported already, so asking costs nothing
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "GPU_FILES", (str(tmp_path / "nvidia*"),))
    assert choose_device("auto") == "cpu"
    (tmp_path / "nvidia0").touch()
    assert devices._may_have_gpu()
    monkeypatch.setattr(sys, "platform", "darwin")
    (tmp_path / "nvidia0").unlink()
    assert devices._may_have_gpu()
