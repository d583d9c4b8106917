"""The report says what the leaderboard says, in one file that asks for nothing; exports can be read back elsewhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.errors import Failure, Stage
from modelselect.leaderboard.leaderboard import Row
from modelselect.leaderboard.map import architecture_map
from modelselect.ranking.pareto import pareto_front
from modelselect.report.account import budget_table, estimator_rank_table
from modelselect.report.answer import answer_text, cheaper_candidates, left_out, loading_code
from modelselect.report.charts import cost_chart
from modelselect.report.names import dataset_name, display_names

EVIL = "<script>alert(1)</script>"
EVIL_NAME = "<img src=x onerror=alert(1)>"
MOST_BYTES = 5_000_000


def evil_board() -> ms.Leaderboard:
    """13 candidates: two verified, one failed, one excluded; every text that comes from outside is an attack."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            ms.Candidate(
                "shelf",
                EVIL_NAME if index == 3 else f"model-{index:02}",
                f"r{index}",
                {"family": EVIL if index % 4 == 0 else f"f{index % 4}", "size_bytes": 10**6 + index},
            ),
            rank=index + 1,
            score=1.0 - index / 12,
            predicted_rank=index + 1,
            scores={"logme": 1.0 - index / 12, "knn": float(rng.normal()), EVIL: float(index)},
            failures={"leep": Failure("score", f"{EVIL} </textarea> no classes")} if index == 5 else {},
            warnings={"knn": f"{EVIL} few rows"} if index == 6 else {},
            verified_accuracy={0: 0.9, 1: 0.8}.get(index),
            verified_interval={0: (0.88, 0.92), 1: (0.75, 0.85)}.get(index),
            parameters=(index + 1) * 1_000_000,
            macs=10**9 // (index + 1),
            feature_dim=64,
            seconds=1.0 + index,
            embedding=tuple(rng.normal(size=8)),
            license=f"{EVIL} license" if index == 2 else "mit",
            latency_ms=20.0 - index,
            throughput=100.0 + index,
            memory_bytes=10**7 * (1 + index % 3),
            stopped=f"{EVIL} the budget ended" if index == 9 else None,
        )
        for index in range(11)
    ]
    rows.append(Row(ms.Candidate("shelf", "broken"), failure=Failure("load", f"{EVIL} no weights")))
    rows.append(Row(ms.Candidate("shelf", "huge"), failure=Failure(Stage.LIMIT, f"{EVIL} too large"), parameters=10**9))
    provenance = {
        "dataset": {"name": f"{EVIL}pets", "classes": [EVIL, "cat", "]]>", "<!--"], "source": {"path": f"{EVIL}/x"}},
        "ranked_by": ["logme"],
        "estimators": {"logme": {"parameters": {"solver": EVIL}, "citation": f"{EVIL} You et al., 2021"}},
        "settings": {"seed": 0},
        "budget": {
            "asked": f"{EVIL} 20m",
            "passes": None,
            "planned": [{"rows": 250, "seconds": 28.0}],
            "spent": {"seconds": 1230.0, "passes": 12_345},
            "stages": [
                {"stage": "score", "rows": 250, "candidates": 11, "seconds": 30.0, "decision": f"{EVIL} still open"},
                {"stage": f"{EVIL} verify", "candidates": 2, "seconds": 1200.0, "decision": "decided"},
            ],
        },
    }
    return ms.Leaderboard(tuple(rows), ("logme", "knn", EVIL), provenance, 0.97)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "board.html"
    evil_board().report(path)
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Tags with their attributes, and the scripts' texts, as a browser's parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        inside = self.scripts if self.tags and self.tags[-1][0] == "script" else self.texts
        inside.append(data)


