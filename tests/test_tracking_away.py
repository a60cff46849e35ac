"""A real tracking server that is killed, comes back or hangs while a sweep runs: nothing is lost by it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import all_scores, command, planned, run, tracked

from sweeps.store import Store
from sweeps.trial import run_trial
from sweeps.ui import environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

WHOLE = {"small": ["FINISHED"] * 5, "small · arms": ["FINISHED"] * 3}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")


class Server:
    """`mlflow server` on one port and database, started as often as wanted."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.address, self._folder = f"http://127.0.0.1:{port}", folder
        self._words = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        self.start()

    def start(self) -> None:
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                self._words, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.answers, self._process)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
        except OSError:
            return False
        return True

    def send(self, number: int) -> None:
        """A signal to all its processes."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 200
    while not what():
        assert process.poll() is None, "it ended before that"
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Running:
    """A sweep of five trials that tracks to a server, one trial after another."""

    def __init__(self, folder: Path, address: str) -> None:
        more = f"tracking: {{uri: '{address}'}}"
        self.spec, self.data_root = write_small_sweep(folder, examples=2000, more=more)
        self.store, self._log = folder / "store", folder / "run.log"
        self.address = address
        with self._log.open("w") as log:
            words = command(self.store, self.spec, self.data_root, "--max-concurrent", "1")
            self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)

    def done(self) -> int:
        """Trials that the store has all of."""
        if not (self.store / "sweeps/small/plan.json").exists():
            return 0
        return len(planned(self.store, self.spec, self.data_root).done)

    def is_tracked(self) -> bool:
        return self.done() > 0 and "FINISHED" in tracked(self.store, self.address).get("small", [])

    def end(self) -> str:
        """Its log, once it ended as it should."""
        code = self.process.wait(timeout=300)
        log = self._log.read_text()
        assert code == 0, log
        return log

    def sync(self) -> dict[str, int]:
        code, answer, log = run(self.store, self.spec, self.data_root, of="sync")
        assert code == 0, log
        return {name: answer[name] for name in ("created", "updated", "unchanged")}


def test_a_server_killed_in_the_middle_and_started_again_shows_everything(
    tmp_path: Path, server: Server
) -> None:
    sweep = Running(tmp_path, server.address)
    wait_for(sweep.is_tracked, sweep.process)
    server.kill()
    done = sweep.done()
    assert done < 5
    wait_for(lambda: sweep.done() > done, sweep.process)  # without the server
    server.start()
    sweep.end()
    assert tracked(sweep.store, server.address) == WHOLE
    assert sweep.sync() == {"created": 0, "updated": 0, "unchanged": 8}


def test_a_server_gone_for_good_loses_nothing_and_sync_makes_up_for_it(
    tmp_path: Path, server: Server
) -> None:
    """Scores are those of a run without tracking; `sweeps sync` later shows all of it, twice as once."""
    sweep = Running(tmp_path, server.address)
    wait_for(sweep.is_tracked, sweep.process)
    server.kill()
    log = sweep.end()
    assert "MLflow is behind the store" in log
    assert "Traceback" not in log
    plan = planned(sweep.store, sweep.spec, sweep.data_root)
    alone = tmp_path / "alone"
    for trial in plan.trials:
        run_trial(trial, Store(alone), sweep.data_root)
    assert all_scores(plan, sweep.store) == all_scores(plan, alone)
    code, answer, log = run(sweep.store, sweep.spec, sweep.data_root, of="sync")
    assert code == 2, log
    assert "does not answer" in answer["mistakes"][0]
    server.start()
    first = sweep.sync()
    assert first["created"] + first["updated"] + first["unchanged"] == 8
    assert first["unchanged"] < 8
    assert tracked(sweep.store, server.address) == WHOLE
    assert sweep.sync() == {"created": 0, "updated": 0, "unchanged": 8}
    assert tracked(sweep.store, server.address) == WHOLE


def test_trials_do_not_wait_for_a_server_that_hangs(tmp_path: Path, server: Server) -> None:
    """Stopped, it takes connections and answers none; all trials end and the run does, too."""
    sweep = Running(tmp_path, server.address)
    wait_for(sweep.is_tracked, sweep.process)
    server.send(signal.SIGSTOP)
    assert sweep.done() < 5
    log = sweep.end()  # the server is still stopped
    assert sweep.done() == 5
    assert "MLflow is behind the store" in log
    server.send(signal.SIGCONT)
    assert sweep.sync()["unchanged"] < 8
    assert tracked(sweep.store, server.address) == WHOLE
    assert sweep.sync() == {"created": 0, "updated": 0, "unchanged": 8}
