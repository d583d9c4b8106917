"""NCTI, how near features are to neural collapse: class separation, nearest-centre classification, and variability.

Z. Wang, Y. Luo, L. Zheng, Z. Huang, M. Baktashmotlagh: How far pre-trained models are from neural collapse on the
target dataset informs their transferability, ICCV 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import nuclear_norm
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.classes import labelled_rows
from modelselect_plugins.estimators._shared.discriminant import discriminant, mean_of_true_class, shrunk_discriminant
from modelselect_plugins.estimators._shared.pool import min_max
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed

_COMPONENTS = ("seli", "ncc", "vc")
_FLOOR = 1e-10  # minimum of the shrinkage, at which there is practically none
_TARGETS = {"code": "trace", "paper": "identity"}


class NCTI(ms.Estimator):
    """Sum of three pool-relative terms: `ncc + seli - vc`, each min-max normalised over the pool of candidates.

    Fine-tuning ends in neural collapse: classes become points at the corners of a simplex, and the nearest centre
    determines the class. Three terms measure how far the pre-trained features are from this state: how near they are to
    a simplex, how well nearest-centre classification does, and how much they vary within classes.

    In short: How near the features are to those after fine-tuning.

    Formula: features are projected on 64 principal components (or N or D, if fewer) and transformed by linear
    discriminant analysis (LDA), with shrinkage `a = max(exp(-v), 1e-10)`, where v is the sum of the first 32 explained
    variances: each covariance S becomes `(1 - a) S + a tr(S) / d I` in d dimensions. Score:
    `mm(ncc) + mm(seli) - mm(vc)`, where mm is min-max over the pool. A term that is equal for the whole pool adds zero.

    Args:
        form: `"code"` or `"paper"`.
        term: None for the sum over the pool, or `"seli"`, `"ncc"`, `"vc"` for only this component (`vc` negated, so
            that higher is better).
        weights: weights of the terms in the sum, `{"vc": 0.5}`; a term that is not named has 1. With `{"vc": 0}`, the
            score is the sum of the other two.
        dimensions: number of principal components.
        leading: number of explained variances that set the shrinkage; the paper's d*.
        discriminants: number of directions of the LDA that `seli` looks at; None for all, C - 1.
        target: what the covariances are shrunk towards: `"trace"` for tr(S) / d I, `"identity"` for I; None for
            `"trace"` in the form `"code"` and `"identity"` in `"paper"`.

    Components:
    - `seli`: nuclear norm of the centred, transformed features: how near to a simplex of class means.
    - `ncc`: mean posterior of the true class: nearest-centre classification.
    - `vc`: log of the summed nuclear norms of each class's block of posteriors: within-class variability, lower is
      better.

    Without a pool, only these have a meaning: `ms.score(..., components=True)`, or `NCTI(term="seli")` for one of them.

    Limits: Relative to its pool: one outlier among the candidates moves the others close together, and scores of two
    pools cannot be compared. If there are few rows for 64 dimensions, the discriminant analysis over-fits, and `ncc` is
    1 for all. Undefined if no class varies.

    Code and paper: The default follows the authors' code, with exact instead of randomised PCA. The authors' code needs
    64 rows and dimensions, and labels without gaps; this does not. From the paper it differs in this:

    - `seli` is the nuclear norm of the transformed features, and `vc` is a logarithm. The paper takes the features
      themselves, and the plain sum (equations 5 and 6): `form="paper"`.
    - The covariances are shrunk towards tr(S) / d I. The paper shrinks towards I (equation 13): `target="identity"`.
    - The shrinkage is exp(-v), as in the authors' code. The paper prints exp(+v). Nothing restores it: that is above 1,
      and the shrunk covariance would have negative variances.

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

    vc_sign: ClassVar[int] = -1
    """Of `vc` in the score: features that vary little within classes are near to neural collapse."""

    def __init__(
        self,
        form: Literal["code", "paper"] = "code",
        term: Literal["seli", "ncc", "vc"] | None = None,
        weights: Mapping[str, float] | None = None,
        dimensions: int = 64,
        leading: int = 32,
        discriminants: int | None = None,
        target: Literal["trace", "identity"] | None = None,
    ) -> None:
        self.form = form
        self.term = term
        self.weights = weights
        self.dimensions = dimensions
        self.leading = leading
        self.discriminants = discriminants
        self.target = target

    @property
    def relative(self) -> bool:  # type: ignore[override]
        """True for the sum, which needs a pool; a single term is absolute."""
        return self.term is None

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return self._components(evidence.feature_statistics, evidence.statistics)

    def _components(self, features: FeatureStatistics, classes: ClassStatistics) -> dict[str, float]:
        self._check()
        refuse_if_collapsed(self.name, classes)
        projections = features.principal_components(self.dimensions)
        projected = ClassStatistics(FeatureStatistics(projections), classes.codes)
        shrinkage = max(math.exp(-features.explained_variance(self.leading).sum()), _FLOOR)
        target = self.target or _TARGETS[self.form]
        lda = shrunk_discriminant(projected, shrinkage, target) if shrinkage > _FLOOR else discriminant(projected)
        posteriors = lda.posteriors(projected.features)
        variability = sum(nuclear_norm(posteriors[rows]) for rows in classes.indices)
        if self.form == "paper":
            separation = float(np.sqrt(features.gram_eigh[0]).sum())
        else:
            # The projections are centred, so this is, too.
            separation = nuclear_norm(projections @ lda.transform[:, : self.discriminants])
        return {
            "seli": separation,
            "ncc": mean_of_true_class(posteriors, classes.codes),
            "vc": variability if self.form == "paper" else math.log(variability),
        }

    def _check(self) -> None:
        for name, allowed in (
            ("form", ("code", "paper")),
            ("term", (None, *_COMPONENTS)),
            ("target", (None, "trace", "identity")),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise InvalidInputError(f"{name} is {value!r}; expected {' or '.join(map(repr, allowed))}")
        for name in ("dimensions", "leading", "discriminants"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} is {value!r}; expected a whole number of 1 or more")
        if unknown := sorted(set(self.weights or ()) - set(_COMPONENTS)):
            raise InvalidInputError(f"weights has {unknown[0]!r}; expected weights of {', '.join(_COMPONENTS)}")

    def combine(self, scores: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """`mm(ncc) + mm(seli) - mm(vc)`, weighted; mm = min-max over the pool; or the one term asked for."""
        terms = {name: np.array([s[name] for s in scores]) for name in _COMPONENTS}
        signs = {"seli": 1, "ncc": 1, "vc": self.vc_sign}
        if self.term is not None:
            return signs[self.term] * terms[self.term]
        factors = {name: sign * (self.weights or {}).get(name, 1.0) for name, sign in signs.items()}
        total: NDArray[np.float64] = factors["ncc"] * min_max(terms["ncc"]) + factors["seli"] * min_max(terms["seli"])
        return total + factors["vc"] * min_max(terms["vc"])


class NCTISource(NCTI):
    """The log of the within-class variability of the *pre-training* data, one of the terms of `ncti`.

    A network whose source classes have collapsed to points has nothing left in its features but these classes. One with
    more variability within source classes transfers better. It is a property of the model, the same for any target.

    In short: How much its pre-training classes still vary.

    Formula: everything is as in `NCTI`, with the source's features and classes, and `vc` counts for a candidate instead
    of against: the score is `vc`, or with `term=None` the sum `mm(ncc) + mm(seli) + mm(vc)` over the pool.

    Args:
        form: `"code"` or `"paper"`.
        term: `"vc"`, `"seli"`, `"ncc"` for only this component, or None for the sum over the pool.
        weights: as in `NCTI`.
        dimensions: as in `NCTI`.
        leading: as in `NCTI`.
        discriminants: as in `NCTI`.
        target: as in `NCTI`.

    Components: `seli`, `ncc` and `vc`, as in `NCTI`.

    Limits: Needs data like those of the pre-training, which the zoo or the user has to provide, with several rows of
    each class. It gives a candidate the same score for all targets, so it cannot find the best one for *this* target;
    and candidates with different source tasks are hardly comparable.

    Code and paper: The paper shows the terms on source data in figure 7, and no code. It reports a weighted Kendall
    correlation of 0.725 for the reversed `vc`, the highest of the three terms. The differences are those of `NCTI`:

    - `vc` is a logarithm. The paper takes the plain sum: `form="paper"`.
    - The covariances are shrunk towards tr(S) / d I. The paper shrinks towards I: `target="identity"`.

    Source: section 4.4, figure 7.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> tight, loose = (spread * rng.normal(size=(100, 8)) + 3 * labels[:, None] for spread in (0.1, 2))
    >>> scores = [ms.score(None, None, "ncti_source", source_features=f, source_labels=labels) for f in (tight, loose)]
    >>> scores[0] < scores[1]
    True
    """

    name = "ncti_source"
    requires = frozenset({"source_features", "source_labels"})
    vc_sign = 1

    def __init__(
        self,
        form: Literal["code", "paper"] = "code",
        term: Literal["seli", "ncc", "vc"] | None = "vc",
        weights: Mapping[str, float] | None = None,
        dimensions: int = 64,
        leading: int = 32,
        discriminants: int | None = None,
        target: Literal["trace", "identity"] | None = None,
    ) -> None:
        super().__init__(form, term, weights, dimensions, leading, discriminants, target)

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        assert evidence.source_features is not None
        assert evidence.source_labels is not None
        features, labels = labelled_rows(self.name, evidence.source_features, evidence.source_labels)
        statistics = FeatureStatistics(features)
        return self._components(statistics, ClassStatistics(statistics, labels))


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [NCTI(), NCTISource()]
