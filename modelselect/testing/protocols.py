"""Named checks for authors of protocols."""

from __future__ import annotations

import math
import pickle
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import fields

from modelselect.agreement import Agreement
from modelselect.candidates.expression import Expression
from modelselect.candidates.zoo import Zoo
from modelselect.estimators.estimator import Estimator
from modelselect.protocols.protocol import MEAN, SCORE, Protocol
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks

_TRAINED = ("full", "head", "lora")
_MEASURES = tuple(field.name for field in fields(Agreement) if field.name not in ("k", "n", "left_out"))


def check_protocol(
    protocol: Protocol,
    *,
    zoos: Sequence[Zoo] = (),
    estimators: Sequence[Estimator] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> None:
    """Runs every check of `protocol_checks` and reports all that fail, by name.

    To run the protocol, call `modelselect.reproduce(protocol, scale="small")` in a test of its own.

    Args:
        protocol: the instance to be registered.
        zoos: zoos in which candidates are searched for. Candidates of other zoos are only read.
        estimators: estimators that must take the settings of the methods. Methods of others are only read.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.protocols import Experiment, Method, Protocol
    >>> check_protocol(Protocol(
    ...     "mine", "One method on one network", "A. Author: My paper, 2026", (Experiment("Table 1", "its score"),),
    ...     candidates=("embedded:plain.letters",), datasets={"letters": "data:mnist"}, methods=(Method("K", "knn"),),
    ... ))
    """
    run_checks(called("protocol", protocol), protocol_checks(protocol, zoos, estimators), expected_failures)


def protocol_checks(protocol: Protocol, zoos: Sequence[Zoo] = (), estimators: Sequence[Estimator] = ()) -> list[Check]:
    """For every promise of a protocol, a name and a check; see `check_protocol`."""
    if incomplete := lacking(protocol, Protocol):
        return incomplete
    return [
        named_check(name_is_valid, protocol),
        named_check(_title_and_document_are_there, protocol),
        named_check(_experiments_are_named, protocol),
        named_check(_there_is_something_to_run, protocol),
        named_check(_candidates_are_found, protocol, zoos),
        named_check(_methods_have_names_of_their_own, protocol),
        named_check(_settings_are_taken, protocol, estimators),
        named_check(_measures_exist, protocol),
        named_check(_sizes_can_be_drawn, protocol),
        named_check(_proxies_are_expressions, protocol),
        named_check(_accuracies_can_be_measured, protocol),
        named_check(_truth_can_be_used, protocol),
        named_check(_truth_says_where_it_is_from, protocol),
        named_check(_published_figures_fit, protocol),
        named_check(_it_can_be_sent_to_a_process, protocol),
    ]


def _title_and_document_are_there(protocol: Protocol) -> None:
    for name in ("title", "document"):
        text = getattr(protocol, name)
        assert str(text or "").strip(), f"{name} is {text!r}; expected a text"
        assert "\n" not in text, f"{name} has several lines; expected one"


def _experiments_are_named(protocol: Protocol) -> None:
    assert protocol.experiments, "experiments is empty; expected the tables or figures that the protocol makes"
    for experiment in protocol.experiments:
        assert experiment.where.strip(), f"{experiment!r} has no place; expected one such as 'Table 1'"
        assert experiment.shows.strip(), f"{experiment.where!r} does not say what it shows; expected a few words"


def _there_is_something_to_run(protocol: Protocol) -> None:
    if protocol.obstacle or protocol.architectures is not None:
        return
    if protocol.picture:
        try:
            found = pkgutil.resolve_name(protocol.picture)
        except (ValueError, ImportError, AttributeError) as error:
            raise AssertionError(f"picture is {protocol.picture!r}; expected 'module:function' ({error})") from error
        assert callable(found), f"picture {protocol.picture!r} is no function"
        both = bool(protocol.datasets) == bool(protocol.candidates)
        assert both, "a picture has candidates and no datasets, or datasets and no candidates; expected both or neither"
        return
    assert protocol.datasets, "datasets is empty; expected at least one, such as {'pets': 'data:pets'}"
    if protocol.training is None:
        assert protocol.candidates, "candidates is empty; expected candidate expressions"
        assert protocol.methods, "methods is empty; expected at least one, or a training, architectures or a picture"


def _candidates_are_found(protocol: Protocol, zoos: Sequence[Zoo]) -> None:
    twice = sorted({each for each in protocol.candidates if protocol.candidates.count(each) > 1})
    assert not twice, f"candidates names {', '.join(twice)} twice"
    by_name = {name: zoo for zoo in zoos for name in (zoo.name, *zoo.aliases)}
    for text in protocol.candidates:
        expression = Expression.parse(text)
        if expression.zoo in by_name:
            assert list(by_name[expression.zoo].search(expression.pattern)), f"{text!r} matches nothing in its zoo"


def _methods_have_names_of_their_own(protocol: Protocol) -> None:
    labels = [method.label for method in protocol.methods]
    assert all(label.strip() for label in labels), "a method has an empty label"
    twice = sorted({label for label in labels if labels.count(label) > 1})
    assert not twice, f"the label {', '.join(twice)} stands for two methods; give each a label of its own"
    for method in protocol.methods:
        name_is_valid(method.estimator)
    known = {method.estimator for method in protocol.methods}
    unused = sorted(protocol.quick.keys() - known)
    assert not unused, f"quick has settings for {', '.join(unused)}, which is the estimator of no method"


def _settings_are_taken(protocol: Protocol, estimators: Sequence[Estimator]) -> None:
    by_name = {estimator.name: estimator for estimator in estimators}
    for method in protocol.methods:
        if method.estimator in by_name:
            for settings in (method.settings, {**method.settings, **protocol.quick.get(method.estimator, {})}):
                try:
                    type(by_name[method.estimator])(**settings)
                except (TypeError, ValueError) as error:
                    raise AssertionError(
                        f"{method.label}: {method.estimator} does not take {settings!r} ({error})"
                    ) from error


def _measures_exist(protocol: Protocol) -> None:
    assert protocol.measures, "measures is empty; expected at least one attribute of modelselect.Agreement"
    for measure in protocol.measures:
        assert measure in _MEASURES, f"measures has {measure!r}; expected one of {', '.join(_MEASURES)}"


def _sizes_can_be_drawn(protocol: Protocol) -> None:
    sizes = [("probe_size", protocol.probe_size), ("source_size", protocol.source_size)]
    for name, size in [*sizes, *(("probe_sizes", each) for each in protocol.probe_sizes)]:
        assert size is None or size >= 2, f"{name} is {size}; expected 2 or more rows"
    for method in protocol.methods:
        assert method.dimensions is None or method.dimensions >= 1, (
            f"{method.label}: dimensions is {method.dimensions}; expected 1 or more principal components"
        )
    for size in protocol.per_class:
        assert size >= 1, f"per_class is {size}; expected 1 or more rows of each class"
    assert protocol.seeds >= 1, f"seeds is {protocol.seeds}; expected 1 or more probes"
    assert protocol.hours > 0, f"hours is {protocol.hours}; expected the rough time of a whole run"


def _proxies_are_expressions(protocol: Protocol) -> None:
    for proxy in (protocol.proxy, *(method.proxy for method in protocol.methods)):
        if proxy is not None:
            Expression.parse(proxy)


def _accuracies_can_be_measured(protocol: Protocol) -> None:
    method = (protocol.fine_tuning or {}).get("method", "full")
    assert method in _TRAINED, f"fine_tuning has the method {method!r}; expected one of {', '.join(_TRAINED)}"


def _truth_can_be_used(protocol: Protocol) -> None:
    truth = protocol.truth
    if truth is None:
        return
    name_is_valid(truth.name)
    if protocol.datasets:
        shared = protocol.datasets.keys() & truth.accuracies.keys()
        assert shared, (
            f"the truth knows {', '.join(truth.accuracies)}, and the datasets are {', '.join(protocol.datasets)}; "
            "expected a dataset with the same name in both"
        )
    for dataset, by_model in truth.accuracies.items():
        for model, accuracy in by_model.items():
            assert 0 <= accuracy <= 100, f"the accuracy of {model} on {dataset} is {accuracy}; expected per cent"
    named = {model for by_model in truth.accuracies.values() for model in by_model}
    strange = sorted(truth.models.keys() - named)
    assert not strange, f"models says what {strange[0]!r} means, which the table does not name"
    for text in truth.models.values():
        Expression.parse(text)
    meant = list(truth.models.values())
    twice = sorted({each for each in meant if meant.count(each) > 1})
    assert not twice, f"two models of the truth mean {', '.join(twice)}; expected one"


def _truth_says_where_it_is_from(protocol: Protocol) -> None:
    if protocol.truth is not None:
        for name in ("source", "licence"):
            text = getattr(protocol.truth, name)
            assert str(text or "").strip(), f"the truth's {name} is {text!r}; expected a text"


def _published_figures_fit(protocol: Protocol) -> None:
    labels = {method.label for method in protocol.methods}
    models = (
        set() if protocol.truth is None else {m for by_model in protocol.truth.accuracies.values() for m in by_model}
    )
    for published in protocol.published:
        scores = published.measure == SCORE
        assert scores or published.measure in _MEASURES, (
            f"{published.where}: measure is {published.measure!r}; expected {SCORE!r} or one of {', '.join(_MEASURES)}"
        )
        strange = sorted(published.values.keys() - labels)
        assert not strange, f"{published.where} has figures of {strange[0]!r}, which is the label of no method"
        for label, values in published.values.items():
            for column, value in values.items():
                assert math.isfinite(value), f"{published.where}: {label} on {column} is {value}; expected a number"
                if not scores:
                    assert abs(value / published.factor) <= 1 or "regret" in published.measure, (
                        f"{published.where}: {label} on {column} is {value}, above {published.factor:g}; expected the "
                        "factor of the figures, such as 100 for per cent"
                    )
                    assert column == MEAN or column in protocol.datasets or _knows(protocol, column), (
                        f"{published.where} has a figure on {column!r}; expected one of {MEAN}, "
                        f"{', '.join(protocol.datasets)}"
                    )
                elif models:
                    assert column in models or ":" in column, (
                        f"{published.where} has a score of {column!r}, which the truth does not name"
                    )


def _knows(protocol: Protocol, dataset: str) -> bool:
    """Whether the truth has the dataset: a document may print figures on data that cannot be had."""
    return protocol.truth is not None and dataset in protocol.truth.accuracies


def _it_can_be_sent_to_a_process(protocol: Protocol) -> None:
    assert pickle.loads(pickle.dumps(protocol)) == protocol, "is another protocol after it was pickled"
