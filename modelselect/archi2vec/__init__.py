"""archi2vec: turns a module into a graph, and a graph into a vector, so that architectures can be compared.

`trace` makes the graph without weights; an `Encoder` (`graph2vec`, or a plugin's) turns graphs into vectors; `embed`
does both; `nearest`, `similarity` and `clusters` compare vectors. After Bai et al., "Pre-Trained Model Recommendation
for Downstream Fine-tuning" (Fennec), section 3.2.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
