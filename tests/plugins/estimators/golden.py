"""The golden cases: which estimator must agree with which of the authors' published scores, and how closely.

A new estimator adds its `GoldenCase`s to `CASES`; `test_golden.py` runs every case on every input and the terminal
summary prints the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect_plugins.estimators.dds import DDS
from modelselect_plugins.estimators.energy import Energy
from modelselect_plugins.estimators.etran import ETran
from modelselect_plugins.estimators.fda import FDA
from modelselect_plugins.estimators.gbc import GBC
from modelselect_plugins.estimators.h_score import HScore
from modelselect_plugins.estimators.int import INT
from modelselect_plugins.estimators.itm import ITM
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.leep import LEEP
from modelselect_plugins.estimators.lfc import LFC
from modelselect_plugins.estimators.logme import LogME
from modelselect_plugins.estimators.nc_score import NCScore
from modelselect_plugins.estimators.nce import NCE
from modelselect_plugins.estimators.ncti import NCTI
from modelselect_plugins.estimators.nleep import NLEEP
from modelselect_plugins.estimators.pactran import PACTran, PACTranDirichlet, PACTranGamma
from modelselect_plugins.estimators.parc import PARC
from modelselect_plugins.estimators.ped import PED
from modelselect_plugins.estimators.persistence import Persistence
from modelselect_plugins.estimators.rsa import RSA
from modelselect_plugins.estimators.sfda import SFDA
from modelselect_plugins.estimators.silhouette import Silhouette
from modelselect_plugins.estimators.tmi import TMI
from modelselect_plugins.estimators.transrate import TransRate

Arrays = Mapping[str, NDArray[Any]]
Fields = Mapping[str, Any]


class Bound(NamedTuple):
    """How far from the reference a score may be: `relative` to it, or `absolute` where that is more; and why."""

    relative: float
    reason: str
    absolute: float = 0.0


class Spread(NamedTuple):
    """For a stochastic reference: from its least to its greatest over seeds, widened by `margin` times the distance."""

    margin: float
    reason: str


EXACT = Bound(1e-6, "")


# How evidence is made of the arrays of one input -------------------------------------------------------------------


def labelled(arrays: Arrays) -> Fields:
    return {"features": arrays["X"], "labels": arrays["y"]}


def unlabelled(arrays: Arrays) -> Fields:
    return {"features": arrays["X"]}


def logits_as_features(arrays: Arrays) -> Fields:
    return {"features": arrays["logits"]}


def with_probabilities(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "source_probabilities": arrays["probs"]}


def with_source_features(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "source_features": arrays["Xsrc"]}


def with_proxy_features(arrays: Arrays) -> Fields:
    return {**labelled(arrays), "proxy_features": arrays["Xref"]}


def with_two_targets(arrays: Arrays) -> Fields:
    return {"features": arrays["X"], "labels": arrays["Xref"][:, :2]}


# How a number is made of what the reference returns -----------------------------------------------------------------


def item(index: int) -> Callable[[Any], float]:
    """One number of a reference that returns several."""
    return lambda reference: float(reference[index])


def negated(reference: Any) -> float:
    """Of a reference whose score is better when lower."""
    return -float(reference)


def negated_item(index: int) -> Callable[[Any], float]:
    """One number of such a reference that returns several."""
    return lambda reference: -float(reference[index])


@dataclass(frozen=True)
class GoldenCase:
    """One estimator held against one reference.

    Attributes:
        estimator: the instance, or its registered name.
        reference: key in `scores.json`.
        component: which component of the score; None for the combined one.
        evidence: arrays of an input -> evidence fields.
        expected: what the reference returns -> the number that ours must be.
        bound: how closely, in general.
        exceptions: another bound (or None: not compared) for single inputs, by input.
        reference_fails: inputs on which the authors' code fails; ours must give a finite score there.
    """

    estimator: str | ms.Estimator
    reference: str
    component: str | None = None
    evidence: Callable[[Arrays], Fields] = labelled
    expected: Callable[[Any], float] = float
    bound: Bound | Spread = EXACT
    exceptions: Mapping[str, Bound | Spread | None] = field(default_factory=dict)
    reference_fails: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        described = self.estimator if isinstance(self.estimator, str) else repr(self.estimator)
        return described + (f".{self.component}" if self.component else "")

    def score(self, arrays: Arrays) -> float:
        fields = dict(self.evidence(arrays))
        features, labels = fields.pop("features", None), fields.pop("labels", None)
        if self.component is None:
            return ms.score(features, labels, self.estimator, **fields)
        return ms.score(features, labels, self.estimator, components=True, **fields)[self.component]


class Comparison(NamedTuple):
    """One line of the golden table."""

    case: GoldenCase
    input: str
    reference: float
    ours: float
    agrees: bool
    bound: Bound | Spread

    @property
    def difference(self) -> float:
        """Relative to the reference."""
        if self.ours == self.reference:
            return 0.0
        return abs(self.ours - self.reference) / abs(self.reference) if self.reference else math.inf


def compare(case: GoldenCase, input_name: str, golden: Golden) -> Comparison | None:
    """None where this input is not compared."""
    bound = case.exceptions.get(input_name, case.bound)
    if bound is None:
        return None
    answer = golden.scores[input_name][case.reference]
    ours = case.score(golden.arrays(input_name))
    if input_name in case.reference_fails:
        assert "error" in answer or answer["score"] == "nan", f"{case.reference} does not fail on {input_name}"
        return Comparison(case, input_name, math.nan, ours, math.isfinite(ours), bound)
    reference = case.expected(answer["score"])
    if isinstance(bound, Spread):
        seen = [case.expected(value) for value in answer["all"]]
        slack = bound.margin * (max(seen) - min(seen))
        agrees = min(seen) - slack <= ours <= max(seen) + slack
    else:
        agrees = abs(ours - reference) <= max(bound.relative * abs(reference), bound.absolute)
    return Comparison(case, input_name, reference, ours, agrees, bound)


class Golden:
    """The shared reference scores and the arrays that they were computed on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        answers = json.loads((folder / "scores.json").read_text())
        self.scores: dict[str, dict[str, dict[str, Any]]] = answers["scores"]
        self.pool: dict[str, Any] = answers["pool"]["pool_digits"]

    @cache  # noqa: B019  (one Golden for each session)
    def arrays(self, input_name: str) -> Arrays:
        with np.load(self.folder / "inputs" / f"{input_name}.npz") as file:
            arrays = {name: file[name] for name in file.files}
        for array in arrays.values():
            array.flags.writeable = False
        return arrays


