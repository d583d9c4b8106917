"""Files of weights in a folder: which are read, and what to do about the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from modelselect.errors import CandidateError, ExpressionError
from modelselect_plugins.zoos._support import is_unsafe_pickle, one_line, unsafe_pickle

CONFIGURATION = "config.json"
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLED_SHARDS = "pytorch_model.bin.index.json"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".tar", ".pkl")
ADAPTER = "adapter_config.json"
ADAPTER_ALONE = (
    f"the model is only an adapter ({ADAPTER}), not a whole model; merge the adapter into its base model and save the "
    "merged model with save_pretrained"
)
_OF_TRAINING = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")  # pickles that hold no weights
OTHER_FORMS = {
    ".h5": "TensorFlow or Keras",
    ".keras": "Keras",
    ".pb": "TensorFlow",
    ".msgpack": "Flax",
    ".onnx": "ONNX",
    ".gguf": "llama.cpp",
    ".tflite": "TensorFlow Lite",
    ".mlpackage": "Core ML",
}
"""Forms of weights that PyTorch does not read, by suffix."""


def why_no_weights(folder: Path) -> str:
    """Why a folder without safetensors cannot be loaded, and what to do."""
    names = sorted(file.name for file in folder.iterdir())
    if WEIGHTS in names:
        return f"the {WEIGHTS} is no file, but a folder, a pipe, a device or a link to nothing; put a file in its place"
    pickles = [name for name in names if Path(name).suffix in PICKLES and not name.startswith(_OF_TRAINING)]
    asked = f"dir:{folder.as_posix()}?weights=pickle"
    if PICKLE in names or PICKLED_SHARDS in names:
        pickles = [name for name in pickles if name.startswith("pytorch_model")]
        return (
            f"the weights are pickled ({', '.join(pickles)}), and safetensors are expected. To read them all the same, "
            f"restricted to tensors, write {asked}; or convert them{conversion([folder / name for name in pickles])}"
        )
    if pickles:
        return (
            f"the weights are pickled ({', '.join(pickles)}), and {WEIGHTS} is expected. If {pickles[0]} holds the "
            f"weights of the model that {CONFIGURATION} describes, rename it to {PICKLE} and write {asked}"
        )
    others = [name for name in names if Path(name).suffix in OTHER_FORMS]
    if others:
        return (
            f"the weights are only in the form of {OTHER_FORMS[Path(others[0]).suffix]} ({others[0]}), which PyTorch "
            f"does not read; expected {WEIGHTS}"
        )
    lacking = f"the folder has a {CONFIGURATION} but no {WEIGHTS}"
    deeper = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/{WEIGHTS}"))
    if deeper:
        return f"{lacking}; there is {deeper[0]}: move it next to {CONFIGURATION}"
    single = [name for name in names if name.endswith(".safetensors")]
    if single:
        return f"{lacking}; rename {single[0]} to {WEIGHTS} if it holds the weights of the model"
    return lacking


def conversion(files: Sequence[Path], key: str | None = None) -> str:
    """The line of Python that writes pickled weights as safetensors; tensors that share memory are written apart."""
    names = ", ".join(repr(file.as_posix()) for file in files)
    state = "torch.load(file, map_location='cpu', weights_only=True)" + (f"[{key!r}]" if key else "")
    return (
        ", in Python: import torch, safetensors.torch; safetensors.torch.save_file({name: tensor.clone().contiguous() "
        f"for file in [{names}] for name, tensor in {state}.items()}}, "
        f"{(files[0].parent / WEIGHTS).as_posix()!r}, {{'format': 'pt'}})"
    )


def wrapper_prefix(folder: Path) -> str | None:
    """What `torch.compile` or data parallelism put before every name of a tensor in safetensors; None if nothing."""
    from safetensors import safe_open

    file = next(iter(sorted(folder.glob("model*.safetensors"))), None)
    if file is None:
        return None
    with safe_open(file, framework="np") as tensors:
        names = list(tensors.keys())
    for prefix in ("_orig_mod.module.", "module._orig_mod.", "_orig_mod.", "module."):
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    return None


def check_for_other_kinds(folder: Path) -> None:
    """Raises ExpressionError for a folder that holds weights or a description of a kind that is not read here."""
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir())
    if ADAPTER in names:
        raise ExpressionError(f"{str(folder)!r}: {ADAPTER_ALONE}")
    if "model_index.json" in names:
        raise ExpressionError(
            f"{str(folder)!r} holds a pipeline of diffusers (model_index.json), which has no encoder of images or texts"
        )
    weights = [name for name in names if Path(name).suffix in (*OTHER_FORMS, *PICKLES, ".safetensors")]
    if weights:
        form = OTHER_FORMS.get(Path(weights[0]).suffix)
        reason = f" The weights are in the form of {form}, which PyTorch does not read." if form else ""
        raise ExpressionError(
            f"{str(folder)!r} holds weights ({weights[0]}) but no {CONFIGURATION}, so the model cannot be built."
            + reason
        )


def pickled_tensors(files: Iterable[Path]) -> dict[str, int]:
    """The number of elements of each tensor in pickled files, by name; no values are read.

    Raises:
        CandidateError: a file is damaged, or holds something other than tensors by name.
    """
    import torch

    found: dict[str, int] = {}
    for path in files:
        try:
            state = torch.load(path, map_location="meta", weights_only=True)
        except Exception as error:
            if is_unsafe_pickle(error):
                raise CandidateError(unsafe_pickle(path.name)) from None
            raise CandidateError(f"the {path.name} is truncated or damaged ({one_line(error)})") from None
        if not isinstance(state, dict):
            raise CandidateError(f"the {path.name} holds {type(state).__name__}; expected tensors by name")
        others = [name for name, tensor in state.items() if not isinstance(tensor, torch.Tensor)]
        if others:
            inner = next((name for name in others if isinstance(state[name], dict) and state[name]), None)
            raise CandidateError(
                f"the {path.name} holds not only tensors by name, but {', '.join(map(str, others[:3]))}"
                + (f". Convert it{conversion([path], str(inner))}" if inner else "")
            )
        found |= {str(name): tensor.numel() for name, tensor in state.items()}
    return found
