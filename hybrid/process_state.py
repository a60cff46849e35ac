"""What training sets of its process and gives back: threads, random state, determinism; memory's end."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic

from hybrid.config import TrainConfig
from hybrid.freed_memory import keep_freed_memory
from hybrid.loss import random_state, set_random_state

_NO_MEMORY = (
    "can't allocate memory",  # torch's own allocator
    "not enough memory",
    "could not create a primitive",  # oneDNN, which says no more; what else it may mean, one text shows
    "could not create a memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had, in any of the ways torch and Python say so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _NO_MEMORY)


@contextmanager
def process_of(config: TrainConfig) -> Iterator[None]:
    """Threads, random state and determinism as `config` says, then as before: trials share processes."""
    devices = [torch.device("cuda", torch.cuda.current_device())] if config.device == "cuda" else []
    threads, random = torch.get_num_threads(), random_state(devices)
    only_deterministic = torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    keep_freed_memory()
    try:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(config.device == "cpu")
        # It would cost time, and nothing here reads what it did not write.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        yield
    finally:
        torch.set_num_threads(threads)
        set_random_state(random, devices)
        torch.use_deterministic_algorithms(only_deterministic)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark
