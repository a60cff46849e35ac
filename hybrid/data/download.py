"""Fetching a data set from its official source into the cache."""

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hybrid.data.cache import build_once, cache_folder, locked, short_hash
from hybrid.data.source import DataSet, Source
from hybrid.errors import BadInput

TIMEOUT = 30.0  # seconds without a byte
TRIES = 5
_BLOCK = 1 << 20  # bytes

Progress = Callable[[str, int, int | None], None]
"""Called with the URL, the bytes received and the bytes expected, None if the server does not say."""

_told: ContextVar[Progress | None] = ContextVar("_told", default=None)


@contextmanager
def told_of_fetching(progress: Progress) -> Iterator[None]:
    """Tell `progress` of whatever is fetched meanwhile, in place of the line on a terminal.

    While another process fetches the same, it is called twice a second, with 0 bytes.
    """
    token = _told.set(progress)
    try:
        yield
    finally:
        _told.reset(token)


def offline() -> bool:
    """Whether HYBRID_OFFLINE forbids fetching."""
    return os.environ.get("HYBRID_OFFLINE", "") not in ("", "0")


def urls(row: DataSet) -> tuple[str, ...]:
    """What a data set is fetched from; nothing if its source cannot be fetched by a program."""
    return (row.archive,) if row.archive else tuple(row.files.values())


def reachable(row: DataSet) -> bool:
    """Whether the set has a source whose server answers within a second."""
    return (
        bool(urls(row))
        and not offline()
        and _answers(urllib.parse.urlsplit(urls(row)[0]).netloc, urls(row)[0])
    )


def fetch(row: DataSet, *, progress: Progress | None = None) -> Path:
    """The folder in the cache that holds the set, fetched if it is not there yet.

    What was received is kept when the connection breaks, and the next try goes on from there. Raises
    BadInput if the source cannot be reached, sends something else than it announced, or sends files whose
    checksums are not those of the catalog.
    """
    data, told = cache_folder() / "data", progress or _told.get()
    report = told or _print_progress

    def waiting(url: str) -> Callable[[], None] | None:
        return None if told is None else lambda: told(url, 0, None)

    if row.archive:
        url, folder = row.archive, data / (row.unpacks or row.name)

        def build(unfinished: Path) -> None:
            archive = _download(url, report)
            _unpack(archive, unfinished, folder.name)
            archive.unlink()
            for name, wanted in row.sha256.items():
                _refuse_other_bytes(row, name, unfinished / name, wanted)

        build_once(folder, build, waiting=waiting(url))
    for name, url in row.files.items():
        target = data / row.folder / name
        with locked(target, waiting(url)):
            if not target.is_file():
                received = _download(url, report)
                _refuse_other_bytes(row, name, received, row.sha256.get(name))
                received.replace(target)
    return data / row.folder


def unverified(source: Source) -> list[str]:
    """A note on a set that was fetched while the catalog has no checksum to hold its bytes against."""
    row = source.dataset
    if row.verified or not urls(row) or not source.folder.is_relative_to(cache_folder()):
        return []
    return [f"{row.name} was fetched without a checksum to compare with: unverified"]


def _refuse_other_bytes(row: DataSet, name: str, path: Path, wanted: str | None) -> None:
    """Raise BadInput if a file's checksum is not the catalog's; a file without one passes."""
    if wanted is None:
        return
    if not path.is_file():
        raise BadInput(f"{row.name}: what was fetched does not hold {name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        path.unlink()
        raise BadInput(
            f"{row.name}: {name} as fetched has SHA-256 {found}, not {wanted}: the source has changed or "
            "the transfer was tampered with; nothing was kept"
        )


def _download(url: str, progress: Progress) -> Path:
    """One file in the cache, complete. A partial file of an earlier try is gone on with."""
    path = (
        cache_folder()
        / "partial"
        / f"{short_hash(url)}-{PurePosixPath(urllib.parse.urlsplit(url).path).name}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(min(0.5 * 2**attempt, 8.0))
        try:
            return _receive(url, path, progress)
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # the partial file is longer than what the server has
                path.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                break
        except OSError as error:  # URLError, timeouts and broken connections among them
            if path.is_file() and getattr(error, "filename", None):  # the disk, not the network
                raise BadInput(f"{path}: cannot be written ({error.strerror})") from error
            problem = str(getattr(error, "reason", "") or error) or type(error).__name__
        except http.client.HTTPException as error:
            problem = f"the connection broke ({error or type(error).__name__})"
    raise BadInput(f"{url} could not be fetched: {problem}; what was received is kept for the next try")


def _receive(url: str, path: Path, progress: Progress) -> Path:
    start = path.stat().st_size if path.is_file() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "hybrid-sweeps", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _opener().open(request, timeout=TIMEOUT) as answer:
        if start and not _continues(answer, start):
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        with path.open("ab" if start else "wb") as file:
            received = _copy(answer, file, url, start, total, progress)
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended after {received:,} of {total:,} bytes")
    return path


def _continues(answer: Any, start: int) -> bool:
    """Whether the server sends the rest from `start` on, and not the whole again."""
    sent = str(answer.headers.get("Content-Range", ""))
    return answer.status == 206 and sent.startswith(f"bytes {start}-")


def _copy(answer: Any, file: IO[bytes], url: str, start: int, total: int | None, progress: Progress) -> int:
    received = start
    while block := answer.read1(_BLOCK):
        file.write(block)
        received += len(block)
        progress(url, received, total)
    return received


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none from https to an unencrypted address."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.HTTPError(
                req.full_url, code, f"redirects to {newurl}, not encrypted", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoDowngrade)


@lru_cache(maxsize=64)
def _answers(host: str, url: str) -> bool:  # noqa: ARG001  remembered by host for the life of the process
    try:
        with _opener().open(urllib.request.Request(url, method="HEAD"), timeout=1.0) as answer:
            return bool(answer.status < 400)
    except (OSError, http.client.HTTPException):
        return False


def _unpack(archive: Path, folder: Path, top: str) -> None:
    """The files below `top` in a zip or tar archive; links and names that lead out of it are refused."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for member in zipped.infolist():
                    if not member.is_dir():
                        _keep(zipped.open(member), member.filename, folder, top)
        else:
            with tarfile.open(archive) as tarred:
                for entry in tarred:
                    source = tarred.extractfile(entry) if entry.isfile() else None
                    if source is not None:
                        _keep(source, entry.name, folder, top)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        archive.unlink()
        raise BadInput(
            f"{archive.name}: what was fetched is no whole archive ({error}): try again"
        ) from error


def _keep(source: IO[bytes], name: str, folder: Path, top: str) -> None:
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise BadInput(f"the archive holds {name!r}, which leads out of its folder: it was not unpacked")
    if len(parts) < 2 or parts[0] != top:
        return
    target = folder.joinpath(*parts[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _print_progress(url: str, received: int, total: int | None) -> None:
    """One line on a terminal's standard error, rewritten."""
    if sys.stderr.isatty():
        share = f"{received / total:4.0%} of {total / 1e6:,.1f} MB" if total else f"{received / 1e6:,.1f} MB"
        sys.stderr.write(f"\rfetching {url}  {share} ")
        if received == total:
            sys.stderr.write("\n")
