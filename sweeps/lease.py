"""One run of a sweep in a store at a time: a lease that a dead holder does not keep.

The lease is `sweeps/<name>/lease.json`, renewed every few seconds. A holder on this machine is asked
for by its process id, so that a restart right after a kill just works; one on another machine counts
as dead when its lease was not renewed for a minute. `sweeps stop` asks a holder to end by a file
beside the lease, wherever the two are.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from hybrid.errors import BadInput
from sweeps.store import Store

RENEW_SECONDS = 10.0
EXPIRE_SECONDS = 60.0
_ASK_SECONDS = 1.0  # between looks for a request to stop
_SETTLE_SECONDS = 1.0  # from writing to trusting it in a store without locks: another may have written then


class Lease:
    """Context manager holding the lease of one sweep; BadInput if somebody alive holds it.

    A request to stop, or another that took the lease over while this process slept, ends the main thread
    as SIGTERM does; `ended_by` then says why. `goes_on` is the command that takes the sweep up later, kept
    for whoever stops it.
    """

    def __init__(self, store: Store, sweep_name: str, *, goes_on: str = "the same command") -> None:
        self.ended_by: str | None = None
        self._store, self._name, self._goes_on = store, sweep_name, goes_on
        self._token = uuid.uuid4().hex
        self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        with self._alone():
            current = holder(self._store, self._name)
            if current is None:
                self._write()
        if current is None and self._store.local is None:
            time.sleep(_SETTLE_SECONDS)
            current = holder(self._store, self._name)
        if current is not None and current["token"] != self._token:
            raise _is_run_by(current, self._store, self._name)
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._renewing.join(timeout=RENEW_SECONDS)
        current = _read(self._store, self._name)
        if current is not None and current["token"] == self._token:
            self._store.delete(_path(self._name))
        self._store.delete(_stop_path(self._name))

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._released.wait(_ASK_SECONDS):
            try:
                if self._asked_to_stop():
                    self._end("`sweeps stop`")
                    return
                if time.monotonic() - renewed >= RENEW_SECONDS:
                    current = _read(self._store, self._name)
                    if current is not None and current["token"] != self._token:
                        self._end(f"process {current['pid']} on {current['host']}, which runs the sweep now")
                        return
                    self._write()
                    renewed = time.monotonic()
            except OSError:
                continue  # a store that is away for a moment; the next renewal counts

    def _asked_to_stop(self) -> bool:
        path = _stop_path(self._name)
        if not self._store.exists(path):
            return False
        request = _json(self._store, path)
        return isinstance(request, dict) and request.get("token") == self._token

    def _end(self, by: str) -> None:
        self.ended_by = by
        if callable(signal.getsignal(signal.SIGTERM)):  # as `sweeps run` sets it; else whoever calls decides
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time looks whether the lease is free and takes it, where the store is a folder."""
        if self._store.local is None:
            yield
            return
        path = self._store.local / "tmp" / f"{self._name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self) -> None:
        lease = {
            "token": self._token,
            "host": socket.gethostname(),
            "boot": _boot(),
            "pid_namespace": _pid_namespace(),
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()),
            "since": self._since,
            "goes_on": self._goes_on,
            "renewed": time.time(),
        }
        self._store.put_json(_path(self._name), lease)


def holder(store: Store, sweep_name: str) -> dict[str, Any] | None:
    """Who is running the sweep: {"host", "pid", "since", …}; None if nobody alive is."""
    lease = _read(store, sweep_name)
    if lease is None:
        return None
    where = (lease["host"], lease["boot"], lease.get("pid_namespace"))
    if where == (socket.gethostname(), _boot(), _pid_namespace()):
        started = process_started(lease["pid"])
        return lease if started is not None and started == lease["process_started"] else None
    return lease if time.time() - lease["renewed"] < EXPIRE_SECONDS else None


def refuse_running(store: str, sweep_name: str) -> None:
    """Raise BadInput if somebody alive runs the sweep; a store this machine cannot read says nobody does."""
    try:
        there = Store(store)
        current = holder(there, sweep_name)
    except (OSError, BadInput):
        return
    if current is not None:
        raise _is_run_by(current, there, sweep_name)


def _is_run_by(current: Mapping[str, Any], store: Store, sweep_name: str) -> BadInput:
    return BadInput(
        f"sweep {sweep_name!r} in {store} is being run by process {current['pid']} on {current['host']} "
        f"since {current['since']}; wait for it or end it with `sweeps stop`"
    )


def others_running(store: Store, sweep_name: str) -> Sequence[str]:
    """Names of the other sweeps that somebody alive runs in this store."""
    leases = [path.split("/") for path in store.list("sweeps") if path.endswith("/lease.json")]
    return [name for _, name, *_ in leases if name != sweep_name and holder(store, name) is not None]


def lease_token(store: Store, sweep_name: str) -> str | None:
    """What tells the run that holds the lease from all others; None if nobody does."""
    lease = _read(store, sweep_name)
    return None if lease is None else str(lease["token"])


def ask_to_stop(store: Store, sweep_name: str, *, wait_seconds: float) -> dict[str, Any] | None:
    """Ask whoever runs the sweep to stop and wait for it; returns who that was, None if nobody was.

    Raises BadInput if it is still running after `wait_seconds`.
    """
    current = holder(store, sweep_name)
    if current is None:
        return None
    store.put_json(_stop_path(sweep_name), {"token": current["token"], "by": socket.gethostname()})
    deadline = time.monotonic() + wait_seconds
    while (now := holder(store, sweep_name)) is not None and now["token"] == current["token"]:
        if time.monotonic() > deadline:
            raise BadInput(
                f"process {current['pid']} on {current['host']} was asked to stop sweep {sweep_name!r} and "
                f"has not after {wait_seconds:g} s; it is asked again by the same command"
            )
        time.sleep(0.2)
    return current


def _read(store: Store, sweep_name: str) -> dict[str, Any] | None:
    """The lease as written; None if there is none or it is not one (cut off, edited)."""
    lease = _json(store, _path(sweep_name))
    needed = {"token", "host", "boot", "pid", "process_started", "renewed"}
    return lease if isinstance(lease, dict) and needed <= set(lease) else None


def _json(store: Store, path: str) -> Any:
    """The value in a file; None if there is none or it is not JSON."""
    try:
        return json.loads(store.get_bytes(path))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/lease.json"


def _stop_path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/stop.json"


def _boot() -> str:
    """Changes with every start of the machine, so that a process id from before it means nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    """Containers of one machine may share its name, but not what a process id means."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_started(pid: int) -> str | None:
    """When a process of this machine started, in its own words; None if it is not alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc here: alive or not is all there is to know
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "alive"
    return None if fields[0] == "Z" else fields[19]
