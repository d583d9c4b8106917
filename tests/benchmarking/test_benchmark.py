"""A benchmark's figures are scipy's, its intervals honest, its verdict plain, and nothing in it is guessed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

import modelselect as ms
from modelselect.benchmarking.measures import MEASURES
from modelselect.benchmarking.results import MEAN_RANK, Benchmark, mean_rank_elsewhere
from modelselect.benchmarking.truth import match, names_of, read_truth, write_truth
from modelselect.candidates.candidate import Candidate
from modelselect.cli import app
from modelselect.errors import InvalidInputError, UnknownNameError
from modelselect.evaluation import fine_tuning, gathering
from tests.conftest import shared_path

MODELS = ("plain.random", "resnet.textures", "vit.letters", "densenet.print", "mixer.digits0to4")
EXPRESSIONS = [f"embedded:{name}" for name in MODELS]

Pixels = NDArray[np.uint8]


def toy(seed: int, gap: int = 60) -> tuple[Pixels, list[int]]:
    images = np.random.default_rng(seed).integers(0, 256 - gap, (36, 32, 32, 3), dtype=np.uint8)
    images[:18, :16] += np.uint8(gap)
    return images, [0] * 18 + [1] * 18


def folder(path: Path, seed: int, *, test: bool = False) -> Path:
    for split, number in (("train", seed), ("test", seed + 100)) if test else (("", seed),):
        images, labels = toy(number)
        for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            (path / split / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / split / f"class{label}" / f"{index}.png")
    return path


pytestmark = pytest.mark.usefixtures("cache")


def made_up(datasets: int = 4, models: int = 12, seed: int = 0) -> Benchmark:
    """`good` follows the truth, `bad` does not; `parameters` is a static baseline in between."""
    random = np.random.default_rng(seed)
    truth: dict[str, dict[str, float]] = {}
    scores: dict[str, dict[str, dict[str, float]]] = {"good": {}, "bad": {}, "parameters": {}}
    size = random.normal(size=models)
    for number in range(datasets):
        quality = size + random.normal(size=models)
        names = [f"m{i}" for i in range(models)]
        truth[f"d{number}"] = dict(zip(names, (0.5 + 0.05 * quality).tolist(), strict=True))
        for name, values in (
            ("good", quality + 0.05 * random.normal(size=models)),
            ("bad", random.normal(size=models)),
            ("parameters", size),
        ):
            scores[name][f"d{number}"] = dict(zip(names, values.tolist(), strict=True))
    return Benchmark.of_scores(scores, truth)


# --- figures


@pytest.mark.parametrize("name", MEASURES)
def test_a_resampled_figure_is_that_of_the_candidates_written_out(name: str) -> None:
    random = np.random.default_rng(1)
    for case in range(12):
        n = int(random.integers(3, 14))
        scores = random.normal(size=n) if case % 2 else random.integers(0, 5, n).astype(float)
        truth = random.normal(size=n) if case % 3 else random.integers(0, 5, n).astype(float)
        counts = random.multinomial(n, [1 / n] * n, size=10)
        counts[0] = 1
        expected = [getattr(ms.agreement(np.repeat(scores, c), np.repeat(truth, c)), name) for c in counts]
        np.testing.assert_allclose(MEASURES[name].resampled(scores, truth, counts), expected, atol=1e-12)


def test_the_table_holds_scipys_figures_and_their_mean() -> None:
    found = made_up()
    table = found.table("weighted_kendall", resamples=0)
    row = next(row for row in table.rows if row.estimator == "parameters")
    by_hand = []
    for dataset in found.datasets:
        names = list(found.truth[dataset])
        x = [found.scores["parameters"][dataset][m] for m in names]
        by_hand.append(stats.weightedtau(x, [found.truth[dataset][m] for m in names]).statistic)
        assert row.figures[dataset].value == pytest.approx(by_hand[-1])
    assert row.mean.value == pytest.approx(np.mean(by_hand))
    assert row.mean.interval is None


def test_methods_come_best_first_and_baselines_stand_apart_whatever_is_better() -> None:
    found = made_up()
    for measure in ("kendall", "top1_regret"):
        rows = found.table(measure, resamples=50).rows
        assert [row.estimator for row in rows[:2]] == ["good", "bad"]
        assert {row.estimator: row.kind for row in rows[2:]} == {"parameters": "static", MEAN_RANK: "history"}
        assert rows[0].gains["parameters"].value > 0 > rows[1].gains["parameters"].value


def test_a_gain_is_the_difference_among_the_models_that_both_score() -> None:
    truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7, "e": 0.6, "f": 0.5}}
    scores = {
        "mine": {"d": {"a": 4.0, "b": 5.0, "c": 3.0}},
        "parameters": {"d": {"b": 1.0, "c": 2.0, "e": 3.0, "f": 9.0}},
    }
    found = Benchmark.of_scores(scores, truth)
    mine = found.table("kendall").rows[0]
    assert (mine.figures["d"].n, mine.figures["d"].of) == (3, 5)
    assert mine.figures["d"].value == pytest.approx(1 / 3)
    assert mine.gains["parameters"].value == pytest.approx(1 - -1)  # b above c, and c above b
    assert mine.figures["d"].interval is None  # of three models


def test_the_mean_rank_elsewhere_never_looks_at_the_dataset_itself() -> None:
    truth = {d: dict(models) for d, models in made_up().truth.items()}
    before = mean_rank_elsewhere(truth)
    truth["d0"] = {model: -value for model, value in truth["d0"].items()}
    after = mean_rank_elsewhere(truth)
    assert before["d0"] == after["d0"]
    assert before["d1"] != after["d1"]


@pytest.mark.parametrize(
    ("name", "weighted_kendall"),
    [("supervised-cnn-11x11.csv", 0.84), ("self-supervised-12x11.csv", 0.64), ("foundation-10x10.csv", 0.65)],
)
def test_the_mean_rank_reaches_what_is_known_of_it_on_published_results(name: str, weighted_kendall: float) -> None:
    table = pd.read_csv(shared_path("truth", name))
    found = Benchmark.of_scores(table.assign(estimator="none", score=0.0), table).table(resamples=0)
    assert found.history == MEAN_RANK
    assert next(r for r in found.rows if r.estimator == MEAN_RANK).mean.value == pytest.approx(
        weighted_kendall, abs=0.0105
    )


def test_published_scores_give_the_published_agreement() -> None:
    """Those of H-score, which are printed with digits enough; Aircraft and Pets are misprinted upstream."""
    path = shared_path("truth", "published-scores-and-accuracies-10x8.csv")
    frame = pd.read_csv(path)
    printed = frame[frame.model == "Weighted Tau"].set_index("dataset").hscore
    scores = frame[frame.finetuned_acc != "-"]
    found = Benchmark.of_scores(scores, scores, columns={"accuracy": "finetuned_acc"}).table(resamples=0)
    row = next(row for row in found.rows if row.estimator == "hscore")
    assert len(row.figures) == 8
    for dataset in set(row.figures) - {"Aircraft", "OxfordIIITPets"}:
        assert row.figures[dataset].value == pytest.approx(float(printed[dataset]), abs=6e-4), dataset


# --- intervals


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Kendall's tau of a normal pair with correlation r is 2/pi arcsin(r) in the population."""
    random = np.random.default_rng(0)
    r, n, trials = 0.6, 25, 120
    population = 2 / np.pi * np.arcsin(r)
    covered = 0
    for trial in range(trials):
        x = random.normal(size=n)
        y = r * x + np.sqrt(1 - r * r) * random.normal(size=n)
        names = [f"m{i}" for i in range(n)]
        truth = {"d": dict(zip(names, (0.5 + 0.01 * y).tolist(), strict=True))}
        found = Benchmark.of_scores({"x": {"d": dict(zip(names, x.tolist(), strict=True))}}, truth)
        interval = found.table("kendall", resamples=200, seed=trial).rows[0].figures["d"].interval
        assert interval is not None
        covered += interval[0] <= population <= interval[1]
    assert 0.88 <= covered / trials <= 0.99


