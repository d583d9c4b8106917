"""How well two rankings of the same candidates agree: the predicted one, and the one that fine-tuning measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from numbers import Integral
from typing import TYPE_CHECKING, Any

from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a prediction agrees with the truth, by every measure that the papers of the field report.

    Correlations lie in [-1, 1]. They are 0 (and pairwise accuracy 0.5) where all predicted scores, or all true values,
    are equal: there is then nothing to order, so the two neither agree nor disagree.
    Regrets are in the units of the truth (points, for accuracies in per cent); 0 is best.

    Attributes:
        weighted_kendall: `scipy.stats.weightedtau(predicted, truth)` with its defaults, the measure of SFDA, NCTI, PED
            and ETran. A pair weighs 1/(r_i + 1) + 1/(r_j + 1), where r = 0 is the *largest* value, so that mistakes
            among the best cost most. The result is the average of two: ranks by `predicted` (ties broken by `truth`)
            and ranks by `truth` (ties broken by `predicted`).
        weighted_kendall_by_truth: the same with ranks by `truth` alone, as Model Spider reports it:
            `weightedtau(truth, predicted, rank=None)`.
        weighted_kendall_itm: equation 1 of the ITM paper: a pair weighs 1/(G_i + G_j), where G = 1 is the truly best
            (equal true values share their mean rank); a pair tied on either side counts as 0 in the numerator.
        kendall: Kendall's tau-b.
        spearman: Spearman's rho; tied values share their mean rank.
        pearson: Pearson's r of the values themselves (PARC and Fennec report 100 times this).
        pairwise_accuracy: (kendall + 1) / 2; without ties the share of pairs in the right order.
        top1_regret: best true value minus the true value of the candidate with the best prediction. Where several share
            the best prediction, the expected value for one of them drawn at random.
        topk_regret: best true value minus the best true value among the `k` best predictions: what is lost by
            fine-tuning only these `k`. Where the k-th place is tied, the expected value for a random draw.
        k: the `k` of `topk_regret`.
        n: number of candidates that were compared.
        left_out: number of candidates without a score or without a true value (NaN).
    """

    weighted_kendall: float
    weighted_kendall_by_truth: float
    weighted_kendall_itm: float
    kendall: float
    spearman: float
    pearson: float
    pairwise_accuracy: float
    top1_regret: float
    topk_regret: float
    k: int
    n: int
    left_out: int


def agreement(
    predicted: ArrayLike | Mapping[Any, float], truth: ArrayLike | Mapping[Any, float], *, k: int = 3
) -> Agreement:
    """How well predicted scores agree with true values. Higher is better in both.

    Args:
        predicted: (n,) scores, or scores by candidate. NaN or None: the candidate has no score.
        truth: (n,) true values in the same order, or by candidate; usually accuracies in per cent. NaN or None: the
            value is not known. Candidates that lack either are left out of every figure and counted in `left_out`.
            Two mappings (or pandas Series) are matched by key; a `Candidate` and its id are the same key.
        k: size of the shortlist for `topk_regret`.

    Raises:
        InvalidInputError: keys or lengths do not match, a value is infinite or not a number, fewer than two candidates
            have both values, or k < 1.

    >>> import modelselect as ms
    >>> found = ms.agreement(predicted={"a": 0.9, "b": 0.7, "c": 0.1}, truth={"c": 71.5, "a": 88.0, "b": 90.0}, k=2)
    >>> round(found.weighted_kendall, 3), round(found.kendall, 3), found.top1_regret, found.topk_regret
    (0.182, 0.333, 2.0, 0.0)
    """
    import numpy as np  # imported in functions, so that `import modelselect` stays fast without NumPy

    if not isinstance(k, Integral) or k < 1:
        raise InvalidInputError(f"k is {k}; expected 1 or more, the size of the shortlist")
    scores, values = _aligned(predicted, truth)
    known = ~(np.isnan(scores) | np.isnan(values))
    x, y = scores[known], values[known]
    n = len(x)
    if n < 2:
        raise InvalidInputError(
            f"{n} of {len(scores)} candidates have both a score and a true value; a comparison needs at least two. "
            "(NaN counts as missing.)"
        )
    return Agreement(
        **_correlations(x, y),
        top1_regret=_expected_regret(x, y, 1),
        topk_regret=_expected_regret(x, y, k),
        k=k,
        n=n,
        left_out=len(scores) - n,
    )


