"""Searches learning rates and weight decay: several trainings of one candidate, compared on its validation split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.store.files import explained, remove_what_is_no_file
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.job import Epoch, Job, Report, Trained
from modelselect.verification.recipe import Rates
from modelselect.verification.training import train_in_memory

if TYPE_CHECKING:
    import optuna

SPAN = 10.0
"""Without given choices, the search covers each value divided by this number to the value times this number."""

REDUCTION = 3
"""About one in this number of trials goes on from a rung; each rung is at this multiple of the epochs of the last."""

FIRST_RUNGS = 9
"""The first rung is at the number of epochs divided by this number."""

DRAWN_AT_RANDOM = 5
"""Number of trials before the sampler uses earlier results."""


_LARGEST_JOURNAL = 1 << 28
"""Bytes. A journal has a short line for every epoch of every trial."""

_CHECKSUM = "sha256"
"""Name of the checksum in a line of the journal."""


def search(job: Job, part: int, folder: Path, report: Report | None = None) -> tuple[Trained, Rates, int]:
    """The training with the best result on the validation split, its rates, and the number of trials.

    Optuna keeps the trials in a journal in `folder`. After a kill, finished trials are not repeated, and an unfinished
    trial continues from its last epoch. The sampler (tree-structured Parzen estimator) is seeded anew for each trial,
    from the seed and the trial's number; rates that a killed run has drawn already are drawn once more, so that a kill
    changes nothing. A journal that is damaged counts up to the damage. A trial is stopped if, at a rung, its accuracy
    is not in the best third of the trials before it (L. Li et al., A system for massively parallel hyperparameter
    tuning, MLSys 2020).

    Args:
        job: the candidate and its rows.
        part: number of rows on the device at a time, to begin with.
        folder: for the trials and their checkpoints; nothing else may write there.
        report: called after every epoch of every trial, with a number that counts all epochs.

    Raises:
        CandidateError: no trial finished.
        OutOfMemoryError: not even two rows fit.
    """
    import optuna

    count = job.settings.trials if job.settings.trials > 1 else len(_points(job))
    study = _study(job, folder)
    for number in range(count):
        known = study.get_trials(deepcopy=False)[number : number + 1]
        if known and known[0].state.is_finished():
            continue
        study.sampler = optuna.samplers.TPESampler(seed=job.seed + number, n_startup_trials=DRAWN_AT_RANDOM)
        if known and known[0].state == optuna.trial.TrialState.RUNNING:  # when the process was killed
            trial = optuna.trial.Trial(study, known[0]._trial_id)  # noqa: SLF001 (none is public)
            _draw_again(study, known[0])
        else:
            trial = study.ask()
        _try(job, study, trial, part, folder, _Judge(trial, job.settings.epochs, report))
    if not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
        reasons = [trial.user_attrs["failure"] for trial in study.trials if "failure" in trial.user_attrs]
        raise CandidateError(f"none of the {count} trials finished. The last one failed: {reasons[-1]}")
    best = study.best_trial
    rates = _tied(job, _points(job)[0]._replace(**best.params))
    checkpoint = Checkpoint(folder / f"trial-{best.number}.pt")
    return train_in_memory(job, rates, best.user_attrs["part"], checkpoint), rates, count


def first_trial(folder: Path) -> Checkpoint:
    """The checkpoint of the first trial, which trains with the first of the recipe's combinations of rates."""
    return Checkpoint(folder / "trial-0.pt")


