"""Freed memory: kept for the next tensors while a model computes, given back between trials of one process.

By default glibc returns freed blocks of some megabytes to the system and asks for them again, zeroed page by
page, at the next layer.
"""

import ctypes
import gc

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # mallopt's names for them
_KEPT_AT_MOST = 2**30  # bytes free at the heap's end; larger blocks are mapped for themselves


def keep_freed_memory() -> None:
    """For the rest of the process. Nothing where the C library is not glibc; no result changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_AT_MOST)
        mallopt(_TRIM_THRESHOLD, _KEPT_AT_MOST)
        mallopt(_TOP_PAD, 2**26)


def free_memory() -> None:
    """Give back what nothing holds any more, to the system and to the GPU's other users.

    glibc keeps freed tensors of a thousand different sizes: 1.5 GB after a short training of MiniLM,
    and as much again in the next trial of the process.
    """
    import torch

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
