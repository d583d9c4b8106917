"""Names in a report are those that people know."""

from __future__ import annotations

import modelselect as ms
from modelselect.report.names import dataset_name


def test_a_folder_called_train_is_known_by_the_one_above() -> None:
    def named(name: str, path: str) -> str:
        about = {"dataset": {"name": name, "source": {"kind": "folder", "path": path}}}
        return dataset_name(ms.Leaderboard((), provenance=about))

    assert named("train", "/data/pets/train") == "pets"
    assert named("pets", "/data/pets") == "pets"
    assert named("train", "train") == "train"
