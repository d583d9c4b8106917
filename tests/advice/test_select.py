"""What messages of `select()` and `plan()` tell to type works, in Python and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.advice.typed import Case, check_line, check_python

SELECT = "select {data} -c embedded:plain.random -e knn -q"

LINES = [
    Case(
        f"{SELECT} --tune 2 --verify head",
        "Give top_k=2 (--top-k 2) and leave out tune= (--tune)",
        f"{SELECT} --top-k 2 --verify head --epochs 1",
    ),
    Case(
        f"{SELECT} --tune 1 --verify head",
        "give verify='full' (--verify full)",
        f"{SELECT} --tune 1 --verify full --epochs 1",
    ),
    Case(f"{SELECT} --epochs 1", "add --top-k 3 (or more)", f"{SELECT} --epochs 1 --top-k 3"),
    Case(f"{SELECT} --patience 1", "leave out --patience", SELECT),
    Case(f"{SELECT} --confidence 0.8", "add --budget 20m", f"{SELECT} --confidence 0.8 --budget 20m"),
    Case(f"{SELECT} --confidence 0.8", "leave out --confidence", SELECT),
    Case(
        f"{SELECT} --recall 1 --no-history",
        "Leave out history=False (--no-history)",
        f"{SELECT} --recall 1",
        before=SELECT,
    ),
    Case(f"{SELECT} --recall 1 --no-history", "leave out recall= (--recall)", f"{SELECT} --no-history"),
    Case(f"{SELECT} --agreement --json -", "give a file: --json FILE", f"{SELECT} --agreement --json board.json"),
    Case(f"{SELECT} --report board.pdf", "a file name that ends in .html", f"{SELECT} --report board.html"),
    Case(f"{SELECT} --json no/board.json", "give a file in an existing folder", f"{SELECT} --json board.json"),
    Case(
        f"{SELECT} --cache-dir afile/store",
        "choose another folder with cache_dir= (--cache-dir)",
        f"{SELECT} --cache-dir store",
    ),
    Case(f"{SELECT} --device abacus", "Expected 'auto', 'cpu'", f"{SELECT} --device cpu"),
    Case(
        f"{SELECT} --precision float16 --device cpu",
        "Use precision='float32' (--precision float32)",
        f"{SELECT} --precision float32 --device cpu",
    ),
    Case(f"{SELECT} --executor nonsense", "Known: local, process", f"{SELECT} --executor local"),
    Case(f"{SELECT} -e ' , '", "leave out the argument for the default", SELECT),
    Case(f"{SELECT} -e knn,knn", "give each name once", f"{SELECT} -e knn"),
    Case(f"{SELECT} -e logmee", "Did you mean 'logme' or", f"{SELECT} -e logme"),
    Case(f"{SELECT} --verify all --top-k 1", "expected one of 'full'", f"{SELECT} --verify full --top-k 1 --epochs 1"),
    Case(f"{SELECT} --budget soon", "a time ('20m', ", f"{SELECT} --budget 20m"),
    Case(f"{SELECT} --budget soon", "'1h30m'", f"{SELECT} --budget 1h30m"),
    Case(f"{SELECT} --budget soon", "'90s'", f"{SELECT} --budget 90s"),
    Case(f"{SELECT} --budget soon", "forward passes ('50000 passes'", f"{SELECT} --budget '50000 passes'"),
    Case(f"{SELECT} --budget soon", "('3 EUR at 1.20 EUR/h')", f"{SELECT} --budget '3 EUR at 1.20 EUR/h'"),
    Case(
        f"{SELECT} --budget '3 EUR at 1.20 USD/h'",
        "give both in one currency",
        f"{SELECT} --budget '3 USD at 1.20 USD/h'",
    ),
    Case(f"{SELECT} --budget '3 EUR at 0 EUR/h'", "give the time instead, such as '20m'", f"{SELECT} --budget 20m"),
    Case(f"{SELECT} --license ' '", "expected 'apache-2.0'", f"{SELECT} --license apache-2.0"),
    Case(f"{SELECT} --max-parameters 0", "a number above 0", f"{SELECT} --max-parameters 10000000"),
    Case(f"{SELECT} --probe-size 1", "2 or more rows, or None for all", f"{SELECT} --probe-size none"),
    Case(f"{SELECT} --resamples 1", "at least 2", f"{SELECT} --resamples 2"),
    Case("select {data} -c 'embedded:zzz*'", "`modelselect search 'ZOO:*'`", "search 'embedded:*'", shows="plain"),
    Case("select {data} -c 'embedded:zzz*'", "`modelselect zoos` lists the zoos", "zoos", shows="embedded"),
    Case("select {data} -c plain", "for example 'embedded:*'", "select {data} -c 'embedded:*' -e knn -q --dry-run"),
    Case("select {data} -c 'embeded:plain*' -e knn", "Did you mean 'embedded'?", SELECT),
    Case(f"{SELECT} --label kind", "name columns, but the rows come from folder", SELECT),
    Case(f"{SELECT} --input path", "which has no columns. Leave both out", SELECT),
    Case(
        "select 'embedded:*' -c 'embedded:*' -e knn -q --dry-run",
        "Give a folder of class folders",
        "select {data} -c 'embedded:*' -e knn -q --dry-run",
    ),
    Case(
        "select {tmp}/date -c 'embedded:*' -e knn -q",
        "Did you mean '{tmp}/data'?",
        "select {data} -c 'embedded:*' -e knn --dry-run",
    ),
]

SOME = "ms.select((images, labels), 'embedded:plain.random', estimators='knn', progress=False"

PYTHON = [
    Case(
        f"{SOME}, tune=2, verify='head')",
        "Give top_k=2 (--top-k 2) and leave out tune=",
        f"board = {SOME}, top_k=2, verify='head')",
        shows="board.best.verified_accuracy is not None",
    ),
    Case(
        f"{SOME}, recall=1, history=False)",
        "Leave out history=False",
        f"board = {SOME}, recall=1)",
        before=f"{SOME})",
        shows="len(board.rows) == 1",
    ),
    Case(f"{SOME}, cache_dir='afile/store')", "with cache_dir= (--cache-dir)", f"{SOME}, cache_dir='store')"),
    Case(
        f"{SOME}, cache_dir='afile/store')",
        "the environment variable MODELSELECT_CACHE",
        f"import os; os.environ['MODELSELECT_CACHE'] = 'elsewhere'; {SOME})",
        shows="os.path.isdir('elsewhere')",
    ),
    Case(f"{SOME}, precision='float16', device='cpu')", "Use precision='float32'", f"{SOME}, precision='float32')"),
    Case(f"{SOME}, device='abacus')", "Expected 'auto', 'cpu'", f"{SOME}, device='auto')"),
    Case(f"{SOME}, topk=1)", "Did you mean 'top_k'?", f"{SOME}, top_k=1, verify='head')"),
    Case(
        f"{SOME}, fine_tuning=dict(epochs=1))",
        "FineTuning(epochs=..., ...)",
        f"{SOME}, fine_tuning=ms.FineTuning(epochs=1))",
    ),
    Case(f"{SOME}, probe_size=1)", "2 or more rows, or None for all", f"{SOME}, probe_size=None)"),
    Case(f"{SOME}, history=3)", "False for none", f"{SOME}, history=False)"),
    Case(
        f"{SOME}, proxy=3)",
        "one candidate, such as 'embedded:resnet.textures'",
        f"{SOME}, proxy='embedded:resnet.textures')",
    ),
    Case(
        f"{SOME}, recall=1, proxy='embedded:*')",
        "such as 'embedded:resnet.textures'",
        f"{SOME}, proxy='embedded:resnet.textures', recall=1)",
        before=f"{SOME})",
    ),
    Case(f"{SOME}, executor=3)", "a name such as 'local'", f"{SOME}, executor='local')"),
    Case(f"{SOME}, license=[])", "expected 'apache-2.0'", f"{SOME}, license='apache-2.0')"),
    Case(
        "ms.select((images, labels), [])",
        "give at least one, such as 'embedded:*'",
        "ms.plan((images, labels), 'embedded:*', estimators='knn')",
    ),
    Case(
        "ms.select((images, labels), 'embedded:plain.random', estimators=3)",
        "expected a name such as 'logme', or an instance",
        "from modelselect_plugins.estimators.logme import LogME; ms.select((images, labels), "
        "'embedded:plain.random', estimators=LogME())",
    ),
    Case(
        "ms.select(ms.Probe.of((images, labels)), 'embedded:plain.random', estimators='knn', top_k=1, verify='head')",
        "Make the probe with Probe.of(dataset, holdout=0.2)",
        "ms.select(ms.Probe.of((images, labels), holdout=0.2), 'embedded:plain.random', "
        "estimators='knn', top_k=1, verify='head')",
    ),
    Case(
        "ms.select(ms.Probe.of((images, labels)), 'embedded:plain.random', estimators='knn', tune=1)",
        "or give select() the dataset",
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', tune=1, "
        "fine_tuning=ms.FineTuning(epochs=1, batch_size=8))",
    ),
    Case(
        "ms.select(ms.Probe.of((images, labels)), 'embedded:plain.random', label='kind')",
        "give them to Probe.of() with the dataset itself",
        "ms.select(ms.Probe.of(table, label='kind'), 'embedded:plain.random', estimators='knn')",
        before="import datasets, PIL.Image\n"
        "table = datasets.Dataset.from_dict({'image': [PIL.Image.fromarray(i) for i in images], 'kind': labels})",
    ),
    Case(
        "ms.select((images, None), 'embedded:plain.random', estimators='knn', top_k=1)",
        "Give labels",
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, verify='head')",
    ),
]


@pytest.mark.parametrize("case", LINES, ids=str)
def test_the_advised_line_works(case: Case, capsys: pytest.CaptureFixture[str], places: dict[str, Any]) -> None:
    check_line(capsys, case, places)


@pytest.mark.parametrize("case", PYTHON, ids=str)
def test_the_advised_python_works(case: Case, places: dict[str, Any]) -> None:
    check_python(case, places)
