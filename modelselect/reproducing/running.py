"""`reproduce()`: runs a published experiment, at its own scale or on a small stand-in."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np

from modelselect.agreement import agreement
from modelselect.archi2vec.embedding import embed
from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.measures import FEWEST_FOR_A_FIGURE
from modelselect.benchmarking.running import benchmark
from modelselect.errors import InvalidInputError, SearchError
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.posterior import history_metrics
from modelselect.estimators.projected import Projected
from modelselect.evaluation.features import features
from modelselect.evaluation.keywords import FeatureKeywords, RunKeywords, with_signature
from modelselect.history.proxy import named_proxy
from modelselect.host.host import get_host
from modelselect.host.lookup import find_estimator
from modelselect.probe.named import PREFIX, find_dataset
from modelselect.probe.probe import DEFAULT_HOLDOUT, Probe
from modelselect.protocols.protocol import MEAN, SCORE, Method, Protocol
from modelselect.reproducing.needs import FEWEST_CANDIDATES, needs_of, proxies_away, proxy_of
from modelselect.reproducing.reproduction import ReproducedFigure, Reproduction
from modelselect.reproducing.stand_in import StandIn, stand_in
from modelselect.reproducing.training import watched_trainings
from modelselect.utils.text import listed
from modelselect.verification.recipe import FineTuning

SCALES = ("paper", "small")

_SOURCE_FIELDS = {"source_features", "source_labels"}

Scores = Mapping[str, Mapping[str, float]]
"""By dataset and model."""


@with_signature(RunKeywords)
def reproduce(
    protocol: str | Protocol,
    *,
    scale: str = "paper",
    seeds: int | None = None,
    download: bool = False,
    proxy: str | None = None,
    train_proxy: bool | None = None,
    **settings: Unpack[RunKeywords],
) -> Reproduction:
    """Runs a published experiment, and shows our figures next to the published ones.

    What is on this machine is run; what has to be downloaded is named, and only downloaded with `download=True`. Every
    result is saved as soon as it is computed, and a run that was killed continues where it stopped.

    Args:
        protocol: a name (`modelselect reproduce list` lists them), or a `modelselect.protocols.Protocol`.
        scale: `"paper"`, or `"small"`: a stand-in for candidates, datasets and truth that runs offline in seconds. The
            figures of a stand-in say that the protocol runs, and nothing about a method.
        seeds: number of probes; None for the number in the protocol.
        download: whether candidates, datasets and proxies may be downloaded.
        proxy: the candidate whose features describe each dataset, for methods that read them (`fennec`, `rsa`, `dds`);
            None for those of the protocol, else the default one.
        train_proxy: whether the proxy of `rsa` and `dds` is fine-tuned on each dataset first, as in their papers; None
            for what the protocol says.
        settings: keywords of `select()`: device, executor, cache_dir, trust_remote_code, seed, batch_size, precision,
            compile, extractor, progress.

    Raises:
        UnknownNameError: there is no such protocol.
        InvalidInputError: the experiment cannot be run, too little of it is here, or a setting is wrong; the message
            says what is needed.

    >>> import modelselect as ms
    >>> found = ms.reproduce("fennec-architectures", progress=False)
    >>> found.figure("torchvision:resnet18", "timm:resnet10t", "similarity").published
    0.9703
    """
    if scale not in SCALES:
        raise InvalidInputError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    if seeds is not None and (not isinstance(seeds, int) or seeds < 1):
        raise InvalidInputError(f"seeds is {seeds!r}; expected a whole number of 1 or more")
    if not isinstance(protocol, str | Protocol):
        raise InvalidInputError(
            f"the protocol is {type(protocol).__name__}; expected a name, of those that `modelselect reproduce list` "
            "shows, or a Protocol"
        )
    chosen = get_host().protocol(protocol) if isinstance(protocol, str) else protocol
    if proxy is not None:
        with contextlib.suppress(SearchError):  # for example without a network; the run says the reason
            named_proxy(proxy)
        chosen = replace(chosen, proxy=proxy, methods=tuple(replace(method, proxy=None) for method in chosen.methods))
    if train_proxy is not None:
        chosen = replace(chosen, methods=tuple(_with_training(method, train_proxy) for method in chosen.methods))
    if chosen.architectures is not None:
        return _compared(chosen, scale)
    if not chosen.datasets:
        return Reproduction(chosen, scale, (), notes=(_TO_DRAW,))
    if scale == "small":
        material, notes = _small(chosen, proxy, seeds, settings.get("trust_remote_code", False))
    else:
        material, notes = _material(chosen if seeds is None else replace(chosen, seeds=seeds), download)
    if material.protocol.training is not None:
        return _trained(chosen, scale, material, settings, notes)
    if chosen.picture:
        return _pictured(chosen, scale, material, settings, notes)
    if not download:
        material, left_out = _without_proxies_away(material)
        notes += left_out
    return _scored(chosen, scale, material, settings, notes)


def _with_training(method: Method, train_proxy: bool) -> Method:
    """The method with its proxy trained or not, if it compares candidates with it. Datasets need one for all."""
    reads = find_estimator(method.estimator).reads
    compares = "proxy_features" in reads and "history" not in reads
    return replace(method, train_proxy=train_proxy) if compares else method


# --- what is run ------------------------------------------------------------------------------------------------------


def _small(
    protocol: Protocol, proxy: str | None, seeds: int | None, trust_remote_code: bool
) -> tuple[StandIn, tuple[str, ...]]:
    """The stand-in, with the caller's proxy and number of seeds."""
    material = stand_in(protocol, trust_remote_code)
    asked = replace(material.protocol, proxy=proxy, seeds=material.protocol.seeds if seeds is None else seeds)
    notes = (f"A stand-in: {material.note}. Its figures say nothing about a method.",)
    return replace(material, protocol=asked), notes


