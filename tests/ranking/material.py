"""A leaderboard of three rows."""

from __future__ import annotations

import numpy as np

import modelselect as ms
from modelselect.errors import Failure
from modelselect.leaderboard.leaderboard import Row


def three_rows() -> ms.Leaderboard:
    first = Row(
        ms.Candidate("shelf", "big", "abc", {"input_size": (3, 32, 32), "parameters": 2_000_000}),
        rank=1,
        score=0.9,
        predicted_rank=2,
        scores={"logme": 0.9, "parameters": 2e6},
        components={"logme": {"logme": 0.9}},
        verified_accuracy=0.875,
        verified_interval=(0.8, 0.93),
        parameters=2_000_000,
        macs=1_500_000_000,
        feature_dim=64,
        seconds=1.5,
        embedding=(0.25, -0.5),
        nearest=(("shelf:small", 0.75),),
        learning_curve=((1, 1.5, 0.625), (2, 0.5, None)),
    )
    second = Row(
        ms.Candidate("shelf", "small"),
        rank=2,
        score=0.1,
        predicted_rank=1,
        scores={"logme": 0.1},
        failures={"leep": Failure("score", "no source classes")},
    )
    failed = Row(ms.Candidate("shelf", "<script>alert(1)</script>"), failure=Failure("load", "no [bold]weights[/bold]"))
    provenance = {"seed": 0, "versions": {"numpy": np.__version__}, "loss": float("nan")}
    return ms.Leaderboard((first, second, failed), ("logme", "leep", "parameters"), provenance)
