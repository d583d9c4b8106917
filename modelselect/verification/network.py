"""The network that is trained: backbone, head, adapters and optimizer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.modules import alone_with
from modelselect.errors import CandidateError
from modelselect.utils.eager import eager
from modelselect.verification.job import Job, Rows
from modelselect.verification.recipe import FineTuning, Rates

if TYPE_CHECKING:
    import torch

_OTHER_METHODS = "Use verify='full' (--verify full) or verify='head' (--verify head)."


def trainable_network(job: Job, device: torch.device) -> Any:
    """A copy of the backbone with a new head, on the device."""
    import torch

    class Network(torch.nn.Module):
        """Logits (B, classes), or (B, ..., classes) of parts of rows, float32, from a batch that the module takes."""

        def __init__(self, body: torch.nn.Module, head: torch.nn.Linear, adapters: Any) -> None:
            super().__init__()
            self.body, self.head = body, head
            self._adapters = [adapters]  # in a list, because a submodule would contain the body twice

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.features(batch).float())
            return logits

        def features(self, batch: torch.Tensor) -> torch.Tensor:
            return job.backbone.read(self.body, _in_format(batch, memory_format)).features

        def merge(self) -> None:
            """Adds the adapters to the weights that they adapt."""
            (adapters,) = self._adapters
            if adapters is not None:
                self.body = adapters.merge_and_unload()
                self._adapters = [None]

    with alone_with(job.backbone.module):
        body = copy.deepcopy(job.backbone.module)
    body = body.to(device).eval()
    memory_format = _fastest_format(body) if device.type == "cpu" else torch.preserve_format
    body = body.to(memory_format=memory_format)
    example = _in_format(training_batch(job, job.training, np.arange(2), device), memory_format)
    with torch.no_grad():
        width = job.backbone.read(body, example).features.shape[-1]
    adapters = None
    if job.method == "lora":
        adapters = _adapters(job, body, example)
    elif job.method == "full":
        for parameter in body.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_()
    return Network(body, job.objective.head(width, job.classes, job.method).to(device), adapters)


def _adapters(job: Job, body: torch.nn.Module, example: torch.Tensor) -> Any:
    """Adds LoRA adapters to the linear layers that features depend on, or, without any, to the convolutions.

    Raises:
        CandidateError: peft has no adapter for any of the module's layers.
    """
    import torch
    from peft import LoraConfig, LoraModel

    for parameter in body.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    job.backbone.read(body, example).features.float().sum().backward()  # type: ignore[no-untyped-call]
    linear, convolutions = [], []
    for name, layer in body.named_modules():
        if getattr(getattr(layer, "weight", None), "grad", None) is None:
            continue  # no feature depends on this layer, for example the source classifier
        if type(layer) is torch.nn.Linear:
            linear.append(name)
        elif type(layer) is torch.nn.Conv2d and layer.groups == 1:
            convolutions.append(name)
    body.zero_grad(set_to_none=True)
    names = linear or convolutions
    if not names:
        raise CandidateError(
            "verify is 'lora', which does not apply to this candidate: it has neither linear layers nor plain "
            f"convolutions. {_OTHER_METHODS}"
        )
    rank = job.settings.lora_rank
    pattern = "|".join(name.replace(".", r"\.") for name in names)
    try:
        return LoraModel(body, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern), "default")
    except ValueError as error:
        raise CandidateError(f"peft cannot add LoRA adapters to this candidate ({error}). {_OTHER_METHODS}") from error


def make_optimizer(network: Any, settings: FineTuning, rates: Rates) -> torch.optim.Optimizer:
    import torch

    groups = []
    for module, rate in ((network.body, rates.backbone), (network.head, rates.head)):
        tensors = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decayed in (True, False):
            chosen = [tensor for tensor in tensors if (tensor.dim() > 1) == decayed]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": rates.weight_decay if decayed else 0.0})
    if settings.optimizer == "sgd":
        return eager(torch.optim.SGD)(groups, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return eager(torch.optim.AdamW)(groups)


def training_mode(network: Any, method: str) -> None:
    """Training mode for all layers; with adapters, batch normalisation keeps the statistics of the weights."""
    from torch.nn.modules.batchnorm import _BatchNorm

    network.train()
    if method == "lora":
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def training_batch(job: Job, rows: Rows, places: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """The rows on the device."""
    import torch

    prepared = rows.inputs[torch.from_numpy(rows.places[places])]
    return job.backbone.preprocessing.finish(prepared.to(device))


def _in_format(batch: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Images in the memory format of the network; other rows as they are."""
    import torch

    if batch.dim() != 4 or memory_format == torch.preserve_format:
        return batch
    return batch.contiguous(memory_format=memory_format)


def _fastest_format(module: torch.nn.Module) -> torch.memory_format:
    """Channels-last, in which convolutions train faster on a CPU, unless one of the module's does not bear it.

    oneDNN writes past the end of its memory when it derives a strided 1 x 1 convolution of fewer than 16 channels whose
    input is channels-last: the process dies, or gradients are wrong (uxlfoundation/oneDNN, issue 6035).
    """
    import torch

    convolutions = (layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d))
    if any(set(c.kernel_size) == {1} != set(c.stride) and c.in_channels < 16 for c in convolutions):
        return torch.contiguous_format
    return torch.channels_last
