"""archi2vec: a module becomes a graph, and a graph becomes a vector, so that architectures can be compared.

`trace` finds the graph without weights; an `Encoder` (`graph2vec`, or a plugin's) turns graphs into vectors; `embed`
does both; `nearest`, `similarity` and `clusters` compare. After Bai et al., "Pre-Trained Model Recommendation for
Downstream Fine-tuning" (Fennec), section 3.2.
"""

from __future__ import annotations

from modelselect.archi2vec.atlas import Atlas
from modelselect.archi2vec.documents import weisfeiler_lehman
from modelselect.archi2vec.graph import count_macs, from_json, operation_name, to_json, trace, trace_skeleton
from modelselect.archi2vec.space import (
    Encoder,
    Space,
    clusters,
    embed,
    input_of,
    nearest,
    similarity,
    trace_candidate,
    trace_somewhere,
)

__all__ = [
    "Atlas",
    "Encoder",
    "Space",
    "clusters",
    "count_macs",
    "embed",
    "from_json",
    "input_of",
    "nearest",
    "operation_name",
    "similarity",
    "to_json",
    "trace",
    "trace_candidate",
    "trace_skeleton",
    "trace_somewhere",
    "weisfeiler_lehman",
]
