"""Evidence on its way from the extractor to the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from modelselect.evidence.evidence import Evidence
from modelselect.store.writer import Writer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StoreSink:
    """A sink: every field's rows go to a writer of its own."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers

    def append(self, **rows: NDArray[np.float32]) -> None:
        for name, batch in rows.items():
            self._writers[name].append(**{name: batch})

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        return {name: rows for writer in self._writers.values() for name, rows in writer.mapped().items()}

    def complete(self, evidence: Evidence) -> None:
        """Takes what an extractor gave back without having sent it here; a field without rows is one it has not."""
        written = self.arrays()
        self.append(
            **{name: getattr(evidence, name) for name in self._writers if name not in written and evidence.has(name)}
        )