def _material(protocol: Protocol, download: bool) -> tuple[StandIn, tuple[str, ...]]:
    """What of the experiment can be run: its own candidates, datasets and truth.

    Raises:
        InvalidInputError: too little is here, or the experiment cannot be run.
    """
    if protocol.obstacle:
        raise InvalidInputError(
            f"{protocol.name} cannot be run: {protocol.obstacle}. On a stand-in it runs: scale='small' (--scale small)"
        )
    needs = needs_of(protocol)
    if protocol.training is not None:
        dataset = find_dataset(next(iter(protocol.datasets.values())))
        if not download and not (dataset.is_here and needs.is_complete):
            raise InvalidInputError(_advice(protocol, needs.sentences()))
        return StandIn(protocol, protocol.datasets, None, None, FineTuning(), None, ""), ()
    candidates = [*needs.here, *(needs.away if download else ())]
    names = [*needs.datasets, *(needs.datasets_away if download else ())]
    table = protocol.truth
    known = {} if table is None else table.accuracies
    measured = protocol.fine_tuning if table is None else None
    datasets = {
        name: given
        for name, given in protocol.datasets.items()
        if name in names and (name in known or measured is not None or protocol.picture)
    }
    notes = [] if needs.is_complete or download else needs.sentences()
    notes += [
        f"No accuracies are known on {name}." for name in names if name in protocol.datasets and name not in datasets
    ]
    if len(candidates) < (1 if protocol.picture else FEWEST_CANDIDATES) or not datasets:
        raise InvalidInputError(_advice(protocol, needs.sentences()))
    source = _source_of(protocol, download)
    if source != protocol.source:
        notes.append(f"{protocol.source} is not here, so methods that read source data have no figures.")
    chosen = replace(protocol, candidates=tuple(candidate.unversioned_id for candidate in candidates))
    if measured is not None:
        recipe = FineTuning(**{name: value for name, value in measured.items() if name != "method"})
        return StandIn(chosen, datasets, None, measured.get("method", "full"), recipe, source, ""), tuple(notes)
    models = {} if table is None else table.models
    truth = {
        name: {models.get(model, model): value for model, value in by_model.items()}
        for name, by_model in known.items()
        if name in datasets
    }
    return StandIn(chosen, datasets, truth, None, FineTuning(), source, ""), tuple(notes)


