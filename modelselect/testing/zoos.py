"""The checks of a zoo."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from modelselect.architectures.trace import trace
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.candidates.metadata import metadata_fault
from modelselect.candidates.zoo import Zoo
from modelselect.testing.backbones import example_rows, probe_items, read_module
from modelselect.testing.checks import Check, named_check, run_checks


def check_zoo(
    zoo: Zoo,
    pattern: str,
    *,
    trust_remote_code: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> None:
    """Runs every check of `zoo_checks` and reports all that fail, by name.

    Args:
        zoo: the instance to be registered.
        pattern: what stands after the colon of an expression; it has to match. The first candidate is loaded.
        trust_remote_code: as for `Zoo.load`.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: what failed, or passed although it was expected to fail.
    """
    checks = zoo_checks(zoo, pattern, trust_remote_code=trust_remote_code)
    run_checks(f"zoo {zoo.name!r}", checks, expected_failures)


def zoo_checks(zoo: Zoo, pattern: str, *, trust_remote_code: bool = False) -> list[Check]:
    """Name and check for every promise of a zoo; see `check_zoo`."""

    @cache
    def load() -> Backbone:
        return zoo.load(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)

    return [
        named_check(_search_is_stable, zoo, pattern),
        named_check(_metadata_has_known_types, zoo, pattern),
        named_check(_candidates_can_be_pickled, zoo, pattern),
        named_check(_backbone_is_ready_and_as_described, load),
        named_check(_features_are_finite_and_repeatable, load),
        named_check(_weights_key_is_stable, zoo, pattern, load, trust_remote_code),
        named_check(_skeleton_traces, zoo, pattern, load, trust_remote_code),
        named_check(_export_is_whole_or_nothing, zoo, pattern, trust_remote_code),
    ]


def _found(zoo: Zoo, pattern: str) -> list[Candidate]:
    found = list(zoo.search(pattern))
    assert found, f"search({pattern!r}) finds nothing; check with a pattern that matches"
    return found


def _search_is_stable(zoo: Zoo, pattern: str) -> None:
    first, again = _found(zoo, pattern), _found(zoo, pattern)
    strangers = [candidate for candidate in first if not isinstance(candidate, Candidate)]
    assert not strangers, f"search() yields {type(strangers[0]).__name__}; expected Candidate" if strangers else ""
    ids = [candidate.id for candidate in first]
    assert ids == [candidate.id for candidate in again], "search() yields another order, or other candidates, each time"
    assert len(set(ids)) == len(ids), f"search() yields one id twice: {max(ids, key=ids.count)}"
    for candidate in first:
        assert candidate.zoo == zoo.name, f"{candidate.id} says that it is of zoo {candidate.zoo!r}, not {zoo.name!r}"
        Expression.parse(candidate.id)


def _metadata_has_known_types(zoo: Zoo, pattern: str) -> None:
    for candidate in _found(zoo, pattern):
        for key, value in candidate.metadata.items():
            expected = metadata_fault(key, value)
            assert expected is None, (
                f"{candidate.id}: {key} is {value!r}; expected {expected} (leave out what is not known)"
            )


def _candidates_can_be_pickled(zoo: Zoo, pattern: str) -> None:
    candidate = _found(zoo, pattern)[0]
    copy = pickle.loads(pickle.dumps(candidate))
    assert copy.id == candidate.id, f"a pickled copy of {candidate.id} is {copy.id}"
    assert dict(copy.metadata) == dict(candidate.metadata), f"pickling changes the metadata of {candidate.id}"


def _backbone_is_ready_and_as_described(load: Callable[[], Backbone]) -> None:
    import torch

    backbone = load()
    metadata = backbone.candidate.metadata
    training = [name or "the module" for name, part in backbone.module.named_modules() if part.training]
    assert not training, f"{training[0]} is in training mode; expected evaluation mode"
    for name, parameter in backbone.module.named_parameters():
        assert parameter.device.type == "cpu", f"parameter {name} is on {parameter.device}; expected the CPU"
        if parameter.is_floating_point():
            assert parameter.dtype == torch.float32, f"parameter {name} is {parameter.dtype}; expected float32"
    outputs = read_module(backbone, probe_items(backbone, 2))
    said = {
        "parameters": sum(parameter.numel() for parameter in backbone.module.parameters()),
        "feature_dim": outputs.features.shape[1],
        "source_classes": 0 if outputs.logits is None else outputs.logits.shape[1],
    }
    for key, value in said.items():
        assert metadata.get(key, value) == value, f"metadata says {key} {metadata[key]}, and the backbone has {value}"


def _features_are_finite_and_repeatable(load: Callable[[], Backbone]) -> None:
    import torch

    backbone = load()
    items = probe_items(backbone, 3)
    first, again = read_module(backbone, items), read_module(backbone, items)
    features = first.features
    assert features.dim() == 2, f"features have shape {tuple(features.shape)}; expected (batch, dimensions)"
    assert len(features) == 3, f"3 inputs give {len(features)} rows of features"
    assert features.isfinite().all(), "features of noise hold NaN or infinity"
    assert torch.equal(features, again.features), "the same inputs give other features the second time"
    alone = read_module(backbone, items[:1]).features
    scale = float(features.abs().max()) or 1.0
    moved = float((alone - features[:1]).abs().max()) / scale
    assert moved < 1e-3, f"features of a row depend on the others in its batch (by {moved:.1e} of the largest)"
    if first.logits is not None:
        assert first.logits.shape[0] == 3, f"3 inputs give {first.logits.shape[0]} rows of logits"
        assert first.logits.isfinite().all(), "source logits of noise hold NaN or infinity"


def _weights_key_is_stable(zoo: Zoo, pattern: str, load: Callable[[], Backbone], trust_remote_code: bool) -> None:
    again = zoo.load(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    key, other = load().weights_key, again.weights_key
    assert key, "weights_key is empty; expected a digest of code and weights"
    assert key == other, f"loading twice gives two weights_keys, {key} and {other}; remembered evidence is never found"
    assert load().preprocessing.key == again.preprocessing.key, "loading twice gives two keys of the preprocessing"


def _skeleton_traces(zoo: Zoo, pattern: str, load: Callable[[], Backbone], trust_remote_code: bool) -> None:
    backbone = load()
    module = zoo.skeleton(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    if module is None:  # a zoo need not know skeletons
        return
    weighty = [name for name, parameter in module.named_parameters() if parameter.device.type != "meta"]
    assert not weighty, f"the skeleton holds weights ({weighty[0]}); expected a module on the meta device"
    example = example_rows(backbone, probe_items(backbone, 2)).to("meta")
    graph = trace(module, example=example)
    assert graph.number_of_nodes() > 0, "the skeleton's graph is empty"


def _export_is_whole_or_nothing(zoo: Zoo, pattern: str, trust_remote_code: bool) -> None:
    import torch

    backbone = zoo.load(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    width = read_module(backbone, probe_items(backbone, 2)).features.shape[1]
    names = ("first class", "second class", "third class")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        written = zoo.export(backbone, torch.nn.Linear(width, len(names)), names, folder)
        files = sorted(path.name for path in folder.rglob("*"))
        if not written:  # a library need have no form for it
            assert not files, f"export() is False and leaves {files[0]} behind; expected an empty folder"
            return
        weights = [name for name in files if name.endswith(".safetensors")]
        assert weights, f"export() writes {', '.join(files)}; expected weights as safetensors among them"
        pickles = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
        assert not pickles, f"export() writes {pickles[0] if pickles else ''}; expected no pickled weights"
        told = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.json"))
        assert all(name in told for name in names), "what export() writes names no classes; expected their names"
