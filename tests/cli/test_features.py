"""`modelselect features` writes arrays and a picture; `report --plot` draws a leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.leaderboard import Row

pytestmark = pytest.mark.usefixtures("cache")


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        app.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_arrays_and_a_picture_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path) -> None:
    one, several, picture = tmp_path / "one.npz", tmp_path / "several.npz", tmp_path / "plane.png"
    given = ["features", dataset, "embedded:plain.letters", "--device", "cpu", "--quiet"]
    code, out, err = run(capsys, *given, "-o", one, "--json")
    assert code == 0, err
    (listed,) = json.loads(out)
    with np.load(one) as arrays:
        assert arrays["features"].shape == (listed["rows"], listed["feature_dim"])
        expected = ms.features(str(dataset), "embedded:plain.letters", device="cpu", progress=False)
        np.testing.assert_array_equal(arrays["features"], expected.features)
        np.testing.assert_array_equal(arrays["labels"], expected.labels)
    code, out, err = run(capsys, *given, "embedded:vit.letters", "-o", several, "--plot", picture)
    assert code == 0, err
    assert "vit.letters" in out
    with np.load(several) as arrays:
        assert {"labels", "plain.letters/features", "vit.letters/features"} <= set(arrays)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_two_revisions_of_a_candidate_are_both_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        f"hub:a/b@r{n}": ms.Evidence(features=np.full((4, 2), n, np.float32), labels=np.array([0, 0, 1, 1]))
        for n in (1, 2)
    }
    monkeypatch.setattr("modelselect.evaluation.features.features", lambda *given, **settings: found)
    code, _, err = run(capsys, "features", tmp_path, "hub:a/b@r1", "hub:a/b@r2", "-o", tmp_path / "both.npz")
    assert code == 0, err
    with np.load(tmp_path / "both.npz") as arrays:
        assert [arrays[f"hub:a/b@r{n}/features"][0, 0] for n in (1, 2)] == [1, 2]


def test_wrong_files_and_maps_are_refused_before_the_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ["features", tmp_path, "embedded:plain.letters"]
    code, _, err = run(capsys, *given, "-o", tmp_path / "one.csv")
    assert code == 2
    assert "ends in '.csv'; expected .npz" in err
    code, _, err = run(capsys, *given, "--plot", tmp_path / "one.png", "--plane", "pca")
    assert code == 2
    assert "expected one of tsne, umap" in err


def test_a_leaderboard_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = tuple(
        Row(ms.Candidate("shelf", name), rank=n, score=1.0 / n, scores={"knn": 1.0 / n}, verified_accuracy=0.9 - n / 10)
        for n, name in enumerate(("one", "two"), 1)
    )
    ms.Leaderboard(rows, ("knn",)).save(tmp_path / "board.json")
    code, _, err = run(
        capsys, "report", tmp_path / "board.json", "--plot", tmp_path / "board.png", "--plot-kind", "scores"
    )
    assert code == 0, err
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "board.html").exists()
    code, _, err = run(capsys, "report", tmp_path / "board.json", "--plot", tmp_path / "x.png", "--plot-kind", "pie")
    assert code == 2
    assert "--plot-kind is 'pie'; expected one of cost, scores, time" in err