def test_the_same_seed_gives_the_same_intervals_and_another_others() -> None:
    found = made_up()
    first, again, other = (found.table(resamples=100, seed=seed).rows[1].mean for seed in (0, 0, 1))
    assert first == again
    assert first.interval != other.interval
    assert first.value == other.value


def test_an_estimator_that_says_what_another_says_gains_nothing_with_certainty() -> None:
    found = made_up()
    scores = {"twin": found.scores["parameters"], "parameters": found.scores["parameters"]}
    gain = Benchmark.of_scores(scores, found.truth).table().rows[0].gains["parameters"]
    assert (gain.value, gain.interval) == (0.0, (0.0, 0.0))


# --- the verdict


def test_the_verdict_names_who_does_not_beat_the_baseline_and_who_cannot_be_told_from_it() -> None:
    found = made_up(datasets=6, models=20)
    noisy = {
        d: {m: 0.85 * v + 0.5 * found.scores["good"][d][m] for m, v in by.items()}
        for d, by in found.scores["parameters"].items()
    }
    text = " ".join(Benchmark.of_scores({**found.scores, "near": noisy}, found.truth).table().sentences())
    assert "1 of 3 methods does not beat the static baseline parameters: bad." in text
    assert re.search(r"Better than it by the interval of the difference, too: .*good", text)
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


