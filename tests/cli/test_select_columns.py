"""`select` with --input, --label, --split and --max-pixels: tables with columns, folders, and a Probe in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

import modelselect as ms
from modelselect.cli import app
from modelselect.probe.probe import DEFAULT_HOLDOUT
from tests.benchmarking.conftest import folder, toy
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")

SELECT = ("-c", "embedded:plain.random", "-e", "knn", "-q", "--no-history")
NAMED = ("--input", "scan no. 2", "--label", "verdict (final)")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder of `save_to_disk` with columns of odd names: two of images, two of labels; splits `night` and `day`."""

    def split(seed: int) -> Any:
        pixels, labels = toy(seed)
        pictures = [Image.fromarray(each) for each in pixels]
        table = {
            "scan no. 2": pictures,
            "scan no. 1": pictures[::-1],
            "verdict (final)": labels,
            "reader": labels[::-1],
        }
        return datasets.Dataset.from_dict(table)

    datasets.DatasetDict({"night": split(0), "day": split(1)}).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


DRAWN: dict[str, Any] = {"holdout": DEFAULT_HOLDOUT, "may_keep_all": True}
"""How a run without fine-tuning draws its probe."""


def dataset_of(board: Path) -> dict[str, Any]:
    found: dict[str, Any] = ms.Leaderboard.load(board).provenance["dataset"]
    return found


def test_columns_and_split_of_a_saved_dataset_are_named(
    capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path
) -> None:
    board = tmp_path / "board.json"
    code, _, err = run(capsys, "select", saved, *SELECT, *NAMED, "--split", "day", "--json", board)
    assert code == 0, err
    about = dataset_of(board)
    assert about["split"] == "day"
    assert (about["source"]["input"], about["source"]["label"]) == ("scan no. 2", "verdict (final)")
    named = {"input": "scan no. 2", "label": "verdict (final)", "split": "day"}
    assert about["fingerprint"] == ms.Probe.of(saved, **named, **DRAWN).fingerprint  # type: ignore[arg-type]
    assert (
        ms.select(saved, SELECT[1], estimators="knn", history=False, progress=False, **named).provenance["dataset"][
            "fingerprint"
        ]
        == about["fingerprint"]
    )


def test_another_column_or_split_is_another_dataset(
    capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path
) -> None:
    found = set()
    for label, split in (("verdict (final)", "day"), ("reader", "day"), ("verdict (final)", "night")):
        more = ["--input", "scan no. 2", "--label", label, "--split", split]
        code, _, err = run(capsys, "select", saved, *SELECT, *more, "--json", tmp_path / "board.json")
        assert code == 0, err
        found.add(dataset_of(tmp_path / "board.json")["fingerprint"])
    assert len(found) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "verdict (final)"),
        (["--input", "scan no. 2"], "verdict (final)"),
        (["--label", "verdict"], "Did you mean 'verdict (final)'"),
        (["--label", "reader", "--input", "scan"], "scan no. 2"),
        (["--split", "dya", *NAMED], "Did you mean 'day'"),
        (NAMED, "night"),
    ],
    ids=["no column", "no label", "label", "input", "split", "no split"],
)
def test_what_is_missing_or_misspelt_is_named(
    capsys: pytest.CaptureFixture[str], saved: Path, arguments: list[str], words: str
) -> None:
    split = [] if "--split" in arguments or list(arguments) == list(NAMED) else ["--split", "day"]
    code, _, err = run(capsys, "select", saved, *SELECT, *arguments, *split)
    assert code == app.EXIT_BAD_USAGE
    assert words in err
    assert "Traceback" not in err


def test_a_plan_and_a_benchmark_take_the_same_options(
    capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path
) -> None:
    code, out, err = run(capsys, "select", saved, *SELECT, *NAMED, "--split", "day", "--dry-run")
    assert code == 0, err
    rows = len(ms.Probe.of(saved, input=NAMED[1], label=NAMED[3], split="day", **DRAWN))
    assert f"{rows} rows" in " ".join(out.split())
    (tmp_path / "truth.csv").write_text("model,saved\nplain.random,60\nvit.letters,80\n")
    line = ["benchmark", "embedded:plain.random", saved, "-c", "embedded:vit.letters", "-e", "knn", "--resamples", "0"]
    code, _, err = run(capsys, *map(str, line), "-q", *NAMED, "--split", "day", "--truth", tmp_path / "truth.csv")
    assert code == 0, err


def test_a_folder_has_no_columns_and_the_message_says_what_to_leave_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = folder(tmp_path / "data", 0)
    for more in (["--label", "class0"], ["--input", "path"], ["--label", "a", "--input", "b"]):
        code, _, err = run(capsys, "select", data, *SELECT, *more)
        assert code == app.EXIT_BAD_USAGE
        said = " ".join(err.split())
        assert "input= (--input) and label= (--label) name columns" in said
        assert "Leave both out" in said


def test_a_named_split_of_a_folder_is_drawn_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed, name in enumerate(("train", "val")):
        folder(tmp_path / "data" / name, seed)
    board = tmp_path / "board.json"
    code, _, err = run(capsys, "select", tmp_path / "data", *SELECT, "--split", "val", "--json", board)
    assert code == 0, err
    assert dataset_of(board)["split"] == "val"
    assert dataset_of(board)["fingerprint"] == ms.Probe.of(tmp_path / "data", split="val", **DRAWN).fingerprint
    code, _, err = run(capsys, "select", tmp_path / "data", *SELECT, "--split", "test")
    assert code == app.EXIT_BAD_USAGE
    assert "test split" in err


def test_the_bound_on_pixels_is_given_as_a_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder(tmp_path / "data", 0)
    code, _, err = run(capsys, "select", data, *SELECT, "--max-pixels", "0")
    assert code == app.EXIT_BAD_USAGE
    assert "max_pixels is 0; expected 1 or more pixels" in err
    code, _, err = run(capsys, "select", data, *SELECT, "--max-pixels", "1000000")
    assert code == 0, err


def test_a_probe_is_drawn_already_and_takes_no_names(saved: Path) -> None:
    probe = ms.Probe.of(saved, input="scan no. 2", label="verdict (final)", split="day")
    for name, value in (("input", "scan no. 2"), ("label", "reader"), ("split", "day")):
        with pytest.raises(ms.errors.DatasetError, match=r"the dataset is a Probe.*give them to Probe\.of\(\)"):
            ms.select(probe, "embedded:plain.random", progress=False, **{name: value})
    board = ms.select(probe, "embedded:plain.random", estimators="knn", history=False, progress=False)
    assert board.provenance["dataset"]["source"]["label"] == "verdict (final)"
