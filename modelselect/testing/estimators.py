"""Named checks for authors of estimators: does an estimator keep its promises?

Three lines give an estimator every check as a test of its own:

    @pytest.mark.parametrize(("name", "check"), modelselect.testing.estimator_checks(MyEstimator()))
    def test_my_estimator(name, check):
        check()
"""

from __future__ import annotations

import contextlib
import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import ModelSelectError
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evidence import evidence as evidence_module
from modelselect.evidence.evidence import FIELDS, ROW_FIELDS, Evidence, shown_with
from modelselect.testing.checks import Check, lacking, name_is_valid, named_check, run_checks
from modelselect.testing.evidence import (
    ARRAYS,
    LABELS,
    METADATA,
    SOURCE_ROW_FIELDS,
    Fields,
    evidence_fields,
    evidence_for,
    evidence_of_kind,
    reordered_evidence,
    shuffled_evidence,
)
from modelselect.testing.properties import property_checks
from modelselect.utils.target_kinds import CLASSES, TARGET_KINDS

_GAP_SHARE = 0.25
"""How far the score of a stochastic estimator may move where that of a deterministic one must not: this share of the
distance between the scores of separable and shuffled classes."""


def check_estimator(estimator: Estimator, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `estimator_checks` and reports all that fail, by name.

    Args:
        estimator: the instance to be registered, or one with other parameters.
        expected_failures: reasons, by the names of checks that this method cannot pass. These checks still run: one
            that passes is reported, so that no reason outlives its cause.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> import modelselect
    >>> class Spread(modelselect.Estimator):
    ...     name = "spread"
    ...     requires = frozenset({"features"})
    ...     citation = "A. Author: Spread is all you need, 2026"
    ...     def score(self, evidence):
    ...         return {"spread": evidence.features.std(dtype="float64")}
    >>> check_estimator(Spread(), expected_failures={"can_be_pickled": "it is defined in this session"})
    """
    run_checks(repr(estimator), estimator_checks(estimator), expected_failures)


def estimator_checks(estimator: Estimator) -> list[Check]:
    """For every promise that applies, a name and a check: a function without arguments that raises AssertionError.

    Checks that compare classes are left out for methods that need neither labels nor proxy features. Methods that need
    `history` get only the checks that need no score; their authors test what they read from a history. Where Hypothesis
    is installed, four more checks draw random evidence; each ends after about two seconds, and its message holds the
    smallest evidence on which it failed, as a call of `random_evidence`.

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
    if incomplete := lacking(estimator, Estimator, "name", "requires"):
        return incomplete
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
    if "history" not in requires and requires & ARRAYS:
        checks += [
            _float32_agrees_with_float64,
            _rows_can_be_permuted,
            _finite_or_error_with_more_dimensions_than_rows,
            _finite_or_error_with_few_dimensions,
            _finite_or_error_with_constant_columns,
            _finite_or_error_with_duplicate_columns,
            _finite_or_error_with_equal_rows,
        ]
    if "history" not in requires and "labels" in estimator.reads:
        checks.append(_scores_every_kind_of_labels_that_it_takes)
    if "history" not in requires and requires & LABELS and CLASSES in estimator.targets:
        checks += [
            _one_class_is_an_error,
            _finite_or_error_with_singleton_classes,
            _gaps_in_labels_do_not_matter,
            _classes_can_be_renamed,
        ]
    if "history" not in requires and requires & (LABELS | {"proxy_features"}):
        checks.append(_separable_beats_shuffled)
    checks += property_checks(estimator)
    return [named_check(check, estimator) for check in checks]


def _score(estimator: Estimator, fields: Fields, seed: int = 0) -> dict[str, float]:
    return dict(evaluate(estimator, evidence_for(estimator, fields, seed)))


def _is_mapping(estimator: Estimator, components: object) -> None:
    assert isinstance(components, Mapping), (
        f"score() gives a {type(components).__name__}; expected numbers by the names of components, such as "
        f"{{{estimator.name!r}: 0.5}}"
    )


def _finite_or_error(estimator: Estimator, fields: Fields) -> None:
    """Fails unless the scores are finite, or an error of modelselect says why there are none."""
    evidence = evidence_for(estimator, fields)
    try:
        evidence = evidence.restrict(estimator.reads)
        components = estimator.score(evidence)
    except ModelSelectError as error:
        if not str(error).strip():
            raise AssertionError(f"raises {type(error).__name__} without a message") from error
        return
    _is_mapping(estimator, components)
    assert components, "gives no component"
    assert np.isfinite(list(components.values())).all(), (
        f"gives {dict(components)}; expected finite numbers or an error"
    )


def _combined(estimator: Estimator, pool: list[dict[str, float]]) -> NDArray[np.float64]:
    return np.asarray(estimator.combine(pool), dtype=np.float64)


def _assert_same(estimator: Estimator, fields: Fields, other: Fields, what: str, relative: float = 1e-6) -> None:
    """Every component is equal up to rounding; for a stochastic estimator, the scores are close."""
    first, second = _score(estimator, fields), _score(estimator, other)
    if estimator.stochastic:
        good, bad, moved = _combined(estimator, [first, _score(estimator, shuffled_evidence(fields)), second])
        allowed = _GAP_SHARE * abs(good - bad)
        assert abs(good - moved) <= allowed, f"{what} moves the score from {good} to {moved}, more than chance explains"
        return
    assert first.keys() == second.keys(), f"{what} changes the components from {set(first)} to {set(second)}"
    for name in first:
        a, b = first[name], second[name]
        scale = max(abs(a), abs(b), 1e-9)
        assert abs(a - b) <= relative * scale, f"{what} changes {name} from {a!r} to {b!r}"


def _name_and_citation_are_there(estimator: Estimator) -> None:
    name_is_valid(estimator)
    citation = getattr(estimator, "citation", None)
    assert isinstance(citation, str), f"citation is {citation!r}; expected authors, title, venue and year"
    assert citation.strip(), "citation is empty; expected authors, title, venue and year"


def _requires_known_fields(estimator: Estimator) -> None:
    requires = estimator.requires
    assert isinstance(requires, frozenset), f"requires is a {type(requires).__name__}; expected a frozenset of names"
    unknown = sorted(estimator.reads - set(FIELDS))
    assert not unknown, f"requires or optional holds {', '.join(unknown)}; known fields: {', '.join(FIELDS)}"


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
        f"the constructor takes {names}, but the instance stores {sorted(stored)}; store each parameter under its own "
        "name and nothing else (derive the rest when it is needed)"
    )
    rebuilt = type(estimator)(**stored)
    for name, value in stored.items():
        assert rebuilt.parameters[name] is value or rebuilt.parameters[name] == value, (
            f"the constructor changes {name} from {value!r} to {rebuilt.parameters[name]!r}; it must only store it"
        )


