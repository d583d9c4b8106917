"""What others have measured becomes history, and what cannot be is rejected with a count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.history import History, import_csv, import_timm, mine
from tests.conftest import shared_path
from tests.hub.server import Hub


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- tables


def test_a_long_table_is_imported_with_its_own_columns(history: History, tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv", "candidate,dataset,metric,value\ntimm:a,food,accuracy,0.8\ntimm:a,food,logme,1.5\n"
    )
    assert import_csv(history, path).new == 2
    assert {(r.metric, r.value) for r in history.results()} == {("accuracy", 0.8), ("logme", 1.5)}
    assert history.results()[0].provenance == {"source": "t.csv"}
    assert import_csv(history, path).known == 2


def test_accuracies_in_per_cent_are_told_by_their_size_and_scores_are_left_alone(
    history: History, tmp_path: Path
) -> None:
    path = table(tmp_path / "t.csv", "candidate,dataset,metric,value\ntimm:a,x,accuracy,80\ntimm:a,x,logme,80\n")
    import_csv(history, path)
    assert {r.metric: r.value for r in history.results()} == {"accuracy": 0.8, "logme": 80.0}


def test_values_that_cannot_be_are_rejected_with_a_count(history: History, tmp_path: Path) -> None:
    rows = "timm:a,x,0.5\ntimm:b,x,nan\ntimm:c,x,\ntimm:d,x,-0.1\ntimm:e,x,fine\n"
    path = table(tmp_path / "t.csv", "candidate,dataset,value\n" + rows)
    added = import_csv(history, path, metric="accuracy")
    assert added.new == 1
    assert added.rejected == {"value is not a finite number": 3, "accuracy outside 0 to 1": 1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("model,accuracy\na,1\n", "lacks candidate, dataset"), ("candidate,dataset,value\nresnet,x,1\n", "without a zoo")],
)
def test_a_table_that_cannot_be_read_says_what_is_wrong(
    history: History, tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ms.errors.InvalidInputError, match=complaint):
        import_csv(history, table(tmp_path / "t.csv", text), metric="accuracy")
    with pytest.raises(ms.errors.InvalidInputError, match="cannot be read"):
        import_csv(history, tmp_path / "absent.csv")


def test_a_published_matrix_is_imported_whole(history: History) -> None:
    path = shared_path("truth", "hub-vtab-292x16.csv")
    names = {"candidate": "model", "value": "accuracy"}
    added = import_csv(history, path, columns=names, metric="accuracy", zoo="hub")
    assert (added.new, added.known, added.rejected) == (4544, 0, {})
    summary = history.summary()
    assert (summary["candidates"], summary["datasets"]) == (292, 16)
    (result,) = history.results(candidate="hub:Ahmed9275/ALL-2", dataset="caltech101")
    assert result.value == pytest.approx(0.871728)


def test_timms_tables_are_imported_with_parameters(history: History) -> None:
    added = import_timm(history, shared_path("truth", "timm"))
    assert added.new > 7000
    assert added.rejected == {}
    assert {"imagenet", "imagenet-a", "sketch"} <= {r.dataset for r in history.results()}
    name = "timm:eva_giant_patch14_336.clip_ft_in1k"
    assert history.candidates()[name] == {"architecture": "eva_giant_patch14_336", "parameters": 1_013_010_000}
    (real,) = history.results(candidate=name, dataset="imagenet-real")
    assert real.value == pytest.approx(0.91078)


# --- the Hub's own evidence


def card(dataset: str, value: Any, *, base: str | None = "google/vit", metric: str = "accuracy", **more: Any) -> Any:
    """What the API says of a model that was fine-tuned on a dataset."""
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": dataset, "type": dataset, **more},
        "metrics": [{"type": metric, "value": value}, {"type": "loss", "value": 0.3}],
    }
    tags = [f"base_model:{base}", f"base_model:finetune:{base}"] if base else []
    return {
        "tags": [*tags, "vit"],
        "model-index": [{"name": "m", "results": [result]}],
        "pipeline_tag": "image-classification",
    }


def publish(hub: Hub, name: str, facts: dict[str, Any], day: int = 1) -> None:
    hub.model(name, {"config.json": b"{}"}, createdAt=f"2026-03-{day:02d}T00:00:00.000Z", **facts)


def test_published_fine_tunings_become_results_of_their_base_models(hub: Hub, history: History) -> None:
    publish(hub, "a/flowers", card("oxford_flowers102", 0.95, split="test"))
    publish(hub, "b/food", card("food101", 88.5, base="microsoft/resnet-50", config="default"))
    publish(hub, "c/plain", {"tags": [], "pipeline_tag": "image-classification"})
    publish(hub, "d/text", card("imdb", 0.9) | {"pipeline_tag": "text-classification"})
    added = mine(history)
    assert (added.new, added.rejected) == (2, {})
    found = {(r.candidate, r.dataset): (r.value, r.settings) for r in history.results()}
    assert found == {
        ("hub:google/vit", "hub:oxford_flowers102"): (0.95, {"fine_tuned": "a/flowers", "split": "test"}),
        ("hub:microsoft/resnet-50", "hub:food101"): (0.885, {"fine_tuned": "b/food"}),
    }


def test_reports_that_cannot_be_believed_are_rejected_with_a_count(hub: Hub, history: History) -> None:
    for number in range(12):
        publish(hub, f"good/{number}", card("food101", 0.80 + 0.01 * number, base=f"base/{number}"))
    publish(hub, "bad/base", card("food101", 0.9, base=None))
    publish(hub, "bad/nameless", card("imagefolder", 0.9))
    publish(hub, "bad/much", card("food101", 930))
    publish(hub, "bad/nothing", card("food101", 0.0))
    publish(hub, "bad/words", card("food101", "very good"))
    publish(hub, "bad/huge", card("food101", 10**400))
    publish(hub, "bad/surrogate", card("food\ud800", 0.9))
    publish(hub, "bad/surrogate-base", card("food101", 0.85, base="google/\ud800"))
    publish(hub, "bad/tag", card("food101", 0.85, base=None) | {"tags": [5, None]})
    publish(hub, "bad/far", card("food101", 0.02, base="base/far"))
    publish(hub, "bad/other", card("food101", 0.5, metric="f1"))
    publish(hub, "bad/card", {"model-index": [{"results": "none"}], "pipeline_tag": "image-classification"})
    added = mine(history)
    assert added.new == 12
    assert added.rejected == {
        "no base model": 2,
        "dataset without a name": 2,
        "accuracy outside 0 to 100 per cent": 2,
        "accuracy is no number": 2,
        "a name holds half a surrogate pair": 1,
        "far from what others report": 1,
    }


def test_the_hub_is_read_page_by_page_once_and_then_only_what_is_new(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelselect.history import model_cards

    monkeypatch.setattr(model_cards, "_PAGE", 4)
    for number in range(10):
        publish(hub, f"some/{number}", card("food101", 0.5, base=f"base/{number}"), day=number + 1)
    assert mine(history, limit=3, pause=0).new == 3  # a run that ends early
    assert mine(history, pause=0).new == 7
    publish(hub, "some/new", card("food101", 0.6, base="base/new"), day=20)
    again = mine(history, pause=0)
    assert (again.new, again.known) == (1, 0)  # stops where the last pass began


def test_a_hub_that_fails_on_the_way_loses_nothing(hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelselect.history import model_cards

    monkeypatch.setattr(model_cards, "_PAGE", 2)

    class Failing:
        def list_models(self, **asked: Any) -> Any:
            from huggingface_hub import HfApi

            yield from list(HfApi().list_models(**asked))[:4]
            raise ConnectionError("the line is dead")

    for number in range(6):
        publish(hub, f"some/{number}", card("food101", 0.5, base=f"base/{number}"), day=number + 1)
    with pytest.raises(ms.errors.HistoryError, match="the line is dead"):
        mine(history, pause=0, api=Failing())
    assert len(history.results()) == 4
    assert mine(history, pause=0).new == 2


# --- the command line


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        app.main(["history", *words])
    captured = capsys.readouterr()
    assert not stopped.value.code, captured.err
    return captured.out


def test_the_command_line_imports_shows_exports_and_merges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    assert json.loads(run(capsys, "show", "--json"))["results"] == 0
    path = str(table(tmp_path / "t.csv", "model,dataset,accuracy\nresnet18,food,82\nvgg11,food,140\n"))
    columns = ["--column", "candidate=model", "--column", "value=accuracy", "--metric", "accuracy"]
    out = run(capsys, "import", path, *columns, "--zoo", "torchvision")
    assert out == "1 new results, 0 known already, 1 rejected (accuracy outside 0 to 1)\n"
    assert "torchvision:resnet18" in run(capsys, "show", "--dataset", "food")
    assert "1 results of 1 candidates" in run(capsys, "show")
    run(capsys, "export", str(tmp_path / "parquet"))
    yours = str(tmp_path / "yours.sqlite")
    assert "1 new" in run(capsys, "import", str(tmp_path / "parquet"), "--history", yours)
    assert "0 new results, 1 known" in run(capsys, "merge", yours)


def test_the_command_line_mines_and_publishes(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    publish(hub, "a/food", card("food101", 0.9))
    assert "1 new" in run(capsys, "mine")
    assert "/commit/" in run(capsys, "export", "hub:lab/history")
    assert "1 new" in run(capsys, "import", "hub:lab/history", "--history", str(tmp_path / "copy.sqlite"))


def test_bad_usage_of_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in ((["merge", str(tmp_path / "no")], "there is no history"), (["import", "x"], "no results")):
        with pytest.raises(SystemExit) as stopped:
            app.main(["history", *words, "--history", str(tmp_path / "mine.sqlite")])
        assert stopped.value.code == 2
        assert complaint in capsys.readouterr().err
