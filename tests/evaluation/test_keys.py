"""What changes a number changes its key, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.limits import Limits
from modelselect.evaluation import keys
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.own_modules import ModuleZoo, OwnModule
from modelselect.extraction.devices import Compute
from modelselect.extraction.inputs import InputCache
from modelselect.history.view import HistoryView, RecallContext
from modelselect.host.host import get_host
from modelselect.probe.nested import nest
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_changed_rows_are_not_taken_for_the_old_ones(dataset: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(30) % 2
    before = rank((inputs, labels), SOME)
    changed = inputs.copy()
    changed[0] = 255 - changed[0]
    after = rank((changed, labels), SOME)
    assert before != after
    assert after.provenance["from_store"] == 0


def test_another_version_of_a_library_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2
    known = keys.numeric_versions
    monkeypatch.setattr(keys, "numeric_versions", lambda *given: {**known(*given), "torch": "0.0"})
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0


def test_another_version_of_a_plugin_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    for kind, name in (("zoos", "embedded"), ("estimators", "logme"), ("extractors", "cpu")):
        monkeypatch.setattr(get_host().owner(kind, name), "version", f"99 of {name}")
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2


def test_another_seed_probe_or_source_computes_anew(dataset: Path) -> None:
    other = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 2
    rank(dataset, "embedded:plain.*", estimators="persistence_source")
    for changed in ({"seed": 1}, {"probe_size": 30}, {"source": other}):
        board = rank(dataset, "embedded:plain.*", estimators="persistence_source", **changed)
        assert board.provenance["from_store"] == 0, changed


def test_an_estimator_that_was_edited_does_not_find_its_old_scores(dataset: Path, tmp_path: Path) -> None:
    source = """
import modelselect
class Mine(modelselect.Estimator):
    name = "mine"
    requires = frozenset({"features"})
    citation = "Me, today."
    def score(self, evidence):
        return {"mine": float(evidence.features.%s())}
