"""Sweeps on several nodes that are taken away with and without notice."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nodes import nodes
from small_sweep import write_small_sweep
from sweep_process import alive, all_scores, command, descendants, finished, planned, run, tracked

from sweeps.attempts import attempts_at
from sweeps.plan import make_plan, prepare_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.trial import run_trial

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_sigterm_to_a_node_leads_to_a_checkpoint_and_the_trial_goes_on_elsewhere(tmp_path: Path) -> None:
    """Notice of 30 s: the node is left long before; without retries to spend, for it counts as none."""
    spec, data_root = write_small_sweep(tmp_path, examples=8_000, more="limits: {retries: 0}")
    text = spec.read_text().replace("mono_ratio: [1.0, 0.0]", "mono_ratio: [1.0]")
    spec.write_text(text.replace("seeds: [1, 2]", "seeds: [1]"))
    store = tmp_path / "store"
    sweep = read_spec(str(spec), [], data_root)
    prepare_sweep(sweep, data_root)
    plan = make_plan(sweep, Store(store), data_root)
    (trained,) = [trial for trial in plan.trials if trial.train is not None]
    with nodes(RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="30") as several:
        two = (several.add(), several.add())
        words = command(store, spec, data_root, "--address", several.address)
        process = subprocess.Popen(
            words, env=several.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (running := attempts_at(Store(store), trained)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        (left,) = [node for node in two if running[0]["pid"] in descendants(node.process.pid)]
        assert not list(store.glob("models/*/checkpoints/*/DONE"))  # a minute has not passed
        start = time.monotonic()
        left.process.send_signal(signal.SIGTERM)
        left.process.wait(timeout=60)
        assert time.monotonic() - start < 30
        answer, log = process.communicate(timeout=400)
    assert process.returncode == 0, answer + log
    record = Store(store).record(trained.train_key or "")
    assert record is not None
    assert record["resumed_from"] > 0
    assert [one["state"] for one in attempts_at(Store(store), trained)] == ["cut off", "done"]
    alone = tmp_path / "alone"
    for trial in plan.trials:
        run_trial(trial, Store(alone), data_root)
    assert all_scores(plan, store) == all_scores(plan, alone)


@pytest.mark.parametrize("seed", range(2))
def test_raylets_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    """SIGKILL to the raylets of worker nodes, again and again, each replaced by a new node.

    Without retries to spend: the loss of a machine is never the trial's fault.
    """
    spec, data_root = write_small_sweep(tmp_path, examples=800, more="limits: {retries: 0}")
    store, random_ = tmp_path / "store", random.Random(seed)
    done: dict[str, int] = {}
    below: set[int] = set()
    with nodes() as several:
        current = several.add()
        words = command(store, spec, data_root, "--address", several.address)
        process = subprocess.Popen(
            words, env=several.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4):  # five in a row may end one trial
            time.sleep(random_.uniform(6, 20))
            if process.poll() is not None:
                break
            raylet = current.raylet()
            below.update(descendants(current.process.pid))
            if raylet is not None:
                os.kill(raylet, signal.SIGKILL)
            assert done.items() <= finished(store).items()
            done = finished(store)
            current = several.add()
        answer, log = process.communicate(timeout=400)
        assert process.returncode == 0, answer + log
        assert alive(below - set(descendants(current.process.pid)), seconds=90) == []
    assert json.loads(answer)["failed"] == []
    assert done.items() <= finished(store).items()
    plan = planned(store, spec, data_root)
    whole = tmp_path / "whole"
    assert run(whole, spec, data_root)[0] == 0
    assert all_scores(plan, store) == all_scores(plan, whole)
    assert tracked(store) == {"small": ["FINISHED"] * 5, "small · arms": ["FINISHED"] * 3}
