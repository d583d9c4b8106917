"""`Settings`: the keywords of `select()`, `plan()` and `benchmark()`, each with its default, its check and its help."""

# ruff: noqa: RUF009 - `setting()` is a dataclasses.field()

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from modelselect import estimators as estimation  # this face and the next load NumPy only when a name is taken of them
from modelselect import history as histories
from modelselect.budget.bounds import MAX_DOWNLOAD, MAX_TIME, Bounds, parse_bytes, parse_seconds
from modelselect.budget.budget import Budget
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.errors import InvalidInputError, ModelSelectError, PluginError, blamed, did_you_mean
from modelselect.executor import Executor, UnknownOptionError
from modelselect.extraction.devices import PRECISIONS
from modelselect.host.defaults import AUTO, DEFAULT_ESTIMATORS
from modelselect.utils.text import as_python
from modelselect.verification.recipe import FineTuning, check_method
from modelselect.verification.trackers import check_tracker

MAX_SEED = 2**32 - 2**16
"""The largest seed. Libraries take seeds below 2**32, and further seeds count up from this one."""

ALL_ROWS = ("all", "none")
"""Words that `--probe-size` takes instead of a number: every row of the dataset."""

FREE_MEMORY = "device"
"""The word for the memory that is free on the device of the run, as a value of `max_training_memory`."""

RECIPE_PARTS = ("epochs", "trials", "patience")
"""The fields of the recipe of fine-tuning that are also keywords and options of their own."""

SETTINGS_OF_EXECUTORS: Mapping[str, str] = MappingProxyType({"address": "ray_address", "timeout": "task_timeout"})
"""Options of executors that are keywords of their own."""

EstimatorChoice: TypeAlias = "str | estimation.Estimator | Sequence[str | estimation.Estimator] | None"

HistoryChoice: TypeAlias = "histories.History | str | os.PathLike[str] | Literal[False] | None"

Check: TypeAlias = Callable[[str, Any], Any]
"""Takes the name of a keyword and the value given; returns the value to keep, or raises InvalidInputError."""


class Option(NamedTuple):
    """How a keyword is given on the command line.

    Attributes:
        type: type of one value; `bool` for a flag, `list` for a text that may be given several times.
        short: its short form, such as `-k`.
        shown: what `--help` shows as the default. If it is given, an option that is left out is not passed on.
        name: the option's name, if it is not made from the keyword's.
        parser: reads the text, if `type` cannot.
        metavar: what `--help` shows for the value, if there is a parser.
        negates: whether the flag means False.
    """

    type: type
    short: str = ""
    shown: str = ""
    name: str = ""
    parser: Callable[[Any], Any] | None = None
    metavar: str = ""
    negates: bool = False


def setting(default: Any, check: Check, help: str, option: Option | None = None) -> Any:
    """A field of `Settings`."""
    return field(default=default, metadata={"check": check, "help": help, "option": option})


def expect(expected: str, holds: Callable[[Any], bool]) -> Check:
    """The check that a condition holds for a value. The message says what was expected."""

    def check(name: str, value: Any) -> Any:
        if not holds(value):
            raise InvalidInputError(f"{name} is {value!r}; expected {expected}")
        return value

    return check


def _checked(name: str, value: Any, check: Check) -> Any:
    """What the check makes of a value, which may be of a type that no check thinks of."""
    try:
        return check(name, value)
    except InvalidInputError as error:
        if name in str(error):
            raise
        raise InvalidInputError(f"{name}: {error}") from error
    except ModelSelectError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{name} is of the type {type(value).__name__}, which is of no use here") from error


def whole(expected: str, holds: Callable[[int], bool], *, optional: bool = False) -> Check:
    """The check that a value is an integer for which a condition holds, or None if the keyword is optional."""

    def check(name: str, value: Any) -> int | None:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Integral) or not holds(int(value)):
            raise InvalidInputError(f"{name} is {value!r}; expected {expected}")
        return int(value)

    return check


def unchecked(name: str, value: Any) -> Any:
    """No check: `Request.of` checks the keyword against the registered plugins and the machine."""
    return value


def _within(name: str, value: Any) -> Any:
    Limits.of(**{name: value})
    return value


