"""What a result was made on and with. Recorded beside it; never part of a key."""

import os
import platform
import resource
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("hybrid-sweeps", "torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


def made_on(device: str) -> dict[str, Any]:
    """`hardware`: this machine, and its GPU if `device` is `cuda`; `versions`: Python and packages."""
    return {"hardware": _hardware(device), "versions": _versions()}


def _hardware(device: str) -> dict[str, Any]:
    """This machine, and its GPU if `device` is `cuda`."""
    import torch

    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
    }


def _versions() -> dict[str, str]:
    """Python's, and those of the packages that could change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a job brings its own copy of this package
            found[name] = "not installed"
    return found


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit checked out in `folder`, by default this package's; `+changes` where tracked files differ.

    None where git does not keep the folder's Python files: an installed package can lie inside the
    checkout of something else.
    """
    # Git's own variables, set in hooks, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept = "ls-files -- *.py"
    described = "describe --always --abbrev=40 --dirty=+changes --exclude=*"
    try:
        texts = [
            subprocess.run(
                ["git", "-C", str(folder), "--no-optional-locks", *words.split()],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
                env=environment,
            ).stdout.strip()
            for words in (kept, described)
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return texts[1] if texts[0] else None


def peak_rss_mb() -> float:
    """The most memory this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
