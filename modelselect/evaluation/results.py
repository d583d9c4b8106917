"""The results of scoring, previewing and fine-tuning one candidate, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelselect.errors import Failure
from modelselect.utils.measures import ACCURACY, Measure
from modelselect.verification.results import Brief, Verified


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a candidate's architecture; None for what is unknown.

    Attributes:
        graph: its operations, as JSON.
        macs: multiply-accumulates for one row.
        parameters: number of parameters.
    """

    graph: str | None = None
    macs: int | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class ScoringResult:
    """The result of scoring one candidate: plain data that crosses processes.

    Attributes:
        components: the score's components, by estimator. An estimator without a score is in `failures` instead.
        resampled: the components on every resample of the probe's rows, by estimator. Estimators that read no rows, or
            failed on a resample, are left out.
        failures: why there is no score, by estimator; `"costs"` says why there are no costs.
        warnings: the warning of an estimator, by estimator; for example, that the score says little for such data.
        invalid: names of the estimators that say that their score does not compare candidates; see
            `InvalidScoreWarning`.
        identity: the name of this candidate in the keys of its stored numbers.
        feature_dim: dimensions of the features.
        parameters: number of the model's parameters.
        macs: multiply-accumulates for one row.
        graph: the architecture, as JSON.
        estimator_seconds: the time for the score when it was first computed, without resamples, by estimator.
        extraction_seconds: the time for the forward pass when it was first computed.
        extraction_rows: rows of that forward pass; more than the probe's if the evidence of a larger probe was used.
        seconds: the time for all of this when it was first computed.
        reused: whether the store had everything.
        halved: the components on half of the rows, by estimator, if the context asks for that.
        costs: the costs measured on this device, if the context asks for them.
        passes: rows that were passed forward now.
        forward_seconds: the time for these.
        training_memory_bytes: what fine-tuning takes at most, if the context asks for costs.
        zero_shot_accuracy: the share of the rows that it classifies right by the names of the classes, from 0 to 1;
            None if it does not compare rows with texts.
        elapsed_seconds: the time for everything now, without loading the candidate before its turn.
    """

    components: dict[str, dict[str, float]] = field(default_factory=dict)
    resampled: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    invalid: frozenset[str] = frozenset()
    identity: str = ""
    feature_dim: int | None = None
    parameters: int | None = None
    macs: int | None = None
    graph: str | None = None
    estimator_seconds: dict[str, float] = field(default_factory=dict)
    extraction_seconds: float = 0.0
    extraction_rows: int = 0
    seconds: float = 0.0
    reused: bool = False
    halved: dict[str, dict[str, float]] = field(default_factory=dict)
    costs: CostMeasurement | None = None
    passes: int = 0
    forward_seconds: float = 0.0
    training_memory_bytes: int | None = None
    zero_shot_accuracy: float | None = None
    elapsed_seconds: float = 0.0


@dataclass(frozen=True)
class Preview:
    """What scoring one candidate would take.

    Attributes:
        parameters: number of the model's parameters; None if unknown.
        macs: multiply-accumulates for one row; None if unknown.
        extracted: whether the store has the evidence; None if only the loaded candidate could say.
        scored: whether the store has the scores.
        passes: rows that would be passed forward; all of them if only the loaded candidate could say.
    """

    parameters: int | None
    macs: int | None
    extracted: bool | None
    scored: bool
    passes: int


@dataclass(frozen=True)
class VerificationResult:
    """The result of fine-tuning one candidate: plain data that crosses processes.

    Attributes:
        verified: the accuracy, and how it was reached.
        checkpoint: key of the fine-tuned weights in the store; None if the store does not have them.
        reused: whether the store had the result.
        measure: what `verified.accuracy` is.
    """

    verified: Verified
    checkpoint: str | None
    reused: bool
    measure: Measure = ACCURACY


@dataclass(frozen=True)
class TuningResult:
    """The result of fine-tuning one candidate for one epoch: plain data that crosses processes.

    Attributes:
        brief: the accuracy, and how it was reached.
        reused: whether the store had the result.
        measure: what `brief.accuracy` is.
    """

    brief: Brief
    reused: bool
    measure: Measure = ACCURACY


@dataclass(frozen=True, slots=True)
class CostMeasurement:
    """What one candidate costs on this device, from a prepared row to its features.

    Attributes:
        latency_ms: milliseconds for one row, the median of many runs.
        throughput: rows per second, in batches of `batch_size`.
        memory_bytes: memory for one row. On CUDA, this is the peak of torch's allocations. Elsewhere, it is parameters
            and buffers, plus the largest total of tensors that lived at the same time. Memory that a library takes
            inside an operation is not counted.
        batch_size: rows in a batch: the number that suits the device, or fewer if that does not fit.
    """

    latency_ms: float
    throughput: float
    memory_bytes: int
    batch_size: int