def _try(job: Job, study: optuna.Study, trial: optuna.trial.Trial, part: int, folder: Path, judge: Report) -> None:
    """Runs or continues one trial. Of all checkpoints, only that of the best trial is kept."""
    import optuna

    checkpoint = Checkpoint(folder / f"trial-{trial.number}.pt")
    finished = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    part = min(
        [part, *(other.user_attrs["part"] for other in finished)]
    )  # a size that did not fit before will not fit now
    try:
        trained = train_in_memory(job, _suggested(job, trial), part, checkpoint, judge)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        checkpoint.discard()
    except OutOfMemoryError:
        raise
    except CandidateError as error:  # other rates may work
        trial.set_user_attr("failure", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        checkpoint.discard()
    else:
        trial.set_user_attr("part", trained.part)
        study.tell(trial, trained.history[trained.kept - 1].accuracy)
        for other in finished:
            if other.number != study.best_trial.number:
                Checkpoint(folder / f"trial-{other.number}.pt").discard()
        if trial.number != study.best_trial.number:
            checkpoint.discard()


class _Judge:
    """Reports a trial's accuracy after every epoch, and ends the trial if it is not among the best at a rung."""

    def __init__(self, trial: optuna.trial.Trial, epochs: int, report: Report | None) -> None:
        trials = trial.study.get_trials(deepcopy=False)
        self.trial, self.epochs_before, self.report = trial, trial.number * epochs, report
        self.known = set(trials[trial.number].intermediate_values)
        self.before = [earlier.intermediate_values for earlier in trials[: trial.number]]
        self.rungs = set(_rungs(epochs))

    def __call__(self, number: int, epoch: Epoch) -> None:
        import optuna

        assert epoch.accuracy is not None
        if number not in self.known:  # else it was reported before a kill
            self.known.add(number)
            self.trial.report(epoch.accuracy, number)
            if self.report:
                self.report(self.epochs_before + number, epoch)
        if number in self.rungs and not self._goes_on(epoch.accuracy, number):
            raise optuna.TrialPruned

    def _goes_on(self, accuracy: float, rung: int) -> bool:
        """Whether the accuracy is in the best third of the trials that came to this rung; of one or two, the best."""
        there = sorted([accuracy, *(values[rung] for values in self.before if rung in values)])
        return accuracy >= there[-max(len(there) // REDUCTION, 1)]


def _rungs(epochs: int) -> Iterator[int]:
    rung = max(1, round(epochs / FIRST_RUNGS))
    while rung <= epochs:
        yield rung
        rung *= REDUCTION


def _draw_again(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Brings the sampler to where it was when the process was killed: the rates of this trial were drawn one by one."""
    given = trial.system_attrs.get("fixed_params", {})
    for name, distribution in trial.distributions.items():
        if name not in given:
            study.sampler.sample_independent(study, trial, name, distribution)


def _points(job: Job) -> list[Rates]:
    """The given combinations; for a head alone, the backbone's learning rates make no difference."""
    grid = job.settings.grid
    return list(dict.fromkeys(p._replace(backbone=grid[0].backbone) if job.method == "head" else p for p in grid))


def _suggested(job: Job, trial: optuna.trial.Trial) -> Rates:
    """A trial's rates: one of the given combinations, or values around the given ones."""
    points = _points(job)
    values: dict[str, float] = {}
    for name in Rates._fields:
        if name == "head" and job.settings.is_tied and job.method != "head":
            values[name] = values["backbone"]
            continue
        choices = sorted({getattr(point, name) for point in points})
        if len(choices) > 1:
            values[name] = trial.suggest_categorical(name, choices)
        elif job.settings.trials > 1 and choices[0] > 0 and not (job.method == "head" and name == "backbone"):
            values[name] = trial.suggest_float(name, choices[0] / SPAN, choices[0] * SPAN, log=True)
        else:
            values[name] = choices[0]
    return _tied(job, Rates(**values))


def _tied(job: Job, rates: Rates) -> Rates:
    """The rates, with that of the backbone for the head where the recipe ties the two and both are trained."""
    return rates._replace(head=rates.backbone) if job.settings.is_tied and job.method != "head" else rates


def _study(job: Job, folder: Path) -> optuna.Study:
    """The study in the folder's journal; the given combinations are its first trials."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class CheckedJournal(JournalFileBackend):
        """A journal whose every line holds a checksum of this line and all lines before."""

        checksum = ""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            signed = list(_signed(logs, self.checksum))
            super().append_logs(signed)
            self.checksum = signed[-1][_CHECKSUM] if signed else self.checksum

    path = folder / "journal.log"
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with explained(f"the search in {folder}", "written"):
            folder.mkdir(parents=True, exist_ok=True)
            for lock in folder.glob(f"{path.name}.lock*"):  # left by a killed process; no other process uses the folder
                lock.unlink()
            remove_what_is_no_file(path)
            if path.exists() and path.stat().st_size > _LARGEST_JOURNAL:
                path.unlink()  # no journal of ours
            journal = CheckedJournal(str(path))
            length, journal.checksum = _intact(path.read_bytes())
            os.truncate(path, length)
            study = optuna.create_study(
                storage=JournalStorage(journal),
                study_name="rates",
                direction="maximize",
                load_if_exists=True,
            )
            for point in _points(job)[len(study.get_trials(deepcopy=False)) :]:
                study.enqueue_trial(point._asdict())
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study


def _signed(logs: Iterable[dict[str, Any]], before: str) -> Iterator[dict[str, Any]]:
    """The lines with their checksums, after a line with the checksum `before`."""
    for log in logs:
        before = _digest(log, before)
        yield {**log, _CHECKSUM: before}


def _digest(log: dict[str, Any], before: str) -> str:
    return hashlib.sha256(f"{before}{json.dumps(log, sort_keys=True)}".encode()).hexdigest()


def _intact(journal: bytes) -> tuple[int, str]:
    """Number of bytes before the first line that is incomplete, damaged or not in its place; the last checksum."""
    length, before = 0, ""
    for line in journal.splitlines(keepends=True):
        try:
            log = json.loads(line)
            checksum = log.pop(_CHECKSUM)
            if not line.endswith(b"\n") or checksum != _digest(log, before):
                break
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            break
        length, before = length + len(line), checksum
    return length, before
