"""`select()`: the funnel. Candidates go in, a ranked leaderboard comes out; only the top k are fine-tuned."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import Failure, NothingRankedError, Stage, contained
from modelselect.evaluation.keywords import Keywords, with_signature
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.extraction.inputs import InputCache
from modelselect.leaderboard.leaderboard import Leaderboard
from modelselect.report.answer import failure_lines, next_step
from modelselect.report.names import short_names
from modelselect.selection.choosing import Choice, agree, chosen
from modelselect.selection.command import command_line
from modelselect.selection.layers import layers_chosen
from modelselect.selection.narrowing import known_at_layers, recalled, within_limits
from modelselect.selection.provenance import Begun, provenance
from modelselect.selection.recording import recorded
from modelselect.selection.state import State
from modelselect.selection.strategy import strategy_of
from modelselect.utils.progress import Progress
from modelselect.verification.tracking import track


@with_signature(Keywords)
def select(dataset: Any, candidates: Any = None, **settings: Unpack[Keywords]) -> Leaderboard:
    """Ranks pre-trained candidates for a dataset without fine-tuning them, then fine-tunes the top k if asked to.

    Every result is saved as soon as it is computed. A run that was killed continues where it stopped.

    Args:
        dataset: anything that `Probe.of` takes: a folder of class folders, a `datasets.Dataset`, the id of a dataset
            on the Hub, a torch dataset, or `(inputs, labels)`. Its test split is never used.
        candidates: a candidate expression (`"timm:resnet18*"`), a plain name (`"microsoft/resnet-50"`), a folder, a
            `Candidate`, a torch module, a tuple of a torch module and a transform from one row to a tensor, or a list
            of these. None chooses them: from those that the environment variable `MODELSELECT_POOL` names, else from
            the pools for such rows (`pools()`), the most promising within `max_download` and `max_time`.
        estimators: names or instances to rank by, or `"all"`; None for the default, `"evidence"`: scores of the probe,
            the transfer history and facts about the candidates as pieces of evidence. With several, `score` is the mean
            normalised rank (0 last, 1 first). Static baselines such as the number of parameters are always shown, and
            rank only if they are named.
        layers: `"best"` reads each candidate at that layer, or at its end, where a linear classifier does best on the
            probe's rows; `"all"` ranks each layer as a candidate of its own. None reads candidates as their names say
            (`?layer=7`), else at the end. Layers of one candidate share a forward pass.
        top_k: number of the best candidates to fine-tune. Their accuracy on held-out rows then orders them. These rows
            are held out in a run without `top_k`, too, so a later run with it uses the same evidence.
        tune: number of the best candidates to fine-tune for one epoch before that, on the rows that are not held out
            (`Row.brief_accuracy`); 0 for none. The fine-tuning of `top_k` continues from there, with the same result
            as without `tune`. Under a budget with `top_k`, up to 8 candidates get one epoch if the budget allows.
        probe_size: rows that each candidate is shown, at most, drawn evenly over the classes; None for all.
        input: name of the column of images or texts, for a dataset with columns, or two names for pairs of texts. None
            finds it.
        label: name of the column of labels, for a dataset with columns; several names for several numbers or labels of
            each row. None finds it.
        task: what is to be predicted: `"classification"`, `"regression"`, `"multi-label"`, `"text-pair"`,
            `"audio-classification"`, `"retrieval"`, `"token-classification"`, `"segmentation"`, `"detection"`, or the
            name of another registered task. `"auto"` takes the tags of words and the masks or boxes of images where
            there are any, else classes where the labels can be read as classes, else numbers if some are not whole,
            else sets of labels. Nothing is ranked across tasks.
        prompt: the text for a class, with `{}` for its name, or several whose embeddings are averaged: models of images
            and texts, such as CLIP, get the accuracy that they reach by these texts alone, without training
            (`Row.zero_shot_accuracy`). It changes no score and no rank. None leaves it out.
        split: name of the split to draw rows from. None takes the training split, or the validation split without one.
        max_corrupt: share of the rows looked at that may be unreadable, at most.
        max_pixels: images with more pixels are not read. None for twice PIL's `MAX_IMAGE_PIXELS`.
        source: a dataset like the one that the candidates were pre-trained on, for estimators that need source
            evidence. With None, zoos provide it for the candidates whose source data they know.
        source_size: rows of `source`, at most, or `"all"`; None for as many as `probe_size`.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
        executor: `"local"`, `"process"` (a crash costs one candidate only), `"ray"` (on the machines of a Ray cluster),
            `"slurm"` (in jobs of a batch system), or an `Executor`.
        executor_options: options of the executor by name, such as `{"workers": 2}` of `process` and `ray`, or
            `{"partition": "gpu"}` of `slurm`.
        ray_address: the address of the cluster that the executor `ray` uses: `"auto"`, or `"host:6379"`. None takes the
            environment variable `RAY_ADDRESS`, or starts a cluster on this machine.
        task_timeout: how long the work on one candidate may take in a stage, whatever the executor: a time (`"10m"`) or
            seconds; None for no bound. A candidate that takes longer costs its row.
        cache_dir: the folder of the store, or the address of one that machines share (`s3://bucket/folder`); None for
            the user's cache folder.
        trust_remote_code: whether candidates may run the code that they bring.
        seed: seed of the probe, of stochastic estimators, of resamples and of fine-tuning.
        batch_size: rows in a forward pass; None for a size that suits the device and the inputs. It is halved when
            memory runs out.
        precision: number format of the forward pass: `"float32"`, or, if the device supports it, `"bfloat16"` or
            `"float16"`. Autocast then computes matrix products and convolutions in it, and the rest in float32.
            Features are stored as float32.
        compile: whether to compile each candidate with `torch.compile`. That takes seconds or minutes for each, makes
            the forward pass faster, and pays for large probes on a GPU.
        extractor: name of the extractor that computes the forward pass, such as `"onnx"` (ONNX Runtime on the CPU,
            which needs the extra `onnx`) or `"fused"` (fewer layers on the CPU). None takes the one that
            suits the device.
        fine_tuning: the recipe for the top k; None for as much of the default recipe as fits `max_time`.
        epochs: number of passes over the training rows at most, instead of the recipe's; None for the recipe's.
        trials: number of learning rates to try per model, instead of the recipe's; None for the recipe's.
        patience: number of epochs without improvement that ends a training, instead of the recipe's; None for that.
        verify: what fine-tuning trains: `"full"`, all weights; `"head"`, only a linear head, which takes one forward
            pass; `"lora"`, low-rank adapters and the head (needs peft, the extra `lora`).
        resamples: number of times to score four fifths of the probe's rows as well, the same rows for every candidate,
            to estimate how far scores move with the choice of rows (`Row.standard_error`). 50 is usual, 0 for none.
            How probably the first is the best after fine-tuning (`Leaderboard.confidence`) needs no resamples.
        recall: number of candidates to keep before any is downloaded: the ones that the transfer history expects most
            of (`kriging`). None keeps all.
        history: the transfer history that recall and estimators use, and that this run is added to: a path, a
            `History`, None for the user's own, or False for none.
        limit: number of candidates to keep, before any is downloaded: the most promising that fit `max_download` and
            `max_time` together, by published results, accuracy on ImageNet and size. None keeps all that are given.
        max_download: what the run may download: a size (`"500MB"`) or a number of bytes; None for 2 GB. Candidates on
            this machine count nothing. Candidates that you name may exceed it: see `confirm`.
        max_time: how long the forward passes may take, as estimated from the number of parameters: a time (`"1h"`) or
            seconds; None for 10 minutes, or the time of `budget`. Without `fine_tuning` and `budget`, fine-tuning
            takes what they leave over, or half of `max_time`: with fewer epochs than the default recipe has, or of the
            head alone. What was trained is a setting in the provenance.
        confirm: a function that gets a question if candidates that you name would download something, and exceed
            `max_download` or `max_time`. If it returns False, the run ends before it downloads anything. None warns,
            and the run goes on. The command line asks on the terminal.
        proxy: the candidate whose features describe the dataset: for estimators that compare other candidates with it
            (`rsa`, `dds`), and for `kriging` and `fennec`, which compare datasets. None for CLIP if it is cached, else
            for a small network that is part of modelselect.
        train_proxy: whether to fine-tune all weights of the proxy on the training rows first, by the recipe of
            `fine_tuning`: the reference with which the papers of `rsa` and `dds` compare candidates is a network that
            was trained on the target. The weights are kept, and a later run trains nothing.
        budget: what the run may spend: a time (`"20m"`), forward passes (`"50000 passes"`, or the number), money
            (`"3 EUR at 1.20 EUR/h"`), or a `Budget`; None for no budget. Under a budget, candidates are shown larger
            and larger parts of the probe, and only those that may still be among the first go on; see
            docs/explanation/budget.md.
        rounds: whether to score all candidates on an eighth of the rows, the better half of them on a quarter, and so
            on up to all rows, with at least three (or `top_k` and two) to the end. That takes a third to two thirds of
            the forward passes, the fewer the larger the pool, and usually finds the same first candidate; see
            docs/explanation/budget.md. The others are ranked by fewer rows (`Row.probe_rows`). A later run without
            `rounds` goes on from there.
        confidence: under a budget, the rounds end if more rows would keep the first place by score with this
            probability. And several candidates are fine-tuned only if the first is the best with a lower probability.
        costs: whether to measure latency, throughput and memory of each candidate on this device.
        max_parameters: a candidate with more parameters gets no rank. It is neither downloaded nor loaded if its zoo
            knows the number.
        max_latency_ms: a candidate that takes more milliseconds for one row on this device gets no rank.
        license: a glob, or several. A candidate whose licence matches none of them, or is unknown, gets no rank. In the
            place of a glob, `"commercial"` stands for all licences that allow commercial use of a fine-tuned model, and
            `"permissive"` for those of them that ask for no more than naming the author.
        min_context_length: a text encoder that takes fewer tokens gets no rank, nor one of unknown length. How many
            tokens of a text are read is a setting of the candidate (`?max_length=1024`).
        language: a code such as `"de"`, or several. A text encoder whose authors do not name each of them gets no rank.
        max_training_memory: a size (`"8GB"`), a number of bytes, or `"device"` for what is free on the device. A
            candidate whose fine-tuning, with this recipe and `verify`, would take more gets no rank. It is estimated
            from the architecture, before a download where the zoo knows that.
        track: the experiment tracker to write the results to: `"trackio"`, `"wandb"`, `"mlflow"` or `"tensorboard"`,
            the name of a tracker that is registered with accelerate, or an accelerate `GeneralTracker`. Trackers that
            write files write them to the folder `runs`. A tracker that fails is a warning, and costs no result.
        progress: whether to show progress on standard error: bars in a terminal or a notebook, else lines. The logger
            `modelselect` gets records either way; see docs/how-to/follow-a-run.md.

    Returns:
        The leaderboard. A candidate that fails, or exceeds a limit, is a row that says why.

    Raises:
        InvalidInputError: dataset, candidates or a keyword cannot be used (`DatasetError`, `ExpressionError`,
            `UnknownNameError`, ...).
        NothingRankedError: no candidate could be ranked; its `leaderboard` says why for each.
        HistoryError, NotApplicableError: `recall` is given, and the history cannot be read, or is empty.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> images[:20, :16] //= 8  # half of them are dark above
    >>> board = ms.select((images, [0] * 20 + [1] * 20), "embedded:*", estimators="logme", progress=False)
    >>> board.best.rank
    1
    """
    begun = Begun.now()
    asked = Settings.of("select", settings)
    strategy = strategy_of(asked)
    request, choice = chosen(Request.of(asked, dataset, candidates))
    agree(request, choice)
    with _opened(request, choice) as state:
        state = within_limits(request, state)
        state = recalled(request, state)
        state = known_at_layers(request, layers_chosen(request, state))
        state = strategy.score(request, state)
        state = strategy.tune(request, state)
        if asked.top_k:
            state = strategy.verify(request, state)
        state = recorded(request, state, may_look=strategy.may_look)
    budget = strategy.account(request, state)
    record = provenance(request, state, begun, budget) | {"command": command_line(asked, dataset, candidates)}
    board = Leaderboard.of(replace(state.ranking, provenance=record))
    request.host.notify("selection_finished", leaderboard=board)
    if asked.track is not None:
        _track(board, asked.track)
    if not board.ranked:
        raise _nothing_ranked(request, board)
    return board


def _track(board: Leaderboard, tracker: Any) -> None:
    try:
        with contained():
            track(board, tracker)
    except Exception as error:
        reason = Failure.from_exception(Stage.RUN, error).reason
        warnings.warn(f"the tracker {tracker!r} failed ({reason})", stacklevel=4)


@contextlib.contextmanager
def _opened(request: Request, choice: Choice) -> Iterator[State]:
    """The state before the first stage, with inputs cached, bars shown and bare modules in evaluation mode."""
    modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
    spool = InputCache.temporary(request.store.path / "spool")
    names = dict(zip((c.id for c in request.pool), short_names(request.pool), strict=True))
    with in_evaluation_mode(*modules), spool as inputs, Progress(request.settings.progress, names) as bars:
        yield State(
            context=request.context(inputs, bars.reports(request.runner.isolated)),
            bars=bars,
            pool=tuple(request.pool),
            results=request.unsearched,
            chosen=choice.record,
        )


def _nothing_ranked(request: Request, board: Leaderboard) -> NothingRankedError:
    limits = request.limits
    limited = all(row.failure is not None and row.failure.stage == Stage.LIMIT for row in board.rows)
    why = f"passes the limits ({limits})" if limits and limited else "could be ranked"
    reasons = {row.status if row.failure is None else row.failure.reason for row in board.rows}
    lines = [f": {reasons.pop()}"] if len(reasons) == 1 else [".", *failure_lines(board)]
    lines += [] if (step := next_step(board)) is None else [f"Next: {step}"]
    first, *rest = lines
    none = "no candidate" if len(board.rows) == 1 else f"none of {len(board.rows)} candidates"
    return NothingRankedError("\n".join([f"{none} {why}{first}", *rest]), board)
