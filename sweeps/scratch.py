"""The folder for what Ray Tune and the trials of a run write on the way, and those that killed runs left."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "hybrid-sweeps-run-"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of this run's own, among the system's temporary files; gone at the end, or with the next run.

    Its lock says that it is in use, also to runs in containers that share the folder and see other processes.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(old)
    folder, lock = _taken()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _taken() -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = _locked(folder)
        except FileNotFoundError:
            continue  # another run took it for one left over, before it was locked
        except OSError:  # a file system without locks, where nobody's is ever removed
            return folder, None
        if lock is not None and folder.is_dir():
            return folder, lock
        if lock is not None:
            os.close(lock)


def _remove_if_left(folder: Path) -> None:
    try:
        lock = _locked(folder)
    except OSError:  # somebody else's, or gone meanwhile
        return
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until it is closed; None if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
