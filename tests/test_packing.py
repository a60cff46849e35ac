"""How many trials run at a time, and in which order."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import environment, planned

from sweeps.estimate import Work, work_left
from sweeps.plan import Trial
from sweeps.store import Store


@pytest.mark.long
@pytest.mark.parametrize(("gpus", "most", "together"), [(0.25, 0, 4), (0.5, 0, 2), (0.125, 3, 3)])
def test_fractions_of_a_gpu_share_one(tmp_path: Path, gpus: float, most: int, together: int) -> None:
    """As Ray counts them: the GPU is one in name alone. Trials start in the order given."""
    script = Path(__file__).with_name("packed_trials.py")
    done = subprocess.run(
        [sys.executable, str(script), "8", str(gpus), str(most), str(together), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(RAY_AUTH_MODE="disabled", RAY_worker_niceness="0"),
    )
    assert done.returncode == 0, done.stderr
    ran = [Store(tmp_path / "store").get_json(f"ran/{i}.json") for i in range(8)]
    assert {one["gpu"] for one in ran} == {"0"}
    at_once = [sum(o["start"] <= one["start"] < o["end"] for o in ran) for one in ran]
    assert max(at_once) == together
    first = sorted(ran[:together], key=lambda one: one["start"])
    assert max(one["start"] for one in first) <= min(one["start"] for one in ran[together:])


def test_what_trains_longer_costs_more_and_the_untouched_backbone_least(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    plan = planned(tmp_path / "store", spec, data_root)
    trained = next(trial for trial in plan.trials if trial.train is not None)
    (untouched,) = [trial for trial in plan.trials if trial.train is None]
    assert trained.train is not None
    longer = replace(
        trained, seed=99, train=trained.train.model_copy(update={"steps": 2 * trained.train.steps})
    )
    plan = replace(plan, trials=(longer, trained, untouched))
    costs = [work.cost for work in work_left(plan, plan.trials)]
    assert costs[0] > costs[1] > costs[2] > 0
    weights = (tmp_path / "backbone" / "model.safetensors").stat().st_size
    assert costs[2] % weights == 0
    size = sum(file.stat().st_size for file in (tmp_path / "backbone").glob("**/*.safetensors"))
    folders = {name: tmp_path / name for name in ("both", "larger", "unknown")}
    for folder in folders.values():
        shutil.copytree(tmp_path / "backbone", folder)
    (folders["both"] / "pytorch_model.bin").write_bytes(bytes(weights))
    for name in ("larger", "unknown"):
        for file in folders[name].glob("**/*.safetensors"):
            file.unlink()
    (folders["larger"] / "pytorch_model.bin").write_bytes(bytes(3 * size))
    others = [replace(untouched, backbone=str(folder)) for folder in folders.values()]
    of_others = [work.cost for work in work_left(plan, [untouched, *others])]
    assert of_others == [costs[2], costs[2], 3 * costs[2], costs[2]]


def test_what_the_store_has_of_a_trial_is_not_counted_again(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    plan = planned(tmp_path / "store", spec, data_root)
    trained = replace(next(trial for trial in plan.trials if trial.train is not None), train_key="k")
    merged = replace(trained, train_key="m", merges="k")

    def left(trial: Trial, **known: frozenset[str]) -> Work:
        (work,) = work_left(replace(plan, trials=(trial,), **known), [trial])  # type: ignore[arg-type]
        return work

    new, begun, over = (
        left(trained),
        left(trained, begun=frozenset("k")),
        left(trained, trained=frozenset("k")),
    )
    assert new.training == 2 * begun.training > over.training == 0
    assert new.tasks == over.tasks == tuple(trained.scores)
    assert left(merged, begun=frozenset("k")).training == begun.training
    assert left(merged, trained=frozenset("k")).training == 0, "averaging weights is no training"


def test_the_share_behind_a_trial_is_of_what_was_left_of_it() -> None:
    whole, measured = Work(2000.0, ("a", "b")), Work(0.0, ("b",))
    assert whole.share_behind("starting", 0.5) == 0.0
    assert whole.share_behind("training", 0.5) == 0.25
    assert whole.share_behind("a", 0.0) == 0.5
    assert whole.share_behind("b", 0.5) == 0.875
    assert measured.share_behind("training", 1.0) == measured.share_behind("b", 0.0) == 0.0
    assert measured.share_behind("b", 0.5) == 0.5
