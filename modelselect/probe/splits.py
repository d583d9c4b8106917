"""Which split a probe is drawn from: train, or validation without a train split; never a test split."""

from __future__ import annotations

import re
from collections.abc import Collection

from modelselect.errors import DatasetError, did_you_mean

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = "all"
"""Name of the only split of a dataset without splits."""

_KINDS = {
    TRAIN: re.compile(r"train(ing)?", re.IGNORECASE),
    VALIDATION: re.compile(r"val(id(ation)?)?|dev", re.IGNORECASE),
    TEST: re.compile(r"test(ing|s)?([-_ .].*)?", re.IGNORECASE),
}


def kind_of_split(name: str) -> str | None:
    """`"train"`, `"validation"`, `"test"`, or None for any other name.

    >>> kind_of_split("val"), kind_of_split("test-clean"), kind_of_split("cats")
    ('validation', 'test', None)
    """
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(name)), None)


def is_test(name: str) -> bool:
    """True if any part of a split expression of `datasets` (`train+test[:10%]`) names a test split."""
    return any(kind_of_split(part.split("[")[0].strip()) == TEST for part in name.split("+"))


def check_wanted(split: str | None) -> None:
    """Raises for a split that is no name, or that is a test split."""
    if not isinstance(split, str | None):
        raise DatasetError(f"split is {split!r}; expected the name of a split, or None.")
    if split is not None and is_test(split):
        raise DatasetError(test_refused("the dataset", f"split={split!r} names a test split"))


def choose_split(splits: Collection[str], wanted: str | None, dataset: str) -> tuple[str, str | None]:
    """The split to draw from, and the validation split to hold out, if there is another one.

    Raises:
        DatasetError: the wanted split is missing or a test split, or no split is plainly the one for training.
    """
    listed = ", ".join(sorted(splits)) or "none"
    if wanted is not None:
        if wanted not in splits:
            raise DatasetError(
                f"{dataset} has no split {wanted!r}.{did_you_mean(wanted, splits)} Splits: {listed}; leave out split= "
                "to take the training rows."
            )
        chosen = wanted
    else:
        usable = sorted(name for name in splits if not is_test(name))
        if splits and not usable:
            raise DatasetError(test_refused(dataset, f"it has no other split ({listed})"))
        of_kind = {kind: [name for name in usable if kind_of_split(name) == kind] for kind in (TRAIN, VALIDATION)}
        choices = of_kind[TRAIN] or of_kind[VALIDATION] or usable
        if len(choices) != 1:
            has = f"the splits {listed}" if splits else "no splits"
            raise DatasetError(
                f"{dataset} has {has}; expected one that is plainly the training split. Name the split to draw from "
                "with split=. (To use columns of one table, give (inputs, labels).)"
            )
        chosen = choices[0]
    others = sorted(name for name in splits if kind_of_split(name) == VALIDATION and name != chosen)
    return chosen, others[0] if others and kind_of_split(chosen) != VALIDATION else None


def test_split(splits: Collection[str]) -> str | None:
    """The test split, if there is one; of several, the first by name."""
    return next((name for name in sorted(splits) if kind_of_split(name) == TEST), None)


def test_refused(dataset: str, why: str) -> str:
    return (
        f"{dataset}: rows of a test split must not be used to select a model, and {why}. Give training or validation "
        "rows. If these rows are not a test set, rename the split to 'train', or give (inputs, labels)."
    )
