"""Which evidence takes a forward pass, and over which rows."""

from __future__ import annotations

FORWARD_FIELDS = frozenset({"features", "source_probabilities"})
"""Evidence that takes a forward pass over the probe."""

SOURCE_FIELDS = frozenset({"source_features", "source_labels"})
"""Evidence that takes a forward pass over the source data."""

LOADED_FIELDS = FORWARD_FIELDS | SOURCE_FIELDS
"""Evidence that depends on the candidate's weights."""
