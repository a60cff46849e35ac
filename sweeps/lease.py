"""One run of a sweep in a store at a time: a lease that a dead holder does not keep.

The lease is `sweeps/<name>/lease.json`, renewed every few seconds. A holder on this machine is asked
for by its process id, so that a restart right after a kill just works; one on another machine counts
as dead when its lease was not renewed for a minute.
"""

import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from hybrid.errors import BadInput
from sweeps.store import Store

RENEW_SECONDS = 10.0
EXPIRE_SECONDS = 60.0
_SETTLE_SECONDS = 0.05  # from writing the lease to trusting it: another may have written at that moment


class Lease:
    """Context manager holding the lease of one sweep; BadInput if somebody alive holds it."""

    def __init__(self, store: Store, sweep_name: str) -> None:
        self._store, self._name = store, sweep_name
        self._token = uuid.uuid4().hex
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        current = holder(self._store, self._name)
        if current is None:
            self._write()
            time.sleep(_SETTLE_SECONDS)
            current = holder(self._store, self._name)
        if current is not None and current["token"] != self._token:
            raise BadInput(
                f"sweep {self._name!r} in {self._store} is being run by process {current['pid']} "
                f"on {current['host']} since {current['since']}; wait for it or stop it first"
            )
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

    def _renew(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                self._write()
            except OSError:
                continue  # a store that is away for a moment; the next renewal counts

    def _write(self) -> None:
        lease = {
            "token": self._token,
            "host": socket.gethostname(),
            "boot": _boot(),
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "renewed": time.time(),
        }
        self._store.put_json(_path(self._name), lease)


def holder(store: Store, sweep_name: str) -> dict[str, Any] | None:
    """Who is running the sweep: {"host", "pid", "since", …}; None if nobody alive is."""
    lease = _read(store, sweep_name)
    if lease is None:
        return None
    if lease["host"] == socket.gethostname() and lease["boot"] == _boot():
        started = process_started(lease["pid"])
        return lease if started is not None and started == lease["process_started"] else None
    return lease if time.time() - lease["renewed"] < EXPIRE_SECONDS else None


def _read(store: Store, sweep_name: str) -> dict[str, Any] | None:
    """The lease as written; None if there is none or it is not one (cut off, edited)."""
    try:
        lease = json.loads(store.get_bytes(_path(sweep_name)))
        return lease if {"token", "host", "boot", "pid", "process_started", "renewed"} <= set(lease) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/lease.json"


def _boot() -> str:
    """Changes with every start of the machine, so that a process id from before it means nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
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