def _correlations(predicted: Floats, truth: Floats) -> dict[str, float]:
    import numpy as np
    from scipy import stats

    if (predicted == predicted[0]).all() or (truth == truth[0]).all():  # nothing to order; SciPy would return NaN
        names = (
            "weighted_kendall",
            "weighted_kendall_by_truth",
            "weighted_kendall_itm",
            "kendall",
            "spearman",
            "pearson",
        )
        return {**dict.fromkeys(names, 0.0), "pairwise_accuracy": 0.5}
    kendall = float(stats.kendalltau(predicted, truth).statistic)
    return {
        "weighted_kendall": float(stats.weightedtau(predicted, truth).statistic),
        "weighted_kendall_by_truth": float(stats.weightedtau(truth, predicted, rank=None).statistic),  # type: ignore[call-overload]
        "weighted_kendall_itm": _weighted_kendall_itm(predicted, truth),
        "kendall": kendall,
        "spearman": float(stats.spearmanr(predicted, truth).statistic),
        # Divided by the largest first, so that huge values do not overflow.
        "pearson": float(stats.pearsonr(predicted / np.abs(predicted).max(), truth / np.abs(truth).max()).statistic),
        "pairwise_accuracy": (kendall + 1) / 2,
    }


def _weighted_kendall_itm(predicted: Floats, truth: Floats) -> float:
    import numpy as np
    from scipy.stats import rankdata

    rank, predicted_rank = rankdata(-truth), rankdata(-predicted)
    agreeing = total = 0.0
    for i in range(len(rank) - 1):  # row by row, so that memory stays linear in the number of candidates
        weight = 1 / (rank[i] + rank[i + 1 :])
        sign = np.sign(predicted_rank[i + 1 :] - predicted_rank[i]) * np.sign(rank[i + 1 :] - rank[i])
        agreeing += float(weight @ sign)
        total += float(weight.sum())
    return agreeing / total


def _expected_regret(predicted: Floats, truth: Floats, k: int) -> float:
    """Best true value minus the expected best of the predicted top k, ties at the k-th place broken at random."""
    import numpy as np

    k = min(k, len(predicted))
    threshold = np.sort(predicted)[-k]
    chosen, tied = truth[predicted > threshold], truth[predicted == threshold]
    free = k - len(chosen)
    best, floor = truth.max(), chosen.max(initial=-np.inf)
    regret = 0.0
    for place, value in enumerate(np.sort(tied)[::-1]):
        # The share of all draws of `free` candidates among the tied ones in which this one is the best.
        share = comb(len(tied) - 1 - place, free - 1) / comb(len(tied), free)
        regret += share * float(best - max(value, floor))
    return regret


def _aligned(predicted: Any, truth: Any) -> tuple[Floats, Floats]:
    """Both as float arrays in the same order."""
    if _has_keys(predicted) and _has_keys(truth):
        scores, values = _by_key("predicted", predicted), _by_key("truth", truth)
        if scores.keys() != values.keys():
            raise InvalidInputError(
                f"predicted and truth hold different candidates: only in predicted "
                f"{_some(scores.keys() - values.keys())}; only in truth {_some(values.keys() - scores.keys())}. "
                "Give the same candidates in both, with NaN for unknown values."
            )
        predicted, truth = list(scores.values()), [values[key] for key in scores]
    elif isinstance(predicted, Mapping) or isinstance(truth, Mapping):
        raise InvalidInputError(
            f"predicted is a {type(predicted).__name__} and truth is a {type(truth).__name__}; give two mappings by "
            "candidate, or two arrays in the same order"
        )
    x, y = _vector("predicted", predicted), _vector("truth", truth)
    if len(x) != len(y):
        raise InvalidInputError(
            f"predicted has {len(x)} values and truth has {len(y)}; expected one of each per candidate"
        )
    return x, y


def _has_keys(given: Any) -> bool:
    return isinstance(given, Mapping) or (hasattr(given, "keys") and hasattr(given, "items"))  # a pandas Series


def _by_key(name: str, given: Any) -> dict[str, Any]:
    found = {str(key): value for key, value in given.items()}
    if len(found) != len(given):
        raise InvalidInputError(f"{name} holds more than one value for a candidate; expected one")
    return found


def _vector(name: str, given: Any) -> Floats:
    import numpy as np

    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{name} holds a value that is not a number ({error}); expected one number per candidate"
        ) from None
    if array.ndim != 1:
        raise InvalidInputError(f"{name} has shape {array.shape}; expected one dimension, with one value per candidate")
    infinite = np.flatnonzero(np.isinf(array))
    if len(infinite):
        raise InvalidInputError(
            f"{name} holds infinity, first at position {infinite[0]}; expected finite numbers, or NaN where a value is "
            "not known"
        )
    return array


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    more = len(names) - len(shown)
    return (", ".join(map(repr, shown)) or "none") + (f" and {more} more" if more else "")
