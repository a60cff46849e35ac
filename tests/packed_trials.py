"""Trials that wait for each other, on a node of 8 CPUs and one GPU.

    packed_trials.py COUNT GPUS MAX_CONCURRENT TOGETHER STORE

The first TOGETHER wait until all of them run. Each leaves in the store when it ran and on which GPU.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from trivial_trials import trivial_trials

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import check_cluster, ray_cluster
from sweeps.estimate import Work
from sweeps.plan import Trial
from sweeps.spec_sections import Limits
from sweeps.store import Store
from sweeps.trial import Outcome


def meet(trial: Trial, store: Store, data_root: Path | None, **_: Any) -> Outcome:  # noqa: ARG001
    together = store.get_json("together.json")
    start, deadline = time.time(), time.monotonic() + 120
    store.put_json(f"began/{trial.seed}.json", {})
    while len(store.list("began")) < together and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)  # for any that should not be here
    ran = {"start": start, "end": time.time(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
    store.put_json(f"ran/{trial.seed}.json", ran)
    return Outcome(True, 0.0, {}, 0.0, 0.0, 0)


def main(count: int, gpus: float, most: int | None, together: int, store: Store) -> None:
    store.put_json("together.json", together)
    node = {"num_cpus": 8, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    cluster, trials = Cluster(True, head_node_args=node), trivial_trials(count, gpus=gpus)
    budget = Budget(Limits(), store, "packed", trials)
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_cluster(cluster.address),
        Board(store, "packed", trials, [Work(1.0)] * count, budget) as board,
    ):
        from sweeps.schedule import schedule

        check_cluster(trials, store, None)
        schedule(
            *(trials, store, None, board, budget, Path(folder)),
            max_concurrent=most,
            on_trial=lambda _: None,
            run=meet,
        )
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) or None, int(sys.argv[4]), Store(sys.argv[5]))
