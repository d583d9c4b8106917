"""The kit for plugin authors: named checks that hold an estimator, a zoo or an extractor to its promises.

Three lines give an estimator every check as a test of its own:

    @pytest.mark.parametrize(("name", "check"), modelselect.testing.estimator_checks(MyEstimator()))
    def test_my_estimator(name, check):
        check()
"""

from __future__ import annotations

import inspect
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import modelselect.evidence
from modelselect.candidates import Candidate, Expression, Zoo, metadata_fault
from modelselect.errors import ModelSelectError, ScoreWarning
from modelselect.estimator import Estimator, evaluate
from modelselect.evidence import FIELDS, Evidence

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone
    from modelselect.extraction import Extractor

Check = tuple[str, Callable[[], None]]
Fields = dict[str, Any]

_GAP_SHARE = 0.25
"""How far the score of a stochastic estimator may move where that of any other must not: this share of the distance
between separable and shuffled classes."""


def check_estimator(estimator: Estimator, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `estimator_checks` and reports all that fail, by name.

    Args:
        estimator: the instance to be registered, or one with other parameters.
        expected_failures: reasons by the names of checks that this method cannot pass. They are run all the same: one
            that passes is reported, so that a reason never outlives its cause.

    Raises:
        AssertionError: what failed, or passed although it was expected to fail.

    >>> import modelselect
    >>> class Spread(modelselect.Estimator):
    ...     name = "spread"
    ...     requires = frozenset({"features"})
    ...     citation = "A. Author: Spread is all you need, 2026"
    ...     def score(self, evidence):
    ...         return {"spread": evidence.features.std(dtype="float64")}
    >>> check_estimator(Spread(), expected_failures={"can_be_pickled": "it is defined in this session"})
    """
    _run_all(repr(estimator), estimator_checks(estimator), expected_failures)


def _run_all(subject: str, checks_of: Iterable[Check], expected_failures: Mapping[str, str] | None) -> None:
    expected = dict(expected_failures or {})
    checks = dict(checks_of)
    unknown = sorted(set(expected) - set(checks))
    faults = [f"{name}: expected to fail, and no such check applies; known: {', '.join(checks)}" for name in unknown]
    for name, check in checks.items():
        try:
            check()
        except AssertionError as fault:
            if name not in expected:
                faults.append(str(fault))
        else:
            if name in expected:
                faults.append(f"{name}: passes, although expected to fail ({expected[name]}); drop the expectation")
    assert not faults, f"{subject} breaks its promises:\n" + "\n".join(f"- {fault}" for fault in faults)


def estimator_checks(estimator: Estimator) -> list[Check]:
    """Name and check, a function without arguments that raises AssertionError, for every promise that applies.

    Checks that compare classes are left out for methods that require neither labels nor anything to compare with.
    Methods that require `history` are held to the checks that need no score: what a history holds is theirs to test.

    >>> from modelselect.testing import estimator_checks
    >>> import modelselect
    >>> class Size(modelselect.Estimator):
    ...     name = "size"
    ...     requires = frozenset({"metadata"})
    ...     citation = "folklore"
    ...     def score(self, evidence):
    ...         return {"size": evidence.metadata["parameters"]}
    >>> [name for name, _ in estimator_checks(Size())][:3]
    ['name_and_citation_are_there', 'requires_known_fields', 'constructor_only_stores_parameters']
    """
    requires = frozenset(estimator.requires)
    checks: list[Callable[[Estimator], None]] = [
        _name_and_citation_are_there,
        _requires_known_fields,
        _constructor_only_stores_parameters,
        _key_is_stable,
        _can_be_pickled,
    ]
    if "history" not in requires:
        checks += [
            _scores_ordinary_evidence,
            _reads_only_declared_fields,
            _inputs_are_not_changed,
            _same_seed_same_score,
            _combines_any_pool,
        ]
    if "history" not in requires and requires & _ARRAYS:
        checks += [
            _float32_agrees_with_float64,
            _rows_can_be_permuted,
            _finite_or_error_with_more_dimensions_than_rows,
            _finite_or_error_with_few_dimensions,
            _finite_or_error_with_constant_columns,
            _finite_or_error_with_duplicate_columns,
            _finite_or_error_with_equal_rows,
        ]
    if "history" not in requires and requires & _LABELS:
        checks += [
            _one_class_is_an_error,
            _finite_or_error_with_singleton_classes,
            _gaps_in_labels_do_not_matter,
            _classes_can_be_renamed,
        ]
    if "history" not in requires and requires & (_LABELS | {"proxy_features"}):
        checks.append(_separable_beats_shuffled)
    return [_named(check, estimator) for check in checks]


def _named(check: Callable[..., None], *arguments: Any) -> Check:
    name = check.__name__.lstrip("_")

    def run() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ScoreWarning)
                check(*arguments)
        except Exception as error:
            what = str(error) if isinstance(error, AssertionError) else f"raised {type(error).__name__}: {error}"
            raise AssertionError(f"{name}: {what}") from error

    return name, run


# --- evidence to check with -------------------------------------------------------------------------------------------

_LABELS = frozenset({"labels", "source_labels"})
_ARRAYS = frozenset({"features", "source_probabilities", "source_features", "proxy_features"})
_METADATA = {
    "architecture": "checked",
    "family": "Checked",
    "modality": "image",
    "parameters": 1_000_000,
    "input_size": (3, 32, 32),
    "feature_dim": 8,
    "source_dataset": "checks",
    "source_classes": 6,
    "source_accuracy": 70.0,
    "downloads": 1000,
    "size_bytes": 4_000_000,
}


def _fields(counts: tuple[int, ...] = (50, 40, 30), dimensions: int = 8, seed: int = 0) -> Fields:
    """Every evidence field: classes as round clusters, so far apart that most methods see them, and rows shuffled.

    Numbers are exact in float32, so that the dtype alone makes no difference.
    """
    rng = np.random.default_rng(seed)

    def clusters(width: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        centres = 2.5 * rng.normal(size=(len(counts), width))
        rows = centres[labels] + rng.normal(size=(len(labels), width))
        return rows.astype(np.float32).astype(np.float64), labels

    features, labels = clusters(dimensions)
    source_features, source_labels = clusters(dimensions)
    logits = rng.normal(size=(len(labels), 6)) + 3 * np.eye(max(6, len(counts)))[labels, :6]
    proxy = features @ rng.normal(size=(dimensions, 5)) + 0.1 * rng.normal(size=(len(labels), 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {
        "features": features,
        "labels": labels,
        "source_probabilities": probabilities.astype(np.float32).astype(np.float64),
        "source_features": source_features,
        "source_labels": source_labels,
        "proxy_features": proxy.astype(np.float32).astype(np.float64),
        "architecture": _graph(),
        "metadata": dict(_METADATA),
    }


def _graph() -> Any:
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    for number, operation in enumerate(("input", "conv2d", "relu", "linear", "output")):
        graph.add_node(number, operation=operation)
    nx.add_path(graph, range(5))
    return graph


_ROW_FIELDS = ("features", "labels", "source_probabilities", "proxy_features")
_SOURCE_ROW_FIELDS = ("source_features", "source_labels")


def _reordered(fields: Fields, names: tuple[str, ...], order: NDArray[np.int64]) -> Fields:
    return fields | {name: fields[name][order] for name in names}


def _shuffled(fields: Fields) -> Fields:
    """The same rows with classes, and what another model says of them, that belong to other rows."""
    rng = np.random.default_rng(1)
    result = _reordered(fields, ("labels",), rng.permutation(len(fields["labels"])))
    result = _reordered(result, ("source_labels",), rng.permutation(len(fields["source_labels"])))
    return _reordered(result, ("proxy_features",), rng.permutation(len(fields["labels"])))


def _score(estimator: Estimator, fields: Fields, seed: int = 0) -> dict[str, float]:
    return dict(evaluate(estimator, Evidence.of(**fields, seed=seed)))


def _finite_or_error(estimator: Estimator, fields: Fields) -> None:
    """Gives finite numbers, or says in an error of modelselect why it cannot."""
    evidence = Evidence.of(**fields)
    try:
        evidence = evidence.restrict(estimator.reads)
        components = estimator.score(evidence)
    except ModelSelectError as error:
        if not str(error).strip():
            raise AssertionError(f"raises {type(error).__name__} without a message") from error
        return
    assert components, "gives no component"
    assert np.isfinite(list(components.values())).all(), (
        f"gives {dict(components)}; expected finite numbers or an error"
    )


def _combined(estimator: Estimator, pool: list[dict[str, float]]) -> NDArray[np.float64]:
    return np.asarray(estimator.combine(pool), dtype=np.float64)


def _assert_same(estimator: Estimator, fields: Fields, other: Fields, what: str, relative: float = 1e-6) -> None:
    """Every component equal, up to rounding; where the estimator draws at random, the score near enough."""
    first, second = _score(estimator, fields), _score(estimator, other)
    if estimator.stochastic:
        good, bad, moved = _combined(estimator, [first, _score(estimator, _shuffled(fields)), second])
        allowed = _GAP_SHARE * abs(good - bad)
        assert abs(good - moved) <= allowed, f"{what} moves the score from {good} to {moved}, more than chance should"
        return
    assert first.keys() == second.keys(), f"{what} changes the components from {set(first)} to {set(second)}"
    for name in first:
        a, b = first[name], second[name]
        scale = max(abs(a), abs(b), 1e-9)
        assert abs(a - b) <= relative * scale, f"{what} changes {name} from {a!r} to {b!r}"


# --- checks of an estimator -------------------------------------------------------------------------------------------


def _name_and_citation_are_there(estimator: Estimator) -> None:
    name, citation = getattr(estimator, "name", None), getattr(estimator, "citation", None)
    assert isinstance(name, str), f"name is {name!r}; expected a string"
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", name), f"name is {name!r}; expected lower-case letters, digits, _ and -"
    assert isinstance(citation, str), f"citation is {citation!r}; expected authors, title, venue and year"
    assert citation.strip(), "citation is empty; expected authors, title, venue and year"


def _requires_known_fields(estimator: Estimator) -> None:
    requires = estimator.requires
    assert isinstance(requires, frozenset), f"requires is a {type(requires).__name__}; expected a frozenset of names"
    unknown = sorted(estimator.reads - set(FIELDS))
    assert not unknown, f"requires or optional names {', '.join(unknown)}; known fields: {', '.join(FIELDS)}"


def _constructor_only_stores_parameters(estimator: Estimator) -> None:
    signature = inspect.signature(type(estimator).__init__)
    names = list(signature.parameters)[1:]
    kinds = {signature.parameters[name].kind for name in names}
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    if type(estimator).__init__ is object.__init__:
        names = []
    else:
        assert not kinds & variadic, "the constructor takes *args or **kwargs; name every parameter"
    stored = estimator.parameters
    assert set(stored) == set(names), (
        f"the constructor takes {names} and the instance stores {sorted(stored)}; store each parameter under its own "
        "name, and nothing else (derive the rest when it is needed)"
    )
    rebuilt = type(estimator)(**stored)
    for name, value in stored.items():
        assert rebuilt.parameters[name] is value or rebuilt.parameters[name] == value, (
            f"the constructor changes {name} from {value!r} to {rebuilt.parameters[name]!r}; it should only store"
        )


def _key_is_stable(estimator: Estimator) -> None:
    rebuilt = type(estimator)(**estimator.parameters)
    assert rebuilt.key == estimator.key, (
        f"equal parameters give two keys, {estimator.key} and {rebuilt.key}; a parameter's repr must say its value"
    )
    assert not re.search(r" at 0x[0-9a-f]+", repr(estimator.parameters)), (
        f"a parameter's repr holds a memory address ({estimator.parameters!r}), so that the key changes in each process"
    )


def _can_be_pickled(estimator: Estimator) -> None:
    copy = pickle.loads(pickle.dumps(estimator))
    assert copy.key == estimator.key, f"a pickled copy has another key: {copy.key}, not {estimator.key}"


def _scores_ordinary_evidence(estimator: Estimator) -> None:
    before = estimator.parameters
    components = _score(estimator, _fields())
    assert components, "gives no component"
    assert estimator.parameters == before, "scoring changes the estimator's parameters"


def _reads_only_declared_fields(estimator: Estimator) -> None:
    evidence = Evidence.of(**_fields()).restrict(estimator.reads)
    undeclared: set[str] = set()

    class Watched(Evidence):
        """Notes which fields are read from outside the evidence's own code."""

        def __getattribute__(self, name: str) -> Any:
            if name in FIELDS and name not in estimator.reads:
                caller = sys._getframe(1).f_code.co_filename
                if caller != modelselect.evidence.__file__:
                    undeclared.add(name)
            return super().__getattribute__(name)

    watched = Watched(**{name: getattr(evidence, name) for name in FIELDS}, seed=evidence.seed)
    try:
        estimator.score(watched)
    except Exception:
        if not undeclared:
            raise
    assert not undeclared, f"reads {', '.join(sorted(undeclared))} and does not declare it in `requires` or `optional`"


def _inputs_are_not_changed(estimator: Estimator) -> None:
    fields = _fields()
    before = {name: np.array(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    _score(estimator, fields)
    for name, value in before.items():
        assert np.array_equal(fields[name], value), f"overwrites the caller's {name}"
        fields[name].flags.writeable = False
    _score(estimator, fields)
    assert fields["metadata"] == _METADATA, "changes the caller's metadata"


def _same_seed_same_score(estimator: Estimator) -> None:
    fields = _fields()
    first, again = _score(estimator, fields), _score(estimator, fields)
    assert first == again, f"gives {first} and then {again} for the same evidence and seed"
    rebuilt = type(estimator)(**estimator.parameters)
    assert _score(rebuilt, fields) == first, "another instance with the same parameters gives another score"
    if not estimator.stochastic:
        other = _score(estimator, fields, seed=1)
        assert other == first, f"the seed changes the score from {first} to {other}; declare `stochastic = True`"


def _combines_any_pool(estimator: Estimator) -> None:
    pool = [_score(estimator, fields) for fields in (_fields(), _shuffled(_fields()), _fields(seed=2))]
    together = _combined(estimator, pool)
    assert together.shape == (3,), f"combine() of three candidates has shape {together.shape}; expected (3,)"
    assert np.isfinite(together).all(), f"combine() gives {together}; expected finite numbers"
    backwards = _combined(estimator, pool[::-1])[::-1]
    assert np.allclose(together, backwards, rtol=1e-9), "combine() depends on the order of the candidates"
    for few, what in ((pool[:1], "one candidate"), ([pool[0]] * 2, "two equal candidates")):
        result = _combined(estimator, few)
        assert result.shape == (len(few),), f"combine() of {what} has shape {result.shape}"
        assert np.isfinite(result).all(), f"combine() of {what} gives {result}; expected finite numbers"
        assert np.ptp(result) == 0, f"combine() of {what} gives {result}; expected equal numbers"


def _float32_agrees_with_float64(estimator: Estimator) -> None:
    fields = _fields()
    single = {
        name: value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in fields.items()
    }
    _assert_same(estimator, fields, single, "float32 instead of float64", relative=1e-4)


def _rows_can_be_permuted(estimator: Estimator) -> None:
    fields, rng = _fields(), np.random.default_rng(3)
    order, source_order = (rng.permutation(len(fields[name])) for name in ("labels", "source_labels"))
    other = _reordered(_reordered(fields, _ROW_FIELDS, order), _SOURCE_ROW_FIELDS, source_order)
    _assert_same(estimator, fields, other, "another order of the rows")


def _finite_or_error_with_more_dimensions_than_rows(estimator: Estimator) -> None:
    _finite_or_error(estimator, _fields((9, 8, 7), dimensions=60))


def _finite_or_error_with_few_dimensions(estimator: Estimator) -> None:
    for dimensions in (1, 2):
        _finite_or_error(estimator, _fields(dimensions=dimensions))


def _finite_or_error_with_constant_columns(estimator: Estimator) -> None:
    fields = _fields()
    for name in ("features", "source_features", "proxy_features"):
        fields[name][:, :2] = (0.0, 3.0)
    _finite_or_error(estimator, fields)


def _finite_or_error_with_duplicate_columns(estimator: Estimator) -> None:
    fields = _fields()
    for name in ("features", "source_features", "proxy_features"):
        fields[name][:, 1] = fields[name][:, 0]
    _finite_or_error(estimator, fields)


def _finite_or_error_with_equal_rows(estimator: Estimator) -> None:
    fields = _fields()
    for name in _ARRAYS:
        fields[name][:] = fields[name][0]
    _finite_or_error(estimator, fields)
    fields = _fields()
    for name in _ARRAYS:
        fields[name][: len(fields[name]) // 2] = fields[name][0]
    _finite_or_error(estimator, fields)


def _one_class_is_an_error(estimator: Estimator) -> None:
    fields = _fields()
    for name in _LABELS:
        fields[name] = np.zeros_like(fields[name])
    try:
        components = _score(estimator, fields)
    except ModelSelectError:
        return
    raise AssertionError(f"gives {components} where all rows are of one class; expected an error that says so")


def _finite_or_error_with_singleton_classes(estimator: Estimator) -> None:
    _finite_or_error(estimator, _fields((30, 20, 1, 1)))
    _finite_or_error(estimator, _fields((1,) * 12))
    _finite_or_error(estimator, _fields((2, 1)))


def _gaps_in_labels_do_not_matter(estimator: Estimator) -> None:
    fields = _fields()
    gaps = np.array([2, 7, 40])
    _assert_same(estimator, fields, fields | {name: gaps[fields[name]] for name in _LABELS}, "gaps in the labels")


def _classes_can_be_renamed(estimator: Estimator) -> None:
    fields = _fields()
    names = np.array([2, 0, 1])
    _assert_same(estimator, fields, fields | {name: names[fields[name]] for name in _LABELS}, "renaming the classes")


def _separable_beats_shuffled(estimator: Estimator) -> None:
    fields = _fields()
    good, bad = _combined(estimator, [_score(estimator, fields), _score(estimator, _shuffled(fields))])
    assert good > bad, f"separable classes score {good}, the same with shuffled labels {bad}; higher must be better"


# --- checks of a zoo --------------------------------------------------------------------------------------------------


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
    _run_all(f"zoo {zoo.name!r}", checks, expected_failures)


def zoo_checks(zoo: Zoo, pattern: str, *, trust_remote_code: bool = False) -> list[Check]:
    """Name and check for every promise of a zoo; see `check_zoo`."""

    @cache
    def load() -> Backbone:
        return zoo.load(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)

    return [
        _named(_search_is_stable, zoo, pattern),
        _named(_metadata_has_known_types, zoo, pattern),
        _named(_candidates_can_be_pickled, zoo, pattern),
        _named(_backbone_is_ready_and_as_described, load),
        _named(_features_are_finite_and_repeatable, load),
        _named(_weights_key_is_stable, zoo, pattern, load, trust_remote_code),
        _named(_skeleton_traces, zoo, pattern, load, trust_remote_code),
        _named(_export_is_whole_or_nothing, zoo, pattern, trust_remote_code),
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
    outputs = _read(backbone, _items(backbone, 2))
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
    items = _items(backbone, 3)
    first, again = _read(backbone, items), _read(backbone, items)
    features = first.features
    assert features.dim() == 2, f"features have shape {tuple(features.shape)}; expected (batch, dimensions)"
    assert len(features) == 3, f"3 inputs give {len(features)} rows of features"
    assert features.isfinite().all(), "features of noise hold NaN or infinity"
    assert torch.equal(features, again.features), "the same inputs give other features the second time"
    alone = _read(backbone, items[:1]).features
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
    from modelselect import archi2vec

    backbone = load()
    module = zoo.skeleton(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    if module is None:  # a zoo need not know skeletons
        return
    weighty = [name for name, parameter in module.named_parameters() if parameter.device.type != "meta"]
    assert not weighty, f"the skeleton holds weights ({weighty[0]}); expected a module on the meta device"
    example = _batch(backbone, _items(backbone, 2)).to("meta")
    graph = archi2vec.trace(module, example=example)
    assert graph.number_of_nodes() > 0, "the skeleton's graph is empty"


def _export_is_whole_or_nothing(zoo: Zoo, pattern: str, trust_remote_code: bool) -> None:
    import torch

    backbone = zoo.load(_found(zoo, pattern)[0], trust_remote_code=trust_remote_code)
    width = _read(backbone, _items(backbone, 2)).features.shape[1]
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


def _items(backbone: Backbone, n: int) -> list[Any]:
    if backbone.candidate.metadata.get("modality", "image") == "text":
        return [f"the {word} cat sat on the mat" for word in ("small", "grey", "third")[:n]]
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (48, 60 + side, 3), dtype=np.uint8)) for side in range(n)]


def _batch(backbone: Backbone, items: list[Any]) -> torch.Tensor:
    import torch

    return backbone.preprocessing.finish(torch.stack([backbone.preprocessing.prepare(item) for item in items]))


def _read(backbone: Backbone, items: list[Any]) -> Any:
    import torch

    with torch.inference_mode():
        return backbone.read(backbone.module, _batch(backbone, items))


# --- checks of an extractor -------------------------------------------------------------------------------------------


def check_extractor(
    extractor: Extractor, device: str = "cpu", *, expected_failures: Mapping[str, str] | None = None
) -> None:
    """Runs every check of `extractor_checks` and reports all that fail, by name.

    Args:
        extractor: the instance to be registered.
        device: one that it supports here.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: what failed, or passed although it was expected to fail.

    >>> from modelselect.host import get_host
    >>> check_extractor(get_host().extractor("cpu"))
    """
    _run_all(f"extractor {extractor.name!r}", extractor_checks(extractor, device), expected_failures)


def extractor_checks(extractor: Extractor, device: str = "cpu") -> list[Check]:
    """Name and check for every promise of an extractor; see `check_extractor`."""
    checks = (
        _supports_the_device,
        _same_features_as_a_bare_loop,
        _batch_size_does_not_matter,
        _gives_what_is_asked_for,
        _backbone_comes_back_as_it_was,
    )
    return [_named(check, extractor, device) for check in checks]


_ROWS = 11
_FORWARD = frozenset({"features", "source_probabilities"})
_TOLERANCE = 1e-3
"""Of features, relative to the largest: devices add up in another order."""


def _tiny_backbone() -> Backbone:
    import torch

    from modelselect.backbone import Backbone, HeadInput, ImagePreprocessing, weights_digest

    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(6, 4),
    ).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    preprocessing = ImagePreprocessing((16, 16), 16, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone(Candidate("checks", "tiny"), module, preprocessing, HeadInput("6"), weights_digest(module))


@cache
def _tiny_probe() -> Any:
    from modelselect.probe import Probe

    pixels = np.random.default_rng(0).integers(0, 256, (_ROWS, 20, 24, 3), dtype=np.uint8)
    return Probe.of((pixels, np.arange(_ROWS) % 3), size=None)


def _extracted(extractor: Extractor, device: str, fields: frozenset[str] = _FORWARD, batch_size: int = 4) -> Evidence:
    return extractor.extract(_tiny_backbone(), _tiny_probe(), fields, device=device, batch_size=batch_size)


def _supports_the_device(extractor: Extractor, device: str) -> None:
    answer = extractor.supports(_tiny_backbone(), device)
    assert answer is True, f"supports(backbone, {device!r}) is {answer!r}; expected True for the device checked on"


def _same_features_as_a_bare_loop(extractor: Extractor, device: str) -> None:
    backbone, probe, evidence = _tiny_backbone(), _tiny_probe(), _extracted(extractor, device)
    rows = [_read(backbone, [probe.item(row)]) for row in range(len(probe))]
    features = np.concatenate([row.features.numpy() for row in rows])
    assert evidence.features is not None, "gives no features"
    assert evidence.features.dtype == np.float32, f"features are {evidence.features.dtype}; expected float32"
    assert evidence.features.shape == features.shape, (
        f"features have shape {evidence.features.shape}, not {features.shape}"
    )
    _assert_close(evidence.features, features, "features")
    assert np.array_equal(np.asarray(evidence.labels), probe.labels), "labels are not the probe's, in its order"
    logits = np.concatenate([row.logits.double().softmax(1).numpy() for row in rows])
    assert evidence.source_probabilities is not None, "gives no source_probabilities"
    _assert_close(evidence.source_probabilities, logits, "source_probabilities")


def _batch_size_does_not_matter(extractor: Extractor, device: str) -> None:
    one, all_rows = (_extracted(extractor, device, batch_size=size).features for size in (1, 2 * _ROWS))
    assert one is not None, "gives no features"
    assert all_rows is not None, "gives no features"
    _assert_close(one, all_rows, "features with another batch size")


def _gives_what_is_asked_for(extractor: Extractor, device: str) -> None:
    evidence = _extracted(extractor, device, frozenset({"features"}))
    assert evidence.features is not None, "asked for features, and gives none"
    assert evidence.source_probabilities is None, "gives source_probabilities without being asked"


def _backbone_comes_back_as_it_was(extractor: Extractor, device: str) -> None:
    import torch

    backbone = _tiny_backbone()
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    extractor.extract(backbone, _tiny_probe(), _FORWARD, device=device, batch_size=4)
    for name, value in backbone.module.state_dict().items():
        assert value.device.type == "cpu", f"{name} is left on {value.device}"
        assert torch.equal(value, before[name]), f"{name} has changed"
    assert not backbone.module.training, "the module is left in training mode"


def _assert_close(given: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    difference = float(np.abs(given - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    assert difference < _TOLERANCE, f"{what} differ from a bare loop's by {difference:.1e} of the largest"
