"""The mistakes of the winner: a matrix, the pairs that are confused most, and examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.blocks import Gallery, Items, Table, Text
from modelselect.report.mistakes import mistakes
from modelselect.report.subject import Pictures, Subject


def subject(confusion: tuple[tuple[int, int, int], ...], classes: int, **known: object) -> Subject:
    named = ((3, "a.png", 0, 1), (7, "b.png", 1, 0))
    row = Row(ms.Candidate("zoo", "a"), 1, 1.0, confusion=confusion, mistakes=named)
    return Subject(ms.Leaderboard((row,), (), {"dataset": {"classes": [f"k{i}" for i in range(classes)]}}), **known)


def test_a_few_classes_make_a_matrix_of_true_and_predicted_classes() -> None:
    blocks = mistakes(subject(((0, 0, 8), (0, 1, 2), (1, 1, 5), (1, 0, 1)), 2))
    assert blocks[0] == Text("3 of 16 held-out rows are classified wrongly. Most often: k0 as k1 (2) and k1 as k0 (1).")
    matrix = blocks[1]
    assert isinstance(matrix, Table)
    assert [[cell.text for cell in row] for row in matrix.rows] == [["k0", "8", "2"], ["k1", "1", "5"]]
    assert blocks[-1] == Items([("a.png", "is k0, predicted k1"), ("b.png", "is k1, predicted k0")])


def test_many_classes_make_a_list_of_pairs() -> None:
    table = mistakes(subject(((0, 0, 8), (0, 1, 2), (40, 3, 5)), 100))[1]
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [["k40", "k3", "5"], ["k0", "k1", "2"]]


def test_without_counts_or_with_counts_of_other_classes_there_is_nothing_to_say() -> None:
    assert mistakes(subject((), 2)) == []
    assert mistakes(subject(((5, 6, 1), (-1, 0, 2)), 2)) == []
    assert mistakes(Subject(ms.Leaderboard(()))) == []


def test_pictures_are_shown_where_the_user_gave_the_dataset() -> None:
    pictures = Pictures(mistakes={7: "data:image/jpeg;base64,AAAA"})
    blocks = mistakes(subject(((0, 1, 2),), 2, pictures=pictures))
    gallery = next(block for block in blocks if isinstance(block, Gallery))
    assert [picture.caption for picture in gallery.pictures] == ["k1, predicted k0"]


@pytest.fixture(scope="module")
def fine_tuned() -> tuple[tuple[np.ndarray, list[int]], ms.Leaderboard]:
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    data = (images, [0, 1, 2] * 20)
    recipe = ms.FineTuning(epochs=1)
    board = ms.select(
        data, "embedded:plain.*", top_k=1, fine_tuning=recipe, verify="head", progress=False, history=False
    )
    return data, board


def test_a_fine_tuned_winner_knows_its_mistakes(
    fine_tuned: tuple[tuple[np.ndarray, list[int]], ms.Leaderboard], tmp_path: Path
) -> None:
    data, board = fine_tuned
    counts = board.best.confusion
    rows = sum(count for _, _, count in counts)
    right = sum(count for label, found, count in counts if label == found)
    assert rows == 12  # a fifth of 60
    assert right / rows == pytest.approx(board.best.verified_accuracy)
    assert len(board.best.mistakes) == rows - right > 0
    for _, name, label, found in board.best.mistakes:
        assert data[1][int(name.removeprefix("row "))] == label != found
    assert all(row.confusion == () for row in board.rows[1:])
    board.save(tmp_path / "board.json")
    assert ms.Leaderboard.load(tmp_path / "board.json") == board


def test_a_page_shows_the_dataset_only_if_it_is_asked_to(
    fine_tuned: tuple[tuple[np.ndarray, list[int]], ms.Leaderboard], tmp_path: Path
) -> None:
    data, board = fine_tuned
    board.report(tmp_path / "board.html")
    assert "<img" not in (tmp_path / "board.html").read_text()
    board.report(tmp_path / "board.html", thumbnails=data)
    page = (tmp_path / "board.html").read_text()
    assert page.count("<img") == len(board.best.mistakes) + 9  # three of each class
    other = (data[0][::-1].copy(), data[1])
    with pytest.raises(InvalidInputError, match="not the one of this leaderboard"):
        board.report(tmp_path / "board.html", thumbnails=other)
    with pytest.raises(InvalidInputError, match="of the kind text"):
        board.report(tmp_path / "board.html", thumbnails=(["one", "two"] * 4, [0, 1] * 4))


def test_a_page_leaves_the_images_of_the_user_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 160, 120, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in pixels]
    data = (images, [0, 1] * 10)
    board = ms.select(data, "embedded:plain.letters", estimators="knn", progress=False, history=False)
    board.report(tmp_path / "board.html", thumbnails=data)
    assert {image.size for image in images} == {(120, 160)}
    assert (tmp_path / "board.html").read_text().count("<img") == 6


def test_pictures_are_found_again_with_the_columns_and_the_split_of_the_run(tmp_path: Path) -> None:
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    names = [str(tmp_path / f"{index}.png") for index in range(24)]
    table = pd.DataFrame({"picture": names, "other": names[::-1], "kind": ["x", "y"] * 12, "colour": [*"ab"] * 12})
    board = ms.select(
        table, "embedded:plain.letters", estimators="knn", input="other", label="kind", progress=False, history=False
    )
    board.save(tmp_path / "board.json")
    ms.Leaderboard.load(tmp_path / "board.json").report(tmp_path / "board.html", thumbnails=table)
    assert (tmp_path / "board.html").read_text().count("<img") == 6


def test_pictures_are_found_again_after_a_run_under_a_budget(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3), dtype=np.uint8)
    data = (images, [0, 1] * 200)
    board = ms.select(data, "embedded:*.letters", estimators="knn", budget="300 passes", progress=False, history=False)
    assert board.provenance["dataset"]["rows"] < 320  # a fifth is held out
    board.report(tmp_path / "board.html", thumbnails=data)
    assert (tmp_path / "board.html").read_text().count("<img") == 6


def test_an_older_board_has_no_mistakes(
    fine_tuned: tuple[tuple[np.ndarray, list[int]], ms.Leaderboard], tmp_path: Path
) -> None:
    _, board = fine_tuned
    old = replace(board, rows=tuple(replace(row, confusion=(), mistakes=()) for row in board.rows))
    old.report(tmp_path / "board.html")
    assert 'id="mistakes"' not in (tmp_path / "board.html").read_text()