"""
    boards = []
    for number, method in enumerate(("std", "mean")):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        path = tmp_path / f"script{number}.py"
        path.write_text(source % method)
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        boards.append(rank(dataset, "embedded:plain.*", estimators=namespace["Mine"]()))
    assert boards[0].best.score != boards[1].best.score


def test_another_precision_is_another_number(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    full = rank(dataset, "embedded:plain.letters")
    half = rank(dataset, "embedded:plain.letters", precision="bfloat16")
    assert half.provenance["from_store"] == 0
    assert half.best.score != full.best.score
    assert half.best.score == pytest.approx(full.best.score, rel=0.2)
    assert rank(dataset, "embedded:plain.letters", precision="bfloat16").provenance["from_store"] == 1


# --- each key by itself ----------------------------------------------------------------------------------------------

CANDIDATE = ms.Candidate("embedded", "plain.letters", "1", {"modality": "image"})
ALL = frozenset({"evidence", "score", "resamples", "costs", "architecture"})
SCORES = frozenset({"score", "resamples"})
COMPUTED = ALL - {"architecture"}


def probe_of(seed: int, rows: int = 12) -> ms.Probe:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)
    return ms.Probe.of((pixels, np.arange(rows) % 2), size=None)


def context_of(folder: Path) -> EvaluationContext:
    return EvaluationContext(probe=probe_of(0), cache_dir=folder, spool=InputCache(None))


def keys_of(
    context: EvaluationContext, candidate: ms.Candidate = CANDIDATE, estimator: str | ms.Estimator = "logme"
) -> dict[str, str]:
    chosen = get_host().estimators[estimator] if isinstance(estimator, str) else estimator
    made = Keys(Loader(context, candidate))
    return {
        "evidence": made.evidence("features", context.probe),
        "score": made.score(chosen),
        "resamples": made.resamples(chosen),
        "costs": made.costs(),
        "architecture": made.architecture(),
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


CONTEXTS: dict[str, tuple[dict[str, Any], frozenset[str]]] = {
    "rows": ({"probe": probe_of(1)}, frozenset({"evidence", "score", "resamples"})),
    "seed": ({"seed": 1}, SCORES),
    "device": ({"compute": Compute("meta")}, COMPUTED),
    "precision": ({"compute": Compute(precision="bfloat16")}, COMPUTED),
    "compilation": ({"compute": Compute(compile=True)}, COMPUTED),
    "extractor": ({"compute": Compute(extractor="onnx")}, COMPUTED),
    "batch size": ({"compute": Compute(batch_size=4)}, frozenset({"costs"})),
    "source that nothing reads": ({"source": probe_of(2)}, frozenset()),
    "proxy that nothing reads": ({"proxy": ms.Candidate("embedded", "vit.letters", "1")}, frozenset()),
    "number of resamples": ({"resamples": 50}, frozenset()),
    "estimators": ({"estimators": (get_host().estimators["knn"],)}, frozenset()),
    "folder of the store": ({"cache_dir": Path("elsewhere")}, frozenset()),
    "cache of inputs": ({"spool": InputCache(None, 1)}, frozenset()),
    "trust": ({"trust_remote_code": True}, frozenset()),
    "costs and limits": ({"costs": True, "limits": Limits.of(max_parameters=10**9)}, frozenset()),
    "progress": ({"progress": lambda *_: None}, frozenset()),
}


@pytest.mark.parametrize(("change", "expected"), CONTEXTS.values(), ids=CONTEXTS)
def test_a_key_changes_with_what_its_number_depends_on_alone(
    change: dict[str, Any], expected: frozenset[str], tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    assert changed(keys_of(context), keys_of(replace(context, **change))) == expected


def test_all_keys_are_different_and_are_made_again(tmp_path: Path) -> None:
    made = keys_of(context_of(tmp_path))
    assert len(set(made.values())) == len(made)
    assert keys_of(context_of(tmp_path)) == made


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (replace(CANDIDATE, revision="2"), ALL),
        (replace(CANDIDATE, name="vit.letters"), ALL),
        (replace(CANDIDATE, metadata={"downloads": 7}), frozenset()),
    ],
    ids=["revision", "name", "metadata"],
)
def test_a_key_changes_with_the_candidates_identity_and_not_with_what_is_said_of_it(
    candidate: ms.Candidate, expected: frozenset[str], tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    assert changed(keys_of(context), keys_of(context, candidate)) == expected


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("zoos", "embedded", ALL),
        ("extractors", "cpu", COMPUTED),
        ("extractors", "onnx", frozenset()),
        ("estimators", "logme", SCORES),
        ("encoders", "graph2vec", frozenset()),
    ],
)
def test_a_key_changes_with_the_version_of_the_plugin_that_computes_it(
    kind: str, name: str, expected: frozenset[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path)
    before = keys_of(context)
    host = get_host()
    known = type(host).owner

    def owner(self: Any, of: str, called: str) -> Any:
        found = known(self, of, called)
        return replace(found, version="99") if (of, called) == (kind, name) else found

    monkeypatch.setattr(type(host), "owner", owner)
    assert changed(before, keys_of(context)) == expected


def test_a_run_that_names_its_extractor_depends_on_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.extractor_versions(None).keys() == {"cpu", "cuda"}
    version = get_host().owner("extractors", "onnx").version
    assert keys.extractor_versions("onnx") == {"onnx": f"{version} {get_host().extractor('onnx').library}"}
    context = replace(context_of(tmp_path), compute=Compute(extractor="onnx"))
    before = keys_of(context)
    monkeypatch.setitem(vars(get_host().extractor("onnx")), "library", "onnxruntime 0.1")
    assert changed(before, keys_of(context)) == COMPUTED


@pytest.mark.parametrize(("library", "expected"), [("torch", ALL), ("scipy", SCORES), ("networkx", frozenset())])
def test_a_key_changes_with_the_version_of_a_library_that_computes_it(
    library: str, expected: frozenset[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path)
    before = keys_of(context)
    known = keys.numeric_versions

    def versions(*libraries: Any) -> dict[str, str]:
        found = known(*libraries)
        return {**found, library: "0.0"} if library in found else found

    monkeypatch.setattr(keys, "numeric_versions", versions)
    assert changed(before, keys_of(context)) == expected


def test_another_estimator_or_another_parameter_changes_the_scores_key(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    knn = get_host().estimators["knn"]
    assert changed(keys_of(context), keys_of(context, estimator=knn)) == SCORES
    other = type(knn)(**{**knn.parameters, "k": knn.parameters["k"] + 1})
    assert changed(keys_of(context, estimator=knn), keys_of(context, estimator=other)) == SCORES
    assert keys_of(context, estimator=type(knn)(**knn.parameters)) == keys_of(context, estimator=knn)


def test_the_key_of_a_layer_changes_with_the_plugin_of_the_zoo_that_loads_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, host = context_of(tmp_path), get_host()
    [layer] = ms.search("embedded:plain.letters?layer=1")
    assert (layer.zoo, host.zoo("layer").behind(layer)) == ("layer", host.zoo("embedded"))
    before = keys_of(context, layer)
    known = type(host).owner

    def owner(self: Any, of: str, called: str) -> Any:
        found = known(self, of, called)
        return replace(found, version="99") if (of, called) == ("zoos", "embedded") else found

    monkeypatch.setattr(type(host), "owner", owner)
    assert changed(before, keys_of(context, layer)) == ALL


def test_a_plugins_version_is_in_the_key_of_an_estimator_in_the_form_of_another_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path)
    for name in ("linear_probe", "centroid"):  # one class in place of another, and one that holds the other
        adapted = get_host().task("multi-label").adapted(get_host().estimator(name))
        assert adapted is not None
        before = keys_of(context, estimator=adapted)
        monkeypatch.setattr(get_host().owner("estimators", name), "version", f"99 of {name}")
        assert changed(before, keys_of(context, estimator=adapted)) == SCORES


@pytest.mark.parametrize(
    ("estimator", "change"),
    [
        ("persistence_source", {"source": probe_of(2)}),
        ("rsa", {"proxy": ms.Candidate("embedded", "vit.letters", "1")}),
        ("fennec", {"recall": RecallContext(HistoryView((), (), (), {}, {}, {}, {}, digest="another"), None)}),
    ],
)
def test_an_estimators_key_changes_with_the_evidence_that_it_reads(
    estimator: str, change: dict[str, Any], tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    assert changed(keys_of(context, estimator=estimator), keys_of(replace(context, **change), estimator=estimator)) == (
        SCORES
    )
    assert not changed(keys_of(context), keys_of(replace(context, **change)))


def test_rows_that_are_not_shown_yet_change_the_keys_of_the_callers_own_module_alone(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    (part,) = nest(context.probe, [4])
    own = ModuleZoo({"own": OwnModule(torch.nn.Flatten())}, context.probe)
    (module,) = own.search("*")
    shown = replace(context, probe=part.probe, nested=part)
    assert shown.whole is context.probe
    bare = replace(context, probe=part.probe)
    assert not changed(keys_of(bare), keys_of(shown))
    zoos = {own.name: own}
    assert changed(keys_of(replace(bare, zoos=zoos), module), keys_of(replace(shown, zoos=zoos), module)) == {
        "costs",
        "architecture",
    }
