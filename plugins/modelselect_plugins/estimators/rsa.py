"""RSA, the rank correlation of the dissimilarities of images for the candidate and for a reference model.

K. Dwivedi, G. Roig: Representation similarity analysis for efficient task taxonomy and transfer learning, CVPR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect_plugins.estimators._shared.dissimilarity import check_pairs, correlation_rows, similarities, spearman


class RSA(ms.Estimator):
    """100 times Spearman's correlation, over pairs of rows, of 1 - corr(features) with 1 - corr(reference features).

    A model trained on the target (the reference) finds some pairs of images similar and others not. The score is how
    well the candidate's order of the pairs agrees with the reference's: how much it already sees like this model.

    In short: Do its features rank similarities as another's do?

    Formula: `100 Spearman(1 - corr(features), 1 - corr(reference features))` over pairs of rows. Both are standardised;
    corr is Pearson's correlation of two rows. The reference features are the evidence's `proxy_features`.

    Limits: Needs a reference that was trained on the target (see below); a poor one gives a poor ranking. Time and
    memory grow with N^2: suitable for a few thousand rows.

    Code and paper: Agrees with the baseline in PARC's code, which standardises the features first.

    - The reference is the proxy as it was pre-trained. The paper's is a network that was trained on the target. Nothing
      restores it in the estimator, but a run does: `select(proxy=..., train_proxy=True)` (`--train-proxy`) fine-tunes
      the proxy on the training rows first.
    - All dimensions count. The codes of PARC and Fennec reduce both sets of features to 32 principal components.
      Nothing restores it in the estimator; the protocols of `modelselect reproduce` do (`dimensions = 32`).

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> reference = rng.normal(size=(60, 5))
    >>> features = reference @ rng.normal(size=(5, 8))
    >>> round(ms.score(features, None, RSA(), proxy_features=reference))
    56
    """

    name = "rsa"
    requires = frozenset({"features", "proxy_features"})
    citation = (
        "K. Dwivedi, G. Roig: Representation similarity analysis for efficient task taxonomy and transfer learning, "
        "CVPR 2019"
    )
    cost = "quadratic"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.proxy_features is not None
        check_pairs(self.name, len(evidence.features))
        # The correlation of two vectors is that of one minus each.
        first, second = (similarities(correlation_rows(a)) for a in (evidence.features, evidence.proxy_features))
        score = spearman(first, second)
        if math.isnan(score):
            raise NotApplicableError(
                f"rsa is undefined here: in features of {evidence.features.shape[1]} or in reference features of "
                f"{evidence.proxy_features.shape[1]} dimensions all pairs of rows are equally alike"
            )
        return {self.name: 100 * score}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [RSA()]