def test_the_page_refers_to_nothing_outside_and_is_small(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    links = [(tag, a[key]) for tag, a in Elements(page).tags for key in ("src", "href", "action", "srcset") if key in a]
    assert [link for link in links if not str(link[1]).startswith(("#", "data:"))] == []
    assert "@import" not in page.partition("</style>")[0]


def test_what_comes_from_outside_is_text_and_never_markup(page: str) -> None:
    elements = Elements(page)
    assert [attributes for tag, attributes in elements.tags if tag == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
        {},
    ]
    assert EVIL not in page
    assert EVIL_NAME not in page
    shown = "".join(elements.texts)
    assert EVIL_NAME in shown
    texts = ("pets", " no weights", " </textarea> no classes", " few rows", " You et al., 2021", "/x", " license")
    for text in (*texts, " the budget ended", " too large", " 20m", " still open", " verify"):
        assert f"{EVIL}{text}" in shown, text


def test_only_the_pages_own_scripts_may_run(page: str) -> None:
    elements = Elements(page)
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    own = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in own}
    assert set(rules["script-src"].split()) == digests
    assert len(own) == 2


def test_the_answer_names_the_winner_its_grounds_and_how_sure_it_is() -> None:
    sentences = answer_text(evil_board())
    assert sentences[0].startswith("Fine-tune model-00: it reached an accuracy of 90.0% (95% interval 88.0% to 92.0%)")
    assert "the best of 2 fine-tuned out of 11 candidates" in sentences[0]
    assert "with a probability of 97%: the first place by score is decided" in sentences[1]


def test_an_accuracy_that_guessing_may_reach_and_what_was_trained_are_said() -> None:
    def said(low: float, method: str) -> str:
        row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, verified_accuracy=0.6, verified_interval=(low, 0.7))
        about = {"dataset": {"classes": ["x", "y"]}, "settings": {"fine_tuning": {"method": method}}}
        return " ".join(answer_text(ms.Leaderboard((row,), ("logme",), about)))

    assert "may be no better than guessing among 2 classes: 50%" in said(0.49, "full")
    assert "guessing" not in said(0.51, "full")
    assert "Fine-tuning trained the linear head alone" in said(0.51, "head")
    assert "Fine-tuning trained" not in said(0.51, "full")


def test_ties_overlaps_and_unmeasured_doubt_are_said() -> None:
    def row(name: str, rank: int, **more: object) -> Row:
        return Row(ms.Candidate("shelf", name), rank=rank, score=1.0 / rank, predicted_rank=rank, **more)  # type: ignore[arg-type]

    tied = " ".join(answer_text(ms.Leaderboard((row("a", 1), row("b", 1), row("c", 3)), ("logme",))))
    assert "shares the first place with b" in tied
    assert "Confidence not measured. Add `--resamples 50`." in tied
    close = (
        row("a", 1, verified_accuracy=0.9, verified_interval=(0.85, 0.95)),
        row("b", 2, verified_accuracy=0.88, verified_interval=(0.83, 0.93)),
    )
    assert "The intervals of b overlap with its own" in " ".join(answer_text(ms.Leaderboard(close, ("logme",))))
    nothing = ms.Leaderboard((Row(ms.Candidate("shelf", "x"), failure=Failure("load", "gone")),))
    assert answer_text(nothing) == ["None of the 1 candidates could be ranked; the table says why."]


def test_the_code_to_load_the_winner_loads_it() -> None:
    row = Row(ms.search("embedded:resnet.letters")[0])
    code = loading_code(row)
    assert code is not None
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert sum(p.numel() for p in namespace["model"].parameters()) == row.candidate.metadata["parameters"]  # type: ignore[attr-defined]


def test_the_code_to_load_a_fine_tuned_winner_loads_the_saved_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(ms.Candidate("shelf", "tiny", metadata={"remote_code": True}), rank=1, score=1.0, fine_tuned="key")
    ms.Leaderboard((row,)).save(tmp_path / "board.json")
    monkeypatch.chdir(tmp_path)
    asked = []
    loaded = type("Loaded", (), {"module": "a module"})
    monkeypatch.setattr(Row, "load", lambda self, **settings: asked.append((self, settings)) or loaded)
    monkeypatch.setattr(Row, "save", lambda self, path, **settings: asked.append((self, settings)))
    code = loading_code(row)
    assert code is not None
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["model"] == "a module"
    assert asked == [(row, {"trust_remote_code": True})] * 2  # code that it brings runs because the reader says so


