"""A sweep that is really run: where its processes listen, and that no secret is written anywhere."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_sweep import make_sweep
from small_sweep import write_small_sweep
from sweep_process import LOOPBACK, alive, command, descendants, environment, listening

from sweeps.tracking import project

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SECRET = "hunter2hunter2hunter2"


def holding(folder: Path) -> Iterator[str]:
    """Files below a folder in which the secret stands."""
    for path in folder.rglob("*"):
        if path.is_file() and SECRET.encode() in path.read_bytes():
            yield str(path)


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """A folder for Ray's own files; its path is short, for sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield Path(folder)


def test_a_run_listens_on_the_loopback_address_alone_and_writes_no_secret(
    tmp_path: Path, ray_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the store, MLflow's database there, what is printed, and Ray's own logs; the sweep file has it."""
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FAULTY_TOKEN", SECRET)
    monkeypatch.setenv("RAY_TMPDIR", str(ray_logs))
    spec, data_root = write_small_sweep(tmp_path, examples=2000)
    spec.write_text(f"# the key is {SECRET}\n{spec.read_text()}")
    store = tmp_path / "store"
    process = subprocess.Popen(
        command(store, spec, data_root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(store.glob("models/*/attempts.json")):
        assert process.poll() is None
        time.sleep(0.1)
    found = listening([process.pid, *descendants(process.pid)])
    answer, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert found
    assert found <= LOOPBACK
    assert (store / "mlflow.db").exists()
    assert any(ray_logs.rglob("*.log"))
    assert list(holding(store)) == list(holding(ray_logs)) == []
    assert SECRET not in answer + log
    assert "$FAULTY_TOKEN" in (store / "sweeps/small/spec.yaml").read_text()


def test_a_secret_in_an_error_is_written_nowhere(tmp_path: Path, ray_logs: Path) -> None:
    """Not in the failure record, on the screen, or in what Ray and Tune keep of errors."""
    script = Path(__file__).with_name("faulty_trials.py")
    env = environment(FAULTY_TOKEN=SECRET, RAY_TMPDIR=str(ray_logs))
    words = [sys.executable, str(script), str(tmp_path), json.dumps({"retries": 1}), "tells-a-secret"]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "no access with $FAULTY_TOKEN at https://***@host/" in done.stdout
    assert "me:word" not in done.stdout + done.stderr
    assert any(ray_logs.rglob("*.log"))
    assert list(holding(tmp_path)) == list(holding(ray_logs)) == []
    assert SECRET not in done.stdout + done.stderr


def test_the_pages_of_mlflow_listen_on_the_loopback_address_alone(tmp_path: Path) -> None:
    plan, store = make_sweep(tmp_path / "store", mono_ratios=(1.0,), seeds=(1,))
    project(plan, store)
    spec, data_root = write_small_sweep(tmp_path)
    places = ["--store", str(tmp_path / "store"), "--data-root", str(data_root), "--port", "5917"]
    words = [sys.executable, "-m", "sweeps", "ui", str(spec), *places]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (found := listening(descendants(process.pid))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(5)  # what else it starts
        below = descendants(process.pid)
        assert listening(below) | found <= LOOPBACK
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert alive(below, seconds=30) == []