def _source_of(protocol: Protocol, download: bool) -> str | None:
    """The dataset of pre-training, if it is here or may be downloaded."""
    source = protocol.source
    away = source is not None and source.startswith(PREFIX) and not (find_dataset(source).is_here or download)
    return None if away else source


def _without_proxies_away(material: StandIn) -> tuple[StandIn, tuple[str, ...]]:
    """The material without the methods whose proxy has to be downloaded, and what is said of these.

    Raises:
        InvalidInputError: no method is left.
    """
    protocol = material.protocol
    away = proxies_away(protocol)
    lacking = {m.label: proxy for m in protocol.methods if (proxy := proxy_of(protocol, m)) in away}
    kept = tuple(method for method in protocol.methods if method.label not in lacking)
    if lacking and not kept:
        raise InvalidInputError(
            f"the proxy of every method of {protocol.name} has to be downloaded: {listed(tuple(away), 12)}. Add "
            "download=True (--download), or name a proxy that is here with proxy= (--proxy)"
        )
    notes = tuple(
        f"No figure of {label}: its proxy {proxy} has to be downloaded; add download=True (--download)."
        for label, proxy in lacking.items()
    )
    return replace(material, protocol=replace(protocol, methods=kept)), notes


def _advice(protocol: Protocol, sentences: Sequence[str]) -> str:
    return (
        f"too little of {protocol.name} is on this machine. {' '.join(sentences)} Add download=True (--download), or "
        "run a stand-in: scale='small' (--scale small)"
    )


# --- scores ----------------------------------------------------------------------------------------------------------


@dataclass
class _Found:
    """What the rounds gave, by label of the method."""

    scores: dict[str, Scores]
    seconds: dict[str, float]
    repeats: dict[tuple[str, str], list[Scores]]
    reasons: dict[str, str]
    truth: Mapping[str, Mapping[str, float]]
    provenance: Mapping[str, Any]


def _scored(
    protocol: Protocol, scale: str, material: StandIn, settings: RunKeywords, notes: tuple[str, ...]
) -> Reproduction:
    found = _rounds_of(material, settings)
    figures = [
        figure
        for measure in protocol.measures
        for method in material.protocol.methods
        for figure in _figures(protocol, found, measure, method.label)
    ]
    figures += list(_printed_scores(protocol, found, scale))
    notes += tuple(f"No figure of {label}: {why}." for label, why in found.reasons.items())
    points = {
        label: {
            dataset: {m: (score, found.truth[dataset][m]) for m, score in by_model.items() if m in found.truth[dataset]}
            for dataset, by_model in by_dataset.items()
        }
        for label, by_dataset in found.scores.items()
    }
    return Reproduction(
        protocol, scale, tuple(figures), points, found.seconds, notes=notes, provenance=found.provenance
    )


def _rounds_of(material: StandIn, settings: RunKeywords) -> _Found:
    """Benchmarks in rounds: no estimator is twice in one, with other settings. All rounds share the forward passes."""
    protocol = material.protocol
    seed = settings.get("seed", 0)
    probes = {
        name: Probe.of(
            dataset,
            size=protocol.probe_size,
            seed=seed,
            holdout=0.0 if material.verify is None else DEFAULT_HOLDOUT,
            test_as_holdout=material.verify is not None,
        )
        for name, dataset in material.datasets.items()
    }
    estimators = {method.label: _estimator(method) for method in protocol.methods}
    source = None
    if material.source is not None and any(_SOURCE_FIELDS & each.reads for each in estimators.values()):
        source = Probe.of(material.source, size=protocol.source_size, seed=seed)
    found = _Found({}, {}, {}, {}, {}, {})
    truth, candidates = material.truth, list(protocol.candidates)
    for methods in _rounds(protocol.methods):
        result = benchmark(
            candidates,
            probes,
            truth,
            verify=material.verify if truth is None else None,
            fine_tuning=material.fine_tuning,
            estimators=_with_their_history([estimators[method.label] for method in methods], methods),
            source=source,
            proxy=methods[0].proxy or protocol.proxy,
            train_proxy=methods[0].train_proxy,
            probe_sizes=protocol.probe_sizes or None,
            per_class=protocol.per_class or None,
            seeds=protocol.seeds,
            **settings,
        )
        truth = result.truth
        found.truth, found.provenance = result.truth, {**result.provenance, **_of_first_round(found.provenance)}
        for method in methods:
            _add(found, method, result)
    return found


