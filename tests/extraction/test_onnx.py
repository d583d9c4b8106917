"""ONNX Runtime gives torch's features, or the candidate fails with a reason; other runs do not know of it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.errors import CandidateError
from modelselect.extraction.extractor import choose_extractor
from modelselect.host.host import get_host
from modelselect_plugins.extractors.onnx import OnnxExtractor
from tests.extraction.material import CPU, FIELDS, ROWS, Net, Raising, backbone

ONNX = get_host().extractor("onnx")


@pytest.mark.parametrize("batch_size", [1, 8, None])
def test_features_and_probabilities_are_those_of_torch(probe: ms.Probe, batch_size: int | None) -> None:
    by_torch, by_onnx = (each.extract(backbone(), probe, FIELDS, batch_size=batch_size) for each in (CPU, ONNX))
    for name in FIELDS:
        expected, given = getattr(by_torch, name), getattr(by_onnx, name)
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_every_embedded_network_has_the_features_that_it_has_in_torch(images: np.ndarray, tmp_path: Path) -> None:
    given = [
        ms.features((images, np.arange(ROWS) % 3), ["embedded:*"], extractor=name, cache_dir=tmp_path, progress=False)
        for name in (None, "onnx")
    ]
    assert given[0].keys() == given[1].keys()
    for candidate, evidence in given[0].items():
        expected, found = evidence.features, given[1][candidate].features
        assert expected is not None
        assert found is not None
        assert not np.array_equal(found, expected)  # they are no entries of the store that torch made
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=candidate)


@pytest.mark.parametrize("form", ["pixels", "boxes", "words"])
def test_parts_of_inputs_are_refused_before_a_network_is_exported(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {
        "pixels": ([np.zeros((9, 9, 3), np.uint8)] * 4, [np.arange(81).reshape(9, 9) % 2] * 4),
        "boxes": ([np.zeros((99, 99, 3), np.uint8)] * 4, [([[1, 1, 9, 9]], ["cup"])] * 4),
        "words": ([["a", "b", "c"]] * 4, [["x", "y", "x"]] * 4),
    }[form]
    monkeypatch.setattr(torch.onnx, "export", None)
    with pytest.raises(CandidateError, match="ONNX Runtime runs networks of whole images only"):
        ONNX.extract(backbone(), ms.Probe.of(data), FIELDS)


class Branching(Net):
    """Whose features depend on the batch in a way that an export cannot keep."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * float(x[-1].mean() > x[0].mean()) + float(x[-1].std()))


class Inexpressible(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + torch.linalg.eigvals(x[:, :, :3, :3]).real.mean())


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), "other features as ONNX than in torch. Leave out extractor='onnx'"),
        (Inexpressible(), "cannot be exported to ONNX"),
        (Raising(), "the forward pass raised KeyError: 'nothing here'"),
    ],
)
def test_a_network_that_onnx_cannot_express_fails_with_the_reason(
    module: torch.nn.Module, reason: str, probe: ms.Probe
) -> None:
    with pytest.raises(ms.errors.CandidateError) as raised:
        ONNX.extract(backbone(module), probe, FIELDS)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", [{"precision": "bfloat16"}, {"compile": True}])
def test_what_onnx_runtime_does_not_take_is_said(given: dict[str, Any], probe: ms.Probe) -> None:
    with pytest.raises(ms.errors.CandidateError, match=f"Leave out {next(iter(given))}="):
        ONNX.extract(backbone(), probe, FIELDS, **given)


def test_it_is_chosen_by_its_name_alone() -> None:
    registered = get_host().extractors
    assert choose_extractor(registered, backbone(), "cpu") is registered["cpu"]
    assert choose_extractor(registered, backbone(), "cpu", "onnx") is registered["onnx"]
    with pytest.raises(ms.errors.CandidateError, match="'onnx' does not run this candidate on 'cuda:1'"):
        choose_extractor(registered, backbone(), "cuda:1", "onnx")


def test_a_wrong_name_and_a_missing_library_are_said_before_the_dataset_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ms.errors.UnknownNameError, match="onix"):
        ms.select("no/such/folder", "embedded:*", extractor="onix", history=False)

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ms.errors.InvalidInputError, match="needs onnx, which is not installed"):
        _ = OnnxExtractor().library
