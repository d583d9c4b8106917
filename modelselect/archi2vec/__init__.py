"""archi2vec: turns a module into a graph, and a graph into a vector, so that architectures can be compared.

`trace` makes the graph without weights; an `Encoder` (`graph2vec`, or a plugin's) turns graphs into vectors; `embed`
does both; `nearest`, `similarity` and `clusters` compare vectors. After Bai et al., "Pre-Trained Model Recommendation
for Downstream Fine-tuning" (Fennec), section 3.2.
"""

from __future__ import annotations

from modelselect.archi2vec.atlas import Atlas
from modelselect.archi2vec.embedding import embed
from modelselect.archi2vec.tracing import trace_candidate
from modelselect.architectures.documents import weisfeiler_lehman
from modelselect.architectures.encoder import Encoder, Space
from modelselect.architectures.graph_json import from_json, to_json
from modelselect.architectures.operations import operation_name
from modelselect.architectures.similarity import clusters, nearest, similarity
from modelselect.architectures.trace import count_macs, input_of, trace, trace_skeleton, trace_somewhere

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
