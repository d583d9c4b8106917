"""A leaderboard in which every text from outside is an attack."""

from __future__ import annotations

import numpy as np

import modelselect as ms
from modelselect.errors import Failure, Stage
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.expectation import Expectation

EVIL = "<script>alert(1)</script>"
EVIL_NAME = "<img src=x onerror=alert(1)>"


def expected(index: int) -> dict[str, float]:
    """What pieces of evidence add to a candidate. The name of one is an attack; another says nothing of the last."""
    pieces = {"size": -0.1, f"{EVIL} probe": 0.5 - index / 10}
    return {**pieces, "history": 3.0 if index == 0 else 0.75 - index / 8} if index < 10 else pieces


def evil_board() -> ms.Leaderboard:
    """13 candidates: two verified, one failed, one excluded; every text that comes from outside is an attack."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            ms.Candidate(
                "shelf",
                EVIL_NAME if index == 3 else f"model-{index:02}",
                f"r{index}",
                {
                    "family": EVIL if index % 4 == 0 else f"f{index % 4}",
                    "size_bytes": 10**6 + index,
                    "url": {0: 'https://hub.example/a"b', 1: "javascript:alert(1)"}.get(index, ""),
                },
            ),
            rank=index + 1,
            score=1.0 - index / 12,
            probability_best=0.003 if index else 0.97,
            expectation=Expectation(
                mean=sum(expected(index).values()),
                deviation=0.5,
                rank_interval=(max(1, index - 1), index + 3),
                contributions=expected(index),
            ),
            predicted_rank=index + 1,
            scores={"logme": 1.0 - index / 12, "knn": float(rng.normal()), EVIL: float(index)},
            failures={"leep": Failure("score", f"{EVIL} </textarea> no classes")} if index == 5 else {},
            warnings={"knn": f"{EVIL} few rows"} if index == 6 else {},
            verified_accuracy={0: 0.9, 1: 0.8}.get(index),
            verified_interval={0: (0.88, 0.92), 1: (0.75, 0.85)}.get(index),
            parameters=(index + 1) * 1_000_000,
            macs=10**9 // (index + 1),
            feature_dim=64,
            seconds=1.0 + index,
            embedding=tuple(rng.normal(size=8)),
            license=f"{EVIL} license" if index == 2 else "mit",
            latency_ms=20.0 - index,
            throughput=100.0 + index,
            memory_bytes=10**7 * (1 + index % 3),
            training_memory_bytes=10**8 * (1 + index % 2),
            stopped=f"{EVIL} the budget ended" if index == 9 else None,
            confusion=((0, 0, 40), (0, 1, 3), (1, 1, 50), (2, 3, 7)) if index == 0 else (),
            mistakes=((5, f"{EVIL}.png", 0, 1), (9, "b.png", 2, 3)) if index == 0 else (),
            learning_curve=((1, 2.0, None), (2, 1.0, None)) if index < 2 else (),
        )
        for index in range(11)
    ]
    rows.append(Row(ms.Candidate("shelf", "broken"), failure=Failure("load", f"{EVIL} no weights")))
    rows.append(Row(ms.Candidate("shelf", "huge"), failure=Failure(Stage.LIMIT, f"{EVIL} too large"), parameters=10**9))
    provenance = {
        "dataset": {
            "name": f"{EVIL}pets",
            "classes": [EVIL, "cat", "]]>", "<!--"],
            "class_rows": [50, 60, 70, 70],
            "source": {"path": f"{EVIL}/x"},
            "skipped": [[f"{EVIL} private.png", "corrupt"]],
            "remarks": [f"1 file was left out: {EVIL} private.png."],
        },
        "ranked_by": ["logme"],
        "estimators": {"logme": {"parameters": {"solver": EVIL}, "citation": f"{EVIL} You et al., 2021"}},
        "settings": {"seed": 0},
        "command": ["modelselect", "select", f"{EVIL}/x", "-c", "shelf:*"],
        "budget": {
            "asked": f"{EVIL} 20m",
            "passes": None,
            "planned": [{"rows": 250, "seconds": 28.0}],
            "spent": {"seconds": 1230.0, "passes": 12_345},
            "stages": [
                {"stage": "score", "rows": 250, "candidates": 11, "seconds": 30.0, "decision": f"{EVIL} still open"},
                {"stage": f"{EVIL} verify", "candidates": 2, "seconds": 1200.0, "decision": "decided"},
            ],
        },
    }
    return ms.Leaderboard(tuple(rows), ("logme", "knn", EVIL), provenance, 0.97)


def long_board(count: int) -> ms.Leaderboard:
    """A board of this number of candidates, the last tenth of them without a rank; every name is an attack."""
    rows = [
        Row(
            ms.Candidate("hub", f"owner/{EVIL_NAME}{index}", "0" * 40, {"family": f"f{index % 7}"}),
            rank=index + 1,
            score=1.0 - index / count,
            scores={"logme": float((index * 7919) % count)},
            parameters=(index + 1) * 1_000_000,
            license="mit",
        )
        for index in range(count - count // 10)
    ]
    failed = [Row(ms.Candidate("hub", f"owner/gone-{i}"), failure=Failure("load", EVIL)) for i in range(count // 10)]
    return ms.Leaderboard((*rows, *failed), ("logme",), {"ranked_by": ["logme"]})
