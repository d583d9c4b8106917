"""`Loader`: one candidate under evaluation, loaded at most once, and only if its weights are needed."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import cached_property

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.zoo import BYTES_PER_PARAMETER, Zoo
from modelselect.errors import OutOfMemoryError, RemoteCodeError, Stage, at, contained
from modelselect.evaluation.context import EvaluationContext
from modelselect.host.host import get_host
from modelselect.utils.process_state import INTERPRETER_LOCK, ProcessState
from modelselect.utils.system import available_memory
from modelselect.utils.text import in_bytes, short_number

_LOGGER = logging.getLogger(__name__)

AHEAD_SHARE = 0.5
"""Share of the available memory. A candidate whose weights would take more is not loaded before its turn."""


class Loader:
    """One candidate, loaded at most once.

    Attributes:
        context: the conditions under which the candidate is evaluated.
        candidate: what is loaded.
        loaded: the backbone if the candidate is loaded already; None if it is not.
        is_repeatable: whether the candidate was seen to give the same features for the same row.
    """

    def __init__(self, context: EvaluationContext, candidate: Candidate) -> None:
        self.context = context
        self.candidate = candidate
        self.loaded: Backbone | None = None
        self.is_repeatable = False
        self._before: ProcessState | None = None
        self._error: Exception | None = None
        self._has_run = False  # since the global settings were put back

    @property
    def is_own(self) -> bool:
        """Whether the candidate is the caller's own module, which is in memory already."""
        return self.candidate.zoo in self.context.zoos

    @property
    def zoo(self) -> Zoo:
        return self.context.zoos.get(self.candidate.zoo) or get_host().zoo(self.candidate.zoo)

    @property
    def is_forbidden(self) -> bool:
        """Whether the candidate brings code of its own that may not run."""
        return bool(self.candidate.metadata.get("remote_code")) and not self.context.trust_remote_code

    def check_allowed(self) -> None:
        """Raises RemoteCodeError if the candidate brings code of its own that may not run."""
        if self.is_forbidden:
            with at(Stage.LOAD):
                raise RemoteCodeError(
                    "this candidate runs its own code when it is loaded. If you trust its author, pass "
                    "trust_remote_code=True (--trust-remote-code)."
                )

    @property
    def backbone(self) -> Backbone:
        """The loaded candidate; the first use loads it. Whoever runs its code gets it here."""
        if self.loaded is None:
            with at(Stage.LOAD):
                if self._error is not None:
                    raise self._error
                self._check_memory()
                _LOGGER.debug("loading %s", self.candidate.id)
                with self.putting_back():
                    loaded = self.zoo.load(self.candidate, trust_remote_code=self.context.trust_remote_code)
                    self.loaded = loaded if self.context.task is None else self.context.task.reading(loaded)
        self._has_run = True
        return self.loaded

    def _check_memory(self) -> None:
        """Raises OutOfMemoryError if the weights do not fit into the memory that is free."""
        parameters = None if self.is_own else self.candidate.metadata.get("parameters")
        memory = available_memory() if parameters else None
        if parameters and memory and BYTES_PER_PARAMETER * parameters > memory:
            raise OutOfMemoryError(
                f"its {short_number(parameters)} parameters take {in_bytes(BYTES_PER_PARAMETER * parameters)}, but "
                f"{in_bytes(memory)} of memory are free"
            )

    @cached_property
    def identity(self) -> str:
        """The name of the weights in the keys of stored numbers. It takes loading if the candidate has no revision."""
        return self.candidate.id if self.candidate.revision else f"{self.candidate.id}#{self.backbone.weights_key}"

    def of(self, backbone: Backbone) -> Loader:
        """The loader of another candidate, which came with this one and needs no loading."""
        other = Loader(self.context, backbone.candidate)
        other.loaded = backbone
        return other

    @contextlib.contextmanager
    def putting_back(self) -> Iterator[None]:
        """For code of the candidate or of its zoo: the global settings that it changes are put back at the end."""
        with INTERPRETER_LOCK:
            before = self._before
            if before is None or before.thread != threading.get_ident():
                before = ProcessState.now(imports=True)
            self._before = self._before or before
            try:
                yield
            finally:
                before.restore()
                self._has_run = before is not self._before

    def put_back(self) -> None:
        """Puts back the global settings that the candidate's code has changed since it first ran."""
        if self._before is not None and self._has_run:
            with INTERPRETER_LOCK:
                self._before.restore()
                self._has_run = False

    def load_ahead(self, is_needed: Callable[[], bool]) -> None:
        """Loads the candidate before its turn if that is needed and memory allows it.

        An error is raised later, when the backbone is used.
        """
        if self.is_own or self.is_forbidden:
            return
        parameters = self.candidate.metadata.get("parameters")
        memory = available_memory() if parameters else None
        if parameters and memory and BYTES_PER_PARAMETER * parameters > AHEAD_SHARE * memory:
            return
        try:
            with contained():
                if is_needed():
                    _ = self.backbone
        except Exception as error:
            self._error = error