INPUTS = (
    "syn_small",
    "syn_mid",
    "syn_imb",
    "syn_wide",
    "syn_f32",
    "syn_lowvar",
    "digits_raw",
    "digits_rp",
    "office31_dslr",
    "office31_webcam",
    "oc10_dslr_GoogleNet1024",
    "oc10_dslr_surf",
)

SINGLE = "the authors compute in float32 where the features are"
LOG_PROBABILITIES = "the logits are logarithms of probabilities: 0 up to rounding"
REAL = ("office31_dslr", "office31_webcam")
IN_SINGLE = frozenset({"syn_f32", "office31_dslr", "office31_webcam"})


def single(relative: float) -> Mapping[str, Bound | Spread | None]:
    """Exceptions for the inputs that are float32."""
    return {name: Bound(relative, SINGLE) for name in IN_SINGLE}


NO_START = "all rows sum to one, so that the start of the power iteration, and with it the shrinkage, is rounding"
TINY = "of the exponential of a large negative number, absolute"
TIES = "rounding decides the ranks of the authors' equal label dissimilarities; ours are ties"
MOSTLY_TIES = (
    f"{TIES}, which with 29 classes outweighs the signal; test_features_and_classes.py holds ours against scipy"
)
UNEVEN_TIES = frozenset(INPUTS) - {"syn_imb", "syn_wide", "office31_dslr"}  # on the rest the authors' are equal too
RANDOM_PCA = "the authors' PCA is randomised, with one power iteration; ours is exact"
FEW_ROWS = frozenset({"office31_dslr", "oc10_dslr_GoogleNet1024", "oc10_dslr_surf"})

