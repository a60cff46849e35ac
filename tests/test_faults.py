"""Trials that really hang, run out of memory, fill the disk, raise, diverge, die: recorded, others go on."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweep_process import environment
from trivial_trials import trivial_trials

from sweeps.store import Store

SCRIPT = Path(__file__).with_name("faulty_trials.py")

pytestmark = pytest.mark.long


def faulty(folder: Path, kinds: list[str], limits: dict[str, Any], **env: str) -> tuple[str, dict[str, Any]]:
    """What was said, and the failure record of each kind."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), json.dumps(limits), *kinds],
        capture_output=True,
        text=True,
        env=environment(**env),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(folder / "store")
    trials = trivial_trials(len(kinds), aliases=kinds)
    records = {trial.arm.alias: store.failure(trial.train_key or "") for trial in trials}
    for trial in trials:
        failed = records[trial.arm.alias] is not None
        assert store.exists(f"models/{trial.train_key}/DONE") is not failed
    return done.stdout, records


@pytest.mark.parametrize("kind", ["sleeps", "holds-the-interpreter", "is-stopped"])
def test_a_trial_that_hangs_is_ended_tried_again_and_recorded(tmp_path: Path, kind: str) -> None:
    """Asleep, in C code that never lets another thread run, and stopped by a signal."""
    limits = {"retries": 1, "stalled_minutes": 0.4}
    said, records = faulty(tmp_path, ["fine", kind, "fine-too"], limits)
    assert records["fine"] is None
    assert records["fine-too"] is None
    assert records[kind]["kind"] == "Stalled"
    assert "no progress for 0.4 minutes" in records[kind]["reason"]
    assert records[kind]["attempts"] == 2
    assert said.count("it is tried again") == 1
    if kind != "is-stopped":
        assert "while training" in records[kind]["reason"]
        assert 'faulty_trials.py", line' in records[kind]["log"]
        assert "in go_wrong" in records[kind]["log"]


def test_what_raises_dies_or_fills_the_disk_is_recorded_after_its_retries(tmp_path: Path) -> None:
    kinds = ["raises", "is-killed", "fills-the-disk", "passes-its-memory-limit", "diverges"]
    kinds += ["passes-the-second-time", "fine"]
    said, records = faulty(tmp_path, kinds, {"retries": 2})
    assert {kind: record and record["attempts"] for kind, record in records.items()} == {
        "raises": 3,
        "is-killed": 3,
        "fills-the-disk": 3,
        "passes-its-memory-limit": 3,
        "diverges": 1,  # it would diverge again
        "passes-the-second-time": None,
        "fine": None,
    }
    assert records["raises"]["reason"] == "RuntimeError: a cable is loose"
    assert "in go_wrong" in records["raises"]["log"]
    assert "File too large" in records["fills-the-disk"]["reason"]
    assert "process was killed" in records["is-killed"]["reason"]
    assert records["diverges"]["kind"] == "FloatingPointError"
    assert records["passes-its-memory-limit"]["kind"] == "MemoryError"
    assert len(re.findall("it is tried again", said)) == 2 + 2 + 2 + 2 + 1
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_a_trial_that_eats_the_memory_is_recorded(tmp_path: Path) -> None:
    """Ray's memory monitor ends it: its threshold is set 3 GB above what is used now."""
    fields = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = int(fields["MemTotal:"]), int(fields["MemAvailable:"])
    threshold = (total - free + 3e6) / total
    if threshold > 0.95:
        pytest.skip(f"only {free / 1e6:.1f} GB of memory are free")
    _, records = faulty(
        *(tmp_path, ["eats-memory", "fine"], {"retries": 1}),
        RAY_memory_usage_threshold=f"{threshold:.3f}",
        RAY_memory_monitor_refresh_ms="100",
    )
    assert records["fine"] is None
    assert records["eats-memory"]["kind"] == "OutOfMemory"
    assert "memory was full" in records["eats-memory"]["reason"]
    assert records["eats-memory"]["attempts"] == 2


def test_failures_one_after_another_stop_the_sweep(tmp_path: Path) -> None:
    limits = {"retries": 0, "max_consecutive_failed": 3}
    words = [sys.executable, str(SCRIPT), str(tmp_path), json.dumps(limits), *["diverges"] * 12]
    said = subprocess.run(words, capture_output=True, text=True, env=environment(), check=True).stdout
    assert "reached: limits.max_consecutive_failed: 3 trials in a row failed of one cause" in said
    store = Store(tmp_path / "store")
    failed = [trial for trial in trivial_trials(12) if store.failure(trial.train_key or "")]
    assert 3 <= len(failed) <= 6  # a few were running already
