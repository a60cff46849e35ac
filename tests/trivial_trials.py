"""Trials that do nothing, and a script that schedules many of them: `trivial_trials.py COUNT FOLDER`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybrid.config import EvalConfig
from sweeps.arms import Arm
from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import check_cluster, ray_cluster
from sweeps.estimate import Work
from sweeps.plan import Trial
from sweeps.spec_sections import Limits
from sweeps.store import Store


def trivial_trials(count: int, gpus: float = 0.0, aliases: Sequence[str] = ()) -> list[Trial]:
    names = aliases or ["a"] * count
    arms = [Arm(alias=name, axes={"x": 1}, reference=None, untouched=False, backbone="b") for name in names]
    return [Trial(arm, i, None, EvalConfig(), "b", f"{i:020x}", {}, 1.0, gpus) for i, arm in enumerate(arms)]


def do_nothing(trial: Trial, store: Store, data_root: Path | None, **_: Any) -> Any:  # noqa: ARG001
    from sweeps.trial import Outcome

    store.put_json(f"models/{trial.train_key}/DONE", {})
    return Outcome(True, 0.0, {}, 0.0, 0.0, 0)


def main(count: int, folder: Path) -> None:
    store, trials = Store(folder / "store"), trivial_trials(count)
    (folder / "ray").mkdir(parents=True)
    budget = Budget(Limits(), store, "trivial", trials)
    with ray_cluster(None), Board(store, "trivial", trials, [Work(1.0)] * count, budget) as board:
        from sweeps.schedule import schedule

        check_cluster(trials, store, None)
        schedule(
            *(trials, store, None, board, budget, folder / "ray"),
            max_concurrent=None,
            on_trial=lambda _: None,
            run=do_nothing,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
