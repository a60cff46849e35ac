"""Freed tensors are used again without asking the system, and go back to it when told."""

import subprocess
import sys
from pathlib import Path

import pytest

from hybrid.freed_memory import free_memory, keep_freed_memory

FAULTS = """
import resource
import torch
from hybrid.freed_memory import keep_freed_memory

if {keep}:
    keep_freed_memory()
sizes = [600_000, 1_500_000, 400_000, 2_500_000] * 5  # float32: blocks of a forward pass
kept = [torch.ones(size) for size in sizes]
del kept
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    kept = [torch.ones(size) for size in sizes]
    del kept
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is told")
def test_tensors_freed_and_made_again_cost_no_page_faults():
    assert page_faults(True) < page_faults(False) / 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is told")
def test_memory_that_is_kept_goes_back_when_told():
    import torch

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    keep_freed_memory()
    held = [torch.ones(2_000_000) for _ in range(100)]  # 800 MB in blocks of 8
    full = resident()
    del held
    free_memory()
    assert resident() < full - 600e6
