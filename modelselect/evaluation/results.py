"""What scoring, previewing and fine-tuning one candidate gives, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelselect.errors import Failure

if TYPE_CHECKING:
    from modelselect.verification.verifier import Verified


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a candidate's architecture; None where something is not known.

    Attributes:
        graph: its operations, as JSON.
        macs: multiply-accumulates for one row.
        parameters: how many it has.
    """

    graph: str | None = None
    macs: int | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class ScoringResult:
    """What became of one candidate in the scoring stage; plain data, so that it crosses processes.

    Attributes:
        components: each estimator's components; an estimator without a score is in `failures` instead.
        resampled: each estimator's components on every resample of the probe's rows, where resamples were asked for;
            without an estimator that looks at no row of the probe, or that failed on a resample.
        warnings: what an estimator warned of, such as a regime in which its score says little.
        identity: what this candidate's stored numbers are kept under.
        estimator_seconds: each estimator's time, when it was first computed, without resamples.
        extraction_seconds: the forward pass's time, when it was first computed.
        extraction_rows: rows that this was for: more than those of the probe where evidence of a larger one was there.
        seconds: all of it.
        reused: True if nothing had to be computed.
        halved: each estimator's components on half of the rows, where `Work.half` asks for them.
        costs: as measured on this device, where they were asked for.
        passes: rows that were passed forward now.
        forward_seconds: what that took.
        elapsed_seconds: what all took now, but for what was loaded ahead.
    """

    components: dict[str, dict[str, float]] = field(default_factory=dict)
    resampled: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
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
    elapsed_seconds: float = 0.0


@dataclass(frozen=True)
class Preview:
    """What assessing one candidate would take.

    Attributes:
        extracted: whether its evidence is in the store; None where that cannot be told without loading it.
        scored: whether its scores are.
        passes: rows that would be passed forward; all of them where the store cannot be asked without loading it.
    """

    parameters: int | None
    macs: int | None
    extracted: bool | None
    scored: bool
    passes: int


@dataclass(frozen=True)
class VerificationResult:
    """What became of one candidate in the verification stage; plain data, so that it crosses processes.

    Attributes:
        verified: what fine-tuning said.
        checkpoint: key of the fine-tuned weights in the store; None if they are not there.
        reused: True if it was fine-tuned before.
    """

    verified: Verified
    checkpoint: str | None
    reused: bool


@dataclass(frozen=True, slots=True)
class CostMeasurement:
    """What one candidate takes on this device, from a prepared row to its features.

    Attributes:
        latency_ms: milliseconds for one row, the median of many runs.
        throughput: rows a second, in batches of `batch_size`.
        memory_bytes: for one row. On CUDA the peak of what torch allocated. Elsewhere parameters and buffers, and the
            most bytes of tensors that lived at once; what a library takes inside an operation is not seen.
        batch_size: rows in a batch: what suits the device, or less where that does not fit.
    """

    latency_ms: float
    throughput: float
    memory_bytes: int
    batch_size: int