def _key_is_stable(estimator: Estimator) -> None:
    rebuilt = type(estimator)(**estimator.parameters)
    assert rebuilt.key == estimator.key, (
        f"equal parameters give two keys, {estimator.key} and {rebuilt.key}; a parameter's repr must contain its value"
    )
    assert not re.search(r" at 0x[0-9a-f]+", repr(estimator.parameters)), (
        f"a parameter's repr holds a memory address ({estimator.parameters!r}), so the key changes in each process"
    )


def _can_be_pickled(estimator: Estimator) -> None:
    copy = pickle.loads(pickle.dumps(estimator))
    assert copy.key == estimator.key, f"a pickled copy has another key: {copy.key}, not {estimator.key}"


def _scores_ordinary_evidence(estimator: Estimator) -> None:
    before = estimator.parameters
    plain = evidence_for(estimator, evidence_fields()).restrict(estimator.reads)
    _is_mapping(estimator, estimator.score(plain))
    components = _score(estimator, evidence_fields())
    assert components, "gives no component"
    assert estimator.parameters == before, "scoring changes the estimator's parameters"


def _scores_every_kind_of_labels_that_it_takes(estimator: Estimator) -> None:
    for kind in sorted(estimator.targets):
        components = evaluate(estimator, evidence_of_kind(kind, evidence_fields()))
        assert components, f"gives no component for {TARGET_KINDS[kind]}, which `targets` says that it takes"


