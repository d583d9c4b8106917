"""Warnings and errors for evidence on which a published score says little or nothing."""

from __future__ import annotations

import warnings

from modelselect.errors import InvalidScoreWarning, NotApplicableError, ScoreWarning
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.statistics import FeatureStatistics


def warn_if_wide(name: str, features: FeatureStatistics, consequence: str, advice: str) -> None:
    """Warns where there are no more rows than dimensions.

    Args:
        name: of the estimator.
        features: of the probe.
        consequence: what becomes of the score: `"is inflated: ..."`.
        advice: what to do.
    """
    if features.n <= features.d:
        warnings.warn(
            f"{name} of {features.n} rows in {features.d} dimensions {consequence}. {advice}",
            ScoreWarning,
            stacklevel=3,
        )


def invalid_if_wide(name: str, features: FeatureStatistics, consequence: str, advice: str) -> None:
    """Says that the score does not compare candidates where there are no more rows than dimensions.

    Args:
        name: of the estimator.
        features: of the probe.
        consequence: what becomes of the score: `"is inflated: ..."`.
        advice: what to do.
    """
    if features.n <= features.d:
        warnings.warn(
            f"{name} of {features.n} rows in {features.d} dimensions {consequence}. {advice}",
            InvalidScoreWarning,
            stacklevel=3,
        )


def refuse_if_collapsed(name: str, classes: ClassStatistics) -> None:
    """Refuses where no class varies, so that its covariance says nothing.

    Raises:
        NotApplicableError: says so.
    """
    if classes.is_collapsed:
        raise NotApplicableError(
            f"{name} needs classes that vary, and here every class is one point ({classes.n} rows, {classes.n_classes} "
            "classes). Give more rows for each class, or use 'centroid' or 'knn'."
        )