def test_a_baseline_that_knows_few_models_is_not_the_bar() -> None:
    found = made_up()
    few = {d: dict(list(by.items())[:3]) for d, by in found.truth.items()}  # perfect, of three of twelve models
    both = Benchmark.of_scores({**found.scores, "downloads": few}, found.truth).table()
    assert both.static == "parameters"
    alone = Benchmark.of_scores({"good": found.scores["good"], "downloads": few}, found.truth).table()
    assert alone.static == "downloads"


def test_without_a_static_baseline_the_table_says_that_it_shows_nothing() -> None:
    found = made_up()
    text = Benchmark.of_scores({"good": found.scores["good"]}, found.truth).table().sentences()[0]
    assert "cannot say whether a method is worth its forward passes" in text


# --- forms


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
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing to fetch
    markdown = table.to_markdown()
    assert "<script" not in markdown
    assert len({line.count("|") - line.count(r"\|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    latex = table.to_latex()
    code = [line for line in latex.splitlines() if not line.startswith("%")]
    assert code[0].startswith(r"\begin{tabular}")
    assert all(line.startswith((r"\begin", r"\end", r"\t", r"\m", r"\b")) or line.endswith(r"\\") for line in code)
    assert r"a\_b \& 50\% \textbackslash{}x \$y\$" in latex
    for text in (page, markdown, latex, str(table), table._repr_html_()):
        assert "\x1b" not in text


def test_every_form_can_be_written_and_holds_the_figures(tmp_path: Path) -> None:
    table = made_up().table(resamples=50)
    for suffix in (".md", ".tex", ".html", ".csv", ".json", ".txt"):
        table.save(tmp_path / f"table{suffix}")
    frame = pd.read_csv(tmp_path / "table.csv")
    mean = frame[(frame.estimator == "good") & frame.dataset.isna()].iloc[0]
    assert (mean.value, mean.low) == (table.rows[0].mean.value, (table.rows[0].mean.interval or [0])[0])
    document = json.loads((tmp_path / "table.json").read_text())
    assert document["rows"][0]["mean"]["value"] == mean.value
    assert document["truth"] == made_up().truth
    shown = f"{mean.value:.2f}"
    for suffix in (".md", ".tex", ".html", ".txt"):
        assert shown in (tmp_path / f"table{suffix}").read_text()
    with pytest.raises(InvalidInputError, match=r"expected \.md"):
        table.save(tmp_path / "table.docx")


def test_scores_and_truth_come_back_from_the_data_frame() -> None:
    found = made_up()
    assert Benchmark.of_scores(found.to_pandas(), found.to_pandas()) == found


def test_a_benchmark_without_any_figure_says_so_in_every_form(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 10)
    evidence = {"d": {m: {"features": np.eye(20)[:, :4], "labels": labels} for m in "ab"}}
    table = Benchmark.of_evidence(evidence, {"d": {"a": 0.5, "b": 0.6}}, "leep").table()
    for suffix in (".md", ".tex", ".html", ".csv", ".json", ".txt"):
        table.save(tmp_path / f"table{suffix}")
    assert "No method has a figure" in str(table)
    assert "source_probabilities" in str(table)


# --- truth


@pytest.mark.parametrize(
    "text",
    [
        "dataset,model,accuracy\npets,a,90\npets,b,80\nfood,a,\nfood,b,70\n",
        "candidate,metric,dataset,value\na,accuracy,pets,0.9\nb,accuracy,pets,0.8\nb,accuracy,food,0.7\nb,logme,food,2\n",
        "model,pets,food\na,90,-\nb,80,70\n",
    ],
)
def test_long_and_wide_tables_are_read_alike_and_gaps_stay_gaps(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.csv").write_text("\ufeff" + text)
    found, notes = read_truth(tmp_path / "truth.csv")
    assert found == {"pets": {"a": 0.9, "b": 0.8}, "food": {"b": 0.7}}
    assert notes == []


def test_several_results_come_to_their_mean_and_the_table_says_so() -> None:
    frame = pd.DataFrame({"dataset": ["d"] * 3, "model": ["a", "a", "b"], "accuracy": [80, 90, 70]})
    found, notes = read_truth(frame)
    assert found == {"d": {"a": pytest.approx(0.85), "b": 0.7}}
    assert "1 accuracies are means" in notes[0]


def test_a_history_is_a_truth(tmp_path: Path) -> None:
    from modelselect.history import ACCURACY, Result

    history = ms.History(tmp_path / "history.sqlite")
    history.describe_dataset("f1", {"name": "pets"})
    history.record([Result("timm:a", "f1", ACCURACY, 0.9), Result("timm:a", "f1", "logme", 3.0)])
    assert read_truth(history)[0] == {"pets": {"timm:a": 0.9}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dataset,model,accuracy\nd,a,high\n", r"line 2: accuracy is 'high'"),
        ("dataset,model,accuracy\nd,a,90\nd,b,120\n", "b on d is 120"),
        ("dataset,model,accuracy\nd,a,0.9\nd,b,-1\n", "b on d is -1"),
        ("a,b\n1,2\n", "has the columns a, b; expected dataset, model and accuracy"),
        ("dataset,model,accuracy\n", "holds no accuracy"),
        ("", "cannot be read as a CSV file"),
    ],
)
def test_a_truth_that_cannot_be_says_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=complaint):
        read_truth(tmp_path / "truth.csv")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_truth(tmp_path / "absent.csv")


@pytest.mark.parametrize("score", ["high", float("inf")])
def test_a_score_that_is_no_finite_number_says_where_it_stands(score: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"scores\['mine'\]\['d'\]\['a'\] is .*; expected a finite number"):
        Benchmark.of_scores({"mine": {"d": {"a": score, "b": 1.0}}}, {"d": {"a": 0.1, "b": 0.2}})


def test_models_are_known_by_id_by_name_and_by_the_end_of_a_path() -> None:
    candidates = [
        Candidate("timm", "resnet18", "r1"),
        Candidate("hub", "org/resnet18"),
        Candidate("directory", "models/vgg"),
        Candidate("directory", "models/net"),
    ]
    truth = {"d": {"resnet18": 0.1, "hub:org/resnet18": 0.2, "vgg": 0.3, "directory:models/net": 0.4, "other": 0.5}}
    found, called = match(truth, ["d"], candidates)
    assert list(found["d"].values()) == [0.1, 0.2, 0.3, 0.4]
    assert list(found["d"]) == [c.id for c in candidates]
    assert names_of(candidates, called)["directory:models/vgg"] == "vgg"


@pytest.mark.parametrize(
    ("truth", "complaint"),
    [
        ({"pet": {"a": 0.1, "b": 0.2}}, "no dataset 'pets'.*Did you mean 'pet'"),
        ({"pets": {"a": 0.1, "x": 0.2}}, "1 are among the 3 candidates"),
        ({"pets": {"a": 0.1, "same": 0.2}}, "'same', as the truth says, is the name of one:same, two:same"),
        ({"pets": {"a": 0.1, "timm:a": 0.2}}, "speaks twice of timm:a"),
    ],
)
def test_what_does_not_match_is_an_error_that_names_it(truth: dict[str, Any], complaint: str) -> None:
    candidates = [Candidate("timm", "a"), Candidate("one", "same"), Candidate("two", "same")]
    with pytest.raises(InvalidInputError, match=complaint):
        match(truth, ["pets"], candidates)


def test_saved_truth_is_read_again_as_it_was() -> None:
    truth = {"d": {"a": 0.123456, "b,c": 0.9}}
    import io

    assert read_truth(pd.read_csv(io.StringIO(write_truth(truth))))[0] == truth


# --- runs


def test_scores_are_those_of_select_with_one_forward_pass_for_all_estimators(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extracted = []
    choose = gathering.choose_extractor
    monkeypatch.setattr(gathering, "choose_extractor", lambda *a: extracted.append(1) or choose(*a))
    truth = {name: {model: 50 + index for index, model in enumerate(MODELS[:4])} for name in ("one", "two")}
    found = ms.benchmark(
        EXPRESSIONS, {"one": toy(1), "two": toy(2)}, truth, estimators=["logme", "knn", "ncti"], progress=False
    )
    assert len(extracted) == 2 * 4  # the fifth has no truth
    assert found.models == MODELS[:4]
    assert found.static >= {"parameters"}
    board = ms.select(toy(2), EXPRESSIONS[:4], estimators=["logme", "knn", "ncti"], history=False, progress=False)
    for row in board.rows:
        for name in ("logme", "knn", "ncti", "parameters"):
            assert found.scores[name]["two"][row.candidate.name] == pytest.approx(row.scores[name])
    assert len(extracted) == 2 * 4
    assert any("mixer.digits0to4" in note for note in found.notes)
    assert found.seconds["logme"] > 0
    assert (found.evidence_seconds or 0) > 0


def test_what_cannot_be_scored_costs_its_cell_and_is_never_guessed() -> None:
    truth = {"one": dict.fromkeys(MODELS[:4], 0.5) | {MODELS[0]: 0.4}}
    found = ms.benchmark(EXPRESSIONS, {"one": toy(1)}, truth, estimators=["logme", "leep", "fennec"], progress=False)
    assert "plain.random" not in found.scores["leep"]["one"]  # without any pre-training it has no source classes
    table = found.table(resamples=10)
    leep = next(row for row in table.rows if row.estimator == "leep")
    assert leep.figures["one"].n < leep.figures["one"].of == 4
    text = table.to_markdown()
    assert "leep lacks" in text
    assert "Not in the table" in text
    assert "fennec" not in [row.estimator for row in table.rows]


@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
def test_what_goes_by_results_is_shown_those_on_the_other_datasets_alone() -> None:
    data = {name: toy(seed) for seed, name in enumerate(("one", "two", "three"))}
    truth = {name: {m: 0.5 + 0.08 * i + 0.01 * seed for i, m in enumerate(MODELS)} for seed, name in enumerate(data)}
    settings: dict[str, Any] = {"estimators": "fennec", "progress": False}
    found = ms.benchmark(EXPRESSIONS, data, truth, **settings)
    turned = {**truth, "one": {model: 1 - value for model, value in truth["one"].items()}}
    other = ms.benchmark(EXPRESSIONS, data, turned, **settings)
    assert found.scores["fennec"]["one"] == other.scores["fennec"]["one"]
    assert found.scores["fennec"]["two"] != other.scores["fennec"]["two"]
    assert next(r for r in found.table("kendall").rows if r.estimator == "fennec").figures["one"].value > 0.5
    few = ms.benchmark(EXPRESSIONS, {"one": data["one"], "two": data["two"]}, truth, **settings)
    assert "other datasets" in few.table().absent["fennec"]


def test_arrays_are_enough_to_compare_an_estimator() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    evidence = {
        "d": {
            f"m{gap}": {
                "features": random.normal(size=(45, 5)) + gap * labels[:, None],
                "labels": labels,
                "metadata": {"parameters": 10 - gap},
            }
            for gap in range(5)
        }
    }
    truth = {"d": {f"m{gap}": 0.5 + gap / 10 for gap in range(5)}}
    table = Benchmark.of_evidence(evidence, truth, ["logme", "leep"]).table("kendall")
    scores = [ms.score(fields["features"], labels, "logme") for fields in evidence["d"].values()]
    expected = stats.kendalltau(scores, list(truth["d"].values())).statistic
    assert [(row.estimator, row.mean.value) for row in table.rows] == [
        ("logme", pytest.approx(expected)),
        ("parameters", -1.0),
    ]
    assert "source_probabilities" in table.absent["leep"]


def test_a_run_that_was_killed_fine_tunes_nothing_twice_and_measures_on_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import modelselect.verification as verification

    one, two = folder(tmp_path / "one", 1, test=True), folder(tmp_path / "two", 2)
    calls: list[tuple[str, int]] = []
    verify = verification.verify

    def counted(backbone: Any, training: Any, holdout: Any, *arguments: Any, **named: Any) -> Any:
        if len(calls) == 3:
            raise KeyboardInterrupt
        found = verify(backbone, training, holdout, *arguments, **named)
        calls.append((training.name, found.rows))
        return found

    monkeypatch.setattr(fine_tuning, "verify", counted)
    settings: dict[str, Any] = {
        "verify": "head",
        "fine_tuning": verification.FineTuning(epochs=2),
        "estimators": "logme",
        "progress": False,
    }
    with pytest.raises(KeyboardInterrupt):
        ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    killed = list(calls)
    monkeypatch.setattr(fine_tuning, "verify", lambda *a, **n: calls.append((a[1].name, 0)) or verify(*a, **n))
    found = ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    assert killed == [("one", 36), ("one", 36), ("two", 7)]  # the test split; a fifth where there is none
    assert calls[3:] == [("two", 0)]
    assert found.models == (EXPRESSIONS[0], EXPRESSIONS[1])
    again = ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    assert len(calls) == 4
    assert again.truth == found.truth


def test_the_test_split_is_measured_on_where_it_has_labels_and_never_shown() -> None:
    (train, labels), (validation, _), (test, _) = (toy(seed) for seed in range(3))
    split: dict[str, Any] = {"train": (train, labels), "validation": (validation, labels), "test": (test, labels)}
    settings: dict[str, Any] = {"holdout": 0.2, "test_as_holdout": True}
    probe = ms.Probe.of(split, **settings)
    assert probe.holdout is not None
    assert probe.fingerprint == ms.Probe.of((train, labels)).fingerprint
    assert probe.holdout.fingerprint == ms.Probe.of((test, labels)).fingerprint
    unlabelled = ms.Probe.of({**split, "test": (test, [-1] * 36)}, **settings).holdout
    assert unlabelled is not None
    assert unlabelled.fingerprint == ms.Probe.of((validation, labels)).fingerprint
    usual = ms.Probe.of(split, holdout=0.2).holdout
    assert usual is not None
    assert usual.fingerprint == unlabelled.fingerprint


def test_two_datasets_of_one_name_need_names_of_their_own(tmp_path: Path) -> None:
    same = [folder(tmp_path / "a" / "data", 1), folder(tmp_path / "b" / "data", 2)]
    with pytest.raises(InvalidInputError, match="two datasets are called 'data'"):
        ms.benchmark(EXPRESSIONS[:2], same, {"data": {}}, progress=False)
    with pytest.raises(InvalidInputError, match="give one of both"):
        ms.benchmark(EXPRESSIONS[:2], same, progress=False)


# --- the command


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        app.main(["benchmark", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_the_command_prints_and_writes_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = [folder(tmp_path / name, seed) for seed, name in enumerate(("one", "two", "three"))]
    truth = tmp_path / "truth.csv"
    random = np.random.default_rng(0)
    lines = [f"{d.name},{m},{random.integers(50, 99)}" for d in data for m in MODELS]
    truth.write_text("dataset,model,accuracy\n" + "\n".join(lines) + "\n")
    more = [word for expression in EXPRESSIONS[1:] for word in ("-c", expression)]
    arguments = [EXPRESSIONS[0], *data, *more, "--truth", truth, "-e", "logme,knn", "-q"]
    code, out, err = run(capsys, *arguments, "-o", tmp_path / "t.md", "-o", tmp_path / "t.html")
    assert code == 0, err
    assert "logme" in out
    assert "parameters (baseline)" in out
    assert "mean rank elsewhere" in out
    assert (tmp_path / "t.md").read_text().count("| logme |") == 1
    assert (tmp_path / "t.html").exists()
    code, out, _ = run(capsys, *arguments, "--json", "--measure", "top1_regret", "--save-truth", tmp_path / "saved.csv")
    assert json.loads(out)["measure"] == "top1_regret"
    assert read_truth(tmp_path / "saved.csv")[0] == read_truth(truth)[0]


def test_the_command_measures_the_truth_and_saves_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, saved = folder(tmp_path / "one", 1, test=True), tmp_path / "truth.csv"
    arguments = [EXPRESSIONS[0], data, "-c", EXPRESSIONS[1], "-e", "logme", "-q", "--resamples", 0]
    code, _, err = run(capsys, *arguments, "--verify", "head", "--epochs", 1, "--save-truth", saved)
    assert code == 0, err
    measured = read_truth(saved)[0]
    assert measured.keys() == {"one"}
    assert measured["one"].keys() == set(EXPRESSIONS[:2])
    code, out, err = run(capsys, *arguments, "--truth", saved, "--json")
    assert code == 0, err
    assert json.loads(out)["truth"] == measured


def test_the_command_judges_scores_from_elsewhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    made_up().to_pandas().rename(columns={"accuracy": "top1"}).to_csv(path, index=False)
    code, out, err = run(capsys, "--scores", path, "--truth", path, "--column", "accuracy=top1", "--no-intervals")
    assert code == 0, err
    assert out.index("good") < out.index("bad") < out.index("parameters (baseline)")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["embedded:*"], "expected candidates and datasets"),
        (["embedded:*", "data", "--measure", "tau"], "unknown measure 'tau'"),
        (["embedded:*", "data", "--truth", "t.csv", "--epochs", "3"], "--epochs is of --verify"),
        (["embedded:*", "data", "-o", "t.docx"], "expected .md"),
        (["--scores", "s.csv"], "--truth FILE.csv"),
        (["--scores", "s.csv", "--truth", "t.csv", "--column", "top1"], "--column 'top1'"),
    ],
)
def test_wrong_use_is_said_in_one_message(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'kendall'"):
        made_up().table("kendal")
