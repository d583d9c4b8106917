"""Audio classification: one class for each sound."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.tasks import Task
from modelselect_plugins.tasks.classification import Classification


class AudioClassification(Classification):
    """One class for each sound. Sounds are read by any task; this one refuses rows that are none."""

    name = "audio-classification"
    summary = "One class for each sound."
    modality = "audio"
    by_default = False

    def of_rows(self, probe: Probe) -> Task:
        super().of_rows(probe)
        if probe.modality != self.modality:
            raise DatasetError(
                f"the task is {self.name}, and the rows of {probe.name} are no sounds. Give a folder of class folders "
                "with WAV files, or paths of such files, or leave out task= (--task)."
            )
        return self


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [AudioClassification()]