CASES: list[GoldenCase] = [
    GoldenCase(LogME(), "logme/LogME_fixedpoint"),
    GoldenCase(LogME(solver="icml"), "logme/LogME_icml"),
    GoldenCase(LogME(solver="unguarded"), "tllib/LogME"),
    GoldenCase(LogME(), "logme/LogME_regression", evidence=with_two_targets),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "seli", expected=item(0)),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "ncc", expected=item(1)),
    GoldenCase(NCTI(), "ncti/NCTI_raw_exactPCA", "vc", expected=item(2)),
    GoldenCase(HScore(regularized=False), "tllib/h_score"),
    GoldenCase(HScore(regularized=True), "tllib/regularized_h_score"),
    GoldenCase(TransRate(), "tllib/TransRate", exceptions=single(1e-5)),
    GoldenCase(TransRate(weighted=True), "transrate/paper_weighted"),
    GoldenCase(TransRate(weighted=True, normalize=True), "emab/TransRate"),
    GoldenCase(GBC(), "emab/GBC_sph_exactPCA64"),
    GoldenCase(
        GBC(dimensions=None),
        "sa/GBC_spherical",
        exceptions={"oc10_dslr_GoogleNet1024": Bound(0, TINY, 1e-12), "office31_dslr": Bound(0, TINY, 1e-12)},
    ),
    GoldenCase(GBC(dimensions=None, biased=True), "nlp/GBC_sph_biased", exceptions=single(1e-5)),
    GoldenCase(
        GBC(dimensions=None, covariance="diagonal", biased=True), "nlp/GBC_diag_biased", exceptions=single(2e-4)
    ),
    GoldenCase(SFDA(), "sfda/SFDA", exceptions={"oc10_dslr_surf": Bound(1e-3, NO_START)}),
    GoldenCase(FDA(), "fennec/FDA_eps1e-6"),
    GoldenCase(FDA(regularization=0.1), "fennec/FDA_eps1e-1"),
    GoldenCase(ETran(), "etran/LDA", "lda"),
    GoldenCase(ETran(), "etran/Energy_feat_0.5bot", "energy", reference_fails=FEW_ROWS),
    GoldenCase(Energy(), "etran/Energy_feat_0.5bot", evidence=unlabelled, reference_fails=FEW_ROWS),
    GoldenCase(
        Energy(share=1.0),
        "etran/Energy_logits_100top",
        evidence=logits_as_features,
        exceptions={name: Bound(0, LOG_PROBABILITIES, 1e-6) for name in REAL},
    ),
    GoldenCase(INT(), "occam/INT", exceptions=single(1e-5)),
    GoldenCase(Silhouette(), "nlp/MSC_l2", exceptions=single(1e-4)),
    GoldenCase(LFC(), "modelspider/LFC"),
    GoldenCase(
        PED(),
        "ped/PED_SFDA_0.6",
        evidence=with_source_features,
        exceptions={"oc10_dslr_surf": Bound(1e-3, NO_START)},
    ),
    GoldenCase(PED(base="logme"), "ped/PED_LOGME_0.6", evidence=with_source_features),
    GoldenCase(
        PED(n_sigma=2.0),
        "ped/PED_SFDA_2.0",
        evidence=with_source_features,
        exceptions={"oc10_dslr_surf": Bound(1e-3, NO_START)},
    ),
    GoldenCase(
        PARC(),
        "parc/PARC_32",
        bound=Bound(0.2, f"{RANDOM_PCA}; {TIES}"),
        exceptions={"office31_webcam": Bound(2.5, MOSTLY_TIES)},
    ),
    GoldenCase(
        PARC(dimensions=None),
        "parc/PARC_full",
        exceptions={name: Bound(0.06, TIES) for name in UNEVEN_TIES} | {"office31_webcam": Bound(2.5, MOSTLY_TIES)},
    ),
    GoldenCase(RSA(), "parc/RSA", evidence=with_proxy_features),
    GoldenCase(DDS(), "parc/DDS", evidence=with_proxy_features, exceptions=single(1e-5)),
]

# Source classes, neighbours, clusters and what is learned by iterations

SINGLE_MIXTURE = "the authors' mixture is fitted in float32, and expectation maximisation magnifies the difference"
OTHER_MIXTURE = "another random start of the mixture"
OTHER_SPLIT = "another random split and start; single runs spread as far"
OTHER_START = "the authors' L-BFGS starts at random weights and stops early; ours starts at zero"
NO_MIXTURE = frozenset({"syn_f32", "office31_dslr", "office31_webcam"})
SATURATED = Bound(0, "every cluster holds one class: 0 up to rounding", 1e-12)

CASES += [
    GoldenCase(LEEP(), "logme/LEEP", evidence=with_probabilities),
    GoldenCase(NCE(), "logme/NCE", evidence=with_probabilities),
    GoldenCase(NCE(soft=True), "pactran/nce_soft", evidence=with_probabilities),
    GoldenCase(Persistence(max_rows=None), "pr/PR_gudhi", expected=item(0)),
    GoldenCase(Persistence(max_rows=None), "pr/PR_gudhi", "H_sep", expected=item(1)),
    GoldenCase(Persistence(max_rows=None), "pr/PR_gudhi", "H_tight", expected=item(2)),
    GoldenCase(KNN(), "parc/kNN_k1"),
    GoldenCase(TMI(), "tmi/TMI"),
    GoldenCase(NCScore(), "nc/NC1_papyan", expected=negated),
    GoldenCase(
        NLEEP(),
        "emab/NLEEP",
        bound=Bound(5e-4, SINGLE_MIXTURE),
        exceptions={
            "oc10_dslr_surf": Bound(0.1, SINGLE_MIXTURE),
            "oc10_dslr_GoogleNet1024": SATURATED,
            "office31_dslr": SATURATED,
        },
    ),
    GoldenCase(
        NLEEP(components_per_class=None, covariance="full"),
        "modelspider/NLEEP",
        bound=Spread(1.0, OTHER_MIXTURE),
        exceptions={"syn_mid": None},  # 200 full covariances of 270 x 270: half a minute
        reference_fails=NO_MIXTURE,
    ),
    GoldenCase(PACTranDirichlet(), "pactran/pac_dir_1", evidence=with_probabilities, expected=negated),
    GoldenCase(PACTranGamma(), "pactran/pac_gamma_1", evidence=with_probabilities, expected=negated),
    GoldenCase(PACTran(), "pactran/pac_gauss_1_100", expected=negated_item(0), bound=Bound(1e-3, OTHER_START)),
    GoldenCase(
        PACTran(), "pactran/pac_gauss_1_100", "optimum", expected=negated_item(1), bound=Bound(1e-3, OTHER_START)
    ),
    GoldenCase(
        PACTran(variance=10.0), "pactran/pac_gauss_1_100", expected=negated_item(2), bound=Bound(1e-3, OTHER_START)
    ),
    GoldenCase(ITM(), "itm/ITM_port", bound=Spread(1.0, OTHER_SPLIT)),
]
