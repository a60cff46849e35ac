"""Limits of sweeps that are really run: they end the run, are kept over restarts, and count every attempt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nodes import nodes
from small_sweep import write_small_sweep
from sweep_process import all_scores, environment, planned, run

from sweeps.budget import read_usage
from sweeps.store import Store
from sweeps.trial import run_trial

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).with_name("faulty_trials.py")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_limit_on_trials_ends_the_run_and_a_restart_does_not_forget_it(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path, more="limits: {trials: 2}")
    store = tmp_path / "store"
    code, ended, log = run(store, spec, data_root)
    assert (code, ended["ran"]) == (3, 2), log
    assert "limits.trials: 2 of at most 2 were run" in ended["message"]
    code, ended, log = run(store, spec, data_root)
    assert (code, ended["ran"]) == (3, 0), log
    code, ended, log = run(store, spec, data_root, "--set", "limits.trials=9")
    assert (code, ended["ran"]) == (0, 3), log
    plan, alone = planned(store, spec, data_root), tmp_path / "alone"
    for trial in plan.trials:
        run_trial(trial, Store(alone), data_root)
    assert all_scores(plan, store) == all_scores(plan, alone)


def test_wall_hours_stop_what_is_running_and_a_restart_does_not_forget_them(tmp_path: Path) -> None:
    """A trial that would take an hour, a limit of 0.005 h = 18 s: stopped, then not started again."""
    spec, data_root = write_small_sweep(tmp_path, examples=10**6, more="limits: {wall_hours: 0.005}")
    store = tmp_path / "store"
    code, ended, log = run(store, spec, data_root)
    assert code == 3, log
    assert "limits.wall_hours: 0.005 are used up" in ended["message"]
    used = read_usage(Store(store), "small")
    assert used is not None
    attempts = used.attempts
    assert attempts > 0
    code, ended, log = run(store, spec, data_root)
    assert (code, ended["ran"]) == (3, 0), log
    again = read_usage(Store(store), "small")
    assert again is not None
    assert again.attempts == attempts
    assert again.wall_seconds >= used.wall_seconds


def test_gpu_hours_count_every_attempt_and_a_restart_does_not_forget_them(tmp_path: Path) -> None:
    """Trials of half a (made up) GPU that die and are tried again: the limit ends them, later runs too."""
    limits = {"retries": 50, "gpu_hours": 0.002}  # 7.2 s of a GPU

    def faulty(folder: Path, **env: str) -> dict[str, Any]:
        words = [
            sys.executable,
            str(SCRIPT),
            str(folder),
            json.dumps(limits),
            "is-killed",
            "is-killed",
            "fine",
        ]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(**env), check=True)
        assert "reached: limits.gpu_hours: 0.002 are used up" in done.stdout
        return vars(read_usage(Store(folder / "store"), "faulty"))

    with nodes() as several:
        several.add(cpus=2, gpus=1)
        env = {**several.environment, "RAY_ADDRESS": several.address, "FAULTY_GPUS": "0.5"}
        first = faulty(tmp_path, **env)
        assert first["gpu_seconds"] >= 7.2
        assert first["attempts"] > 3
        again = faulty(tmp_path, **env)
    assert again["attempts"] == first["attempts"]
