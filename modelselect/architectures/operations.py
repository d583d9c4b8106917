"""The names of operations, the same on every backend."""

from __future__ import annotations

import re


def operation_name(grad_fn_name: str) -> str:
    """The type of operation behind the name of an autograd node, the same on every backend.

    Removes namespaces, `Backward` with its number, and the prefix of a backend's own implementation, and unifies the
    names of operations that backends name or split differently. Unknown names are kept: the vocabulary is open.

    >>> [operation_name(n) for n in ("ConvolutionBackward0", "MkldnnConvolutionBackward0", "CudnnBatchNormBackward0")]
    ['Convolution', 'Convolution', 'BatchNorm']
    >>> operation_name("UnsafeViewBackward0"), operation_name("torch::autograd::CopySlices"), operation_name("MySwish")
    ('View', 'CopySlices', 'MySwish')
    """
    name = _BACKWARD.sub("", grad_fn_name.rpartition("::")[2])
    name = _BACKEND.sub("", name) or name
    if _FUSED_ATTENTION.fullmatch(name):
        return "ScaledDotProductAttention"
    return _SYNONYMS.get(name, name)


_BACKWARD = re.compile(r"Backward\d*(_copy)?$")
_BACKEND = re.compile(r"^(Native|Cudnn|Miopen|Mkldnn|Mps|Slow|Thnn)(?=[A-Z])")
_FUSED_ATTENTION = re.compile(r"ScaledDotProduct\w*Attention\w*")
_SYNONYMS = {
    "ConvolutionOverrideable": "Convolution",
    "ReshapeAlias": "View",
    "UnsafeView": "View",
    "SafeSoftmax": "Softmax",
    "UnsafeSplit": "Split",
    "UnsafeSplitWithSizes": "SplitWithSizes",
    "BatchNormImplIndex": "BatchNorm",
}
LAYOUT = {"Clone", "AsStrided", "Alias", "Contiguous", "ToCopy"}
"""Operations that move or relabel memory and change no value."""
LOOKUPS = {"Embedding", "EmbeddingBag", "EmbeddingRenorm"}
