"""Small stand-ins for what published experiments need, so that every protocol runs offline.

With the lab (a folder of real networks and images, in `MODELSELECT_SHARED`), its datasets and networks stand in;
without it, embedded networks and drawn images. The figures check that a protocol runs. They say nothing about a method.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelselect.demo import DemoZoo
from modelselect.errors import InvalidInputError
from modelselect.host.defaults import DEMO_ZOO, EMBEDDED_PROXY
from modelselect.host.host import get_host
from modelselect.protocols.protocol import Method, Protocol, Training
from modelselect.utils.paths import expanded
from modelselect.verification.recipe import FineTuning

SHARED = "MODELSELECT_SHARED"
ROWS = 48
"""Rows of a probe."""

_LAB_DATASETS = ("cifar10jpeg", "mnist10", "trashnet6")
_LAB_SOURCE = "signdigits10"
_LAB_WITH_CODE = ("resnet8_cifar10", "simpnet_slim_svhn", "nascnn_ai85_cifar10", "doodlenet_quickdraw")
_LAB_PLAIN = ("mobilenetv2_100_224_in1k", "mobilenetv2_100_224_inat_bird", "mobilenetv1_100_224_in1k")
_EVERY = 3
"""Every third candidate of the demo's zoo is taken: four, of different families."""

_SETTINGS = 3
"""Settings of one estimator that are run."""

_PARTS = 3
"""Datasets that the demo's rows are made into."""

_TRAINING = Training((EMBEDDED_PROXY,), epochs=2, batch_size=16, learning_rate=0.05, rows=ROWS)


@dataclass(frozen=True)
class StandIn:
    """What stands in.

    Attributes:
        protocol: the protocol with the candidates and the size of the stand-in.
        datasets: by name, what `benchmark()` takes.
        truth: accuracies by dataset and candidate; None if they are measured in the run.
        verify: how accuracies are measured, if there is no truth.
        fine_tuning: the recipe of that.
        source: stands in for the dataset of pre-training.
        note: what stands in for what.
    """

    protocol: Protocol
    datasets: Mapping[str, Any]
    truth: Mapping[str, Mapping[str, float]] | None
    verify: str | None
    fine_tuning: FineTuning
    source: Any
    note: str


def stand_in(protocol: Protocol, trust_remote_code: bool) -> StandIn:
    """The stand-in of a protocol.

    Args:
        protocol: the protocol.
        trust_remote_code: whether networks of the lab that bring their own code may be used; they are small and quick.

    Raises:
        InvalidInputError: no zoo brings a demo, and there is no lab.
    """
    several = len({method.estimator for method in protocol.methods}) < len(protocol.methods)
    small = replace(
        protocol,
        probe_size=ROWS,
        probe_sizes=(ROWS // 2,) if protocol.probe_sizes else (),
        per_class=(4,) if protocol.per_class else (),
        seeds=min(protocol.seeds, 1 if several else 2),
        source_size=ROWS,
        proxy=None,
        methods=tuple(_quick(protocol, method) for method in _few(protocol.methods)),
        training=None if protocol.training is None else replace(_TRAINING, pretrained=protocol.training.pretrained),
    )
    lab = lab_folder()
    return _embedded(small) if lab is None else _lab(small, lab, trust_remote_code)


def _few(methods: Sequence[Method]) -> list[Method]:
    """The methods, but of an estimator with many settings only the first few."""
    kept: list[Method] = []
    for method in methods:
        if sum(other.estimator == method.estimator for other in kept) < _SETTINGS:
            kept.append(method)
    return kept


def _quick(protocol: Protocol, method: Method) -> Method:
    """The method with the default proxy, and with settings that make it quick, if the protocol has such settings."""
    return replace(method, proxy=None, settings={**method.settings, **protocol.quick.get(method.estimator, {})})


def lab_folder() -> Path | None:
    """The folder of the lab; None if there is none."""
    shared = os.environ.get(SHARED)
    folder = expanded(shared) / "lab" if shared else None
    return folder if folder is not None and (folder / "linear_probe.json").is_file() else None


def _lab(protocol: Protocol, lab: Path, trust_remote_code: bool) -> StandIn:
    names = _LAB_WITH_CODE if trust_remote_code else _LAB_PLAIN
    known = json.loads((lab / "linear_probe.json").read_text(encoding="utf-8"))["accuracy"]
    return StandIn(
        replace(protocol, candidates=tuple(f"dir:{lab / 'models' / name}" for name in names)),
        {name: str(lab / "datasets" / name) for name in _LAB_DATASETS},
        {d: {name: known[name][d] for name in names} for d in _LAB_DATASETS},
        None,
        FineTuning(),
        str(lab / "datasets" / _LAB_SOURCE),
        f"{len(names)} networks and {len(_LAB_DATASETS)} datasets of the lab; accuracies of a linear probe as truth",
    )


def _embedded(protocol: Protocol) -> StandIn:
    zoo = get_host().zoo(DEMO_ZOO)
    if not isinstance(zoo, DemoZoo):
        raise InvalidInputError(f"no zoo brings data for the stand-in; set {SHARED} to a folder with the lab")
    data = zoo.demo().dataset
    images, labels = (np.concatenate(parts) for parts in zip(*data.values(), strict=True))
    parts = [np.arange(len(images))[start::_PARTS] for start in range(_PARTS)]
    candidates = tuple(candidate.unversioned_id for candidate in list(zoo.search("*"))[::_EVERY])
    return StandIn(
        replace(protocol, candidates=candidates),
        {f"digits, part {n}": (_seen(images[rows], n), labels[rows]) for n, rows in enumerate(parts, 1)},
        None,
        "head",
        FineTuning(epochs=3, head_learning_rate=1e-2),
        (images[:ROWS], labels[:ROWS]),
        f"{len(candidates)} embedded networks on {_PARTS} parts of the demo's digits; trained heads give the truth",
    )


def _seen(images: np.ndarray[Any, Any], number: int) -> np.ndarray[Any, Any]:
    """The images of a part: as they are, turned, or with light and dark exchanged, so that the parts differ."""
    if number == 1:
        return images
    return 255 - images if number == 2 else np.ascontiguousarray(np.rot90(images, axes=(1, 2)))
