"""NCTI, how near features are to neural collapse: class separation, nearest-centre classification, and variability.

Z. Wang, Y. Luo, L. Zheng, Z. Huang, M. Baktashmotlagh: How far pre-trained models are from neural collapse on the
target dataset informs their transferability, ICCV 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import nuclear_norm
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.discriminant import discriminant, mean_of_true_class, shrunk_discriminant
from modelselect_plugins.estimators._shared.pool import min_max
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed

_COMPONENTS = ("seli", "ncc", "vc")
_DIMENSIONS = 64  # of the PCA
_LEADING = 32  # explained variances that set the shrinkage
_FLOOR = 1e-10  # minimum of the shrinkage, at which there is practically none


class NCTI(ms.Estimator):
    """Sum of three pool-relative terms: `ncc + seli - vc`, each min-max normalised over the pool of candidates.

    Fine-tuning ends in neural collapse: classes become points at the corners of a simplex, and the nearest centre
    determines the class. Three terms measure how far the pre-trained features are from this state: how near they are to
    a simplex, how well nearest-centre classification does, and how much they vary within classes.

    In short: How near the features are to those after fine-tuning.

    Formula: features are projected on 64 principal components (or N or D, if fewer) and transformed by linear
    discriminant analysis (LDA), with shrinkage `max(exp(-v), 1e-10)`, where v is the sum of the first 32 explained
    variances. Score: `mm(ncc) + mm(seli) - mm(vc)`, where mm is min-max over the pool. A term that is equal for the
    whole pool adds zero.

    Args:
        form: `"code"` or `"paper"`.
        term: None for the sum over the pool, or `"seli"`, `"ncc"`, `"vc"` for only this component (`vc` negated, so
            that higher is better).

    Components:
    - `seli`: nuclear norm of the centred, transformed features: how near to a simplex of class means.
    - `ncc`: mean posterior of the true class: nearest-centre classification.
    - `vc`: log of the summed nuclear norms of each class's block of posteriors: within-class variability, lower is
      better.

    Without a pool, only these have a meaning: `ms.score(..., components=True)`, or `NCTI(term="seli")` for one of them.

    Limits: Relative to its pool: one outlier among the candidates moves the others close together, and scores of two
    pools cannot be compared. If there are few rows for 64 dimensions, the discriminant analysis over-fits, and `ncc` is
    1 for all. Undefined if no class varies.

    Code and paper: The default follows the authors' code, with exact instead of randomised PCA. `form="paper"` uses
    the nuclear norm of the features themselves for `seli` and the plain sum for `vc`. The paper prints the shrinkage as
    exp(+v); the authors' code and this one use exp(-v). The authors' code needs 64 rows and dimensions, and labels
    without gaps; this does not.

    Source: section 3, equations 5 (vc), 6 (seli), 9 and 10 (ncc), 11 and 12 (the sum).

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> sorted(ms.score(features, labels, NCTI(), components=True))
    ['ncc', 'seli', 'vc']
    """

    name = "ncti"
    requires = frozenset({"features", "labels"})
    citation = (
        "Z. Wang, Y. Luo, L. Zheng, Z. Huang, M. Baktashmotlagh: How far pre-trained models are from neural collapse "
        "on the target dataset informs their transferability, ICCV 2023"
    )

    def __init__(
        self, form: Literal["code", "paper"] = "code", term: Literal["seli", "ncc", "vc"] | None = None
    ) -> None:
        self.form = form
        self.term = term

    @property
    def relative(self) -> bool:  # type: ignore[override]
        """True for the sum, which needs a pool; a single term is absolute."""
        return self.term is None

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.form not in ("code", "paper"):
            raise InvalidInputError(f"form is {self.form!r}; expected 'code' or 'paper'")
        if self.term not in (None, *_COMPONENTS):
            raise InvalidInputError(
                f"term is {self.term!r}; expected None or one of {', '.join(map(repr, _COMPONENTS))}"
            )
        features, classes = evidence.feature_statistics, evidence.statistics
        refuse_if_collapsed(self.name, classes)
        projections = features.principal_components(_DIMENSIONS)
        projected = ClassStatistics(FeatureStatistics(projections), classes.codes)
        shrinkage = max(math.exp(-features.explained_variance(_LEADING).sum()), _FLOOR)
        lda = shrunk_discriminant(projected, shrinkage) if shrinkage > _FLOOR else discriminant(projected)
        posteriors = lda.posteriors(projected.features)
        variability = sum(nuclear_norm(posteriors[rows]) for rows in classes.indices)
        if self.form == "paper":
            separation = float(np.sqrt(features.gram_eigh[0]).sum())
        else:
            separation = nuclear_norm(projections @ lda.transform)  # the projections are centred, so this is, too
        return {
            "seli": separation,
            "ncc": mean_of_true_class(posteriors, classes.codes),
            "vc": variability if self.form == "paper" else math.log(variability),
        }

    def combine(self, scores: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """`mm(ncc) + mm(seli) - mm(vc)`, mm = min-max over the pool; or the one term asked for."""
        seli, ncc, vc = (np.array([s[name] for s in scores]) for name in _COMPONENTS)
        if self.term is not None:
            return {"seli": seli, "ncc": ncc, "vc": -vc}[self.term]
        total: NDArray[np.float64] = min_max(ncc) + min_max(seli) - min_max(vc)
        return total


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [NCTI()]
