"""Named checks for authors of extractors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.evidence.evidence import Evidence
from modelselect.extraction.extractor import Extractor
from modelselect.testing.backbones import ROWS, read_module, tiny_backbone, tiny_probe
from modelselect.testing.checks import Check, called, lacking, named_check, run_checks


def check_extractor(
    extractor: Extractor, device: str = "cpu", *, expected_failures: Mapping[str, str] | None = None
) -> None:
    """Runs every check of `extractor_checks` and reports all that fail, by name.

    Args:
        extractor: the instance to be registered.
        device: a device that it supports on this machine.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.host import get_host
    >>> check_extractor(get_host().extractor("cpu"))
    """
    run_checks(called("extractor", extractor), extractor_checks(extractor, device), expected_failures)


def extractor_checks(extractor: Extractor, device: str = "cpu") -> list[Check]:
    """For every promise of an extractor, a name and a check; see `check_extractor`."""
    if incomplete := lacking(extractor, Extractor, "name"):
        return incomplete
    checks = (
        _supports_the_device,
        _same_features_as_a_bare_loop,
        _batch_size_does_not_matter,
        _gives_what_is_asked_for,
        _backbone_comes_back_as_it_was,
    )
    return [named_check(check, extractor, device) for check in checks]


_FORWARD = frozenset({"features", "source_probabilities"})
_TOLERANCE = 1e-3
"""Tolerance of features, relative to the largest; devices add in different orders."""


def _extracted(extractor: Extractor, device: str, fields: frozenset[str] = _FORWARD, batch_size: int = 4) -> Evidence:
    return extractor.extract(tiny_backbone(), tiny_probe(), fields, device=device, batch_size=batch_size)


def _supports_the_device(extractor: Extractor, device: str) -> None:
    answer = extractor.supports(tiny_backbone(), device)
    assert answer is True, f"supports(backbone, {device!r}) is {answer!r}; expected True for the device of the checks"


def _same_features_as_a_bare_loop(extractor: Extractor, device: str) -> None:
    backbone, probe, evidence = tiny_backbone(), tiny_probe(), _extracted(extractor, device)
    rows = [read_module(backbone, [probe.item(row)]) for row in range(len(probe))]
    features = np.concatenate([row.features.numpy() for row in rows])
    assert evidence.features is not None, "gives no features"
    assert evidence.features.dtype == np.float32, f"features are {evidence.features.dtype}; expected float32"
    assert evidence.features.shape == features.shape, (
        f"features have shape {evidence.features.shape}; expected {features.shape}"
    )
    _assert_close(evidence.features, features, "features")
    assert np.array_equal(np.asarray(evidence.labels), probe.labels), "labels are not the probe's, in its order"
    logits = np.concatenate([row.logits.double().softmax(1).numpy() for row in rows])
    assert evidence.source_probabilities is not None, "gives no source_probabilities"
    _assert_close(evidence.source_probabilities, logits, "source_probabilities")


def _batch_size_does_not_matter(extractor: Extractor, device: str) -> None:
    one, all_rows = (_extracted(extractor, device, batch_size=size).features for size in (1, 2 * ROWS))
    assert one is not None, "gives no features"
    assert all_rows is not None, "gives no features"
    _assert_close(one, all_rows, "features with another batch size")


def _gives_what_is_asked_for(extractor: Extractor, device: str) -> None:
    evidence = _extracted(extractor, device, frozenset({"features"}))
    assert evidence.features is not None, "gives no features, though they were requested"
    assert evidence.source_probabilities is None, "gives source_probabilities, though they were not requested"


def _backbone_comes_back_as_it_was(extractor: Extractor, device: str) -> None:
    import torch

    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    extractor.extract(backbone, tiny_probe(), _FORWARD, device=device, batch_size=4)
    for name, value in backbone.module.state_dict().items():
        assert value.device.type == "cpu", f"{name} is left on {value.device}"
        assert torch.equal(value, before[name]), f"{name} has changed"
    assert not backbone.module.training, "the module is left in training mode"


def _assert_close(given: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    difference = float(np.abs(given - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    assert difference < _TOLERANCE, f"{what} differ from those of a plain loop by {difference:.1e} of the largest"
