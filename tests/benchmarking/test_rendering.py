"""The verdict is plain, and text from outside is never markup."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.sections import sections
from tests.benchmarking.conftest import made_up


def test_the_verdict_names_who_does_not_beat_the_baseline_and_who_cannot_be_told_from_it() -> None:
    found = made_up(datasets=6, models=20)
    noisy = {
        d: {m: 0.85 * v + 0.5 * found.scores["good"][d][m] for m, v in by.items()}
        for d, by in found.scores["parameters"].items()
    }
    text = " ".join(Benchmark.of_scores({**found.scores, "near": noisy}, found.truth).table().sentences())
    assert "1 of 3 methods does not beat the static baseline parameters: bad." in text
    assert re.search(
        r"Better than the static baseline parameters, also by the 95% interval of the difference: .*good", text
    )
    same = Benchmark.of_scores({"twin": found.scores["parameters"], **found.scores}, found.truth)
    assert "do not beat the static baseline parameters: twin and bad" in " ".join(same.table().sentences())


def test_the_verdict_on_a_single_method_speaks_of_one() -> None:
    found = made_up(models=20)
    scores = {name: found.scores[name] for name in ("good", "parameters")}
    text = " ".join(Benchmark.of_scores(scores, found.truth).table().sentences())
    assert "The one method beats the static baseline parameters in the mean." in text
    apart = {"one": {"d": {"a": 1.0, "b": 2.0}}, "parameters": {"d": {"c": 1.0, "d": 2.0}}}
    text = " ".join(Benchmark.of_scores(apart, {"d": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}}).table().sentences())
    assert "No method scores two of the models that the static baseline parameters scores." in text


def test_without_a_static_baseline_the_table_says_that_it_shows_nothing() -> None:
    found = made_up()
    text = Benchmark.of_scores({"good": found.scores["good"]}, found.truth).table().sentences()[0]
    assert "cannot say whether a method is worth its forward passes" in text


def test_the_verdict_says_what_the_truth_itself_allows() -> None:
    found = made_up(datasets=3)
    text = found.table(resamples=0).sentences()[-1]
    assert re.search(r"agree on the order of the models at 0\.\d\d \(mean weighted Kendall of 3 pairs\), and", text)
    assert "one result for each model and no numbers of test rows" in text
    runs = {d: {m: [v, v + 0.001 * (i % 2)] for i, (m, v) in enumerate(by.items())} for d, by in found.truth.items()}
    again = Benchmark.of_scores(found.scores, runs).table("kendall", resamples=0)
    assert "Fine-tuning again with another seed would agree with this truth at about" in again.sentences()[-1]
    rows = pd.DataFrame(
        [{"dataset": d, "model": m, "accuracy": v, "rows": 50} for d, by in found.truth.items() for m, v in by.items()]
    )
    counted = Benchmark.of_scores(found.scores, rows).table("kendall", resamples=0)
    assert "Another draw of the test rows would agree with this truth at about" in counted.sentences()[-1]


def test_details_are_shown_where_they_are_asked_for() -> None:
    table = made_up().table(resamples=100, reference="bad")
    titles = ("The truth itself", "Differences from bad", "Win rates", "Parts of the pool")
    for shown in (table.to_text, table.to_markdown, table.to_latex):
        assert not any(title in shown() for title in titles)
        assert all(title in shown(detail=True) for title in titles)
    assert all(title in table.to_html() for title in titles)
    assert "Better than bad (" in str(table)
    protocol = json.loads(table.to_json())["protocol"]
    assert protocol["win_rates"]["rates"]["good"]["bad"] > 0.9
    assert protocol["ablations"][0]["label"] == "all models"


def test_a_wide_pool_of_methods_is_cut_in_the_terminal_and_whole_on_the_page() -> None:
    found = made_up()
    scores = {**found.scores, **{f"e{i}": found.scores["bad"] for i in range(20)}}
    table = Benchmark.of_scores(scores, found.truth).table(resamples=0)
    by_title = {section.title: section for section in sections(table, True)}
    whole = {section.title: section for section in sections(table, True, None)}
    assert len(by_title["Win rates"].rows) == 6 + 2  # the best methods, and the baselines
    assert len(whole["Win rates"].rows) == len(whole["Parts of the pool"].headings) - 2 == 24


HOSTILE = "<script>alert(1)</script> | a_b & 50% \\x $y$ \x1b[31m\nz"


@pytest.fixture
def hostile() -> Benchmark:
    found = made_up(datasets=3)
    truth = {HOSTILE if d == "d0" else d: by for d, by in found.truth.items()}
    scores = {
        HOSTILE if e == "good" else e: {HOSTILE if d == "d0" else d: by for d, by in by_dataset.items()}
        for e, by_dataset in found.scores.items()
    }
    return Benchmark.of_scores(scores, truth)


def test_text_from_outside_is_never_markup(hostile: Benchmark) -> None:
    table = hostile.table(resamples=20)
    page = table.to_html()
    assert page.count("<details>") == 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing to fetch
    for part in table.to_markdown(detail=True).split("### "):
        assert "<script" not in part
        assert len({line.count("|") - line.count(r"\|") for line in part.splitlines() if line.startswith("|")}) == 1
    markdown = table.to_markdown()
    latex = table.to_latex(detail=True)
    assert latex.count(r"\begin{tabular}") == 5
    code = [line for line in latex.splitlines() if line and not line.startswith("%")]
    assert code[0].startswith(r"\begin{tabular}")
    assert all(line.startswith((r"\begin", r"\end", r"\t", r"\m", r"\b")) or line.endswith(r"\\") for line in code)
    assert r"a\_b \& 50\% \textbackslash{}x \$y\$" in latex
    for text in (page, markdown, latex, str(table), table._repr_html_()):
        assert "\x1b" not in text
