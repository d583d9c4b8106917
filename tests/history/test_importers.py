"""Published tables become results, and rows that cannot be true are rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelselect as ms
from modelselect.history import History, import_csv, import_timm
from tests.conftest import shared_path
from tests.history.conftest import table


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


def test_results_of_ones_own_have_the_recipe_that_is_named(history: History, tmp_path: Path) -> None:
    rows = "candidate,dataset,metric,value\ntimm:a,food,accuracy,0.8\ntimm:a,food,logme,1.5\n"
    path = table(tmp_path / "t.csv", rows)
    import_csv(history, path, recipe=" adamw, 20 epochs ")
    (measured,), (scored,) = history.results(metric="accuracy"), history.results(metric="logme")
    assert measured.settings == {"fine_tuning": {"recipe": "adamw, 20 epochs"}}
    assert scored.settings == {}
    assert history.summary()["recipes"] == {"adamw, 20 epochs": 1}
    assert history.view().measured().tolist() == [[0.8]]
    import_csv(history, path, metric="accuracy", columns={"candidate": "candidate"}, recipe="another")
    import_csv(history, table(tmp_path / "published.csv", rows.replace("timm:a", "timm:b")))
    assert history.summary()["recipes"] == {"another": 2, "adamw, 20 epochs": 1}
    for wrong in ("", "  ", "two\nlines"):
        with pytest.raises(ms.errors.InvalidInputError, match=r"recipe is .*expected one line of text"):
            import_csv(history, path, recipe=wrong)


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
