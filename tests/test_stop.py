"""`sweeps stop` on a sweep that runs: a process of its own here, and a job that was submitted."""

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import alive, command, descendants, planned, run
from test_submit import start_head

from sweeps.attempts import attempts_at
from sweeps.lease import holder
from sweeps.plan import Plan
from sweeps.store import Store

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")


def wait_for_training(store: Store, plan: Plan) -> None:
    deadline = time.monotonic() + 300
    while not any(one["doing"] == "training" for one in _running(store)):
        assert time.monotonic() < deadline, [attempts_at(store, trial) for trial in plan.trials]
        time.sleep(0.2)


def _running(store: Store) -> list[dict[str, str]]:
    return list((store.get_json("sweeps/small/progress.json") or {"running": []})["running"])


def test_a_run_in_another_process_is_stopped_and_goes_on_later(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path, examples=60_000)  # minutes, if it were not stopped
    place = tmp_path / "store"
    process = subprocess.Popen(
        command(place, spec, data_root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (place / "sweeps" / "small" / "digests.json").is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    store, plan = Store(place), planned(place, spec, data_root)
    wait_for_training(store, plan)
    below = descendants(process.pid)
    status, asked, log = run(place, spec, data_root, of="stop")
    assert status == 0, log
    assert asked["stopped"] is True
    out, log = process.communicate(timeout=60)
    assert process.returncode == 130, out + log
    assert "stopped by `sweeps stop`" in json.loads(out)["message"]
    assert holder(store, "small") is None
    assert alive(below, seconds=60) == []
    assert run(place, spec, data_root, of="stop")[1]["stopped"] is False


def test_a_submitted_job_is_watched_and_stopped_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followed until Ctrl-C; then status and stop see the store alone: no data, no address, no token."""
    spec, data_root = write_small_sweep(tmp_path, examples=60_000)
    place = tmp_path / "store"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    for address in start_head():
        words = command(place, spec, data_root, "--address", address, of="submit")
        following = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        elsewhere = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "HYBRID_"))}
        elsewhere["HYBRID_CACHE"] = str(tmp_path / "elsewhere")

        def ask(what: str, elsewhere: dict[str, str] = elsewhere) -> dict[str, object]:
            words = command(place, spec, tmp_path, of=what)
            words = [word for word in words if word not in ("--data-root", str(tmp_path))]
            done = subprocess.run(words, capture_output=True, text=True, check=False, env=elsewhere)
            assert done.returncode == 0, done.stderr
            return dict(json.loads(done.stdout))

        deadline = time.monotonic() + 400
        while not any(one["doing"] == "training" for one in _running(Store(place))):
            assert following.poll() is None, following.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        following.send_signal(signal.SIGINT)
        out, said = following.communicate(timeout=60)
        assert following.returncode == 0, out + said
        assert "no longer followed; the job goes on" in said
        assert json.loads(out)["state"] == "RUNNING"
        status = ask("status")
        assert status["trials"] == 5
        assert status["run_by"] is not None
        stopped = ask("stop")
        assert stopped["stopped"] is True
        assert stopped["goes_on"] == f"`{shlex.join(['sweeps', *words[3:]])}`"  # as it was typed here
        assert holder(Store(place), "small") is None
        assert ask("status")["run_by"] is None
