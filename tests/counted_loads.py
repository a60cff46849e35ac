"""The trials of a sweep through Ray, one after another: `counted_loads.py SPEC DATA_ROOT STORE`.

Each leaves in the store how often its process read the files of its backbone for it.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import ray_cluster
from sweeps.estimate import Work
from sweeps.plan import Trial, make_plan, prepare_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.trial import Outcome, run_trial


def counted(trial: Trial, store: Store, data_root: Path | None, **more: Any) -> Outcome:
    import hybrid.encoder

    load, read = hybrid.encoder.load_model, []

    def count(backbone: Any, *rest: Any) -> Any:
        read.append(backbone.source)
        return load(backbone, *rest)

    hybrid.encoder.load_model = count
    try:
        outcome = run_trial(trial, store, data_root, **more)
    finally:
        hybrid.encoder.load_model = load
    loads = {"process": os.getpid(), "loads": read.count(trial.backbone)}
    store.put_json(f"loads/{trial.train_key}.json", loads)
    return outcome


def main(spec: str, data_root: Path, place: Path) -> None:
    sweep, store = read_spec(spec, [], data_root), Store(place)
    prepare_sweep(sweep, data_root)
    trials = make_plan(sweep, store, data_root).trials
    budget = Budget(sweep.limits, store, sweep.name, trials)
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_cluster(None),
        Board(store, sweep.name, trials, [Work(1.0)] * len(trials), budget) as board,
    ):
        from sweeps.schedule import schedule

        schedule(
            *(trials, store, data_root, board, budget, Path(folder)),
            max_concurrent=1,
            on_trial=lambda _: None,
            run=counted,
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
