"""Fennec, which ranks candidates from a transfer history, without a forward pass of any candidate.

J. Bai, S. Wu, J. Song, J. Zhao, G. Chen: Pre-trained model recommendation for downstream fine-tuning, 2024.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Cost
from modelselect.history import ACCURACY, HistoryView
from modelselect_plugins.estimators._phases import FennecSettings, Phases
from modelselect_plugins.estimators._shared.history import view_and_candidate

Matrix = NDArray[np.float64]

FEW_DATASETS = 3

_FORMS: dict[str, dict[str, Any]] = {
    "own": {"by_evidence": True, "metric": None, "scale": "rank", "leaf": 5, "ridge": 1.0},
    "paper": {"by_evidence": False, "metric": "fda", "scale": "raw", "leaf": 1, "ridge": 0.0},
}
"""What parameters that are None stand for."""


class Fennec(ms.Estimator):
    """What the transfer history predicts for a candidate on a dataset like this one, without a forward pass.

    Candidates and past datasets become vectors whose product is the result of a candidate on a dataset. One proxy model
    sees the new dataset and places it among the past ones. Candidates with few or no results are also judged by their
    size and architecture; no candidate is run, and no label is read.

    In short: What its results on similar datasets suggest.

    Formula: transfer phase: `P = M D'` by non-negative factorisation with penalties `a |M|^2 + a |D|^2` over the known
    entries of the performance matrix P. Merge phase: a random forest predicts the new dataset's vector d from the mean
    of its proxy features, and the transfer score is `m_i d`. Meta phase: a linear regression predicts P from the
    candidate's parameters, layers, archi2vec vector and cluster, and the dataset's classes and samples. Score:
    `(1 - w) transfer + w meta`, with `w = alpha / (alpha + (1 - alpha) n)` for a candidate with n results.

    Args:
        rank: k, the dimension of the vectors.
        penalty: a, of both penalties.
        alpha: weight of the meta phase for a candidate with one result.
        by_evidence: whether the meta phase has less weight for candidates with more results; else w is alpha for all.
            None for True in the form `"own"` and False in `"paper"`.
        metric: an estimator's name, or `accuracy`, for the performance matrix. None in the form `"own"` for measured
            accuracies if there are enough, else all estimators' ranks; in the form `"paper"` for `fda`.
        scale: `rank`, which makes datasets and metrics comparable, or `raw` values of one metric. None for `rank` in
            the form `"own"` and `raw` in `"paper"`.
        leaf: minimum number of datasets in a leaf of the forest, or a third of all if that is fewer; with a larger
            number, a new dataset's vector is nearer to the mean of all. None for 5 in the form `"own"` and 1 in
            `"paper"`.
        ridge: penalty of the linear regression; 0 for least squares. None for 1 in the form `"own"` and 0 in `"paper"`.
        clusters: maximum number of clusters of architectures.
        architecture: whether the meta phase uses archi2vec's vector and cluster; `"one-hot"` for one column for each
            architecture in their place.
        form: `"own"` or `"paper"`.
        penalty_tasks: the penalty of D, if it is another than `penalty` of M.

    Components: `fennec` is the score; `transfer` and `meta` are those of the phases, with meta shifted to the level of
    transfer; `certainty`, from 0 to 1, is `n / (n + 1)`: how much the score depends on the candidate's own results. A
    candidate without results takes its vector from the nearest architectures; n is then the similarity of the nearest.

    Limits: The score can be no better than the history: without results there is none; with fewer than three datasets
    there is a warning. Datasets can only be distinguished if the history has the proxy's features of them. The ranking
    follows results on other datasets; whether a candidate fits these classes, only its features can show.

    Code and paper: The authors' code is at https://github.com/Fay-why/Fennec (358d5cd), and the protocols
    `fennec-*` of `modelselect reproduce` have its settings, such as 4 clusters of architectures on PARC and 10 on
    its own benchmark. Its proxy is CLIP (ViT-L/14). Here the proxy is CLIP (ViT-B/32) if the Hub client has cached
    it, else a small embedded network, unless `select(proxy=...)` names another. Missing entries of the matrix,
    which the paper does not have, take no part in the updates. `form="paper"` restores the first five of the
    following together:

    - The performance matrix holds measured accuracies if there are enough. The paper's holds FDA scores:
      `metric="fda"`.
    - It holds ranks. The paper's holds the scores as they are: `scale="raw"`, which takes one metric (`metric="fda"`).
    - A candidate with many results has a small share of the meta phase. The paper gives all the weight alpha; if
      candidates have many results, this lowers the agreement (docs/explanation/recall.md): `by_evidence=False`.
    - A leaf of the forest has five datasets or more. The authors' has one row or more: `leaf=1`.
    - The linear regression has a penalty. The paper's is plain: `ridge=0.0`.
    - The factorisation has a penalty. The paper has one too, but the authors' code none: `penalty=0.0`.
    - Both matrices have the same penalty. The paper has one for each: `penalty_tasks=0.1`.
    - Vectors have four dimensions. The authors' command has five: `rank=5`.
    - The meta phase reads archi2vec's vector and its cluster, and logarithms of sizes. The authors' code reads the
      cluster and plain sizes. Nothing restores it.
    - The forest learns from the mean of the proxy's features of each dataset. The authors' code has 25 trees, which
      learn from 100 images of each, and the mean of what they say of 100 images counts. Nothing restores it: the
      history keeps means, not rows.
    - The FDA scores of a history are of all dimensions. The authors reduce features to 32 principal components. Nothing
      restores it in the estimator; the protocols of `modelselect reproduce` do (`dimensions = 32`).
    - Architectures have all operations that are traced. The paper has 37 types of nodes. Nothing restores them in this
      estimator; `archi2vec.embed` takes `Graph2Vec(node_types=PAPER_NODE_TYPES)`.
    - A candidate without results takes its vector from its neighbours. The paper has no such candidates. Nothing
      restores it: without a vector there is no score.

    Source: sections 3.1 to 3.3, equations 4 to 10.

    >>> from modelselect.history import History, Result
    >>> import tempfile
    >>> history = History(tempfile.mkdtemp() + "/history.sqlite")
    >>> known = {"timm:a": (0.9, 0.8, 0.9), "timm:b": (0.5, 0.7, 0.6), "timm:c": (0.1, 0.2, 0.1)}
    >>> results = [Result(c, f"data{i}", "accuracy", v) for c, vs in known.items() for i, v in enumerate(vs)]
    >>> history.record(results).new
    9
    >>> scores = Fennec().recall(history.view().about(dict.fromkeys(known, {}), {}), np.ones((10, 4)))
    >>> sorted(known, key=lambda c: -scores[c]["fennec"])
    ['timm:a', 'timm:b', 'timm:c']
    """

    name = "fennec"
    requires = frozenset({"proxy_features", "architecture", "history"})
    optional = frozenset({"metadata"})
    citation = (
        "J. Bai, S. Wu, J. Song, J. Zhao, G. Chen: Pre-trained model recommendation for downstream fine-tuning, 2024"
    )
    cost: ClassVar[Cost] = "free"
    stochastic = True

    def __init__(
        self,
        rank: int = 4,
        penalty: float = 1.0,
        alpha: float = 0.5,
        by_evidence: bool | None = None,
        metric: str | None = None,
        scale: str | None = None,
        leaf: int | None = None,
        ridge: float | None = None,
        clusters: int = 20,
        architecture: bool | Literal["one-hot"] = True,
        form: Literal["own", "paper"] = "own",
        penalty_tasks: float | None = None,
    ) -> None:
        self.rank = rank
        self.penalty = penalty
        self.alpha = alpha
        self.by_evidence = by_evidence
        self.metric = metric
        self.scale = scale
        self.leaf = leaf
        self.ridge = ridge
        self.clusters = clusters
        self.architecture = architecture
        self.form = form
        self.penalty_tasks = penalty_tasks

    @property
    def settings(self) -> FennecSettings:
        """The parameters; where one is None, that of the form.

        Raises:
            InvalidInputError: `form` or `architecture` is none that there is.
        """
        if self.form not in _FORMS:
            raise InvalidInputError(f"form is {self.form!r}; expected {' or '.join(map(repr, _FORMS))}")
        if self.architecture not in (True, False, "one-hot"):
            raise InvalidInputError(f"architecture is {self.architecture!r}; expected True, False or 'one-hot'")
        chosen = {
            name: default if getattr(self, name) is None else getattr(self, name)
            for name, default in _FORMS[self.form].items()
        }
        return FennecSettings(
            rank=self.rank,
            penalty_models=self.penalty,
            penalty_tasks=self.penalty if self.penalty_tasks is None else self.penalty_tasks,
            alpha=self.alpha,
            clusters=self.clusters,
            architecture=self.architecture,
            **chosen,
        )

    @property
    def history_metric(self) -> str | None:
        """The estimator whose scores on other datasets this one goes by; None if it goes by accuracies."""
        metric = self.settings.metric
        return None if metric == ACCURACY else metric

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        view, candidate = view_and_candidate(evidence, self.name)
        assert evidence.proxy_features is not None
        return self.recall(view, evidence.proxy_features, evidence.seed)[candidate]

    def recall(
        self, view: HistoryView, proxy_features: NDArray[Any] | None, seed: int = 0
    ) -> Mapping[str, Mapping[str, float]]:
        """The components of every candidate of the view's pool, by id: a few products for all of them together.

        Args:
            view: of the history, about the pool and the dataset.
            proxy_features: (N, P) features of the dataset's rows by the proxy of the view; None where there is none.
            seed: of the factorisation and the forest.

        Raises:
            NotApplicableError: the history holds no results by this metric, or raw ones that cannot be factorised.
        """
        metric, scale = self.settings.metric, self.settings.scale
        performance = view.performance(metric, scale)
        known = performance[~np.isnan(performance)]
        if not known.size:
            what = "results" if metric is None else f"results by {metric!r}"
            raise NotApplicableError(
                f"the transfer history holds no {what}; every select() adds to it, and `modelselect history import` "
                "brings in what others have measured"
            )
        if known.min() < 0 or not np.isfinite(known.max()):
            raise NotApplicableError(
                f"the raw values of {metric!r} in the transfer history go from {known.min():.3g} to "
                f"{known.max():.3g}, and a non-negative factorisation takes finite ones from 0; use scale='rank'"
            )
        proxy = None if proxy_features is None else np.asarray(proxy_features).mean(axis=0, dtype=np.float64)
        key = ("fennec scores", self.key, seed, None if proxy is None else proxy.tobytes())
        return view.remembered(key, lambda: self._recall(view, proxy, seed))

    def fit(self, view: HistoryView, seed: int = 0) -> Phases:
        """The three phases, fitted to the history: all that can be done before a dataset is seen."""
        from modelselect_plugins.estimators._phases import fit

        return view.remembered(("fennec phases", self.key, seed), lambda: fit(self.settings, view, seed))

    def _recall(self, view: HistoryView, proxy: Matrix | None, seed: int) -> dict[str, dict[str, float]]:
        phases = self.fit(view, seed)
        _warn(view, phases)
        transfer = phases.transfer(phases.task(proxy))
        meta, merged = phases.merge(transfer, phases.meta_scores(view.dataset_sizes[-1]))
        rows = [view.positions[candidate] for candidate in view.pool]
        columns = (merged, transfer, meta, phases.certainty)
        table = np.stack([column[rows] for column in columns], axis=1).tolist()
        names = ("fennec", "transfer", "meta", "certainty")
        return {c: dict(zip(names, row, strict=True)) for c, row in zip(view.pool, table, strict=True)}


def _warn(view: HistoryView, phases: Phases) -> None:
    told = []
    if len(view.datasets) < FEW_DATASETS:
        told.append(f"the transfer history knows {len(view.datasets)} datasets, too few to tell which is like this one")
    elif phases.forest is None:
        told.append("the proxy has seen none of the history's datasets, so that this one counts as their mean")
    if not phases.factorisation.converged:
        told.append(f"the factorisation had not come to rest after {phases.factorisation.iterations} iterations")
    if told:
        warnings.warn("; ".join(told), ScoreWarning, stacklevel=2)


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [Fennec()]
