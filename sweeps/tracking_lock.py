"""One projection of a store at a time, and who is waited for. No mlflow here."""

import fcntl
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sweeps.store import Store


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def one_projection(store: Store, say: Callable[[str], None] = to_stderr) -> Iterator[None]:
    """Hold `mlflow.lock` of a store that is a folder; while another process has it, that is said once.

    A projection takes as long as its server makes it take; whoever waits must know for what.
    """
    if store.local is None:
        yield
        return
    with (store.local / "mlflow.lock").open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = lock.read(200).decode(errors="replace").strip() or "another process"
            say(f"MLflow is being written from {store} by {who}; this waits until it is done")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(OSError):  # a full disk: the name is for people alone
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
