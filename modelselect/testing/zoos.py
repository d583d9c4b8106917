"""Named checks for authors of zoos."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from modelselect.architectures.trace import trace
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.candidates.metadata import metadata_fault
from modelselect.candidates.zoo import Zoo
from modelselect.errors import CandidateError
from modelselect.testing.backbones import example_rows, probe_items, read_module
from modelselect.testing.checks import Check, called, lacking, named_check, run_checks


def check_zoo(
    zoo: Zoo,
    pattern: str = "*",
    *,
    trust_remote_code: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> None:
    """Runs every check of `zoo_checks` and reports all that fail, by name.

    Args:
        zoo: the instance to be registered.
        pattern: the part after the colon of an expression; it has to match. The first candidate is loaded.
        trust_remote_code: as for `Zoo.load`.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.
    """
    checks = zoo_checks(zoo, pattern, trust_remote_code=trust_remote_code)
    run_checks(called("zoo", zoo), checks, expected_failures)


def zoo_checks(zoo: Zoo, pattern: str = "*", *, trust_remote_code: bool = False) -> list[Check]:
    """For every promise of a zoo, a name and a check; see `check_zoo`."""
    if incomplete := lacking(zoo, Zoo, "name"):
        return incomplete

    @cache
    def load() -> Backbone:
        return _loaded(zoo, pattern, trust_remote_code)

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
    answer: object = zoo.search(pattern)
    assert isinstance(answer, Iterable), f"search({pattern!r}) gives {answer!r}; expected candidates"
    found = list(answer)
    assert found, f"search({pattern!r}) finds nothing; give a pattern that matches"
    return found


def _loaded(zoo: Zoo, pattern: str, trust_remote_code: bool) -> Backbone:
    candidate = _found(zoo, pattern)[0]
    try:
        backbone: object = zoo.load(candidate, trust_remote_code=trust_remote_code)
    except CandidateError as error:
        raise AssertionError(
            f"{candidate.id} cannot be loaded: {error}. If this is meant, give a pattern whose first candidate can"
        ) from error
    assert isinstance(backbone, Backbone), (
        f"load() gives no Backbone, but an object of the class {type(backbone).__name__}"
    )
    return backbone


def _search_is_stable(zoo: Zoo, pattern: str) -> None:
    first, again = _found(zoo, pattern), _found(zoo, pattern)
    others = [item for item in first if not isinstance(item, Candidate)]
    assert not others, f"search() yields {type(others[0]).__name__}; expected Candidate" if others else ""
    ids = [candidate.id for candidate in first]
    assert ids == [candidate.id for candidate in again], (
        "search() yields another order, or other candidates, the second time"
    )
    assert len(set(ids)) == len(ids), f"search() yields an id twice: {max(ids, key=ids.count)}"
    for candidate in first:
        assert candidate.zoo == zoo.name, f"{candidate.id} has the zoo {candidate.zoo!r}; expected {zoo.name!r}"
        Expression.parse(candidate.id)


def _metadata_has_known_types(zoo: Zoo, pattern: str) -> None:
    for candidate in _found(zoo, pattern):
        for key, value in candidate.metadata.items():
            expected = metadata_fault(key, value)
            assert expected is None, (
                f"{candidate.id}: {key} is {value!r}; expected {expected} (leave out unknown values)"
            )


def _candidates_can_be_pickled(zoo: Zoo, pattern: str) -> None:
    candidate = _found(zoo, pattern)[0]
    copy = pickle.loads(pickle.dumps(candidate))
    assert copy.id == candidate.id, f"a pickled copy of {candidate.id} has the id {copy.id}"
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
        assert metadata.get(key, value) == value, f"{key}: metadata says {metadata[key]:,}, the backbone has {value:,}"


def _features_are_finite_and_repeatable(load: Callable[[], Backbone]) -> None:
    import torch

    backbone = load()
    items = probe_items(backbone, 3)
    first, again = read_module(backbone, items), read_module(backbone, items)
    features = first.features
    assert features.dim() == 2, f"features have shape {tuple(features.shape)}; expected (batch, dimensions)"
    assert len(features) == 3, f"3 inputs give {len(features)} rows of features"
    assert features.isfinite().all(), "features of noise hold NaN or infinity"
    assert torch.equal(features, again.features), "the same inputs give different features the second time"
    alone = read_module(backbone, items[:1]).features
    scale = float(features.abs().max()) or 1.0
    moved = float((alone - features[:1]).abs().max()) / scale
    assert moved < 1e-3, f"features of a row depend on the other rows of its batch (by {moved:.1e} of the largest)"
    if first.logits is not None:
        assert first.logits.shape[0] == 3, f"3 inputs give {first.logits.shape[0]} rows of logits"
        assert first.logits.isfinite().all(), "source logits of noise hold NaN or infinity"


def _weights_key_is_stable(zoo: Zoo, pattern: str, load: Callable[[], Backbone], trust_remote_code: bool) -> None:
    again = _loaded(zoo, pattern, trust_remote_code)
    key, other = load().weights_key, again.weights_key
    assert key, "weights_key is empty; expected a digest of code and weights"
    assert key == other, f"loading twice gives two weights_keys, {key} and {other}; stored evidence is never reused"
    assert load().preprocessing.key == again.preprocessing.key, "loading twice gives two preprocessing keys"


def _skeleton_traces(zoo: Zoo, pattern: str, load: Callable[[], Backbone], trust_remote_code: bool) -> None:
    backbone = load()
    module = zoo.skeleton(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    if module is None:  # a zoo need not build skeletons
        return
    weighty = [name for name, parameter in module.named_parameters() if parameter.device.type != "meta"]
    assert not weighty, f"the skeleton holds weights ({weighty[0]}); expected a module on the meta device"
    example = example_rows(backbone, probe_items(backbone, 2)).to("meta")
    graph = trace(module, example=example)
    assert graph.number_of_nodes() > 0, "the skeleton's graph is empty"


def _export_is_whole_or_nothing(zoo: Zoo, pattern: str, trust_remote_code: bool) -> None:
    import torch

    backbone = _loaded(zoo, pattern, trust_remote_code)
    width = read_module(backbone, probe_items(backbone, 2)).features.shape[1]
    names = ("first class", "second class", "third class")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        written = zoo.export(backbone, torch.nn.Linear(width, len(names)), names, folder)
        files = sorted(path.name for path in folder.rglob("*"))
        if not written:  # a library need not have a suitable form
            assert not files, f"export() returns False but leaves {files[0]} behind; expected an empty folder"
            return
        weights = [name for name in files if name.endswith(".safetensors")]
        assert weights, f"export() writes {', '.join(files)}; expected weights as safetensors"
        pickles = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
        assert not pickles, f"export() writes {pickles[0] if pickles else ''}; expected no pickled weights"
        texts = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.json"))
        assert all(name in texts for name in names), "the files of export() do not contain the class names"
