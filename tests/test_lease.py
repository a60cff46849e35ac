"""One driver at a time, and one that can be asked to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_process import process_namespace

import sweeps.lease
from hybrid.errors import BadInput
from sweeps.lease import Lease, ask_to_stop, holder
from sweeps.store import Store


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Lease(store, "a"):
        with pytest.raises(BadInput, match=rf"process {os.getpid()} on"), Lease(store, "a"):
            pass
        with Lease(store, "b"):
            pass
    assert holder(store, "a") is None
    with Lease(store, "a"):
        pass


def test_the_lease_of_a_dead_process_is_broken_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sweeps.lease import Lease; from sweeps.store import Store\n"
        "Lease(Store(sys.argv[1]), 'a').__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    store = Store(tmp_path)
    assert store.exists("sweeps/a/lease.json")
    with Lease(store, "a"):
        current = holder(store, "a")
        assert current is not None
        assert current["pid"] == os.getpid()


def test_a_lease_on_another_machine_ends_when_it_is_not_renewed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Lease(store, "a"):
        lease = store.get_json("sweeps/a/lease.json")
    elsewhere = {**lease, "host": "elsewhere"}
    store.put_json("sweeps/a/lease.json", elsewhere)
    with pytest.raises(BadInput, match="on elsewhere"), Lease(store, "a"):
        pass
    store.put_json("sweeps/a/lease.json", {**elsewhere, "renewed": time.time() - 61})
    with Lease(store, "a"):
        pass


def test_a_lease_of_another_container_here_is_not_taken_for_a_dead_ones(tmp_path: Path) -> None:
    """A process id means nothing outside its namespace: that lease counts until it is no longer renewed."""
    code = (
        "import sys, time; from sweeps.lease import Lease; from sweeps.store import Store\n"
        "with Lease(Store(sys.argv[1]), 'a'): print('held', flush=True); sys.stdin.read()"
    )
    words = [*process_namespace(), sys.executable, "-c", code, str(tmp_path)]
    contained = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert contained.stdout is not None
    assert contained.stdout.readline() == b"held\n"
    with pytest.raises(BadInput, match="is being run by process"), Lease(Store(tmp_path), "a"):
        pass
    contained.communicate()
    with Lease(Store(tmp_path), "a"):
        pass


def test_of_many_that_come_at_once_one_gets_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from sweeps.lease import Lease; from sweeps.store import Store\n"
        "from hybrid.errors import BadInput\n"
        "time.sleep(max(0.0, float(sys.argv[2]) - time.time()))\n"
        "try:\n"
        "    with Lease(Store(sys.argv[1]), 'a'): print('mine'); time.sleep(4)\n"
        "except BadInput: print('refused')\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(time.time() + 4)]
    several = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = sorted(one.communicate()[0].strip() for one in several)
    assert said == ["mine"] + ["refused"] * 5


def test_a_holder_asked_to_stop_ends_as_by_sigterm(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert ask_to_stop(store, "a", wait_seconds=1) is None
    code = (
        "import signal, sys, time; from sweeps.lease import Lease; from sweeps.store import Store\n"
        "def end(number, frame): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "with Lease(Store(sys.argv[1]), 'a') as lease:\n"
        "    print('holding', flush=True)\n"
        "    try: time.sleep(60)\n"
        "    except KeyboardInterrupt: print(lease.ended_by)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    asked = ask_to_stop(store, "a", wait_seconds=20)
    assert asked is not None
    assert asked["pid"] == process.pid
    assert process.communicate(timeout=20)[0] == "`sweeps stop`\n"
    assert store.list("sweeps") == []


def test_a_request_to_stop_an_earlier_run_does_not_stop_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.lease, "_ASK_SECONDS", 0.01)
    store = Store(tmp_path)
    store.put_json("sweeps/a/stop.json", {"token": "of another"})
    with Lease(store, "a") as lease:
        time.sleep(0.2)
    assert lease.ended_by is None


def test_a_holder_that_slept_while_another_took_over_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.lease, "_ASK_SECONDS", 0.01)
    monkeypatch.setattr(sweeps.lease, "RENEW_SECONDS", 0.05)
    ended: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    try:
        store = Store(tmp_path)
        with Lease(store, "a") as lease:
            taken = {**store.get_json("sweeps/a/lease.json"), "token": "another's", "host": "elsewhere"}
            store.put_json("sweeps/a/lease.json", taken)
            deadline = time.monotonic() + 10
            while not ended and time.monotonic() < deadline:
                time.sleep(0.01)
        assert ended == [signal.SIGTERM]
        assert "on elsewhere" in (lease.ended_by or "")
        current = holder(store, "a")
        assert current is not None
        assert current["token"] == "another's"
    finally:
        signal.signal(signal.SIGTERM, before)
