"""Which learning rates and weight decay: several trainings of one candidate, compared on its validation split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.store.files import explained
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.job import Epoch, Job, Report, Trained
from modelselect.verification.recipe import Rates
from modelselect.verification.training import train_in_memory

if TYPE_CHECKING:
    import optuna

SPAN = 10.0
"""A search without given choices goes from this fraction of each value to this multiple of it."""

REDUCTION = 3
"""Of the trials that come to a rung, about one in so many goes on; rungs are so many times further apart each time."""

FIRST_RUNGS = 9
"""The first rung is at this fraction of the epochs."""

DRAWN_AT_RANDOM = 5
"""So many trials before the sampler goes by what it has seen."""


def search(job: Job, part: int, folder: Path, report: Report | None = None) -> tuple[Trained, Rates, int]:
    """The training that did best on the validation split, its rates, and how many trials there were.

    Optuna keeps the trials in a journal in `folder`: those that are finished are not repeated after a kill, and the one
    that was under way goes on from its last epoch. The sampler (tree-structured Parzen estimator) starts anew from the
    seed and the number of the trial each time, so that a kill changes nothing. Trials whose accuracy after some
    epochs is not among the best third of those before them are given up (L. Li et al., A system for massively parallel
    hyperparameter tuning, MLSys 2020).

    Args:
        job: what is trained.
        part: rows on the device at once, to begin with.
        folder: where trials and their checkpoints are kept; nobody else may write there meanwhile.
        report: told after every epoch of every trial, numbered throughout.

    Raises:
        CandidateError: not one trial could be finished.
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
        else:
            trial = study.ask()
        _try(job, study, trial, part, folder, _Judge(trial, number * job.settings.epochs, report))
    if not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
        reasons = [trial.user_attrs["failure"] for trial in study.trials if "failure" in trial.user_attrs]
        raise CandidateError(f"not one of {count} trials was finished. The last failed: {reasons[-1]}")
    best = study.best_trial
    rates = _points(job)[0]._replace(**best.params)
    checkpoint = Checkpoint(folder / f"trial-{best.number}.pt")
    return train_in_memory(job, rates, best.user_attrs["part"], checkpoint), rates, count


def _try(job: Job, study: optuna.Study, trial: optuna.trial.Trial, part: int, folder: Path, judge: Report) -> None:
    """One trial, from where it was; of all checkpoints that of the best trial is left."""
    import optuna

    checkpoint = Checkpoint(folder / f"trial-{trial.number}.pt")
    finished = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    part = min([part, *(other.user_attrs["part"] for other in finished)])  # what memory had no room for, it has not now
    try:
        trained = train_in_memory(job, _suggested(job, trial), part, checkpoint, judge)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        checkpoint.discard()
    except OutOfMemoryError:
        raise
    except CandidateError as error:  # at these rates; others may do
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
    """Tells a trial its accuracy after every epoch, and ends it where the pruner says so."""

    def __init__(self, trial: optuna.trial.Trial, epochs_before: int, report: Report | None) -> None:
        self.trial, self.epochs_before, self.report = trial, epochs_before, report
        self.known = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, number: int, epoch: Epoch) -> None:
        import optuna

        if number in self.known:  # from before the kill
            return
        assert epoch.accuracy is not None
        self.known.add(number)
        self.trial.report(epoch.accuracy, number)
        if self.report:
            self.report(self.epochs_before + number, epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _points(job: Job) -> list[Rates]:
    """The given combinations; a head alone has no use for several learning rates of the backbone."""
    grid = job.settings.grid
    return list(dict.fromkeys(p._replace(backbone=grid[0].backbone) if job.method == "head" else p for p in grid))


def _suggested(job: Job, trial: optuna.trial.Trial) -> Rates:
    """A trial's point: one of those given, or one around the one given."""
    points = _points(job)
    values = {}
    for name in Rates._fields:
        choices = sorted({getattr(point, name) for point in points})
        if len(choices) > 1:
            values[name] = trial.suggest_categorical(name, choices)
        elif job.settings.trials > 1 and choices[0] > 0 and not (job.method == "head" and name == "backbone"):
            values[name] = trial.suggest_float(name, choices[0] / SPAN, choices[0] * SPAN, log=True)
        else:
            values[name] = choices[0]
    return Rates(**values)


def _study(job: Job, folder: Path) -> optuna.Study:
    """The trials in the folder's journal; the given points are the first of them."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = folder / "journal.log"
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with explained(f"the search in {folder}", "written"):
            folder.mkdir(parents=True, exist_ok=True)
            for lock in folder.glob(f"{path.name}.lock*"):  # of a process that was killed: the folder is this one's own
                lock.unlink()
            if path.exists():  # without the line that a kill has torn
                content = path.read_bytes()
                os.truncate(path, content.rfind(b"\n") + 1)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(path))),
                pruner=optuna.pruners.SuccessiveHalvingPruner(
                    min_resource=max(1, round(job.settings.epochs / FIRST_RUNGS)), reduction_factor=REDUCTION
                ),
                study_name="rates",
                direction="maximize",
                load_if_exists=True,
            )
            for point in _points(job)[len(study.get_trials(deepcopy=False)) :]:
                study.enqueue_trial(point._asdict())
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study
