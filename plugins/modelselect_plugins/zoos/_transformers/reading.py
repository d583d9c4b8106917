"""How transformers reads a folder here: quietly, without the network, from tensors alone, and in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any


def settings_of_folder(*, safetensors: bool, trust_remote_code: bool = False) -> dict[str, Any]:
    """What `from_pretrained` of a class of models gets besides the folder. It then returns the module and a report.

    Args:
        safetensors: False to read pickled weights instead, restricted to tensors.
        trust_remote_code: whether the model may run code of its own.
    """
    import torch

    return {
        "dtype": torch.float32,  # the default is the file's dtype
        "use_safetensors": safetensors,
        "weights_only": True,
        "trust_remote_code": trust_remote_code,  # never None, which would ask on the terminal
        "local_files_only": True,
        "output_loading_info": True,
    }


def missing_in(report: Mapping[str, Any]) -> list[str]:
    """The names of the module's tensors that the weights lack, or hold in another shape."""
    return sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Silences transformers' own progress bars and reports, since errors are reported on the leaderboard."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
