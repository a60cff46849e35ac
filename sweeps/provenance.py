"""What a result was made on and with. Recorded beside it; never part of a key."""

import os
import platform
import resource
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("hybrid-sweeps", "torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


def hardware(device: str) -> dict[str, Any]:
    """This machine, and its GPU if `device` is `cuda`."""
    import torch

    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
    }


def versions() -> dict[str, str]:
    """Python's, and those of the packages that could change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a job brings its own copy of this package
            found[name] = "not installed"
    return found


def peak_rss_mb() -> float:
    """The most memory this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
