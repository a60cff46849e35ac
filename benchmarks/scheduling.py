"""What scheduling costs beside training and evaluation.

    python benchmarks/scheduling.py trivial [--trials 1000]   trials that do nothing: seconds in all
    python benchmarks/scheduling.py sweep                     the quickstart: overhead, use of slots
    python benchmarks/scheduling.py plan [--trials 10000]     seconds to plan, all trained already
    python benchmarks/scheduling.py backbone                  a backbone read from files, or held by a worker

Each writes benchmarks/results/scheduling-<what>.json; `--beside TEXT` says what else the machine did. Ray is
started and ended within `trivial` and `sweep`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from hybrid.config import EvalConfig
from sweeps.arms import Arm
from sweeps.attempts import attempts_at
from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import ray_cluster
from sweeps.plan import Trial, make_plan, prepare_sweep
from sweeps.run import run_sweep
from sweeps.spec import read_spec
from sweeps.spec_sections import Limits
from sweeps.store import Store
from sweeps.trial import Outcome

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["trivial", "sweep", "plan", "backbone"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--beside", metavar="TEXT", help="what else the machine was doing")
    args = parser.parse_args()
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False, cwd=RESULTS.parent).stdout
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit.strip(),
        "cpus": os.cpu_count(),
        "beside": args.beside,
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="scheduling-", ignore_cleanup_errors=True) as folder:
        if args.what == "trivial":
            found |= trivial(args.trials or 1000, Path(folder))
        elif args.what == "sweep":
            found |= sweep(Path(folder))
        elif args.what == "backbone":
            found |= backbone()
        else:
            found |= plan(args.trials or 10_000, Path(folder))
    found["load_after"] = os.getloadavg()[0]
    print(json.dumps(found, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"scheduling-{args.what}.json").write_text(json.dumps(found, indent=1) + "\n")


def nothing(trial: Trial, store: Store, data_root: Path | None, **_: Any) -> Outcome:  # noqa: ARG001
    return Outcome(True, 0.0, {}, 0.0, 0.0, 0)


def trivial(count: int, folder: Path) -> dict[str, Any]:
    arm = Arm(alias="a", axes={"x": 1}, reference=None, untouched=False, backbone="b")
    trials = [Trial(arm, i, None, EvalConfig(), "b", f"{i:020x}", {}, 1.0, 0.0) for i in range(count)]
    store = Store(folder / "store")
    (folder / "ray").mkdir()
    budget, start, cpu = Budget(Limits(), store, "trivial", trials), time.perf_counter(), time.process_time()
    with ray_cluster(None), Board(store, "trivial", trials, [1.0] * count, budget) as board:
        from sweeps.schedule import schedule

        up = time.perf_counter()
        overheads = schedule(
            trials, store, None, board, budget, folder / "ray",
            max_concurrent=None, on_trial=lambda _: None, run=nothing,
        )  # fmt: skip
        scheduled = time.perf_counter() - up
    assert len(overheads) == count
    return {
        "trials": count,
        "seconds": round(time.perf_counter() - start, 2),
        "seconds_scheduling": round(scheduled, 2),
        "seconds_of_this_process": round(time.process_time() - cpu, 2),
    }


def sweep(folder: Path) -> dict[str, Any]:
    spec = read_spec("quickstart", [], None)  # 40 trials, and the two untouched backbones
    store = Store(folder / "store")
    prepare_sweep(spec, None)
    ended = run_sweep(spec, store, None, track=False)
    trials = make_plan(spec, store).trials
    busy = sum(one["seconds"] for trial in trials for one in attempts_at(store, trial))
    slots = int((os.cpu_count() or 1) // max(trial.cpus for trial in trials))
    return {
        "trials": len(trials),
        "seconds": round(ended.seconds, 1),
        "slots": slots,
        "busy": round(busy / (slots * ended.seconds), 3),
        "overhead_seconds_a_trial": round(ended.overhead_seconds, 3),
    }


def backbone() -> dict[str, Any]:
    """CPU seconds until a worker can train the untouched backbone, after its first trial; medians of nine.

    Each weight is written once, as the first step of training does: files are mapped, and read when used.
    """
    from hybrid.encoder import Encoder
    from sweeps.warm_backbone import warm_encoder

    lengths = {"max_query_length": None, "max_passage_length": None}
    found = {}
    for name in ("embedded-xlmr", "embedded-labse", "minilm-l6"):
        warm = partial(warm_encoder, name, device="cpu", trust_remote_code=False, **lengths)
        medians = []
        for way in (partial(Encoder.load, name), warm):
            seconds_to_train(way)
            medians.append(round(median(seconds_to_train(way) for _ in range(9)), 4))
        found[name] = dict(zip(("cpu_seconds_read", "cpu_seconds_held"), medians, strict=True))
    return found


def seconds_to_train(way: Callable[[], Any]) -> float:
    start = time.process_time()
    for weight in way().parameters():
        weight.data.mul_(1.0)
    return time.process_time() - start


def plan(count: int, folder: Path) -> dict[str, Any]:
    spec = read_spec("quickstart", [f"seeds={list(range(count // 20))}"], None)
    prepare_sweep(spec, None)
    store = Store(folder / "store")
    trials = make_plan(spec, store).trials
    for trial in trials:
        model = folder / "store" / "models" / (trial.train_key or "")
        model.mkdir(parents=True, exist_ok=True)
        (model / "DONE").touch()
    start = time.perf_counter()
    planned = make_plan(spec, store)
    return {"trials": len(planned.trials), "seconds": round(time.perf_counter() - start, 2)}


if __name__ == "__main__":
    main()