def test_the_pareto_front_holds_exactly_those_that_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, quality = rng.integers(0, 8, 20).tolist(), rng.integers(0, 8, 20).tolist()
        undominated = {
            i
            for i in range(20)
            if not any(
                cost[j] <= cost[i] and quality[j] >= quality[i] and (cost[j], quality[j]) != (cost[i], quality[i])
                for j in range(20)
            )
        }
        assert set(pareto_front(cost, quality)) == undominated


def test_estimators_ranks_are_those_of_their_scores() -> None:
    from scipy.stats import rankdata

    board = evil_board()
    ranks = estimator_rank_table(board)
    knn = [-row.scores["knn"] for row in board.rows if row.scores]
    assert ranks["knn"] == [*rankdata(knn, "min").astype(int).tolist(), None, None]


def test_a_cost_that_is_not_known_is_no_choice() -> None:
    chart = cost_chart(evil_board())
    assert chart is not None
    known = ["parameters", "macs", "feature_dim", "latency_ms", "memory_bytes", "download_bytes", "seconds"]
    assert {quality: list(costs) for quality, costs in chart[1].items()} == {
        "score": known,
        "accuracy, fine-tuned": known,
    }
    bare = ms.Leaderboard(tuple(Row(ms.Candidate("s", n), rank=1, score=1.0, parameters=7) for n in "ab"), ("x",))
    assert {quality: list(costs) for quality, costs in (cost_chart(bare) or ({}, {}))[1].items()} == {
        "score": ["parameters"]
    }


@pytest.mark.parametrize("cost", ["parameters", "macs", "latency_ms", "memory_bytes"])
@pytest.mark.parametrize("quality", ["score", "verified_accuracy"])
def test_the_charts_front_is_that_of_the_board(cost: str, quality: str) -> None:
    board = evil_board()
    chart = cost_chart(board)
    assert chart is not None
    shown = chart[1]["score" if quality == "score" else "accuracy, fine-tuned"][cost]
    called = dict(zip((row.candidate.id for row in board.rows), display_names(board), strict=True))
    assert shown["names"] == [called[row.candidate.id] for row in board.pareto(cost, quality)]
    labelled = {name for name, label in zip(shown["points"]["name"], shown["points"]["label"], strict=True) if label}
    assert labelled == set(shown["names"])
    assert 2 <= sum(min(shown["points"]["x"]) <= tick <= max(shown["points"]["x"]) for tick in shown["ticks"]) + 1 <= 9


def test_who_was_left_out_is_told_by_what_became_of_them() -> None:
    assert left_out(evil_board()) == {
        "without a rank": [("broken", f"{EVIL} no weights")],
        "excluded by a limit": [("huge", f"{EVIL} too large")],
        "stopped early": [("model-09", f"{EVIL} the budget ended")],
    }


def test_the_account_of_the_budget_is_told_whatever_it_holds() -> None:
    whole, tables = budget_table(evil_board())
    columns, rows = tables["stages"]
    assert list(tables) == ["stages", "planned"]
    assert whole == [("asked", f"{EVIL} 20m"), ("spent › seconds", "20 min"), ("spent › passes", "12,345")]
    assert columns == ["stage", "rows", "candidates", "seconds", "decision"]
    assert rows == [
        ["score", "250", "11", "30 s", f"{EVIL} still open"],
        [f"{EVIL} verify", "", "2", "20 min", "decided"],
    ]
    for account in (None, "20m", {}, {"stages": "none"}, {"stages": [3, {"a": None}]}):
        assert len(budget_table(ms.Leaderboard((), provenance={"budget": account}))) == 2


