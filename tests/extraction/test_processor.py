"""The processor: memory that a layer frees is kept for the next one, and goes back at the end of a run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from modelselect.extraction.processor import keeps_freed_memory
from modelselect_plugins.extractors.cpu import CpuExtractor

IS_GNU_LINUX = sys.platform.startswith("linux") and "CS_GNU_LIBC_VERSION" in os.confstr_names

needs_gnu = pytest.mark.skipif(not IS_GNU_LINUX, reason="only the GNU C library on Linux keeps freed memory")

FAULTS = """
import resource
import numpy as np
from modelselect.extraction.processor import give_memory_back, keeps_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(5_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

give_memory_back()
before = faults()
kept = keeps_freed_memory()
faults()
after, full = faults(), resident()
give_memory_back()
print(kept, before, after, full - resident())
"""


def run(script: str, **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


@needs_gnu
def test_freed_memory_is_used_again_and_goes_back_at_the_end() -> None:
    kept, before, after, given_back = run(FAULTS)
    assert kept == "True"
    assert int(before) >= 20 * 20  # 40 MB are 20 huge pages, or 9,766 others, which are cleared anew each time
    assert int(after) < 100
    assert int(given_back) > 3000


@needs_gnu
@pytest.mark.parametrize(
    "variables", [{"MALLOC_MMAP_MAX_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}]
)
def test_the_users_own_settings_of_the_allocator_stay(variables: dict[str, str]) -> None:
    kept, _, after, _ = run(FAULTS, **variables)
    assert kept == "False"
    assert int(after) >= 20 * 20


def test_a_batch_is_half_as_large_where_freed_memory_is_not_kept() -> None:
    script = "from tests.extraction.test_processor import suitable; print(*suitable())"
    assert run(script, MALLOC_MMAP_MAX_="65536") == ["8", "32", "64"]
    if keeps_freed_memory():
        assert suitable() == [16, 64, 64]


def suitable() -> list[int]:
    return [CpuExtractor().suitable_batch_size(torch.empty(1, 3, side, side)) for side in (224, 112, 32)]
