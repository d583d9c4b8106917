"""What messages of `benchmark()` tell to type works, in Python and on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.advice.typed import Case, check_line, check_python

RUN = "benchmark embedded:plain.random {data} -c embedded:vit.letters -e knn -q --resamples 0"

LINES = [
    Case(RUN, "(truth=, --truth)", f"{RUN} --truth truth.csv"),
    Case(RUN, "or verify= (--verify) to compute them", f"{RUN} --verify head"),
    Case(f"{RUN} --truth truth.csv --verify head", "give one of both", f"{RUN} --truth truth.csv"),
    Case(
        f"{RUN} --truth renamed.csv",
        "(--column model=...)",
        f"{RUN} --truth renamed.csv --column model=net --column accuracy=top1",
    ),
    Case(
        f"{RUN} --truth truth.csv --column top1",
        "such as accuracy=top1",
        f"{RUN} --truth renamed.csv --column accuracy=top1 --column model=net",
    ),
    Case(
        f"{RUN} --truth elsewhere.csv",
        "The datasets of the truth are other. Use these names for your datasets",
        "benchmark embedded:plain.random other -c embedded:vit.letters -e knn -q --resamples 0 --truth elsewhere.csv",
    ),
    Case(f"{RUN} --truth models.csv", "Use the candidates' ids or names in the truth", f"{RUN} --truth truth.csv"),
    Case(f"{RUN} --truth truth.csv --epochs 1", "add --verify full (or head, lora)", f"{RUN} --verify full --epochs 1"),
    Case(f"{RUN} --truth truth.csv --epochs 1", "or leave out --epochs", f"{RUN} --truth truth.csv"),
    Case(
        "benchmark embedded:plain.random",
        "modelselect benchmark 'dir:models/*' data/a data/b --truth",
        f"{RUN} --truth truth.csv",
    ),
    Case(
        f"{RUN} --truth truth.csv --probe-sizes few",
        "numbers of rows such as 100,300,1000",
        f"{RUN} --truth truth.csv --probe-sizes 100,300,1000",
    ),
    Case(
        f"{RUN} --truth truth.csv --per-class few",
        "numbers of rows such as 5,10,50",
        f"{RUN} --truth truth.csv --per-class 5,10,50",
    ),
    Case(f"{RUN} --truth truth.csv -o table.docx", "expected .md", f"{RUN} --truth truth.csv -o table.md"),
    Case(
        f"{RUN} --truth truth.csv --models facts.csv",
        "--models describes the models of --scores",
        "benchmark --scores scores.csv --truth truth.csv --models facts.csv --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv",
        "add --truth FILE.csv",
        "benchmark --scores scores.csv --truth truth.csv --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv --truth truth.csv embedded:vit.letters",
        "leave out the candidates and --verify",
        "benchmark --scores scores.csv --truth truth.csv --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv --truth truth.csv --seeds 2",
        "leave out --probe-sizes, --per-class and --seeds",
        "benchmark --scores scores.csv --truth truth.csv --resamples 0",
    ),
    Case(
        "benchmark --scores renamed_scores.csv --truth renamed.csv",
        "(--column model=...)",
        "benchmark --scores renamed_scores.csv --truth renamed.csv --column model=net --column "
        "accuracy=top1 --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv --truth truth.csv --models other_facts.csv",
        "(--column family=...)",
        "benchmark --scores scores.csv --truth truth.csv --models other_facts.csv --column family=kind --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv --truth truth.csv --measure tau",
        "kendall",
        "benchmark --scores scores.csv --truth truth.csv --measure kendall --resamples 0",
    ),
    Case(
        "benchmark --scores scores.csv --truth truth.csv --resamples -1",
        "or 0 for no intervals",
        "benchmark --scores scores.csv --truth truth.csv --resamples 0",
    ),
    Case(
        "benchmark embedded:plain.random {data} again/data -c embedded:vit.letters -e knn -q --truth truth.csv",
        "two datasets are called 'data'; rename a folder",
        "benchmark embedded:plain.random {data} other -c embedded:vit.letters -e knn -q --resamples 0 --truth both.csv",
    ),
    Case(f"{RUN} --truth truth.csv --label kind", "Leave both out", f"{RUN} --truth truth.csv"),
]

BENCHMARK = "ms.benchmark(['embedded:plain.random', 'embedded:vit.letters'], data, estimators='knn', progress=False"

PYTHON = [
    Case(f"{BENCHMARK})", "(truth=, --truth)", f"{BENCHMARK}, truth=tmp / 'truth.csv')"),
    Case(f"{BENCHMARK})", "or verify= (--verify)", f"{BENCHMARK}, verify='head')"),
    Case(
        f"{BENCHMARK}, truth='truth.csv', resamples=10)",
        "give their number to Benchmark.table(resamples=...)",
        f"{BENCHMARK}, truth='truth.csv').table(resamples=10)",
    ),
    Case(
        f"{BENCHMARK}, truth='truth.csv', budget='20m')",
        "give a smaller probe_size instead",
        f"{BENCHMARK}, truth='truth.csv', probe_size=10)",
    ),
    Case(
        f"{BENCHMARK}, truth='truth.csv', top_k=3)",
        "verify= fine-tunes every candidate",
        f"{BENCHMARK}, verify='head')",
    ),
    Case(
        f"{BENCHMARK}, truth='truth.csv', costs=True)",
        "measure costs with select()",
        "ms.select(data, 'embedded:plain.random', estimators='knn', costs=True)",
    ),
    Case(
        f"{BENCHMARK}, truth='renamed.csv')",
        "columns={'model': ...}",
        f"{BENCHMARK}, truth='renamed.csv', columns={{'model': 'net', 'accuracy': 'top1'}})",
    ),
    Case(
        "ms.benchmark(['embedded:plain.random', 'embedded:vit.letters'], [data, tmp / 'again' / 'data'], "
        "verify='head')",
        "datasets={'one': ..., 'other': ...}",
        "ms.benchmark(['embedded:plain.random', 'embedded:vit.letters'], datasets={'one': data, 'other': "
        "tmp / 'again' / 'data'},"
        " verify='head', estimators='knn')",
    ),
    Case(
        "ms.benchmark(['embedded:plain.random', 'embedded:vit.letters'], {'one': ms.Probe.of(data)}, verify='head')",
        "give the dataset itself",
        "ms.benchmark(['embedded:plain.random', 'embedded:vit.letters'], {'one': data}, verify='head', "
        "estimators='knn')",
    ),
]


@pytest.fixture
def tables(places: dict[str, Any]) -> dict[str, Any]:
    """Truth, scores and facts of models as CSV files, and two further datasets."""
    tmp = places["tmp"]
    written = {
        "truth": ["dataset,model,accuracy", "data,plain.random,60", "data,vit.letters,80"],
        "renamed": ["dataset,net,top1", "data,plain.random,60", "data,vit.letters,80"],
        "elsewhere": ["dataset,model,accuracy", "other,plain.random,60", "other,vit.letters,80"],
        "both": ["model,data,other", "plain.random,60,70", "vit.letters,80,60"],
        "models": ["dataset,model,accuracy", "data,resnet50,60", "data,vit_base,80"],
        "scores": ["dataset,model,mine", "data,plain.random,1", "data,vit.letters,2"],
        "renamed_scores": ["dataset,net,mine", "data,plain.random,1", "data,vit.letters,2"],
        "facts": ["model,parameters", "plain.random,1000", "vit.letters,2000"],
        "other_facts": ["model,kind", "plain.random,CNN", "vit.letters,ViT"],
    }
    for name, lines in written.items():
        Path(f"{name}.csv").write_text("\n".join(lines) + "\n")
    for other in (tmp / "other", tmp / "again" / "data"):
        shutil.copytree(places["data"], other)
    return places


@pytest.mark.parametrize("case", LINES, ids=str)
def test_the_advised_line_works(case: Case, capsys: pytest.CaptureFixture[str], tables: dict[str, Any]) -> None:
    check_line(capsys, case, tables)


@pytest.mark.parametrize("case", PYTHON, ids=str)
def test_the_advised_python_works(case: Case, tables: dict[str, Any]) -> None:
    check_python(case, tables)