def test_a_smaller_choice_is_named_with_what_it_saves() -> None:
    def row(name: str, rank: int, parameters: int | None) -> Row:
        return Row(ms.Candidate("shelf", name), rank=rank, score=-float(rank), parameters=parameters)

    board = ms.Leaderboard((row("large", 1, 4_000_000), row("larger", 2, 9_000_000), row("small", 3, 1_000_000)))
    assert cheaper_candidates(board) == "Smaller: small has 25% of its parameters (1M), ranks 3 of 3."
    assert cheaper_candidates(ms.Leaderboard((row("small", 1, 5), row("large", 2, 6)))) is None
    assert cheaper_candidates(ms.Leaderboard((row("unknown", 1, None), row("large", 2, 6)))) is None
    assert cheaper_candidates(ms.Leaderboard.empty()) is None


def test_a_folder_called_train_is_known_by_the_one_above() -> None:
    def named(name: str, path: str) -> str:
        about = {"dataset": {"name": name, "source": {"kind": "folder", "path": path}}}
        return dataset_name(ms.Leaderboard((), provenance=about))

    assert named("train", "/data/pets/train") == "pets"
    assert named("pets", "/data/pets") == "pets"
    assert named("train", "train") == "train"


def test_the_map_lies_over_the_atlas_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelselect.archi2vec.atlas import Atlas

    found = ms.search("embedded:*")
    board = ms.Leaderboard(tuple(Row(c, rank=i + 1, score=-float(i)) for i, c in enumerate(found[:5])), ("logme",))
    monkeypatch.setenv("MODELSELECT_ATLAS", str(tmp_path / "atlas.safetensors"))
    assert architecture_map(board) is None
    atlas = Atlas()
    atlas.add(found, cache_dir=tmp_path / "cache")
    atlas.save(tmp_path / "atlas.safetensors")
    plane = architecture_map(board)
    assert plane is not None
    assert plane.rows == (0, 1, 2, 3, 4)
    assert set(plane.background_names) == {c.unversioned_id for c in found[5:]}
    (tmp_path / "atlas.safetensors").write_bytes(b"damaged")
    assert architecture_map(board) is None
    with pytest.raises(ms.errors.InvalidInputError, match="not a readable atlas"):
        architecture_map(board, tmp_path / "atlas.safetensors")


def test_without_what_draws_a_report_says_what_to_install_before_any_work(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['bokeh'] = None\n"
        "import importlib.util as u; old = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'bokeh' else old(name, *a)\n"
        "from modelselect import cli; cli.main(['select', 'no-such-folder', '-c', 'embedded:*', '--report', 'b.html'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == app.EXIT_BAD_USAGE
    assert "pip install 'modelselect-automl[report]'" in done.stderr


@pytest.mark.parametrize("rows", [0, 1])
def test_a_board_of_nothing_or_of_failures_has_a_page(rows: int, tmp_path: Path) -> None:
    failed = Row(ms.Candidate("shelf", "x"), failure=Failure("load", "gone away"))
    ms.Leaderboard((failed,) * rows).report(tmp_path / "board.html")
    assert ("gone away" in (tmp_path / "board.html").read_text()) == bool(rows)


def test_a_thousand_candidates_and_classes_fit_into_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1000, 6))
    rows = tuple(
        Row(
            ms.Candidate("hub", f"owner/a-model-with-a-rather-long-name-{i}", "0" * 40),
            rank=i + 1,
            score=1.0 - i / 1000,
            scores={f"e{j}": float(scores[i, j]) for j in range(6)},
            parameters=10**6 + i,
            embedding=tuple(rng.normal(size=128)),
        )
        for i in range(1000)
    )
    provenance = {"dataset": {"name": "many", "classes": [f"class {i}" for i in range(1000)]}}
    ms.Leaderboard(rows, tuple(f"e{j}" for j in range(6)), provenance).report(tmp_path / "board.html")
    assert (tmp_path / "board.html").stat().st_size < MOST_BYTES


# --- text and plots --------------------------------------------------------------------------------------------------