def _memory(name: str, value: Any) -> Any:
    """A size with its unit, or bytes, or the word for what is free on the device."""
    if value is not None and value != FREE_MEMORY:
        Limits.of(max_training_memory=parse_bytes(value) if isinstance(value, str) else value)
    return value


def _bounded(name: str, value: Any) -> Any:
    Bounds.of(**{name: value})
    return value


def _duration(name: str, value: Any) -> Any:
    """A time as people write it, or seconds above 0."""
    if value is not None:
        parse_seconds(name, value)
    return value


def _options(name: str, value: Any) -> dict[str, Any] | None:
    """Options by name, from a mapping or from texts such as `workers=2`."""
    given = value
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not all(isinstance(each, str) and "=" in each for each in value):
            raise InvalidInputError(f"{name} is {given!r}; expected NAME=VALUE for each")
        value = dict(each.split("=", 1) for each in value)
    if not isinstance(value, Mapping) or not all(isinstance(each, str) and each for each in value):
        raise InvalidInputError(f"{name} is {given!r}; expected options by name, such as {{'workers': 2}}")
    for option, keyword in SETTINGS_OF_EXECUTORS.items():
        if option in value:
            raise InvalidInputError(f"{name} has {option!r}, which is a setting of its own; give {keyword} instead")
    return dict(value)


def _affordable(name: str, value: Any) -> Any:
    if value is not None:
        Budget.of(value)
    return value


def _method(name: str, value: Any) -> Any:
    check_method(value)
    return value


def _tracker(name: str, value: Any) -> Any:
    if value is not None:
        check_tracker(value)
    return value


def _is_history(value: Any) -> bool:
    return value is None or value is False or isinstance(value, str | os.PathLike | histories.History)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def rows_or_all(text: Any) -> int | None:
    """What `--probe-size` means: a number of rows, or all of them."""
    if str(text).lower() in ALL_ROWS:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{str(text)[:100]!r} is no whole number; expected 2 or more rows, or all") from None


def _source_rows_of(text: Any) -> int | str:
    """What `--source-size` means: a number of rows, or `all`."""
    rows = rows_or_all(text)
    return ALL_ROWS[0] if rows is None else rows


def _source_rows(name: str, value: Any) -> int | str | None:
    if value == ALL_ROWS[0]:
        return ALL_ROWS[0]
    check = whole("2 or more rows, 'all', or None for as many as probe_size", lambda rows: rows >= 2, optional=True)
    rows: int | None = check(name, value)
    return rows


def _is_truth(value: Any) -> bool:
    """True for True, False, 0, 1 and NumPy's own truth values. Their name tells, since NumPy is not loaded here."""
    return (isinstance(value, int) and value in (0, 1)) or type(value).__name__ in ("bool_", "bool")


_flag = expect("True or False", _is_truth)

_name_or_none = expect("a name, or None", lambda value: value is None or (isinstance(value, str) and value != ""))


def _columns(name: str, value: Any) -> Any:
    """A column, or two columns as a tuple."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidInputError(
        f"{name} is {value!r}; expected the name of a column, two names for pairs of texts, or None"
    )


def _label_columns(name: str, value: Any) -> Any:
    """A column, or several columns as a tuple."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    return _name_or_none(name, value)


def _prompts(name: str, value: Any) -> Any:
    """A text with a place for the name of a class, or several as a tuple."""
    given = (value,) if isinstance(value, str) else value
    if given is None:
        return None
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, str) and "{}" in each for each in given):
        raise InvalidInputError(
            f"{name} is {value!r}; expected a text with {{}} in the place of the class, such as 'a photo of a {{}}.', "
            "several of them, or None"
        )
    return value if isinstance(value, str) else tuple(given)


