"""CC-FV, class consistency with feature variety: does a class look the same in every image?

Y. Yang, M. Wei, J. He, J. Yang, J. Ye, Y. Gu: Pick the best pre-trained model: towards transferability estimation for
medical image segmentation, MICCAI 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect_plugins.estimators._shared.classes import class_indices
from modelselect_plugins.estimators._shared.distances import centred, squared_distances, squared_norms

Matrix = NDArray[np.float64]

_SOFTENING = 1e-3  # added to squared distances in the energy, as in the authors' code
_ROUNDING = 1e-12  # squared distances below this share of the squared lengths are 0


class CCFV(ms.Estimator):
    """How far apart the pixels of an image are, relative to how far a class moves from image to image.

    A network that suits the data gives a class the same distribution of features in each image (class consistency),
    without giving all pixels the same features (feature variety). A row is a pixel, and the task says of which image.

    In short: Does a class of pixels look the same in every image?

    Formula: `log(F_v / C_cons)`. C_cons is the mean of the 2-Wasserstein distances between a class's pixels in two
    images, taken as Gaussians, over all classes and pairs of images where both have two or more. F_v is the mean over
    images of `1 / E`, where the energy E is the mean of `1 / |v_i - v_j|` over pairs of an image's pixels. To each
    squared distance in E comes a thousandth of their mean, so that two equal pixels do not decide alone.

    Args:
        form: `"paper"`, or `"code"` for the authors' code.
        background: the class that does not enter C_cons; None if all do. In the authors' code it is 0.

    Limits: It applies only to rows that are parts of wholes: pixels of images, or words of sentences. It does not ask
    whether two classes differ: on embedded networks it agreed less with a linear probe than `logme` did. The authors
    add up the last layers of a decoder; here it is one layer, the last one or that of `?layer=`. A class has few pixels
    in an image, so its covariance is rough, in the same way for each candidate.

    Code and paper: The paper's text could not be had in full: its equations are from a published summary, and the mean
    of `1 / E` is our reading. A sum over pixels is a mean here, so images may have different numbers of them.

    - In the authors' code, F_v is the energy itself, not its inverse, and between the mean features of images, not
      between pixels. The score then falls by 2 log(a) if all features are a times as large, so that a network with
      random weights and small features came first. An earlier version of the code has C_cons / F_v. The default is
      the paper's form, which does not depend on the scale; the code's is `form="code"`.
    - The evidence does not say which class is the background. The code leaves out class 0: `background=0`.
    - The code multiplies the sum of distances by `1 + 2 / (I^2 C)` after each class, for I images and C classes, where
      a mean is meant. Nothing restores it: with one class, it adds a constant to the score of every candidate.

    Source: the authors' code, and D = 1 in `sum over D layers of log(F_v / C_cons)`.

    >>> rng = np.random.default_rng(0)
    >>> images, labels = np.repeat(np.arange(5), 20), np.tile([0, 1], 50)
    >>> features = rng.normal(size=(100, 4)) + 5 * labels[:, None]
    >>> round(ms.score(features, labels, CCFV(), groups=images), 2)
    1.03
    """

    name = "cc_fv"
    requires = frozenset({"features", "labels"})
    citation = (
        "Y. Yang, M. Wei, J. He, J. Yang, J. Ye, Y. Gu: Pick the best pre-trained model: towards transferability "
        "estimation for medical image segmentation, MICCAI 2023"
    )
    cost = "quadratic"

    def __init__(self, form: Literal["code", "paper"] = "paper", background: int | None = None) -> None:
        self.form = form
        self.background = background

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.form not in ("code", "paper"):
            raise InvalidInputError(f"form is {self.form!r}; expected 'code' or 'paper'")
        if evidence.groups is None:
            raise NotApplicableError(
                f"{self.name} compares the pixels of images with each other, and the rows of this data are not pixels"
            )
        assert evidence.features is not None
        assert evidence.labels is not None
        features = centred(evidence.features)
        class_indices(evidence.labels, self.name)  # raises for what is no class
        images = [np.flatnonzero(evidence.groups == image) for image in np.unique(evidence.groups)]
        distances = [
            _wasserstein([features[rows] for rows in of_images])
            for label in np.unique(evidence.labels)
            if label != self.background
            and len(of_images := [own for rows in images if len(own := rows[evidence.labels[rows] == label]) > 1]) > 1
        ]
        if not distances:
            raise NotApplicableError(f"{self.name} needs a class of which two images have two or more pixels each")
        consistency = float(np.concatenate(distances).mean())
        if not consistency:
            raise NotApplicableError(f"{self.name} needs features that vary, and here those of a class are all equal")
        if self.form == "code":
            variety = _energy(np.stack([features[rows].mean(axis=0) for rows in images]))
        else:
            variety = float(np.mean([_dispersion(features[rows]) for rows in images if len(rows) > 1]))
        if not variety:
            raise NotApplicableError(f"{self.name} needs features that vary, and here those of each image are equal")
        return {self.name: float(np.log(variety / consistency))}


def _wasserstein(clouds: Sequence[Matrix]) -> NDArray[np.float64]:
    """(I (I - 1) / 2,) 2-Wasserstein distances of all pairs of clouds, taken as Gaussians.

    `|m_1 - m_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2)` is the square. With S = F'F, the last trace is the sum of
    the singular values of F_1 F_2', a matrix as small as the clouds.

    Args:
        clouds: I arrays (n, D), each of two rows or more.
    """
    means = np.stack([cloud.mean(axis=0) for cloud in clouds])
    factors = [(cloud - mean) / np.sqrt(len(cloud) - 1) for cloud, mean in zip(clouds, means, strict=True)]
    factors = [np.linalg.qr(each, mode="r") if len(each) > each.shape[1] else each for each in factors]
    width, dimensions = max(map(len, factors)), means.shape[1]
    padded = np.zeros((len(clouds), width, dimensions))
    for place, factor in zip(padded, factors, strict=True):
        place[: len(factor)] = factor
    spreads = np.square(padded).sum(axis=(1, 2))
    found = []
    for first in range(len(clouds) - 1):
        others = slice(first + 1, None)
        products = (padded[others].reshape(-1, dimensions) @ padded[first].T).reshape(-1, width, width)
        size = np.square(means[others] - means[first]).sum(axis=1) + spreads[others] + spreads[first]
        squares = size - 2 * np.linalg.svd(products, compute_uv=False).sum(axis=1)
        found.append(np.sqrt(np.where(squares > _ROUNDING * size, squares, 0.0)))
    return np.concatenate(found)


def _energy(rows: Matrix) -> float:
    """The authors' `cal_variety`: mean over pairs of rows of one divided by their distance."""
    return float((1 / np.sqrt(_of_pairs(rows) + _SOFTENING)).mean())


def _dispersion(rows: Matrix) -> float:
    """One divided by the energy of two or more rows; 0 if they are equal."""
    squares = _of_pairs(rows)
    scale = float(squares.mean())
    if scale <= _ROUNDING * squared_norms(rows).max():
        return 0.0
    return float(np.sqrt(scale) / (1 / np.sqrt(squares / scale + _SOFTENING)).mean())


def _of_pairs(rows: Matrix) -> NDArray[np.floating[Any]]:
    """(n (n - 1) / 2,) squared distances of all pairs of rows."""
    norms = squared_norms(rows)
    return squared_distances(rows, rows, norms, norms)[np.triu_indices(len(rows), k=1)]


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [CCFV()]
