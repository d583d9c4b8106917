"""`HistoryView`: the transfer history as an estimator sees it, about one pool of candidates and one dataset."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelselect.architectures.graph_json import from_json
from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError
from modelselect.estimators.ranks import normalised_ranks
from modelselect.history.database import Database
from modelselect.history.records import ACCURACY, Result, is_finite, is_piece, most_frequent_first, of_task, recipe_of
from modelselect.host.defaults import CLASSIFICATION, DEFAULT_ENCODER
from modelselect.host.host import get_host

if TYPE_CHECKING:
    import networkx

Matrix = NDArray[np.float64]
T = TypeVar("T")

ACCURACIES_SUFFICE = 0.5
"""If this share of the candidates known on a dataset has a measured accuracy there, estimators' scores are ignored."""

ARCHITECTURES_SUFFICE = 50
"""From this number of architectures on, the history alone gives the space, and those of the pool are placed in it."""


@dataclass(frozen=True, eq=False)
class HistoryView:
    """What is known of candidates on other datasets, about the candidates and the dataset of one run.

    Attributes:
        candidates: ids without revision: those of the history, then those of the pool that the history does not know.
        datasets: ids of the datasets that the history has an accuracy or an estimator's score on.
        results: all results of the history.
        candidate_facts: what candidates are like, by id.
        dataset_facts: what datasets are like, by id.
        graphs: architectures, as `archi2vec.to_json` writes them, by candidate.
        proxies: (2, P) mean and standard deviation of the proxy's features, by dataset.
        target: what the run's dataset is like: `classes`, `samples`.
        pool: ids of the candidates to rank.
        candidate: id of the candidate that is being scored.
        recipe: the recipe of fine-tuning that the run is about, as `recipe_of` writes it; None if none is known.
        dataset: id of the run's dataset, the accuracies on which are not of another dataset; None if it is not known.
        digest: of the history, the pool, the target, the recipe if the history has results under it, and the task if
            that is not classification.
    """

    candidates: tuple[str, ...]
    datasets: tuple[str, ...]
    results: tuple[Result, ...]
    candidate_facts: Mapping[str, Mapping[str, Any]]
    dataset_facts: Mapping[str, Mapping[str, Any]]
    graphs: Mapping[str, str]
    proxies: Mapping[str, NDArray[np.float32]]
    target: Mapping[str, Any] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    candidate: str | None = None
    recipe: str | None = None
    dataset: str | None = None
    digest: str = ""
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, history: Database, proxy: str | None = None, task: str = CLASSIFICATION) -> HistoryView:
        """Everything that the history knows of a task, with this proxy's features of its datasets."""
        digest = history.digest  # first: a later digest could count results that others add meanwhile
        results = tuple(found for result in history.results() if (found := of_task(result, task)) is not None)
        return cls(
            candidates=tuple(dict.fromkeys(result.candidate for result in results)),
            datasets=tuple(sorted({result.dataset for result in results if not is_piece(result.metric)})),
            results=results,
            candidate_facts=history.candidates(),
            dataset_facts=history.datasets(),
            graphs=history.graphs(),
            proxies=_of_one_width(history.proxies().get(proxy, {})) if proxy else {},
            digest=digest if task == CLASSIFICATION else _digest(digest, task),
        )

    def about(
        self,
        pool: Mapping[str, Mapping[str, Any]],
        target: Mapping[str, Any],
        graphs: Mapping[str, str] | None = None,
        recipe: str | None = None,
    ) -> HistoryView:
        """The view for ranking a pool on a dataset.

        Args:
            pool: what is known of each candidate, by id without revision. The history need not know the candidates.
            target: what is known of the dataset: `classes` and `samples`.
            graphs: architectures of the pool's candidates, by id.
            recipe: the run's recipe of fine-tuning, as `recipe_of` writes it.
        """
        drawn = dict(graphs or {})
        known = {c: {**self.candidate_facts.get(c, {}), **facts} for c, facts in pool.items()}
        matters = [recipe] if recipe in self.recipes else []
        return replace(
            self,
            candidates=tuple(dict.fromkeys((*self.candidates, *pool))),
            candidate_facts={**self.candidate_facts, **known},
            graphs={**self.graphs, **drawn},
            target=target,
            pool=tuple(pool),
            recipe=recipe,
            digest=_digest(
                self.digest, target, {c: (known[c].get("parameters"), drawn.get(c)) for c in pool}, *matters
            ),
            _memo={},
        )

    def of_candidate(self, candidate: str) -> HistoryView:
        """The same view, about one candidate. All such views share what one of them has computed."""
        return replace(self, candidate=candidate)

    def remembered(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, computed once for all candidates of the pool."""
        if key not in self._memo:
            self._memo[key] = make()
        found: T = self._memo[key]
        return found

    @property
    def positions(self) -> Mapping[str, int]:
        """The row of each candidate."""
        return self.remembered("positions", lambda: {c: row for row, c in enumerate(self.candidates)})

    def performance(self, metric: str | None = None, scale: str = "rank") -> Matrix:
        """(M, N) performance matrix, candidates by datasets; NaN where nothing is known.

        Args:
            metric: an estimator's name, or `accuracy`. None: for each dataset the measured accuracies, if there are
                three or more and half of its candidates have one; otherwise the mean of the ranks by all estimators.
                Pieces of evidence (`is_piece`) are no estimators, and count only if named.
            scale: `rank`: 0 for the lowest of a dataset to 1 for the highest, so that datasets and metrics compare;
                `raw`: values as they are, for one metric. Several values for one pair count by their mean.

        Raises:
            InvalidInputError: the scale is neither of the two, or `raw` without a metric.
        """
        if scale not in ("rank", "raw") or (scale == "raw" and metric is None):
            raise InvalidInputError(
                f"scale is {scale!r} and metric is {metric!r}; expected scale 'rank', or 'raw' with a metric, since "
                "values of different metrics cannot be compared"
            )
        return self.remembered(("performance", metric, scale), lambda: self._performance(metric, scale))

    def _performance(self, metric: str | None, scale: str) -> Matrix:
        sums: dict[tuple[str, str, str], tuple[Matrix, Matrix]] = {}
        empty = len(self.candidates)
        for result in self.results:
            if not is_piece(result.metric) if metric is None else metric == result.metric:
                column = (result.dataset, result.metric, str(result.settings.get("estimator", "")))
                total, count = sums.setdefault(column, (np.zeros(empty), np.zeros(empty)))
                row = self.positions[result.candidate]
                total[row] += result.value
                count[row] += 1
        columns: dict[str, dict[str, list[Matrix]]] = {dataset: {} for dataset in self.datasets}
        for (dataset, name, _), (total, count) in sums.items():
            if dataset not in columns:  # only pieces are known of it
                continue
            values = np.divide(total, count, out=np.full(empty, np.nan), where=count > 0)
            scaled = normalised_ranks(values) if scale == "rank" else values
            columns[dataset].setdefault(name, []).append(scaled)
        matrix = np.full((empty, len(self.datasets)), np.nan)
        for index, dataset in enumerate(self.datasets):
            chosen = _chosen(columns[dataset])
            if chosen:
                matrix[:, index] = _mean(chosen)
        return matrix

    @property
    def recipes(self) -> Mapping[str, int]:
        """Number of measured accuracies under each recipe, the most frequent first, equals by name.

        Published results have no recipe and are not counted.
        """
        return most_frequent_first({recipe: len(results) for recipe, results in self._by_recipe.items()})

    @property
    def leading_recipe(self) -> str | None:
        """The run's recipe if the history has results under it, else the most frequent one; None without recipes."""
        return self.recipe if self.recipe in self.recipes else next(iter(self.recipes), None)

    def measured(self, recipe: str | None = None) -> Matrix:
        """(M, N) accuracies measured under one recipe, candidates by datasets; NaN where there is none.

        Accuracies under different recipes hardly agree, so that they are never mixed. Those on the run's dataset are
        left out: fine-tuning finds them again, and they would count twice. Several accuracies of one pair
        (seeds, revisions) count by their mean.

        Args:
            recipe: as `recipe_of` writes it; None for the leading one.

        >>> results = [Result("zoo:a", "x", ACCURACY, 0.75, {"fine_tuning": {"recipe": "ours"}})]
        >>> results += [Result("zoo:b", "x", ACCURACY, 0.5)]  # published
        >>> HistoryView(("zoo:a", "zoo:b"), ("x",), tuple(results), {}, {}, {}, {}).measured()
        array([[0.75],
               [ nan]])
        """
        wanted = self.leading_recipe if recipe is None else recipe
        return self.remembered(("measured", wanted), lambda: self._measured(wanted))

    def _measured(self, recipe: str | None) -> Matrix:
        columns = {dataset: index for index, dataset in enumerate(self.datasets)}
        total, count = np.zeros((2, len(self.candidates), len(columns)))
        for result in self._by_recipe.get(recipe, ()) if recipe is not None else ():
            place = self.positions[result.candidate], columns[result.dataset]
            total[place] += result.value
            count[place] += 1
        matrix: Matrix = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return matrix

    @property
    def _by_recipe(self) -> Mapping[str, Sequence[Result]]:
        return self.remembered("by recipe", self._sort_by_recipe)

    def _sort_by_recipe(self) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = {}
        for result in self.results:
            if result.metric != ACCURACY or result.dataset == self.dataset:
                continue
            if (recipe := recipe_of(result.settings)) is not None:
                found.setdefault(recipe, []).append(result)
        return found

    @property
    def architectures(self) -> Matrix:
        """(M, dim) archi2vec vectors of the candidates, in one space; a row of NaN for a candidate without a graph."""
        return self.remembered("architectures", self._embed)

    def _embed(self) -> Matrix:
        parsed = _parsed({self.graphs[c] for c in self.candidates if c in self.graphs})
        known = sorted({self.graphs[r.candidate] for r in self.results if r.candidate in self.graphs} & parsed.keys())
        others = sorted(parsed.keys() - set(known))
        if not known and not others:
            return np.full((len(self.candidates), 1), np.nan)
        fitted = known if len(known) >= ARCHITECTURES_SUFFICE else known + others
        graphs = [parsed[graph] for graph in known + others]
        space = get_host().encoder(DEFAULT_ENCODER).fit(graphs[: len(fitted)])
        vectors = np.concatenate([space.vectors, space.place(graphs[len(fitted) :])]).astype(np.float64)
        by_graph = dict(zip(known + others, vectors, strict=True))
        unknown = np.full(vectors.shape[1], np.nan)
        return np.stack([by_graph.get(self.graphs.get(c, ""), unknown) for c in self.candidates])

    @property
    def sizes(self) -> Matrix:
        """(M, 2) numbers of parameters and of layers (convolutions and matrix products); NaN where unknown."""
        return self.remembered("sizes", self._sizes)

    def _sizes(self) -> Matrix:
        layers = {graph: float(layer_count(graph)) for graph in set(self.graphs.values())}
        rows = []
        for candidate in self.candidates:
            parameters = self.candidate_facts.get(candidate, {}).get("parameters")
            rows.append((_number(parameters), layers.get(self.graphs.get(candidate, ""), np.nan)))
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @property
    def dataset_sizes(self) -> Matrix:
        """(N + 1, 2) numbers of classes and of samples of the datasets and, last, of the target; NaN where unknown."""
        facts = [*(self.dataset_facts.get(dataset, {}) for dataset in self.datasets), self.target]
        return np.array([[_number(f.get("classes")), _number(f.get("samples"))] for f in facts], dtype=np.float64)


_LAYERS = ('"operation":"Convolution"', '"operation":"Addmm"', '"operation":"Mm"', '"operation":"Bmm"')


def layer_count(graph: str) -> int:
    """Convolutions and matrix products of a graph, as `archi2vec.to_json` writes it.

    >>> layer_count('{"nodes":[{"id":0,"operation":"Convolution"},{"id":1,"operation":"Relu"}],"edges":[]}')
    1
    """
    return sum(graph.count(layer) for layer in _LAYERS)


def _parsed(texts: Iterable[str]) -> dict[str, networkx.DiGraph[int]]:
    """The graphs in texts, by text. A text that is no graph is passed over."""
    found = {}
    for text in texts:
        with contextlib.suppress(InvalidInputError):
            found[text] = from_json(text)
    if len(found) < len(set(texts)):
        warnings.warn(
            f"{len(set(texts)) - len(found):,} graphs in the transfer history are damaged and were passed over",
            stacklevel=2,
        )
    return found


def _chosen(columns: Mapping[str, Sequence[Matrix]]) -> list[Matrix]:
    """Which of a dataset's columns, given by metric, to use."""
    measured = list(columns.get(ACCURACY, ()))
    scored = [column for name, found in columns.items() if name != ACCURACY for column in found]
    if measured and scored:
        known = int((~np.isnan(np.stack(measured + scored))).any(axis=0).sum())
        there = int((~np.isnan(np.stack(measured))).any(axis=0).sum())
        return measured if there >= 3 and there >= ACCURACIES_SUFFICE * known else scored
    return measured or scored


def _mean(columns: Sequence[Matrix]) -> Matrix:
    """Mean of the values that are not NaN; NaN where all are NaN."""
    stacked = np.stack(columns)
    there = ~np.isnan(stacked)
    total, count = np.where(there, stacked, 0).sum(axis=0), there.sum(axis=0)
    mean: Matrix = np.divide(total, count, out=np.full(stacked.shape[1], np.nan), where=count > 0)
    return mean


def _of_one_width(proxies: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
    """Only the summaries of the most frequent width: all features of one model have the same width."""
    widths = [summary.shape[1] for summary in proxies.values()]
    return {name: summary for name, summary in proxies.items() if summary.shape[1] == max(widths, key=widths.count)}


def _digest(*said: Any) -> str:
    """Of the JSON of what is said, piece by piece: the graphs of thousands of candidates need not be in one text."""
    digest = hashlib.sha256()
    for part in json.JSONEncoder(sort_keys=True, default=str).iterencode(said):
        digest.update(part.encode())
    return digest.hexdigest()[:32]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and is_finite(value) and value > 0 else np.nan


@dataclass(frozen=True)
class RecallContext:
    """What the history knows that matters to one run.

    Attributes:
        view: of the history, about the pool and the dataset.
        proxy: the candidate whose features stand for a dataset; None if no proxy takes data of this kind.
    """

    view: HistoryView
    proxy: Candidate | None
