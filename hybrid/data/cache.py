"""The cache folder: content hashes of source files, and results built once and published by rename."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hybrid.errors import BadInput

_ASK_SECONDS = 0.5  # between looks whether a lock is free, where waiting is told


def cache_folder() -> Path:
    """The folder named by HYBRID_CACHE, by default ~/.cache/hybrid. It may be deleted at any time."""
    return Path(os.environ.get("HYBRID_CACHE") or "~/.cache/hybrid").expanduser().absolute()


def content_hash(path: Path, *, cached_only: bool = False) -> str | None:
    """SHA-256 of a file, remembered by its path, size and time of change.

    With `cached_only` the file is not read: None if its hash is not remembered.
    """
    status = path.stat()
    stamp = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    memory = cache_folder() / "hashes" / f"{short_hash(str(path.resolve()))}.json"
    remembered = read_json(memory)
    if isinstance(remembered, dict) and remembered.get("stamp") == stamp:
        return str(remembered["sha256"])
    if cached_only:
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_text(memory, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


def build_once(
    folder: Path, build: Callable[[Path], None], *, waiting: Callable[[], None] | None = None
) -> Path:
    """`folder` as `build` fills it. It appears complete or not at all, whatever else builds it meanwhile.

    `waiting` is called twice a second while another process builds it.
    """
    if folder.is_dir():
        return folder
    with locked(folder, waiting):
        if folder.is_dir():
            return folder
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            build(unfinished)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock that stands beside `path`; another process waits, and calls `waiting` meanwhile."""
    lock = path.parent / f".{path.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as error:
        raise _unwritable(error) from error
    with handle:
        _lock(handle, waiting)
        yield


def _lock(handle: IO[Any], waiting: Callable[[], None] | None) -> None:
    if waiting is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            time.sleep(_ASK_SECONDS)
        else:
            return


def write_text(path: Path, text: str) -> None:
    """Write a small file by rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError as error:
        raise _unwritable(error) from error


def read_json(path: Path) -> object:
    """The value in a small file of this cache; None if it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def short_hash(text: str) -> str:
    """20 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _unwritable(error: OSError) -> BadInput:
    return BadInput(
        f"the cache folder {cache_folder()} cannot be written ({error.strerror}): "
        "set HYBRID_CACHE to a folder that can"
    )
