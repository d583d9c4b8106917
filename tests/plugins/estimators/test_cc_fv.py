"""CC-FV, held against plain loops with a matrix root, in the authors' form and in the paper's; and on whole images."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError
from modelselect.testing import estimator_checks
from modelselect_plugins.estimators.cc_fv import CCFV
from tests.plugins.tasks.test_segmentation import shapes
from tests.probe.test_masks import write


def pixels(
    images: int = 6, each: int = 30, dimensions: int = 5, classes: int = 2, seed: int = 0
) -> dict[str, np.ndarray]:
    """Classes with a covariance of their own, which move and turn a little from image to image."""
    rng = np.random.default_rng(seed)
    labels, groups = np.tile(np.arange(each) % classes, images), np.repeat(np.arange(images), each)
    turns = np.eye(dimensions) + 0.5 * rng.normal(size=(classes, images, dimensions, dimensions))
    places = 3 * rng.normal(size=(classes, 1, dimensions)) + 0.5 * rng.normal(size=(classes, images, dimensions))
    noise = rng.normal(size=(len(labels), 1, dimensions))
    features = (noise @ turns[labels, groups])[:, 0] + places[labels, groups]
    order = rng.permutation(len(labels))
    return {"features": features[order], "labels": labels[order], "groups": groups[order]}


def score(fields: dict[str, Any], estimator: CCFV) -> float:
    return ms.score(estimator=estimator, **fields)


def root_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The 2-Wasserstein distance of two Gaussians by a root of the product of their covariances."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(sqrtm(first @ second)).real
    square = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(first) + np.trace(second) - 2 * cross
    return float(np.sqrt(abs(square)))


def distances(fields: dict[str, Any], classes: list[int]) -> list[float]:
    """Of all pairs of images where both have two pixels of a class."""
    found = []
    for label in classes:
        clouds = [
            fields["features"][(fields["labels"] == label) & (fields["groups"] == image)]
            for image in np.unique(fields["groups"])
        ]
        found += [root_distance(a, b) for a, b in combinations([cloud for cloud in clouds if len(cloud) > 1], 2)]
    return found


def energy(rows: np.ndarray, softening: float) -> float:
    return float(np.mean([(np.sum((a - b) ** 2) + softening) ** -0.5 for a, b in combinations(rows, 2)]))


def by_the_paper(fields: dict[str, Any], classes: list[int]) -> float:
    inverses = []
    for image in np.unique(fields["groups"]):
        rows = fields["features"][fields["groups"] == image]
        spread = np.mean([np.sum((a - b) ** 2) for a, b in combinations(rows, 2)])
        inverses.append(1 / energy(rows, 1e-3 * spread))
    return float(np.log(np.mean(inverses) / np.mean(distances(fields, classes))))


@pytest.mark.parametrize(
    "shape", [{}, {"classes": 3, "each": 90, "dimensions": 4}, {"images": 2}, {"each": 50, "dimensions": 24}]
)
def test_it_is_what_plain_loops_give(shape: dict[str, int]) -> None:
    fields = pixels(**shape)
    classes = list(range(shape.get("classes", 2)))
    assert score(fields, CCFV()) == pytest.approx(by_the_paper(fields, classes), rel=1e-7)
    assert score(fields, CCFV(background=0)) == pytest.approx(by_the_paper(fields, classes[1:]), rel=1e-7)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_images_with_few_pixels_of_a_class_do_not_count_for_it() -> None:
    fields = pixels(images=8, each=40)
    kept = np.ones(320, dtype=bool)
    for image, left in ((0, 0), (1, 1), (2, 2), (3, 9)):
        rows = np.flatnonzero((fields["groups"] == image) & (fields["labels"] == 1))
        kept[rows[left:]] = False
    fields = {name: array[kept] for name, array in fields.items()}
    assert len(distances(fields, [0, 1])) == 28 + 15
    assert score(fields, CCFV()) == pytest.approx(by_the_paper(fields, [0, 1]), rel=1e-5)


@pytest.mark.parametrize("images", [2, 7])
def test_the_form_of_the_code_is_the_authors_number_and_a_constant(images: int) -> None:
    """One foreground class: their sum, which they enlarge by 2 / I^2, in place of the mean; means of whole images."""
    fields = pixels(images=images)
    means = np.stack([fields["features"][fields["groups"] == image].mean(axis=0) for image in range(images)])
    total = sum(distances(fields, [1]))
    authors = np.log(energy(means, 1e-3) / (total + total / (images * images / 2) / 1))
    pairs = images * (images - 1) / 2
    constant = np.log(pairs * (1 + 2 / images**2))
    assert score(fields, CCFV("code", background=0)) == pytest.approx(authors + constant, rel=1e-9)


def test_only_the_form_of_the_code_depends_on_the_scale() -> None:
    fields = pixels()
    larger = fields | {"features": 1000 * fields["features"]}
    assert score(larger, CCFV()) == pytest.approx(score(fields, CCFV()), rel=1e-9)
    fall = score(fields, CCFV("code")) - score(larger, CCFV("code"))
    assert fall == pytest.approx(2 * np.log(1000), rel=1e-3)


def test_wide_clouds_of_few_pixels_need_no_root() -> None:
    """More dimensions than pixels: the same clouds, turned into 500 dimensions, have the same distances."""
    fields = pixels(each=12)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(500, 5)))
    wide = fields | {"features": fields["features"] @ turn.T}
    assert score(wide, CCFV()) == pytest.approx(score(fields, CCFV()), rel=1e-9)


def test_two_equal_pixels_do_not_decide() -> None:
    fields = pixels()
    features = fields["features"].copy()
    same = np.flatnonzero((fields["groups"] == 0) & (fields["labels"] == 0))[:2]
    features[same[1]] = features[same[0]]
    assert score(fields | {"features": features}, CCFV()) == pytest.approx(score(fields, CCFV()), abs=0.15)


def test_what_it_cannot_compare_is_refused() -> None:
    fields = pixels()
    with pytest.raises(NotApplicableError, match="the rows of this data are not pixels"):
        CCFV().score(ms.Evidence.of(features=fields["features"], labels=fields["labels"]))
    with pytest.raises(NotApplicableError, match="two images have two or more pixels each"):
        score(fields | {"groups": np.zeros(180, int)}, CCFV())
    for form in ("code", "paper"):
        with pytest.raises(NotApplicableError, match="needs features that vary"):
            score(fields | {"features": np.full((180, 5), 0.1)}, CCFV(form))  # type: ignore[arg-type]
    constant = np.arange(6)[fields["groups"]][:, None] * np.ones(5)
    with pytest.raises(NotApplicableError, match="those of each image are equal"):
        score(fields | {"features": constant}, CCFV())
    with pytest.raises(InvalidInputError, match="expected 'code' or 'paper'"):
        score(fields, CCFV("both"))  # type: ignore[arg-type]


def test_the_images_of_rows_are_as_many_as_the_rows() -> None:
    fields = pixels()
    assert score(fields | {"groups": fields["groups"].tolist()}, CCFV()) == score(fields, CCFV())
    with pytest.raises(EvidenceError, match="features 180, labels 180, groups 179"):
        score(fields | {"groups": fields["groups"][1:]}, CCFV())


@pytest.mark.parametrize(("name", "check"), estimator_checks(CCFV("code")))
def test_the_form_of_the_code_keeps_the_promises(name: str, check: Any) -> None:
    check()


@pytest.mark.usefixtures("cache")
def test_a_network_that_separates_shapes_stands_above_one_with_random_weights(tmp_path: Path) -> None:
    data = write(tmp_path / "data", *shapes(24))
    board = ms.select(
        data, ["embedded:plain.random", "embedded:resnet.textures"], estimators=["cc_fv", "knn"], progress=False
    )
    by_name = {row.candidate.name: row.scores for row in board.ranked}
    trained, random = by_name["resnet.textures"], by_name["plain.random"]
    assert trained["knn"] > random["knn"]
    assert trained["cc_fv"] > random["cc_fv"]