def _usable(runner: Executor, options: Mapping[str, Any]) -> Executor:
    """The executor with options, after a look at what a run reads of it: it may be a plugin's.

    Raises:
        PluginError: it raises something of its own, or gives something else than its contract says.
        InvalidInputError: it does not take one of the options.
    """
    name = runner.name
    with blamed(lambda reason: f"the executor {name!r} failed: {reason}"):
        runner = runner.configured(**options) if options else runner
        known: tuple[object, ...] = runner, runner.isolated, runner.workers
    for value, kind in zip(known, (Executor, bool, int), strict=True):
        if not isinstance(value, kind):
            raise PluginError(f"the executor {name!r} gives {value!r}; expected {kind.__name__}")
    return runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The keywords of `select()`, `plan()` and `benchmark()`. The docstring of `select()` explains each of them.

    Raises:
        InvalidInputError: a value cannot be used. The message says what was given, what was expected, and what to do.

    >>> Settings(top_k=2).top_k, Settings().probe_size
    (2, 2000)
    """

    estimators: EstimatorChoice = setting(
        None,
        unchecked,
        "Estimators to rank by: names, separated by commas, or all.",
        Option(str, "-e", shown=",".join(DEFAULT_ESTIMATORS)),
    )
    layers: str | None = setting(
        None,
        expect("'best', 'all', or None for the end of each candidate", lambda value: value in (None, "best", "all")),
        "best: read each candidate at its best layer; all: rank each layer by itself.",
        Option(str),
    )
    top_k: int = setting(
        0,
        whole("0 (no fine-tuning), or the number of candidates to fine-tune", lambda number: number >= 0),
        "Number of the best candidates to fine-tune.",
        Option(int, "-k"),
    )
    tune: int = setting(
        0,
        whole("0 (none), or the number of candidates to fine-tune for one epoch", lambda number: number >= 0),
        "Number of the best candidates to fine-tune for one epoch, before --top-k.",
        Option(int),
    )
    probe_size: int | None = setting(
        2000,
        whole("2 or more rows, or None for all", lambda rows: rows >= 2, optional=True),
        "Maximum number of rows that each candidate is shown, or 'all'.",
        Option(int, parser=rows_or_all, metavar="INTEGER|all"),
    )
    input: str | tuple[str, str] | None = setting(
        None,
        _columns,
        "Column of the images or texts, if the dataset has columns; two, with a comma between them, for pairs.",
        Option(str),
    )
    label: str | tuple[str, ...] | None = setting(
        None,
        _label_columns,
        "Column of the labels, if the dataset has columns; several, with commas, for several numbers or labels.",
        Option(str),
    )
    task: str = setting(
        AUTO,
        expect(f"{AUTO!r}, or the name of a task", lambda value: isinstance(value, str) and value != ""),
        "What to predict: classification, multi-label, regression, text-pair, audio-classification, retrieval, "
        "token-classification, segmentation, detection; auto reads it from the labels.",
        Option(str),
    )
    prompt: str | Sequence[str] | None = setting(
        "a photo of a {}.",
        _prompts,
        "Text for a class, with {} for its name: accuracy of CLIP and the like without training; may be repeated.",
        Option(list, shown="a photo of a {}."),
    )
    split: str | None = setting(
        None, _name_or_none, "Split to draw the rows from; by default the training split.", Option(str)
    )
    max_corrupt: float = setting(
        0.1,
        expect("a share from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
        "Maximum share of the rows that may be unreadable.",
        Option(float),
    )
    max_pixels: int | None = setting(
        None,
        whole("1 or more pixels, or None for twice PIL's bound", lambda pixels: pixels >= 1, optional=True),
        "Images with more pixels than this are not read.",
        Option(int, shown="twice PIL's bound"),
    )
    source: Any = setting(None, unchecked, "A dataset like the one that candidates were pre-trained on.", Option(str))
    source_size: int | str | None = setting(
        None,
        _source_rows,
        "Maximum number of rows of --source, or 'all'.",
        Option(str, shown="as --probe-size", parser=_source_rows_of, metavar="INTEGER|all"),
    )
    device: str = setting("auto", unchecked, "auto, cpu, cuda or cuda:N.", Option(str))
    executor: str | Executor = setting(
        "local",
        expect("a name such as 'local', or an Executor", lambda value: isinstance(value, str | Executor)),
        "local; process (a crash costs only one candidate); ray or slurm (other machines, too).",
        Option(str),
    )
    executor_options: Mapping[str, Any] | Sequence[str] | None = setting(
        None,
        _options,
        "Options of the executor, such as workers=2; may be repeated.",
        Option(list, name="--executor-option", shown="none"),
    )
    ray_address: str | None = setting(
        None,
        expect("the address of a Ray cluster, such as 'auto', or None", lambda value: value is None or bool(value)),
        "Address of the Ray cluster that the executor ray uses.",
        Option(str, shown="RAY_ADDRESS, or a cluster on this machine"),
    )
    task_timeout: str | float | None = setting(
        None, _duration, "Stop the work on a candidate after this time: 10m, or seconds.", Option(str, shown="never")
    )
    cache_dir: str | os.PathLike[str] | None = setting(
        None,
        expect("the path of a folder, an address, or None", lambda value: isinstance(value, str | os.PathLike | None)),
        "Folder of the store, or an address: s3://...",
        Option(Path),
    )
    trust_remote_code: bool = setting(False, _flag, "Let candidates run the code that they bring.", Option(bool))
    seed: int = setting(
        0,
        whole(f"an integer from 0 to {MAX_SEED}", lambda seed: 0 <= seed <= MAX_SEED),
        "Seed of everything random: the probe, estimators, resamples, fine-tuning.",
        Option(int),
    )
    batch_size: int | None = setting(
        None,
        whole("1 or more rows, or None", lambda rows: rows >= 1, optional=True),
        "Rows in a forward pass; halved when memory runs out.",
        Option(int, shown="what suits the device"),
    )
    precision: str = setting(
        "float32",
        expect(f"one of {', '.join(PRECISIONS)}", PRECISIONS.__contains__),
        "float32; bfloat16 or float16, if the device supports it.",
        Option(str),
    )
    compile: bool = setting(False, _flag, "Compile each candidate with torch.compile first.", Option(bool))
    extractor: str | None = setting(
        None,
        expect("the name of an extractor, such as 'onnx', or None", lambda name: isinstance(name, str | None)),
        "What computes the forward pass: onnx for ONNX Runtime, fused for fewer layers.",
        Option(str, shown="what suits the device"),
    )
    fine_tuning: FineTuning | None = setting(
        None,
        expect("FineTuning(epochs=..., ...), or None", lambda value: isinstance(value, FineTuning | None)),
        "The recipe of fine-tuning.",
    )
    epochs: int | None = setting(
        None,
        whole("1 or more passes, or None for the recipe's", lambda number: number >= 1, optional=True),
        "Passes over the training rows in fine-tuning, at most.",
        Option(int, shown="20"),
    )
    trials: int | None = setting(
        None,
        whole("1 (no search) or more trainings, or None for the recipe's", lambda number: number >= 1, optional=True),
        "Learning rates to try per model.",
        Option(int, shown="1: no search"),
    )
    patience: int | None = setting(
        None,
        whole("1 or more epochs, or None for the recipe's", lambda number: number >= 1, optional=True),
        "Epochs without improvement after which training stops.",
        Option(int, shown="never"),
    )
    verify: str = setting("full", _method, "What fine-tuning trains: full, head or lora.", Option(str, shown="full"))
    resamples: int = setting(
        0,
        whole("0 (no standard errors) or at least 2, better 50", lambda number: number == 0 or number >= 2),
        "Resamples of the probe, for standard errors of scores: 50 is usual, 0 for none.",
        Option(int),
    )
    recall: int | None = setting(
        None,
        whole("the number of candidates to keep, or None for all", lambda number: number >= 1, optional=True),
        "Candidates to keep by the transfer history, before any download.",
        Option(int),
    )
    history: HistoryChoice = setting(
        None,
        expect("a path, a History, None for your own, or False for none", _is_history),
        "File of the transfer history, or 'off' for none; your own by default.",
        Option(str),
    )
    limit: int | None = setting(
        None,
        whole("the number of candidates to keep, or None for all", lambda number: number >= 1, optional=True),
        "Keep this many candidates: the most promising that fit --max-download and --max-time.",
        Option(int),
    )
    max_download: str | float | None = setting(
        None, _bounded, "What a run may download before it asks.", Option(str, shown=MAX_DOWNLOAD)
    )
    max_time: str | float | None = setting(
        None,
        _bounded,
        "How long forward passes, and fine-tuning by the default recipe, may take; above it a run asks.",
        Option(str, shown=MAX_TIME),
    )
    confirm: Callable[[str], bool] | None = setting(
        None, expect("a function of the question, or None", lambda value: value is None or callable(value)), ""
    )
    proxy: str | Candidate | None = setting(
        None,
        expect(
            "one candidate, such as 'embedded:resnet.textures', or None",
            lambda value: isinstance(value, str | Candidate | None),
        ),
        "The candidate that rsa and dds compare others with.",
        Option(str),
    )
    train_proxy: bool = setting(
        False, _flag, "Fine-tune the proxy on the dataset first, as the papers of rsa and dds do.", Option(bool)
    )
    budget: Budget | str | int | None = setting(
        None, _affordable, "What the run may spend: '20m', '50000 passes', '3 EUR at 1.20 EUR/h'.", Option(str)
    )
    rounds: bool = setting(
        False,
        _flag,
        "Score all candidates on few rows, the better half on twice as many, and so on.",
        Option(bool),
    )
    confidence: float = setting(
        0.9,
        expect("a probability of at least 0.5 and below 1", lambda value: _is_number(value) and 0.5 <= value < 1),
        "Under a budget: probability from which the first place by score is decided.",
        Option(float, shown="0.9"),
    )
    costs: bool = setting(False, _flag, "Measure latency, throughput and memory on this device.", Option(bool))
    max_parameters: int | None = setting(None, _within, "Leave out candidates with more parameters.", Option(int))
    max_latency_ms: float | None = setting(
        None, _within, "Leave out candidates that take longer for one row on this device.", Option(float)
    )
    license: str | Sequence[str] | None = setting(
        None,
        _within,
        "Keep only candidates with this licence: mit, 'cc-by*', or commercial for all that allow it; may be repeated.",
        Option(list),
    )
    min_context_length: int | None = setting(
        None, _within, "Keep only text encoders that take texts of this many tokens.", Option(int)
    )
    language: str | Sequence[str] | None = setting(
        None, _within, "Keep only text encoders for this language: en, de; may be repeated.", Option(list)
    )
    max_training_memory: str | float | None = setting(
        None,
        _memory,
        "Leave out candidates whose fine-tuning takes more memory: 8GB, or 'device' for what is free on it.",
        Option(str),
    )
    track: Any = setting(
        None, _tracker, "Also write the results to trackio, wandb, mlflow or tensorboard.", Option(str)
    )
    progress: bool = setting(
        True,
        _flag,
        "Show the answer, warnings and errors only.",
        Option(bool, "-q", name="--quiet", negates=True),
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            given = as_python(getattr(self, each.name))
            object.__setattr__(self, each.name, _checked(each.name, given, each.metadata["check"]))
        self._complete_the_recipe()
        if self.rounds and self.budget is not None:
            raise InvalidInputError(
                f"rounds=True and budget={self.budget!r} are given, but a budget has rounds of its own. Leave out "
                "rounds= (--rounds), or budget= (--budget)."
            )
        if self.train_proxy and self.recall is not None:
            raise InvalidInputError(
                f"recall={self.recall} compares datasets by one proxy, and train_proxy=True makes another of it for "
                "each. Leave out train_proxy= (--train-proxy), or recall= (--recall)."
            )
        if self.tune and self.verify == "head":
            best = max(self.tune, self.top_k)
            raise InvalidInputError(
                f"tune={self.tune} fine-tunes for one epoch, but verify is 'head', and a head alone trains in seconds. "
                f"Give top_k={best} (--top-k {best}) and leave out tune= (--tune), or "
                "give verify='full' (--verify full)."
            )

    def _complete_the_recipe(self) -> None:
        """Moves the parts of the recipe that have keywords of their own into the recipe."""
        given = {name: value for name in RECIPE_PARTS if (value := getattr(self, name)) is not None}
        if given:
            object.__setattr__(self, "fine_tuning", replace(self.recipe, **given))
        for name in given:
            object.__setattr__(self, name, None)

    @classmethod
    def of(cls, function: str, given: Mapping[str, Any], refused: Mapping[str, str] = MappingProxyType({})) -> Settings:
        """The settings that the keywords of a call mean.

        Args:
            function: name of the function that was called, for the message.
            given: the keywords of the call.
            refused: keywords that this function does not take, with what to do instead.

        Raises:
            InvalidInputError: a value cannot be used.
            TypeError: the function has no such keyword.

        >>> Settings.of("select", {"topk": 3})
        Traceback (most recent call last):
        TypeError: select() got an unexpected keyword argument 'topk'. Did you mean 'top_k'?
        """
        taken = [each.name for each in fields(cls) if each.name not in refused]
        for name in given:
            if name in refused:
                raise TypeError(f"{function}() takes no {name}: {refused[name]}")
            if name not in taken and name in {each.name for each in fields(FineTuning)}:
                raise TypeError(
                    f"{function}() got an unexpected keyword argument {name!r}. It belongs to the recipe: "
                    f"fine_tuning=FineTuning({name}=...)"
                )
            if name not in taken:
                near = did_you_mean(name, taken)
                raise TypeError(f"{function}() got an unexpected keyword argument {name!r}.{near}")
        return cls(**given)

    def limits_with(self, free_memory: Callable[[], int | None]) -> Limits:
        """What a candidate may cost at most.

        Args:
            free_memory: gives the bytes that are free on the device, or None; called if they are a limit.

        Raises:
            InvalidInputError: they are a limit, and are not known.
        """
        memory = self.max_training_memory
        if memory == FREE_MEMORY:
            memory = free_memory()
            if memory is None:
                raise InvalidInputError(
                    f"max_training_memory is {FREE_MEMORY!r}, and how much memory is free on this device is not known. "
                    "Give a size, such as '8GB'"
                )
        elif isinstance(memory, str):
            memory = parse_bytes(memory)
        return Limits.of(
            self.max_parameters,
            self.max_latency_ms,
            self.license,
            self.min_context_length,
            self.language,
            None if memory is None else int(memory),
        )

    @property
    def bounds(self) -> Bounds:
        """What a run may take. Under a budget of time, that is the time."""
        given = self.max_time
        if given is None and self.budget is not None:
            given = Budget.of(self.budget).seconds
        return Bounds.of(self.max_download, given)

    def runner(self, named: Callable[[str], Executor]) -> Executor:
        """The executor with its options.

        Args:
            named: gives the registered executor of this name.

        Raises:
            InvalidInputError: it does not take one of the options.
        """
        runner = self.executor if isinstance(self.executor, Executor) else named(self.executor)
        options: dict[str, Any] = dict(self.executor_options or {})  # type: ignore[arg-type]  # the check made a mapping of it
        if self.ray_address is not None:
            options["address"] = self.ray_address
        if self.task_timeout is not None:
            options["timeout"] = parse_seconds("task_timeout", self.task_timeout)
        try:
            return _usable(runner, options)
        except UnknownOptionError as error:
            if (keyword := SETTINGS_OF_EXECUTORS.get(error.option)) is None:
                raise
            called = f"{keyword}= (--{keyword.replace('_', '-')})"
            raise UnknownOptionError(error.executor, error.option, error.known, called=called) from error

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts for a class, with `{}` for its name; empty for none."""
        return (self.prompt,) if isinstance(self.prompt, str) else tuple(self.prompt or ())

    @property
    def source_rows(self) -> int | None:
        """Number of rows of `source`, at most; None for all."""
        if isinstance(self.source_size, str):
            return None
        return self.probe_size if self.source_size is None else self.source_size

    @property
    def measures_costs(self) -> bool:
        """Whether candidates are timed on this device."""
        return self.costs or self.max_latency_ms is not None

    @property
    def fine_tunes(self) -> bool:
        """Whether any candidate is fine-tuned, so that rows are held out."""
        return self.top_k > 0 or self.tune > 0

    @property
    def recipe(self) -> FineTuning:
        """The recipe of fine-tuning: the given one, or the default."""
        return self.fine_tuning or FineTuning()

    @property
    def described_recipe(self) -> dict[str, Any]:
        """The recipe and its method as plain data, as the history keeps them."""
        return {"method": self.verify, **asdict(self.recipe)}
