"""`sweeps run` as a process of its own, and what is left of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sweeps.plan import Plan, make_plan
from sweeps.spec import read_spec
from sweeps.store import Store


def command(store: Path, spec: Path, data_root: Path, *more: str, of: str = "run") -> list[str]:
    words = ["--yes", "--json"] if of == "run" else ["--json"]
    return [
        *(sys.executable, "-m", "sweeps", of, str(spec), *words),
        *("--store", str(store), "--data-root", str(data_root), *more),
    ]


def run(
    store: Path, spec: Path, data_root: Path, *more: str, of: str = "run"
) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer and log."""
    words = command(store, spec, data_root, *more, of=of)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def run_and(
    act: Callable[["subprocess.Popen[bytes]"], None], when: Callable[[], bool], arguments: list[str]
) -> int:
    """Start a command, do something to it as soon as `when` holds, and wait for its end."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not when() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be interrupted"
    act(process)
    return process.wait(timeout=60)


def process_namespace() -> list[str]:
    """Words before a command that let it see no other processes, as in a container; skips where they fail."""
    words = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("needs unshare and the right to make a process namespace")
    return words


def planned(store: Path, spec: Path, data_root: Path) -> Plan:
    return make_plan(read_spec(str(spec), [], data_root), Store(store), data_root)


def all_scores(plan: Plan, store: Path) -> dict[str, Any]:
    return {
        f"{trial.label} {task}": Store(store).scores(trial.train_key or "", key or "").to_pylist()
        for trial in plan.trials
        for task, key in trial.scores.items()
    }


def finished(store: Path) -> dict[str, int]:
    """Every file that says that something is finished, and when it was written, in nanoseconds."""
    paths = [*store.glob("models/*/DONE"), *store.glob("scores/*/*.json")]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def tracked(store: Path, uri: str | None = None) -> dict[str, list[str]]:
    """The states of the runs in each of MLflow's experiments; every key is there once."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri or f"sqlite:///{store}/mlflow.db")
    found = {}
    for experiment in client.search_experiments():
        runs = client.search_runs([experiment.experiment_id])
        keys = [run.data.tags.get("sweeps.key") for run in runs]
        assert len(set(keys)) == len(keys)
        if runs:
            found[experiment.name] = [run.info.status for run in runs]
    return found


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, workers of Ray among them."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def alive(pids: Iterable[int], seconds: float = 0.0) -> list[int]:
    """Those still running after at most `seconds`."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if _runs(pid)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.2)
    return []


def listening(pids: Iterable[int]) -> set[str]:
    """Addresses on which these processes accept TCP connections, as /proc/net writes them, ports left out."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                sockets.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as IPv6 writes it, and ::1."""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment(**more: str) -> dict[str, str]:
    """For scripts beside the tests, run as processes of their own and in Ray's workers."""
    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": f"{here.parent}:{here}", **more}
