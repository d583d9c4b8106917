"""What messages of functions on arrays tell to type works: scores, evidence, agreement, graphs and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import ScoreWarning
from tests.advice.typed import Case, check_python

SCORES = [
    Case("ms.score(x, y, 'ncti')", "ask for components=True", "ms.score(x, y, 'ncti', components=True)"),
    Case(
        "ms.score(x, y, 'ncti')",
        "Give the whole pool to score_pool()",
        "found = ms.score_pool([dict(features=x, labels=y), dict(features=x[:, :3], labels=y)], 'ncti')",
        shows="len(found) == 2",
    ),
    Case(
        "ms.score_pool([], 'ncti')",
        "give at least one mapping of evidence fields",
        "ms.score_pool([{'features': x, 'labels': y}], 'ncti')",
    ),
    Case(
        "ms.standard_error(x, y, 'knn', resamples=0)",
        "give at least 2, better 50",
        "ms.standard_error(x, y, 'knn', resamples=2); ms.standard_error(x, y, 'knn', resamples=50)",
    ),
    Case(
        "ms.standard_error(x, y, 'ncti')",
        "Rank the pool with select(..., resamples=50)",
        "board = ms.select((images, labels), 'embedded:plain.random', estimators='ncti', resamples=50)",
        shows="board.rows[0].standard_errors",
    ),
    Case("ms.score(x, y, 'logm')", "Did you mean 'logme'?", "ms.score(x, y, 'logme')"),
    Case("ms.score(x, y, 3)", "a name, or an instance such as LogME()", "ms.score(x, y, logme.LogME())"),
    Case("ms.score(x[0], y, 'knn')", "two dimensions, with one row for each sample", "ms.score(x, y, 'knn')"),
    Case("ms.score(x, y / 2, 'knn')", "give the targets as an (N, 1) array", "ms.score(x, (y / 2)[:, None], 'logme')"),
    Case(
        "ms.score(x, np.eye(2)[y] / 2, 'h_score')",
        "give (N,) integer labels",
        "ms.score(x, (np.eye(2)[y] / 2).argmax(1), 'h_score')",
    ),
    Case("ms.score(x, 0 * y, 'knn')", "Give labels of two or more classes", "ms.score(x, y, 'knn')"),
    Case(
        "bad = x.copy(); bad[3] = np.nan; ms.score(bad, y, 'knn')",
        "leave these rows out",
        "good = np.isfinite(bad).all(1); ms.score(bad[good], y[good], 'knn')",
        before="bad = x.copy(); bad[3] = np.nan",
    ),
    Case(
        "ms.score(x, y, 'leep', source_probabilities=x)",
        "Apply a softmax to logits",
        "p = torch.softmax(torch.from_numpy(x), 1).numpy(); ms.score(x, y, 'leep', source_probabilities=p)",
    ),
    Case(
        "ms.score(x, y, logme.LogME(solver='fast'))", "expected one of ", "ms.score(x, y, logme.LogME(solver='icml'))"
    ),
    Case(
        "ms.score(None, None, 'downloads', metadata={'parameters': 3})",
        "or leave out the baseline 'downloads'",
        "ms.score(None, None, 'parameters', metadata={'parameters': 3})",
    ),
    Case(
        "ms.score(None, None, 'parameters', metadata={'downloads': 3})",
        "give it as metadata={'parameters': ...} of the candidate",
        "found = ms.score(None, None, 'parameters', metadata={'parameters': 3})",
        shows="found == 3",
    ),
]

AGREEMENT = [
    Case("ms.agreement([1, 2, 3], [1, 2])", "one of each per candidate", "ms.agreement([1, 2, 3], [1, 2, 4])"),
    Case(
        "ms.agreement({'a': 1, 'b': 2}, {'a': 1, 'b': 3, 'c': 4})",
        "Give the same candidates in both, with NaN for unknown values",
        "ms.agreement({'a': 1, 'b': 2, 'c': np.nan}, {'a': 1, 'b': 3, 'c': 4})",
    ),
    Case(
        "ms.agreement({'a': 1, 'b': 2}, [1, 2])",
        "give two mappings by candidate, or two arrays in the same order",
        "ms.agreement({'a': 1, 'b': 2}, {'a': 1, 'b': 2}); ms.agreement([1, 2], [1, 2])",
    ),
    Case(
        "ms.agreement([1, np.inf], [1, 2])",
        "or NaN where a value is not known",
        "ms.agreement([1, np.nan, 3], [1, 2, 3])",
    ),
    Case("ms.agreement([1, 2], [1, 2], k=0)", "expected 1 or more", "ms.agreement([1, 2], [1, 2], k=1)"),
]

GRAPHS = [
    Case(
        "ms.archi2vec.embed('embedded:zzz*')",
        "try expressions with `modelselect search`",
        "names = [c.id for c in ms.search('embedded:plain*')]; ms.archi2vec.embed(names)",
    ),
    Case(
        "ms.archi2vec.embed([3])",
        "a candidate expression, a Candidate, a torch module or a graph made by archi2vec.trace()",
        "net = torch.nn.Conv2d(3, 4, 3); graph = ms.archi2vec.trace(net, (3, 8, 8)); "
        "ms.archi2vec.embed(['embedded:plain*', ms.search('embedded:vit*')[0], graph])",
    ),
    Case(
        "ms.archi2vec.from_json('no graph')",
        "Expected the output of archi2vec.to_json(); trace the architecture again",
        "ms.archi2vec.from_json(ms.archi2vec.to_json(ms.archi2vec.trace(torch.nn.Conv2d(3, 4, 3), (3, 8, 8))))",
    ),
    Case(
        "ms.archi2vec.trace(torch.nn.Linear(5, 2))",
        "Give the input_size or example that the module expects",
        "ms.archi2vec.trace(torch.nn.Linear(5, 2), example=torch.ones(2, 5))",
    ),
    Case(
        "ms.archi2vec.trace(Depends(), (3, 8, 8))",
        'if its flow depends on values, trace it with archi2vec.trace(..., device="cpu")',
        'ms.archi2vec.trace(Depends(), (3, 8, 8), device="cpu")',
        before="class Depends(torch.nn.Conv2d):\n"
        "    def __init__(self): super().__init__(3, 4, 3)\n"
        "    def forward(self, x): return super().forward(x) if float(x.sum()) < 1e9 else x\n",
    ),
    Case("ms.archi2vec.clusters(np.eye(4), 9)", "expected 1 to 4", "ms.archi2vec.clusters(np.eye(4), 4)"),
]

BOARDS = [
    Case(
        "board.best.load(fine_tuned=True)",
        "load the pre-trained weights with load(fine_tuned=False)",
        "board.best.load(fine_tuned=False)",
    ),
    Case(
        "board.best.save('winner')",
        "Fine-tune with select(..., top_k=1)",
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, "
        "verify='head').best.save('winner')",
        shows="(tmp / 'winner' / 'config.json').exists()",
    ),
    Case(
        "board.pareto('latency_ms')",
        "select(..., costs=True) measures it on this device (--costs)",
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', costs=True).pareto('latency_ms')",
    ),
    Case("board.pareto('euros')", "expected one of parameters", "board.pareto('parameters')"),
    Case("board.pareto('parameters', 'beauty')", "None or one of score", "board.pareto('parameters', 'score')"),
    Case(
        "ms.Leaderboard.load('afile')",
        "a file that Leaderboard.save() or modelselect select --json has written",
        "board.save('board.json'); ms.Leaderboard.load('board.json')",
    ),
    Case(
        "tuned.best.load(cache_dir='empty')",
        "give the store's folder with load(cache_dir=...)",
        "tuned.best.load(cache_dir=tmp / 'cache')",
        before="tuned = ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, verify='head')",
    ),
    Case(
        "tuned.best.load(cache_dir='empty')",
        "load the pre-trained weights with load(fine_tuned=False)",
        "tuned.best.load(fine_tuned=False)",
        before="tuned = ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, verify='head')",
    ),
    Case(
        "own.best.load()",
        "Use the module itself",
        "net.eval()(torch.ones(1, 3, 32, 32))",
        before="net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.AdaptiveAvgPool2d(1), "
        "torch.nn.Flatten())\n"
        "own = ms.select((images, labels), net, estimators='knn')",
    ),
]


@pytest.fixture
def arrays(places: dict[str, Any]) -> dict[str, Any]:
    """Features `x` (40, 6) with labels `y` of two classes, and the module of LogME."""
    from modelselect_plugins.estimators import logme

    y = np.arange(40) % 2
    x = np.random.default_rng(0).normal(size=(40, 6)) + y[:, None]
    return places | {"x": x, "y": y, "logme": logme}


@pytest.mark.parametrize("case", [*SCORES, *AGREEMENT, *GRAPHS], ids=str)
@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
def test_the_advised_python_works_on_arrays(case: Case, arrays: dict[str, Any]) -> None:
    check_python(case, arrays)


@pytest.mark.parametrize("case", BOARDS, ids=str)
def test_the_advised_python_works_on_a_board(case: Case, places: dict[str, Any], quickly: None) -> None:
    board = ms.select(
        (places["images"], places["labels"]), "embedded:plain.random", estimators="knn", history=False, progress=False
    )
    check_python(case, places | {"board": board})


@pytest.mark.parametrize(
    ("wrong", "says", "typed"),
    [
        (lambda x, y: ms.score(x, y, "fda"), "Give more rows, or FDA(regularization=0.1)", {"regularization": 0.1}),
        (lambda x, y: ms.score(x, y, "transrate"), "use TransRate(normalize=True)", {"normalize": True}),
    ],
    ids=["fda", "transrate"],
)
def test_the_advised_estimator_scores_what_the_default_cannot(wrong: Any, says: str, typed: dict[str, Any]) -> None:
    from modelselect_plugins.estimators.fda import FDA
    from modelselect_plugins.estimators.transrate import TransRate

    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    x = rng.normal(size=(12, 40))
    estimator: Any = FDA(**typed) if "regularization" in typed else TransRate(**typed)
    if "normalize" in typed:
        x[0] *= 1e12
        with pytest.raises(ms.errors.ModelSelectError) as raised:
            wrong(x, y)
        assert says in str(raised.value)
    else:
        with pytest.warns(ScoreWarning, match=says.replace("(", r"\(").replace(")", r"\)")):
            wrong(x, y)
    assert np.isfinite(ms.score(x, y, estimator))
