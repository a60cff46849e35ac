"""Trials that go wrong in every way, and a script that runs them: `faulty_trials.py FOLDER LIMITS KIND…`.

What was said is printed; failure records are in FOLDER/store.
"""

import json
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from trivial_trials import trivial_trials

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import ray_cluster
from sweeps.estimate import Work
from sweeps.plan import Trial
from sweeps.spec_sections import Limits
from sweeps.store import Store
from sweeps.trial import Outcome, Progress


def go_wrong(trial: Trial, store: Store, data_root: Path | None, *, on_progress: Any, **_: Any) -> Outcome:  # noqa: ARG001
    time.sleep(0.5)
    on_progress(Progress("training", 0.5))
    match trial.arm.alias:
        case "raises":
            raise RuntimeError("a cable is loose\nand more")
        case "diverges":
            raise FloatingPointError("loss nan")
        case "sleeps":
            time.sleep(10**6)
        case "holds-the-interpreter":
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "is-stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "is-killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "eats-memory":
            eaten = []
            while True:
                eaten.append(np.ones(2**24))  # 128 MiB, touched
                time.sleep(0.02)
        case "passes-its-memory-limit":
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, held + 2**28))
            bytearray(2**30)
        case "tells-a-secret":
            raise RuntimeError(f"no access with {os.environ['FAULTY_TOKEN']} at https://me:word@host/")
        case "fills-the-disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
            store.put_bytes(f"models/{trial.train_key}/model", bytes(2**21))
        case "passes-the-second-time":
            if not store.exists(f"models/{trial.train_key}/first"):
                store.put_bytes(f"models/{trial.train_key}/first", b"")
                os.kill(os.getpid(), signal.SIGKILL)
    store.put_json(f"models/{trial.train_key}/DONE", {})
    return Outcome(True, 0.0, {}, 0.0, 0.0, 0)


def main(folder: Path, limits: Limits, kinds: list[str]) -> None:
    store = Store(folder / "store")
    trials = trivial_trials(len(kinds), gpus=float(os.environ.get("FAULTY_GPUS", "0")), aliases=kinds)
    (folder / "ray").mkdir(parents=True, exist_ok=True)
    budget = Budget(limits, store, "faulty", trials)
    with (
        ray_cluster(None),
        Board(store, "faulty", trials, [Work(1.0)] * len(kinds), budget, sys.stdout) as board,
    ):
        from sweeps.schedule import schedule

        schedule(
            *(trials, store, None, board, budget, folder / "ray"),
            max_concurrent=None,
            on_trial=lambda _: None,
            run=go_wrong,
        )
    budget.keep(now=True)
    print("reached:", budget.reached)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Limits(**json.loads(sys.argv[2])), sys.argv[3:])
