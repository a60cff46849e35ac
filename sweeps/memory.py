"""Memory that nothing holds any more goes back, so that trials of one process do not add up."""

import ctypes
import gc


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
