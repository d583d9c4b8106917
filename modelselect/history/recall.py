"""Recall: what the transfer history says of a pool before any of it is loaded, and what a run leaves to the history."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates import Candidate, Expression
from modelselect.errors import CandidateError, ExpressionError, HistoryError, InvalidInputError, ModelSelectError
from modelselect.estimator import Estimator
from modelselect.history.database import ACCURACY, PATH_VARIABLE, History, Result
from modelselect.host import get_host
from modelselect.modules import ModuleZoo

if TYPE_CHECKING:
    from modelselect.assessment import Assessment, Work
    from modelselect.history.view import HistoryView
    from modelselect.leaderboard import Leaderboard
    from modelselect.probe import Probe
    from modelselect.progress import Progress

RECALL_ESTIMATOR = "fennec"

CLIP = "openai/clip-vit-base-patch32"
"""The proxy of the paper (section 3.3), where it is in the cache of the Hub's client."""

EMBEDDED_PROXY = "embedded:resnet.textures"
"""The proxy where there is no CLIP: it comes with modelselect. See docs/explanation/recall.md for what it costs."""

GivenHistory = History | str | os.PathLike[str] | Literal[False] | None


@runtime_checkable
class Recaller(Protocol):
    """An estimator that scores a whole pool from the history at once."""

    def recall(
        self, view: HistoryView, proxy_features: NDArray[Any] | None, seed: int = 0
    ) -> Mapping[str, Mapping[str, float]]: ...


@dataclass(frozen=True)
class Recollection:
    """The history as it bears on one run.

    Attributes:
        view: of the history, about the pool and the dataset.
        proxy: the candidate that looks at the dataset for all; None where there is none for such data.
    """

    view: HistoryView
    proxy: Candidate | None


def open_history(given: GivenHistory) -> History | None:
    """The history that a caller means: None for the user's own, which an empty MODELSELECT_HISTORY switches off.

    Raises:
        InvalidInputError: it is no path.
    """
    if isinstance(given, History):
        return given
    if given is False or (given is None and os.environ.get(PATH_VARIABLE) == ""):
        return None
    if given is not None and not isinstance(given, str | os.PathLike):
        raise InvalidInputError(
            f"history is {given!r}; expected a path, a History, None for your own, or False for none"
        )
    return History(given)


def look(work: Work, history: History | None, given: str | Candidate | None) -> None:
    """Lets a proxy look at the probe once for all candidates: the one given, else the default; `work.proxy` is it then.

    That the default one cannot is a warning; what needs it says for itself that it does not apply.

    Raises:
        InvalidInputError: what is given names no candidate, or more than one.
        CandidateError: the one given cannot look at this dataset.
    """
    proxy = choose_proxy(work.probe, history) if given is None else _named(given)
    if proxy is None:
        return
    try:
        work.features(proxy)
    except Exception as error:  # a zoo, or the module itself, may raise anything
        message = f"the proxy {proxy} cannot look at the dataset: {error}"
        if given is not None:
            raise CandidateError(message) from error
        warnings.warn(message, stacklevel=3)
    else:
        work.proxy = proxy


def _named(given: str | Candidate) -> Candidate:
    if isinstance(given, Candidate):
        return given
    if not isinstance(given, str):
        raise InvalidInputError(f"proxy is {given!r}; expected one candidate, such as {EMBEDDED_PROXY!r}, or None")
    expression = Expression.parse(given)
    found = list(get_host().zoo(expression.zoo).search(expression.pattern))
    if len(found) != 1:
        raise ExpressionError(f"proxy {given!r} names {len(found)} candidates; expected one, such as {EMBEDDED_PROXY}")
    return found[0]


def choose_proxy(probe: Probe, history: History | None) -> Candidate | None:
    """Of CLIP, if it is cached, and of a network that comes along, the one that has seen more of the datasets.

    CLIP where they are equal; None for data that are no images.
    """
    if probe.modality != "image":
        return None
    zoos = get_host().zoos
    proxies = []
    if "hub" in zoos and (revision := _cached_clip()) is not None:
        proxies.append(Candidate("hub", CLIP, revision))
    zoo, _, name = EMBEDDED_PROXY.partition(":")
    if zoo in zoos:
        proxies += zoos[zoo].search(name)
    seen: Mapping[str, int] = {} if history is None else history.summary()["proxies"]
    return max(proxies, key=lambda proxy: seen.get(proxy.id, 0), default=None)


