from .atlas import Atlas as Atlas
from .embedding import embed as embed
from .names import Encoder as Encoder
from .names import Space as Space
from .names import clusters as clusters
from .names import count_macs as count_macs
from .names import from_json as from_json
from .names import input_of as input_of
from .names import nearest as nearest
from .names import operation_name as operation_name
from .names import similarity as similarity
from .names import to_json as to_json
from .names import trace as trace
from .names import trace_skeleton as trace_skeleton
from .names import trace_somewhere as trace_somewhere
from .names import weisfeiler_lehman as weisfeiler_lehman
from .tracing import trace_candidate as trace_candidate

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