def test_a_markdown_table_has_the_cells_and_no_markup_of_others() -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    board = ms.Leaderboard(
        (Row(ms.Candidate("shelf", "a|b_*c*`d`[x](http://y)"), rank=1, score=0.5), evil_board().rows[3]), ("logme",)
    )
    text = board.to_markdown()
    assert "<script" not in text
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(Markdown(text))
    rendered = console.file.getvalue()  # type: ignore[attr-defined]
    assert "shelf:a|b_*c*`d`[x](http://y)" in rendered


def test_a_latex_table_is_escaped_as_pandas_escapes_it() -> None:
    import pandas as pd

    name = r"a_b & 50% $x$ #1 {z} ~ ^ \input"
    lines = ms.Leaderboard((Row(ms.Candidate("shelf", name), rank=1, score=0.5),), ("logme",)).to_latex().splitlines()
    reference = pd.DataFrame({"x": [f"shelf:{name}"]}).to_latex(index=False, escape=True).splitlines()[4]
    plain = (
        lines[4].replace(r"\textasciitilde{}", r"\textasciitilde ").replace(r"\textasciicircum{}", r"\textasciicircum ")
    )
    plain = plain.replace(r"\textbackslash{}", r"\textbackslash ")
    assert re.sub(r"\s+", " ", reference.removesuffix(r" \\").replace(r"\space ", "")) in re.sub(r"\s+", " ", plain)


def test_the_csv_is_read_back_with_every_digit() -> None:
    board = evil_board()
    read = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert [line["candidate"] for line in read] == [row.candidate.id for row in board.rows]
    assert [float(line["score"]) for line in read[:11]] == [row.score for row in board.ranked]
    assert [float(line["latency_ms"]) for line in read[:11]] == [row.latency_ms for row in board.ranked]
    assert read[11]["status"] == f"failed: {EVIL} no weights"


def test_the_model_card_tells_the_choice_and_cites_the_methods() -> None:
    card = evil_board().model_card()
    assert "Fine-tune model-00" in card
    assert "You et al., 2021" in card
    assert "and 8 more" in card
    assert "<script" not in card


def test_a_plot_shows_every_ranked_candidate_and_is_shown_by_a_notebook() -> None:
    board = evil_board()
    figure = board.plot("macs")
    offsets = np.concatenate([c.get_offsets() for c in figure.axes[0].collections[:1]])  # type: ignore[arg-type, misc]
    assert sorted(offsets[:, 0].tolist()) == sorted(float(row.macs or 0) for row in board.ranked)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(ms.errors.InvalidInputError, match="expected a cost that is known"):
        board.plot("price")


def test_the_command_line_writes_what_the_name_ends_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = evil_board()
    board.save(tmp_path / "board.json")

    def run(*words: str) -> int | str | None:
        with pytest.raises(SystemExit) as stopped:
            app.main(["report", str(tmp_path / "board.json"), *words])
        return stopped.value.code

    assert not run()
    assert (tmp_path / "board.html").read_text().startswith("<!doctype html>")
    for ending, text in {".md": board.to_markdown(), ".csv": board.to_csv(), ".tex": board.to_latex()}.items():
        assert not run("--output", str(tmp_path / f"table{ending}"))
        assert (tmp_path / f"table{ending}").read_text() == text
    assert run("--output", str(tmp_path / "board.docx")) == app.EXIT_BAD_USAGE
    assert "expected .html, .md, .csv or .tex" in " ".join(capsys.readouterr().err.split())


def test_a_saved_board_gives_the_same_page(tmp_path: Path) -> None:
    board = evil_board()
    board.save(tmp_path / "board.json")
    pages = []
    for each in (board, ms.Leaderboard.load(tmp_path / "board.json")):
        each.report(tmp_path / "board.html")
        data = json.loads(re.findall(r'id="data">(.*?)</script>', (tmp_path / "board.html").read_text())[0])
        pages.append(
            (data["costs"], (tmp_path / "board.html").read_text().partition("<main>")[2].partition("<script")[0])
        )
    assert pages[0] == pages[1]
