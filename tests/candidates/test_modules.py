"""The digest of weights changes with every number."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from modelselect.candidates.modules import in_evaluation_mode, weights_digest

# --- identity --------------------------------------------------------------------------------------------------------


def test_the_digest_changes_with_any_number_or_name() -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    module = make()
    digest = weights_digest(module)
    assert weights_digest(make()) == digest
    with torch.no_grad():
        module[1].running_mean[1] += 1e-6  # type: ignore[index, union-attr, operator]
    changed = weights_digest(module)
    assert (
        len({digest, changed, weights_digest(make().half()), weights_digest(nn.Sequential(*make(), nn.ReLU()), "x")})
        == 4
    )


@pytest.mark.filterwarnings("ignore")  # torch announces the end of this form of quantisation
def test_the_digest_covers_the_weights_of_quantised_layers() -> None:
    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear}, dtype=torch.qint8)

    assert weights_digest(make(0)) == weights_digest(make(0)) != weights_digest(make(1))


def test_the_digest_covers_buffers_that_are_not_saved() -> None:
    module = nn.Identity()
    module.register_buffer("table", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
    digest = weights_digest(module)
    module.table += 1  # type: ignore[operator]
    assert weights_digest(module) != digest


def test_a_module_is_in_evaluation_mode_until_the_last_thread_has_left() -> None:
    shared = nn.Dropout()
    one, other = nn.Sequential(shared, nn.BatchNorm1d(2)), nn.Sequential(shared.eval(), nn.Dropout())
    one[1].eval()
    modes = {part: part.training for whole in (one, other) for part in whole.modules()}
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(in_evaluation_mode(one, other))
        second.enter_context(in_evaluation_mode(other))
        first.close()
        assert one.training
        assert not any(part.training for part in other.modules())
    assert {part: part.training for part in modes} == modes


def test_a_module_that_refuses_evaluation_mode_leaves_no_trace() -> None:
    class Refuses(nn.Module):
        refuses = True

        def train(self, mode: bool = True) -> Refuses:
            if self.refuses and not mode:
                raise RuntimeError
            return super().train(mode)

    module = Refuses()
    with pytest.raises(RuntimeError), in_evaluation_mode(module):
        pass
    module.refuses = False
    with in_evaluation_mode(module):
        assert not module.training
    assert module.training
