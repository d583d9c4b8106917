"""What a caller asks of `select()`, resolved: host, executor, probe, pool and store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, InvalidInputError
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.resampling import check_resamples
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.pool import candidates_of
from modelselect.evaluation.results import ScoringResult
from modelselect.executor import Executor
from modelselect.extraction.devices import Compute, check_precision, choose_device
from modelselect.extraction.extractor import BatchProgress
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import Host, get_host
from modelselect.host.lookup import choose_estimators
from modelselect.store.store import Store

if TYPE_CHECKING:
    from modelselect.evaluation.own_modules import ModuleZoo
    from modelselect.probe.probe import Probe

MAX_SEED = 2**32 - 2**16
"""What every library's random numbers can start from, with room for what is counted up from it."""

DEFAULT_PROBE_SIZE = 2000
"""Rows that every candidate is shown, at most."""

DEFAULT_HOLDOUT = 0.2
"""Share of the rows held out for verification where the dataset has no validation split."""

DEFAULT_MAX_CORRUPT = 0.1
"""Share of the rows looked at that may be unreadable."""


@dataclass(frozen=True)
class Request:
    """What a caller of `select()` or `plan()` asks for, checked, with the dataset read and the candidates searched."""

    host: Host
    runner: Executor
    chosen: list[Estimator]
    methods: list[Estimator]
    probe: Probe
    source: Probe | None
    pool: list[Candidate]
    own_zoos: dict[str, ModuleZoo]
    unsearched: dict[str, ScoringResult | Failure]
    store: Store
    device: str
    batch_size: int | None
    precision: str
    compile: bool
    trust_remote_code: bool
    seed: int
    resamples: int

    @classmethod
    def of(
        cls,
        dataset: Any,
        candidates: Any,
        *,
        estimators: str | Estimator | Sequence[str | Estimator] | None,
        top_k: int,
        probe_size: int | None,
        source: Any,
        device: str,
        executor: str | Executor,
        cache_dir: str | os.PathLike[str] | None,
        trust_remote_code: bool,
        seed: int,
        batch_size: int | None,
        precision: str,
        compile: bool,
        resamples: int,
        max_corrupt: float,
    ) -> Request:
        """See `select`, whose arguments these are, and whose errors are raised here."""
        from modelselect.probe.probe import Probe

        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0:
            raise InvalidInputError(f"top_k is {top_k!r}; expected 0 (no fine-tuning) or how many to fine-tune")
        if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise InvalidInputError(f"seed is {seed!r}; expected an integer from 0 to {MAX_SEED}")
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise InvalidInputError(f"batch_size is {batch_size!r}; expected 1 or more rows, or None")
        if not isinstance(cache_dir, str | os.PathLike | None):
            raise InvalidInputError(f"cache_dir is {cache_dir!r}; expected the path of a folder, or None")
        if not isinstance(executor, str | Executor):
            raise InvalidInputError(f"executor is {executor!r}; expected a name such as 'local', or an Executor")
        check_resamples(resamples)
        host = get_host()
        runner = executor if isinstance(executor, Executor) else host.executor(executor)
        chosen = choose_estimators(host, estimators)
        named = {estimator.name for estimator in chosen}
        device = choose_device(device, host.extractors)
        check_precision(precision, device)
        holdout = DEFAULT_HOLDOUT if top_k else 0.0
        probe = Probe.of(dataset, size=probe_size, seed=seed, holdout=holdout, max_corrupt=max_corrupt)
        if top_k and probe.holdout is None:
            raise InvalidInputError(
                "top_k asks for fine-tuning, and the probe has no held-out rows to measure it on. Make the probe with "
                f"Probe.of(dataset, holdout={DEFAULT_HOLDOUT}), or give select() the dataset itself."
            )
        pool, own_zoos, unsearched = candidates_of(candidates, probe)
        return cls(
            host=host,
            runner=runner,
            chosen=chosen,
            methods=chosen + [e for e in host.estimators.values() if e.is_static and e.name not in named],
            probe=probe,
            source=None if source is None else Probe.of(source, size=probe_size, seed=seed, max_corrupt=max_corrupt),
            pool=pool,
            own_zoos=own_zoos,
            unsearched=unsearched,
            store=Store(None if cache_dir is None else Path(cache_dir)),
            device=device,
            batch_size=batch_size,
            precision=precision,
            compile=compile,
            trust_remote_code=trust_remote_code,
            seed=seed,
            resamples=resamples,
        )

    def context(self, spool: InputCache, progress: BatchProgress | None = None) -> EvaluationContext:
        """Under which conditions every candidate is evaluated."""
        return EvaluationContext(
            probe=self.probe,
            source=self.source,
            estimators=tuple(self.methods),
            cache_dir=self.store.path,
            spool=spool,
            compute=Compute(self.device, self.batch_size, self.precision, self.compile),
            trust_remote_code=self.trust_remote_code,
            seed=self.seed,
            zoos=self.own_zoos,
            resamples=self.resamples,
            progress=progress,
        )
