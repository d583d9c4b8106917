"""Which names are those of splits, and which split a probe is drawn from: train, else validation, never test."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from modelselect.errors import DatasetError, did_you_mean

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WHOLE = "all"
"""Name of the only split of a dataset without splits."""

_KIND_OF_WORD = {
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), TEST),
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "eval", "evaluation"), VALIDATION),
}
_QUALIFIER = re.compile(
    "all|aug(mented)?|balanced|clean|crop(ped)?|data|dataset|dir|file|final|fold|folder|full|ima?ge?|jpe?g|label?led|"
    "large|mini|new|old|only|orig(inal)?|other|part|phase|photo|pic(ture)?|png|private|public|raw|resized|sample|set|"
    "small|split|stage|sub|subset|tiny|unlabel?led".replace("|", "s?|")
)
"""Words that a split's name may hold next to the word for its kind: `train_images`, `stage1_test`, `val-split-2`."""

_PARTS = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
_JOINED = re.compile(
    r"(train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval)(?:sets?|data|images?|imgs?|split|dir)"
)
_HELD_OUT = re.compile(r"(hold|held)[\W_]+(?=out)", re.IGNORECASE)
_PLAIN = re.compile(r"train(ing)?|val(id(ation)?)?|dev", re.IGNORECASE)


def kind_of_split(name: str) -> str | None:
    """`"train"`, `"validation"`, `"test"`, or None for any other name. The name may hold a year, a number, `_images`...

    >>> [kind_of_split(name) for name in ("val", "TrainSet", "train2017", "test-clean", "testA", "test tubes", "cats")]
    ['validation', 'train', 'train', 'test', 'test', None, None]
    """
    words = _words(name)
    kinds = [_KIND_OF_WORD[word] for word in words if word in _KIND_OF_WORD]
    if all(word in _KIND_OF_WORD or _QUALIFIER.fullmatch(word) or word.isdigit() or len(word) == 1 for word in words):
        return _first_of(kinds)
    return None


def kinds_of_folders(names: Iterable[str]) -> dict[str, str]:
    """The kind of each folder that is called like a split. `cars_test` counts next to `cars_train` or next to `train`.

    >>> kinds_of_folders(["cars_train", "cars_test", "test tubes", "dogs"])
    {'cars_train': 'train', 'cars_test': 'test'}
    """
    names = list(names)
    sure = {name: kind for name in names if (kind := kind_of_split(name))}
    by_stem: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        if name not in sure and (kind := kind_of_known_split(name)):
            stem = tuple(word for word in _words(name) if word not in _KIND_OF_WORD and not word.isdigit())
            by_stem[stem][name] = kind
    kinds = dict(sure)
    for group in by_stem.values():
        if len({*group.values(), *sure.values()}) > 1:
            kinds |= group
    return kinds


def kind_of_known_split(name: str) -> str | None:
    """The kind of a name that is known to be a split's: a word at its start or its end is enough.

    >>> kind_of_known_split("validation_matched"), kind_of_known_split("cars_test"), kind_of_known_split("extra")
    ('validation', 'test', None)
    """
    if kind := kind_of_split(name):
        return kind
    words = [word for word in _words(name) if not word.isdigit()]
    return _first_of([_KIND_OF_WORD[word] for word in (*words[:1], *words[-1:]) if word in _KIND_OF_WORD])


def is_test(name: str) -> bool:
    """True if any part of a split expression of `datasets` (`train+test[:10%]`) names a test split."""
    return any(kind_of_known_split(part.split("[")[0]) == TEST for part in name.split("+"))


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
                "(--split) to take the training rows."
            )
        chosen = wanted
    else:
        usable = sorted(name for name in splits if not is_test(name))
        if splits and not usable:
            raise DatasetError(test_refused(dataset, f"it has no other split ({listed})"))
        choices = _of_kind(usable, TRAIN) or _of_kind(usable, VALIDATION) or usable
        plain = [name for name in choices if _PLAIN.fullmatch(name)]
        choices = plain if len(plain) == 1 else choices
        if len(choices) != 1:
            has = f"the splits {listed}" if splits else "no splits"
            named = f"split={choices[0]!r} (on the command line: --split {choices[0]})" if choices else "split="
            raise DatasetError(
                f"{dataset} has {has}; expected one that is plainly the training split. Name the split to draw from, "
                f"for example with {named}. (To use columns of one table, give (inputs, labels).)"
            )
        chosen = choices[0]
    others = [name for name in _of_kind(splits, VALIDATION) if name != chosen]
    others.sort(key=lambda name: (not _PLAIN.fullmatch(name), name))
    return chosen, others[0] if others and kind_of_known_split(chosen) != VALIDATION else None


def test_split(splits: Collection[str]) -> str | None:
    """The test split, if there is one; of several, the first by name."""
    return next(iter(_of_kind(splits, TEST)), None)


def test_refused(dataset: str, why: str) -> str:
    return (
        f"{dataset}: rows of a test split must not be used to select a model, and {why}. Give training or validation "
        "rows. If these rows are not a test set, rename the split to 'train', or give (inputs, labels)."
    )


def _of_kind(splits: Iterable[str], kind: str) -> list[str]:
    return sorted(name for name in splits if kind_of_known_split(name) == kind)


def _words(name: str) -> list[str]:
    """The words and numbers of a name in lower case: `trainA_2017` is train, a, 2017; `testset` is test."""
    words: list[str] = []
    for part in _PARTS.findall(_HELD_OUT.sub(r"\1", unicodedata.normalize("NFKC", name))):
        whole = part.lower()
        if whole in _KIND_OF_WORD:
            words.append(whole)
        elif match := _JOINED.fullmatch(whole):
            words.append(match[1])
        else:
            words += [word.lower() for word in _CAMEL.findall(part)]
    return words


def _first_of(kinds: list[str]) -> str | None:
    """Of several kinds in one name (`train_test`), the one that promises least."""
    return next((kind for kind in (TEST, TRAIN, VALIDATION) if kind in kinds), None)
