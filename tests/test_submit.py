"""Sweeps handed to a cluster: a head is really started, a job really submitted to it."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import command

import sweeps.submit
from hybrid.errors import BadInput
from sweeps.lease import Lease
from sweeps.plan import make_plan
from sweeps.run import run_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.submit import submit_sweep


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the dashboard of a head on this machine that takes a token, and no other machine's calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # a process reads its token once
        patch.delenv("RAY_AUTH_MODE", raising=False)
        yield from start_head()


def start_head(port: int | None = None) -> Iterator[str]:
    """Yields the dashboard's address; `port` is where the cluster itself listens."""
    ports = {name: str(free_port()) for name in ("dashboard-port", "dashboard-agent-listen-port")}
    ports["port"] = str(port or free_port())
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    options = [f"--{name}={port}" for name, port in ports.items()]
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"),
            *("--dashboard-host=127.0.0.1", "--num-cpus=2", "--object-store-memory=100000000", *options),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=1)
        except urllib.error.HTTPError:
            return  # it answers, if only that a token is wanted
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no dashboard at {address}")


@pytest.mark.long
def test_a_job_runs_the_sweep_on_a_head(head: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    store = tmp_path / "store"
    sweep = read_spec(str(spec), [], data_root)
    job = submit_sweep(sweep, head, store=str(store), data_root=data_root, arguments=["--json"])
    out, said = capfd.readouterr()
    assert job.state == "SUCCEEDED", out + said
    assert job.megabytes < 20
    assert f"packaged {job.megabytes:.1f} MB" in said
    ended = next(json.loads(line) for line in out.splitlines() if line.startswith('{"exit_code"'))
    assert ended["ran"] == 5
    plan = make_plan(sweep, Store(store), data_root)
    assert len(plan.done) == len(plan.trials) == 5


@pytest.mark.long
def test_a_job_that_finds_bad_input_fails_with_its_sentence(
    head: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    sweep = read_spec(str(spec), [], data_root)
    job = submit_sweep(sweep, head, store="/proc/store", data_root=data_root)
    out, _ = capfd.readouterr()
    assert (job.state, job.exit_code) == ("FAILED", 2)  # as `sweeps run` here would end
    assert "store /proc/store: cannot be written" in out


def test_what_travels_is_the_code_and_the_sweep_file_and_its_size_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    sweep = read_spec(str(spec), [], data_root)
    megabytes = sweeps.submit._package(sweep, tmp_path / "package")
    assert {path.name for path in (tmp_path / "package").iterdir()} == {"hybrid", "sweeps", "small.yaml"}
    files = [path for path in (tmp_path / "package").rglob("*") if path.is_file()]
    assert megabytes == pytest.approx(sum(path.stat().st_size for path in files) / 1e6)
    assert not [path for path in files if "__pycache__" in path.parts or path.name.startswith(".")]
    monkeypatch.setattr(sweeps.submit, "_LARGEST_MB", megabytes / 2)
    with pytest.raises(BadInput, match="something large lies in"):
        sweeps.submit._package(sweep, tmp_path / "again")


@pytest.mark.long
def test_another_token_is_one_sentence(head: str, tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    words = [sys.executable, "-m", "sweeps", "submit", str(spec), "--data-root", str(data_root)]
    done = subprocess.run(
        [*words, "--address", head, "--store", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_AUTH_TOKEN": "b" * 64},
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the cluster wants another token" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_head_that_dies_under_a_run_is_said_and_the_run_goes_on_at_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray says nothing for a minute and ends the process then."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # as the head: on loopback alone
    spec, data_root = write_small_sweep(tmp_path, examples=4000)
    store, port = tmp_path / "store", free_port()
    words = command(store, spec, data_root, "--address", f"127.0.0.1:{port}")
    for _ in start_head(port):
        running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not list(store.glob("models/*/DONE")):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        os.kill(gcs_server(port), signal.SIGKILL)
        _, log = running.communicate(timeout=120)
        assert running.returncode != 0
        assert f"the head of the cluster, 127.0.0.1:{port}, does not answer any more" in log
        assert f"--address 127.0.0.1:{port}` goes on from there" in log
    for _ in start_head(port):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        strange = {**os.environ, "RAY_AUTH_TOKEN": "b" * 64}
        refused = subprocess.run(words, capture_output=True, text=True, check=False, env=strange)
        assert "nothing to run" in refused.stdout  # what needs no cluster asks none
        more = [*words, "--set", "seeds=[1,2,3]"]
        refused = subprocess.run(more, capture_output=True, text=True, check=False, env=strange)
        assert refused.returncode == 2
        assert "the cluster wants another token" in refused.stdout
        assert "Traceback" not in refused.stderr
    plan = make_plan(read_spec(str(spec), [], data_root), Store(store), data_root)
    assert len(plan.done) == len(plan.trials) == 5


def gcs_server(port: int) -> int:
    """Process id of the server that knows everything of a cluster."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[0].endswith("gcs_server") and f"--gcs_server_port={port}" in words:
                return int(path.parent.name)
    raise AssertionError(f"no cluster listens at {port}")


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_an_address_that_is_no_heads_is_one_sentence(address: str, tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with pytest.raises(BadInput, match="wants the head and its port, HEAD:6379"):
        run_sweep(read_spec(str(spec), [], data_root), Store(tmp_path / "store"), data_root, address=address)


@pytest.mark.parametrize(
    "address", ["auto", "127.0.0.1:6379", "ray://127.0.0.1:10001", "http://me:pw@head:8265"]
)
def test_an_address_that_is_no_dashboards_is_one_sentence(address: str, tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with pytest.raises(BadInput, match="give that of the cluster's dashboard") as refused:
        submit_sweep(read_spec(str(spec), [], data_root), address, store=str(tmp_path / "store"))
    assert "pw" not in str(refused.value)


def test_what_somebody_runs_is_not_submitted(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with (
        Lease(Store(tmp_path / "store"), "small"),
        pytest.raises(BadInput, match=rf"by process {os.getpid()} on"),
    ):
        submit_sweep(read_spec(str(spec), [], data_root), "http://head:8265", store=str(tmp_path / "store"))


def test_a_store_only_this_machine_sees_is_refused(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with pytest.raises(BadInput, match="all its machines"):
        submit_sweep(read_spec(str(spec), [], data_root), "http://127.0.0.1:1", store="store")


def test_an_address_where_nothing_answers_is_one_sentence(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    sweep = read_spec(str(spec), [], data_root)
    with pytest.raises(BadInput, match="no Ray dashboard answers"):
        submit_sweep(sweep, f"http://127.0.0.1:{free_port()}", store="/store")
