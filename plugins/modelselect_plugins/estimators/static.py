"""Baselines that never use the user's data: size, published accuracy, downloads.

A leaderboard needs them to be credible: on the benchmark that most papers of the field use, a ranking that ignores the
dataset can be better than the published methods (Singh, Hess, Vanschoren, ICLR 2026), and few of these order models as
well as their ImageNet accuracy does (Chaves et al., 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import ClassVar

import modelselect
from modelselect.candidates.metadata import METADATA_FIELDS
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Cost, Estimator
from modelselect.evidence.evidence import Evidence


class Static(Estimator):
    """The score is one number in the candidate's metadata, under the estimator's own name."""

    requires = frozenset({"metadata"})
    cost: ClassVar[Cost] = "free"

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.metadata is not None
        value = evidence.metadata.get(self.name)
        if value is None or (isinstance(value, Real) and math.isnan(value)):
            raise NotApplicableError(
                f"the zoo does not know this candidate's {self.name} ({METADATA_FIELDS[self.name]}); "
                f"give it as metadata={{{self.name!r}: ...}} of the candidate, or leave out the baseline {self.name!r}"
            )
        if not isinstance(value, Real):
            raise NotApplicableError(f"this candidate's metadata say {self.name} is {value!r}; expected a number")
        return {self.name: float(value)}


class Parameters(Static):
    """The number of parameters: the larger, the better.

    A baseline that never sees the target: larger networks tend to transfer better. A method that is no better is not
    worth its forward passes.

    In short: Its number of parameters: the larger, the better.

    Formula: `parameters` in the candidate's metadata, or counted from its modules.

    Limits: Gives the same score for every target, and no information if candidates have the same size or differ in
    their pre-training.

    Code and paper: A baseline of the field; no code to follow.

    Source: rankings that ignore the dataset, as in Singh, Hess, Vanschoren, ICLR 2026.

    >>> import modelselect as ms
    >>> ms.score(None, None, "parameters", metadata={"parameters": 11_689_512})
    11689512.0
    """

    name = "parameters"
    citation = (
        "P. Singh, S. Hess, J. Vanschoren: How NOT to benchmark your SITE metric: Beyond Static Leaderboards and "
        "Towards Realistic Evaluation, ICLR 2026 (rankings that ignore the dataset as a baseline)"
    )


class SourceAccuracy(Static):
    """The published top-1 accuracy on the source task, in per cent.

    A baseline that never sees the target: models that are better on their source task tend to transfer better. A method
    that is no better is not worth its forward passes.

    In short: Its published accuracy on its own source task.

    Formula: `source_accuracy` in the candidate's metadata.

    Limits: Only comparable between candidates with the same source task: 98% on ten classes of digits is no better than
    80% on ImageNet. Self-supervised candidates have none.

    Code and paper: A baseline of the field; no code to follow.

    Source: Kornblith, Shlens, Le, CVPR 2019.

    >>> import modelselect as ms
    >>> ms.score(None, None, "source_accuracy", metadata={"source_accuracy": 69.8})
    69.8
    """

    name = "source_accuracy"
    citation = (
        "S. Kornblith, J. Shlens, Q. V. Le: Do Better ImageNet Models Transfer Better?, CVPR 2019; as a baseline that "
        "few methods match: L. Chaves, E. Valle, A. Bissoto, S. Avila: Back to the Basics on Predicting Transfer "
        "Performance, arXiv 2405.20420, 2024"
    )


class Downloads(Static):
    """The number of downloads, as the Hub counts them: the choice of people who do not measure.

    A baseline that never sees the target: popularity as a guess at quality.

    In short: How often the Hub has served it.

    Formula: `downloads` in the candidate's metadata.

    Limits: Counts machines that download repeatedly, and depends more on a model's age and fame than on its quality.
    Only the Hub has this number.

    Code and paper: A baseline of practice; no code to follow.

    Source: Kadasi et al., ICWSM 2025, who find that popular models need not perform better.

    >>> import modelselect as ms
    >>> ms.score(None, None, "downloads", metadata={"downloads": 250})
    250.0
    """

    name = "downloads"
    citation = (
        "P. Kadasi et al.: Model Hubs and Beyond: Analyzing Model Popularity, Performance, and Documentation, ICWSM "
        "2025 (popular models need not perform better)"
    )


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [Parameters(), SourceAccuracy(), Downloads()]
