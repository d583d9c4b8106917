"""What archi2vec offers of the room `architectures`, which stands below the host: its face hands it on from here."""

from __future__ import annotations

from modelselect.architectures.documents import weisfeiler_lehman as weisfeiler_lehman
from modelselect.architectures.encoder import Encoder as Encoder
from modelselect.architectures.encoder import Space as Space
from modelselect.architectures.graph_json import from_json as from_json
from modelselect.architectures.graph_json import to_json as to_json
from modelselect.architectures.operations import operation_name as operation_name
from modelselect.architectures.similarity import clusters as clusters
from modelselect.architectures.similarity import nearest as nearest
from modelselect.architectures.similarity import similarity as similarity
from modelselect.architectures.trace import count_macs as count_macs
from modelselect.architectures.trace import input_of as input_of
from modelselect.architectures.trace import trace as trace
from modelselect.architectures.trace import trace_skeleton as trace_skeleton
from modelselect.architectures.trace import trace_somewhere as trace_somewhere