def _reads_only_declared_fields(estimator: Estimator) -> None:
    evidence = evidence_for(estimator, evidence_fields()).restrict(estimator.reads)
    undeclared: set[str] = set()

    class Watched(Evidence):
        """Notes which fields are read by code outside of the evidence module."""

        def __getattribute__(self, name: str) -> Any:
            if name in FIELDS and name not in shown_with(estimator.reads):
                frame = inspect.currentframe()
                caller = frame.f_back if frame else None
                if caller is None or caller.f_code.co_filename != evidence_module.__file__:
                    undeclared.add(name)
            return super().__getattribute__(name)

    watched = Watched(
        **{name: getattr(evidence, name) for name in FIELDS},
        seed=evidence.seed,
        target_kind=evidence.target_kind,
    )
    try:
        estimator.score(watched)
    except Exception:
        if not undeclared:
            raise
    assert not undeclared, f"reads {', '.join(sorted(undeclared))} without declaring this in `requires` or `optional`"


def _inputs_are_not_changed(estimator: Estimator) -> None:
    fields = evidence_fields()
    before = {name: np.array(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    _score(estimator, fields)
    for name, value in before.items():
        assert np.array_equal(fields[name], value), f"overwrites the caller's {name}"
        fields[name].flags.writeable = False
    _score(estimator, fields)
    assert fields["metadata"] == METADATA, "changes the caller's metadata"
    _shared_arrays_are_not_changed(estimator, fields)


def _shared_arrays_are_not_changed(estimator: Estimator, fields: Fields) -> None:
    """Fails if scoring changes an array of the evidence or its statistics, which all estimators share.

    They are read-only. Here they are writable, so that a method that writes is found by what it writes.
    """
    used, fresh = (evidence_for(estimator, fields).restrict(estimator.reads) for _ in range(2))
    arrays = shared_arrays(used)
    for array in arrays.values():
        with contextlib.suppress(ValueError):  # a view of the caller's read-only array
            array.flags.writeable = True
    estimator.score(used)
    for name, expected in shared_arrays(fresh).items():
        assert np.array_equal(arrays[name], expected, equal_nan=True), (
            f"changes {name} in place; it belongs to all estimators: work on a copy"
        )


def shared_arrays(evidence: Evidence) -> dict[str, NDArray[Any]]:
    """The arrays that every estimator on this evidence gets, by name: its own, and those of its statistics."""
    found = {f"evidence.{name}": array for name in FIELDS if isinstance(array := getattr(evidence, name), np.ndarray)}
    owners: dict[str, Any] = {}
    if evidence.features is not None:
        owners["feature_statistics"] = evidence.feature_statistics
        if evidence.labels is not None and evidence.labels.ndim == 1:
            owners["statistics"] = evidence.statistics
    for owner, each in owners.items():
        for name in (name for name in dir(each) if not name.startswith("_")):
            value = getattr(each, name)
            for place, part in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(part, np.ndarray):
                    found[f"{owner}.{name}" + (f"[{place}]" if isinstance(value, tuple) else "")] = part
    return found


def _same_seed_same_score(estimator: Estimator) -> None:
    fields = evidence_fields()
    first, again = _score(estimator, fields), _score(estimator, fields)
    assert first == again, f"gives {first} and then {again} for the same evidence and seed"
    rebuilt = type(estimator)(**estimator.parameters)
    assert _score(rebuilt, fields) == first, "another instance with the same parameters gives another score"
    if not estimator.stochastic:
        other = _score(estimator, fields, seed=1)
        assert other == first, f"the seed changes the score from {first} to {other}; declare `stochastic = True`"


def _combines_any_pool(estimator: Estimator) -> None:
    pool = [
        _score(estimator, fields)
        for fields in (evidence_fields(), shuffled_evidence(evidence_fields()), evidence_fields(seed=2))
    ]
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
    fields = evidence_fields()
    single = {
        name: value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in fields.items()
    }
    _assert_same(estimator, fields, single, "float32 instead of float64", relative=1e-4)


def _rows_can_be_permuted(estimator: Estimator) -> None:
    fields, rng = evidence_fields(), np.random.default_rng(3)
    order, source_order = (rng.permutation(len(fields[name])) for name in ("labels", "source_labels"))
    other = reordered_evidence(reordered_evidence(fields, ROW_FIELDS, order), SOURCE_ROW_FIELDS, source_order)
    _assert_same(estimator, fields, other, "another order of the rows")


def _finite_or_error_with_more_dimensions_than_rows(estimator: Estimator) -> None:
    _finite_or_error(estimator, evidence_fields((9, 8, 7), dimensions=60))


def _finite_or_error_with_few_dimensions(estimator: Estimator) -> None:
    for dimensions in (1, 2):
        _finite_or_error(estimator, evidence_fields(dimensions=dimensions))


def _finite_or_error_with_constant_columns(estimator: Estimator) -> None:
    fields = evidence_fields()
    for name in ("features", "source_features", "proxy_features"):
        fields[name][:, :2] = (0.0, 3.0)
    _finite_or_error(estimator, fields)


def _finite_or_error_with_duplicate_columns(estimator: Estimator) -> None:
    fields = evidence_fields()
    for name in ("features", "source_features", "proxy_features"):
        fields[name][:, 1] = fields[name][:, 0]
    _finite_or_error(estimator, fields)


def _finite_or_error_with_equal_rows(estimator: Estimator) -> None:
    fields = evidence_fields()
    for name in ARRAYS:
        fields[name][:] = fields[name][0]
    _finite_or_error(estimator, fields)
    fields = evidence_fields()
    for name in ARRAYS:
        fields[name][: len(fields[name]) // 2] = fields[name][0]
    _finite_or_error(estimator, fields)


def _one_class_is_an_error(estimator: Estimator) -> None:
    fields = evidence_fields()
    for name in LABELS:
        fields[name] = np.zeros_like(fields[name])
    try:
        components = _score(estimator, fields)
    except ModelSelectError:
        return
    raise AssertionError(f"gives {components} although all rows are of one class; expected an error that says so")


def _finite_or_error_with_singleton_classes(estimator: Estimator) -> None:
    _finite_or_error(estimator, evidence_fields((30, 20, 1, 1)))
    _finite_or_error(estimator, evidence_fields((1,) * 12))
    _finite_or_error(estimator, evidence_fields((2, 1)))


def _gaps_in_labels_do_not_matter(estimator: Estimator) -> None:
    fields = evidence_fields()
    gaps = np.array([2, 7, 40])
    _assert_same(estimator, fields, fields | {name: gaps[fields[name]] for name in LABELS}, "gaps in the labels")


def _classes_can_be_renamed(estimator: Estimator) -> None:
    fields = evidence_fields()
    names = np.array([2, 0, 1])
    _assert_same(estimator, fields, fields | {name: names[fields[name]] for name in LABELS}, "renaming the classes")


def _separable_beats_shuffled(estimator: Estimator) -> None:
    fields = evidence_fields()
    good, bad = _combined(estimator, [_score(estimator, fields), _score(estimator, shuffled_evidence(fields))])
    assert good > bad, f"separable classes score {good}, and with shuffled labels {bad}; the first must be higher"
