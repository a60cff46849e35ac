"""How long MLflow takes to show a large sweep: made trials, projected to SQLite from nothing and once more.

    python benchmarks/tracking.py --trials 1000

Prints one JSON object: seconds to write everything, and of a second projection that changes nothing.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_sweep import make_sweep, paper_like

from sweeps.tracking import project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="at least 100, in hundreds")
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        plan, store = make_sweep(
            Path(folder),
            mono_ratios=tuple(round(i / 9, 3) for i in range(10)),
            backbones=("embedded-xlmr", "embedded-labse"),
            batch_sizes=tuple(10 * (i + 1) for i in range(max(1, trials // 100))),
            seeds=(1, 2, 3, 4, 5),
            noise=0.02,
            shift=paper_like,
        )
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            done = project(plan, store)
            seconds.append(round(time.perf_counter() - start, 1))
        assert (done.created, done.updated) == (0, 0)
    found = {
        "trials": len(plan.trials),
        "arms": len(plan.arms),
        "first_seconds": seconds[0],
        "second_seconds": seconds[1],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
