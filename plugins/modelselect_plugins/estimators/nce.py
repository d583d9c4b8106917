"""NCE: the uncertainty of the target class that is left once the source class is known (Tran et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import check_probabilities, class_indices, class_sums


class NCE(Estimator):
    """Negative conditional entropy -H(Y | Z), in nats, of the target class Y given the source class Z.

    The candidate's own classifier gives each image a source class. The better this determines the target class, the
    closer the two tasks are, and the easier the transfer.

    In short: How certain your class is, given the source class.

    Formula: `sum over y, z of P(y, z) log P(y | z)`, with the empirical joint distribution of target class y and source
    class z. At most 0. A row's source class is its most probable one (the first, if two are equally probable).

    Args:
        soft: use the source-class probabilities instead of the most probable class, as in PACTran.

    Limits: Needs a backbone with a source classifier; a self-supervised one has no score. It does not use the features.
    With more source classes than rows, each row has a source class of its own, and the score approaches 0.

    Code and paper: Agrees with the code of LogME (NCE.py).

    - A row has its most probable source class. PACTran takes the probabilities (and adds 1e-10 inside its logarithms):
      `soft=True`.

    Source: Tran, Nguyen, Hassner, ICCV 2019, equation 6.

    >>> import modelselect as ms
    >>> bool(ms.score(None, [0, 1, 0, 1], "nce", source_probabilities=[[1, 0]] * 4) == -np.log(2))
    True
    """

    name = "nce"
    requires = frozenset({"labels", "source_probabilities"})
    citation = (
        "A. Tran, C. Nguyen, T. Hassner: Transferability and Hardness of Supervised Classification Tasks, ICCV 2019"
    )

    def __init__(self, soft: bool = False) -> None:
        self.soft = soft

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.source_probabilities is not None
        assert evidence.labels is not None
        probabilities = evidence.source_probabilities
        check_probabilities(probabilities)
        indices, n_classes = class_indices(evidence.labels, self.name)
        n_rows, n_sources = probabilities.shape
        if self.soft:
            joint = class_sums(probabilities, indices, n_classes)
        else:
            cells = indices * n_sources + probabilities.argmax(axis=1)
            joint = np.bincount(cells, minlength=n_classes * n_sources).reshape(n_classes, n_sources).astype(np.float64)
        joint = joint / n_rows
        mass = np.broadcast_to(joint.sum(axis=0), joint.shape)
        there = joint > 0
        return {self.name: float((joint[there] * np.log(joint[there] / mass[there])).sum()) + 0.0}


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [NCE()]
