"""Whole folders in a store: their files first, then DONE with the checksum of each."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.store import Store


def put_folder(store: "Store", prefix: str, source: Path) -> None:
    """Copy a folder (or one file) under `prefix`; DONE is written last."""
    store.delete(f"{prefix}/DONE")
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    written: dict[str, str] = {}
    for file in files:
        name = file.relative_to(source).as_posix() if source.is_dir() else ""
        content = file.read_bytes()
        store.put_bytes(f"{prefix}/{name or 'file'}", content)
        written[name] = hashlib.sha256(content).hexdigest()
    store.put_json(f"{prefix}/DONE", {"sha256": written})


def copy_folder(store: "Store", prefix: str, to: Path) -> None:
    """The inverse of `put_folder`; raises Damaged if a file is missing or has other bytes."""
    for name, content in read_folder(store, prefix):
        target = to / name if name else to
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def read_folder(store: "Store", prefix: str, but: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file DONE vouches for, except those whose names begin with `but`; checked."""
    marker = store.get_json(f"{prefix}/DONE")
    if not isinstance(marker, dict) or not isinstance(marker.get("sha256"), dict):
        raise store.damaged(f"{prefix}/DONE", "it lists no files" if marker else "it is missing")
    for name, recorded in marker["sha256"].items():
        if but is not None and name.startswith(but):
            continue
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise store.damaged(f"{prefix}/DONE", f"{name!r} leaves its folder")
        path = f"{prefix}/{name or 'file'}"
        try:
            content = store.get_bytes(path)
        except FileNotFoundError:
            raise store.damaged(path, "it is missing") from None
        if hashlib.sha256(content).hexdigest() != recorded:
            raise store.damaged(path, "its sha256 is not the recorded one")
        yield name, content