def _cached_clip() -> str | None:
    """The commit of CLIP whose configuration and weights are in the Hub client's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(CLIP, name) for name in ("config.json", "preprocessor_config.json")]
    weights = [try_to_load_from_cache(CLIP, name) for name in ("model.safetensors", "pytorch_model.bin")]
    if not all(isinstance(path, str) for path in found) or not any(isinstance(path, str) for path in weights):
        return None
    return Path(str(found[0])).parent.name


def recollect(history: History, work: Work, pool: Sequence[Candidate], bars: Progress) -> Recollection:
    """What the history knows that bears on this pool and this probe.

    No candidate is loaded: architectures are traced without weights where the history does not know them.
    """
    proxy = work.proxy or choose_proxy(work.probe, history)
    view = history.view(None if proxy is None else proxy.id)
    graphs = {}
    strangers = [c for c in pool if c.unversioned_id not in view.graphs]
    with bars.candidates("tracing", len(strangers)) as advance:
        for candidate in strangers:
            if (graph := work.graph(candidate)) is not None:
                graphs[candidate.unversioned_id] = graph
            advance(candidate.id)
    facts = {candidate.unversioned_id: dict(candidate.metadata) for candidate in pool}
    return Recollection(view.about(facts, _describe_probe(work.probe), graphs), proxy)


def shortlist(
    recollection: Recollection, work: Work, pool: Sequence[Candidate], keep: int
) -> tuple[list[Candidate], dict[str, Any]]:
    """The candidates that the history expects most of, in the pool's order, and the record of the choice.

    Raises:
        NotApplicableError: the history holds nothing to go by.
    """
    estimator = get_host().estimator(RECALL_ESTIMATOR)
    assert isinstance(estimator, Recaller)
    scores = estimator.recall(recollection.view, _proxy_features(recollection, work), work.seed)
    expected = {c.id: scores[c.unversioned_id] for c in pool}
    order = sorted(pool, key=lambda c: -expected[c.id][RECALL_ESTIMATOR])  # equals stay in the pool's order
    kept = {candidate.id for candidate in order[:keep]}
    record = {
        "estimator": estimator.key,
        "history": recollection.view.digest,
        "proxy": None if recollection.proxy is None else recollection.proxy.id,
        "pool": len(pool),
        "kept": len(kept),
        "expected": {c.id: {k: round(v, 6) for k, v in expected[c.id].items()} for c in order},
    }
    return [candidate for candidate in pool if candidate.id in kept], record


def remember(
    history: History,
    board: Leaderboard,
    work: Work,
    chosen: Sequence[Estimator],
    assessed: Mapping[str, Assessment],
    fine_tuning: Mapping[str, Any] | None,
    *,
    may_look: bool = True,
) -> None:
    """Adds to the history what a run found. That it cannot be is a warning, and costs nothing else.

    Without `may_look` the proxy's features are only added where it has looked at the dataset already.
    """
    dataset = work.probe.fingerprint
    results, facts = findings(board, dataset, kept_keys(chosen), work.seed, fine_tuning)
    if not results:
        return
    by_id = {row.candidate.unversioned_id: assessed.get(row.candidate.id) for row in board.rows}
    graphs = {c: found.graph for c in facts if (found := by_id[c]) is not None and found.graph is not None}
    try:
        history.describe_dataset(dataset, _describe_probe(work.probe))
        history.describe_candidates(facts, graphs)
        history.record(results)
        proxy = work.proxy or choose_proxy(work.probe, history)
        if proxy is not None and (may_look or not work.foresee(proxy, trace=False).passes):
            history.keep_proxy(dataset, proxy.id, work.features(proxy))
    except (ModelSelectError, OSError) as error:
        warnings.warn(f"nothing of this run was added to the transfer history: {error}", stacklevel=3)


def kept_keys(estimators: Sequence[Estimator]) -> dict[str, str]:
    """Keys of the estimators whose scores the history keeps, by name: each says something of this candidate alone."""
    return {e.name: e.key for e in estimators if not (e.is_static or e.relative or "history" in e.requires)}


def findings(
    board: Leaderboard, dataset: str, keys: Mapping[str, str], seed: int, fine_tuning: Mapping[str, Any] | None
) -> tuple[list[Result], dict[str, dict[str, Any]]]:
    """What a leaderboard says that a history keeps: results, and what is known of each candidate, by its id.

    Args:
        board: whose rows.
        dataset: the probe's fingerprint.
        keys: of the estimators whose scores are kept, by name.
        seed: of the run.
        fine_tuning: the recipe of the verified accuracies, and by its `method` what was trained.
    """
    from modelselect import __version__

    provenance = {"source": "select", "modelselect": __version__}
    results, facts = [], {}
    for row in board.rows:
        if row.candidate.zoo == ModuleZoo.name:  # whose names mean nothing in another run
            continue
        candidate = row.candidate.unversioned_id
        revision = {"revision": row.candidate.revision} if row.candidate.revision else {}
        for name, score in row.scores.items() if row.stopped is None else ():  # of fewer rows, that is another dataset
            if name in keys:
                settings = {"estimator": keys[name], "seed": seed, **revision}
                results.append(Result(candidate, dataset, name, score, settings, provenance))
        if row.verified_accuracy is not None:
            settings = {"fine_tuning": fine_tuning, "seed": seed, **revision}
            results.append(Result(candidate, dataset, ACCURACY, row.verified_accuracy, settings, provenance))
        measured = {"parameters": row.parameters, "macs": row.macs, "feature_dim": row.feature_dim}
        facts[candidate] = {**row.candidate.metadata, **{k: v for k, v in measured.items() if v is not None}}
    return results, facts


def usable(history: History) -> History | None:
    """The history if it can be read; otherwise a warning says why not, and what asked for it goes on without."""
    try:
        history.summary()
    except HistoryError as error:
        warnings.warn(f"the ranking goes on without the transfer history: {error}", stacklevel=3)
        return None
    return history


def _proxy_features(recollection: Recollection, work: Work) -> NDArray[np.floating[Any]] | None:
    return None if recollection.proxy is None else work.features(recollection.proxy)


def _describe_probe(probe: Probe) -> dict[str, Any]:
    """What the history keeps of a dataset besides its proxy's features."""
    return {
        "name": probe.name,
        "modality": probe.modality,
        "classes": probe.n_classes or None,
        "samples": probe.provenance["training_rows"],
    }