def _of_first_round(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What only the first round knows: where the accuracies are from, which later rounds are given."""
    return {"truth": provenance["truth"]} if provenance else {}


def _rounds(methods: Sequence[Method]) -> Iterator[list[Method]]:
    """The methods in parts: in one part each estimator is there once, and all have the same proxy, trained or not."""
    left = list(methods)
    while left:
        taken: dict[str, Method] = {}
        for method in left:
            if (method.proxy, method.train_proxy) == (left[0].proxy, left[0].train_proxy):
                taken.setdefault(method.estimator, method)
        left = [method for method in left if method not in taken.values()]
        yield list(taken.values())


def _with_their_history(estimators: Sequence[Estimator], methods: Sequence[Method]) -> list[Estimator]:
    """The estimators of these methods, and those whose scores on the other datasets they go by."""
    found = {each.name: each for each in estimators}
    for estimator, method in zip(estimators, methods, strict=True):
        for metric in history_metrics([estimator]):
            found.setdefault(metric, _reduced(find_estimator(metric), method))
    return list(found.values())


def _estimator(method: Method) -> Estimator:
    known = find_estimator(method.estimator)
    if method.settings:
        try:
            known = type(known)(**method.settings)
        except TypeError as error:
            raise InvalidInputError(
                f"{method.label}: {method.estimator} does not take these settings ({error})"
            ) from error
    return known if "history" in known.reads else _reduced(known, method)


def _reduced(estimator: Estimator, method: Method) -> Estimator:
    """The estimator on as many principal components as the method says."""
    return estimator if method.dimensions is None else Projected(estimator, method.dimensions)


def _add(found: _Found, method: Method, result: Benchmark) -> None:
    name, label = method.estimator, method.label
    if name in result.scores:
        found.scores[label] = result.scores[name]
    if name in result.seconds:
        found.seconds[label] = result.seconds[name]
    failures = [why for by_model in result.failures.get(name, {}).values() for why in by_model.values()]
    if failures and name not in result.scores:
        found.reasons[label] = failures[0].reason
    for repeat in result.sweep:
        if name in repeat.scores:
            probe = "" if repeat.draw.of_table else repeat.draw.label
            found.repeats.setdefault((label, probe), []).append(repeat.scores[name])


def _figures(protocol: Protocol, found: _Found, measure: str, label: str) -> Iterator[ReproducedFigure]:
    """The mean over the datasets, the figure of each, and the means of further probes."""
    printed: dict[str, float] = {}
    for published in protocol.published:
        if published.measure == measure:
            values = published.values.get(label, {})
            printed |= {dataset: value / published.factor for dataset, value in values.items()}
    drawn = found.repeats.get((label, "")) or ([found.scores[label]] if label in found.scores else [])
    by_seed = [_measured(scores, found.truth, measure) for scores in drawn]
    datasets = list(dict.fromkeys(dataset for figures in by_seed for dataset in figures))
    means = [statistics.fmean(figures.values()) for figures in by_seed if figures]
    shared = [printed[dataset] for dataset in datasets if dataset in printed]
    part = 0 < len(shared) < len(printed) - (MEAN in printed)
    mean = statistics.fmean(shared) if part else printed.get(MEAN)
    yield ReproducedFigure(measure, label, MEAN, "", *_over_seeds(means), mean)
    for dataset in datasets:
        values_of = [figures[dataset] for figures in by_seed if dataset in figures]
        yield ReproducedFigure(measure, label, dataset, "", *_over_seeds(values_of), printed.get(dataset))
    for (other, probe), several in found.repeats.items():
        if other == label and probe and measure == protocol.measures[0]:
            found_means = [_measured(scores, found.truth, measure).values() for scores in several]
            yield ReproducedFigure(
                measure, label, MEAN, probe, *_over_seeds([statistics.fmean(each) for each in found_means if each])
            )


def _measured(scores: Scores, truth: Scores, measure: str) -> dict[str, float]:
    """The figure of each dataset on which two models have a score and an accuracy."""
    found = {}
    for dataset, by_model in scores.items():
        both = [model for model in by_model if model in truth.get(dataset, {})]
        if len(both) >= FEWEST_FOR_A_FIGURE:
            agreed = agreement([by_model[m] for m in both], [truth[dataset][m] for m in both])
            found[dataset] = float(getattr(agreed, measure))
    return found


def _over_seeds(values: Sequence[float]) -> tuple[float | None, float | None, int]:
    if not values:
        return None, None, 0
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), deviation, len(values)


def _printed_scores(protocol: Protocol, found: _Found, scale: str) -> Iterator[ReproducedFigure]:
    """Our score of each model, where the document prints scores."""
    names = {} if protocol.truth is None else {i: name for name, i in protocol.truth.models.items()}
    for published in protocol.published:
        if published.measure != SCORE:
            continue
        for label, printed in published.values.items():
            scores = next(iter(found.scores.get(label, {}).values()), {})
            ours = {names.get(model, model): score for model, score in scores.items()}
            others = printed if scale == "paper" else ()
            for model in dict.fromkeys([*sorted(ours, key=lambda m: -ours[m]), *others]):
                yield ReproducedFigure(SCORE, label, model, "", ours.get(model), None, 1, printed.get(model))


# --- trainings and architectures -------------------------------------------------------------------------------------


def _trained(
    protocol: Protocol, scale: str, material: StandIn, settings: RunKeywords, notes: tuple[str, ...]
) -> Reproduction:
    training = material.protocol.training
    assert training is not None
    seed = settings.get("seed", 0)
    probe = Probe.of(
        next(iter(material.datasets.values())),
        size=material.protocol.probe_size,
        seed=seed,
        holdout=DEFAULT_HOLDOUT,
        test_as_holdout=True,
    )
    curves = watched_trainings(training, probe, seed, settings.get("device", "auto"))
    figures = [
        ReproducedFigure(name, architecture, f"epoch {int(moment['epoch'])}", "", float(value))
        for architecture, epochs in curves.items()
        for moment in ([epochs[0], epochs[-1]] if len(epochs) > 1 else epochs)
        for name, value in moment.items()
        if name != "epoch"
    ]
    return Reproduction(protocol, scale, tuple(figures), curves=curves, notes=notes)


_TO_DRAW = "This is a picture: plot('picture.png') (--plot picture.png) draws it."


def _pictured(
    protocol: Protocol, scale: str, material: StandIn, settings: RunKeywords, notes: tuple[str, ...]
) -> Reproduction:
    asked: Any = {name: value for name, value in settings.items() if name in FeatureKeywords.__annotations__}
    found = {
        name: features(dataset, list(material.protocol.candidates), probe_size=material.protocol.probe_size, **asked)
        for name, dataset in material.datasets.items()
    }
    return Reproduction(protocol, scale, (), evidence=found, notes=(*notes, _TO_DRAW))


def _compared(protocol: Protocol, scale: str) -> Reproduction:
    compared = protocol.architectures
    assert compared is not None
    vectors = dict(zip(compared.expressions, np.asarray(embed(compared.expressions), np.float64), strict=True))

    def cosine(one: str, other: str) -> float:
        x, y = vectors[one], vectors[other]
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))

    printed = {(one, other): value for one, other, value in compared.similarities}
    pairs = [(one, other) for n, one in enumerate(compared.expressions) for other in compared.expressions[n + 1 :]]
    figures = tuple(
        ReproducedFigure("similarity", one, other, "", cosine(one, other), None, 1, printed.get((one, other)))
        for one, other in dict.fromkeys([*printed, *pairs])
    )
    note = f"The space is fitted to {listed(compared.expressions, 9)}; the document's holds more architectures."
    return Reproduction(protocol, scale, figures, notes=(note,))
