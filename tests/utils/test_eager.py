"""Without compiling anything, no process pays for the compiler; and optimizers step as torch's own do."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from modelselect.architectures.trace import trace_and_count
from modelselect.utils import eager as module
from modelselect.utils.eager import eager, unmarked_kernels

COLD = """
import sys, tempfile
import numpy as np
import modelselect as ms
from modelselect.host.host import get_host

if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        board = ms.select(
            (images, [0, 1] * 20), ["embedded:plain.random", "embedded:vit.letters"], estimators="logme", top_k=1,
            fine_tuning=ms.FineTuning(epochs=1), progress=False, history=False, cache_dir=folder,
        )
    assert board[0].verified_accuracy is not None and board[0].macs
    get_host().zoo("embedded").skeleton(ms.search("embedded:vit.letters")[0])
    unwanted = {"torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy", "triton"}
    print(sorted(unwanted & set(sys.modules)))
"""


def test_a_cold_run_with_fine_tuning_imports_neither_the_compiler_nor_sympy() -> None:
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("kind", "more"),
    [(torch.optim.AdamW, {}), (torch.optim.SGD, {}), (torch.optim.SGD, {"momentum": 0.9, "nesterov": True})],
)
def test_steps_are_those_of_torch_to_the_last_bit(kind: type[torch.optim.Optimizer], more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))]
    networks.append(copy.deepcopy(networks[0]))
    optimizers = [made(n.parameters(), lr=0.1, **more) for made, n in zip((kind, eager(kind)), networks, strict=True)]
    rows = torch.randn(6, 20, 5)
    for number, batch in enumerate(rows):
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(batch).square().mean().backward()
            optimizer.step()
            assert torch.is_grad_enabled()
        if number == 2:  # a training that goes on from a checkpoint
            optimizers[1].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    for theirs, ours in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(theirs, ours)
    assert optimizers[0].state_dict()["state"].keys() == optimizers[1].state_dict()["state"].keys()


def test_nothing_is_left_in_torch_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    kernels = module._marked_kernels()
    for kernel in kernels:
        monkeypatch.delattr(kernel, module._KEPT, raising=False)
    before = [vars(kernel).copy() for kernel in kernels]
    assert len(kernels) > 50
    with unmarked_kernels():
        block = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.GELU())
        graph, macs = trace_and_count(block, (4,))
    assert graph is not None
    assert macs == 16
    assert [vars(kernel) for kernel in kernels] == before
