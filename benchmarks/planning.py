"""How long planning takes: `sweeps plan` as a command, a sweep of ten thousand trials, a store as large.

    python benchmarks/planning.py [--out FILE]

Prints seconds as JSON. The command is run in a process of its own, imports included.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sweeps.plan import make_plan, prepare_sweep
from sweeps.spec import read_spec
from sweeps.store import Store

TRIALS = 10_000


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 3)


def fill(store: Path) -> None:
    """Files as that many measured trials leave them, empty."""
    for number in range(TRIALS):
        folder = store / "scores" / f"{number:020x}"
        folder.mkdir(parents=True)
        (folder / f"{0:020x}.json").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    arms = len(read_spec("quickstart").points)
    large = read_spec("quickstart", [f"seeds={list(range(TRIALS // arms))}"])
    prepare_sweep(large)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sweeps", "plan", "quickstart", "--store", f"{folder}/empty"]
        empty, full = Store(Path(folder) / "empty"), Path(folder) / "full"
        fill(full)
        result = {
            "plan_command_seconds": seconds(lambda: subprocess.run(command, check=True, capture_output=True)),
            "trials_planned": len(make_plan(large, empty).trials),
            "large_plan_seconds": seconds(lambda: make_plan(large, empty)),
            "large_index_seconds": seconds(lambda: Store(full).index()),
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
        }
    text = json.dumps(result, indent=1)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
