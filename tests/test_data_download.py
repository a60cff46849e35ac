"""Fetching from a server that stalls, truncates, redirects and refuses, on this machine."""

import hashlib
import io
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from data_files import article, paragraph, write_beir, write_language

from hybrid.data import download
from hybrid.data.cache import locked
from hybrid.data.catalog import DATASETS
from hybrid.data.locate import check_names
from hybrid.data.pairs import load_pairs
from hybrid.data.source import DataSet
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput


class Server(ThreadingHTTPServer):
    """Serves `bodies` by path, each answer spoiled as the next entry of `faults` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.ranges: list[str | None] = []  # the Range header of every GET
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path in self.server.bodies else 404)
        self.end_headers()

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else ""
        self.server.ranges.append(self.headers["Range"])
        if fault.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("redirect "))
            self.end_headers()
            return
        if fault.isdigit() or self.path not in self.server.bodies:
            self.send_error(int(fault or 404))
            return
        body = self.server.bodies[self.path]
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "no ranges" else 0
        if start > len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        if fault in ("truncate", "stall"):
            part = part[: len(part) // 2]
        self.wfile.write(part)
        if fault == "stall":
            self.wfile.flush()
            time.sleep(1.0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HYBRID_OFFLINE", raising=False)
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(time, "sleep", quick_sleep)
    download._answers.cache_clear()
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


_sleep = time.sleep


def quick_sleep(seconds: float) -> None:
    """The pauses between tries are not waited for; the server's stall is."""
    _sleep(seconds if threading.current_thread() is not threading.main_thread() else 0.0)


def zipped(folder: Path, top: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}/{path.relative_to(folder)}")
        archive.writestr("__MACOSX/._corpus.jsonl", "no part of the set")
    return memory.getvalue()


@pytest.fixture
def birds(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A set of the catalog whose archive the server holds."""
    folder = write_beir(tmp_path / "source" / "birds")
    server.bodies["/birds.zip"] = zipped(folder, "birds")
    checksums = {"corpus.jsonl": hashlib.sha256((folder / "corpus.jsonl").read_bytes()).hexdigest()}
    row = replace(
        DATASETS["scifact"],
        name="birds",
        archive=f"{server.url}/birds.zip",
        sha256=checksums,
        splits=("test",),
    )
    monkeypatch.setitem(DATASETS, "birds", row)
    return row


@pytest.mark.usefixtures("birds")
def test_a_set_is_fetched_once_and_read(server: Server, tmp_path: Path) -> None:
    assert check_names(["birds", "birds:test"], role="task", data_root=None) == []
    assert not (tmp_path / "cache" / "data").exists()  # checking fetches nothing
    assert len(load_task("birds").documents["en"]) == 4
    server.bodies.clear()
    assert len(load_task("birds:test").documents["en"]) == 4
    assert sorted(p.name for p in (tmp_path / "cache" / "data" / "birds").iterdir()) == [
        "corpus.jsonl",
        "qrels",
        "queries.jsonl",
    ]
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


@pytest.mark.parametrize("fault", ["truncate", "stall"])
@pytest.mark.usefixtures("birds")
def test_a_broken_transfer_is_gone_on_with(server: Server, fault: str) -> None:
    server.faults = [fault, fault]
    assert len(load_task("birds").documents["en"]) == 4
    half = len(server.bodies["/birds.zip"]) // 2
    assert server.ranges[:2] == [None, f"bytes={half}-"]
    assert len(server.ranges) == 3


def test_progress_tells_the_bytes_received_and_expected(server: Server, birds: DataSet) -> None:
    told: list[tuple[str, int, int | None]] = []
    server.faults = ["truncate"]
    download.fetch(birds, progress=lambda *now: told.append(now))
    size = len(server.bodies["/birds.zip"])
    assert {(url, total) for url, _, total in told} == {(birds.archive, size)}
    received = [count for _, count, _ in told]
    assert received == sorted(received)
    assert received[-1] == size > received[0]


def test_whoever_fetches_within_other_work_is_told_of_that_and_of_waiting(
    server: Server, birds: DataSet, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    with ExitStack() as other:  # it fetches the same until this one waits
        other.enter_context(locked(tmp_path / "cache" / "data" / "birds"))

        def tell(url: str, received: int, total: int | None) -> None:
            told.append((url, received, total))
            other.close()

        with download.told_of_fetching(tell):
            load_task("birds")
    size = len(server.bodies["/birds.zip"])
    assert told[0] == (birds.archive, 0, None)
    assert told[-1] == (birds.archive, size, size)


@pytest.mark.usefixtures("birds")
def test_a_server_without_ranges_sends_the_whole_again(server: Server) -> None:
    server.faults = ["truncate", "no ranges"]
    assert len(load_task("birds").documents["en"]) == 4


@pytest.mark.usefixtures("birds")
def test_redirects_are_followed_and_server_errors_tried_again(server: Server) -> None:
    server.bodies["/moved/birds.zip"] = server.bodies["/birds.zip"]
    server.faults = ["503", f"redirect {server.url}/moved/birds.zip"]
    assert len(load_task("birds").documents["en"]) == 4


@pytest.mark.usefixtures("birds")
def test_an_endless_redirect_and_a_missing_file_are_refused(server: Server) -> None:
    server.faults = [f"redirect {server.url}/birds.zip"] * 200
    with pytest.raises(BadInput, match="could not be fetched: the server answers 302"):
        load_task("birds")
    server.faults = ["404"]
    with pytest.raises(BadInput, match="the server answers 404"):
        load_task("birds")


@pytest.mark.usefixtures("birds")
def test_a_connection_that_always_breaks_is_refused_and_its_bytes_are_kept(
    server: Server, tmp_path: Path
) -> None:
    server.faults = ["truncate"] * download.TRIES
    with pytest.raises(BadInput, match=r"ended after [\d,]+ of [\d,]+ bytes; what was received is kept"):
        load_task("birds")
    assert not (tmp_path / "cache" / "data" / "birds").exists()
    server.ranges.clear()
    load_task("birds")
    assert server.ranges[0] is not None  # went on from what was kept


@pytest.mark.usefixtures("birds")
def test_other_bytes_than_the_catalog_s_are_refused(server: Server, tmp_path: Path) -> None:
    other = write_beir(tmp_path / "other", corpus='{"_id": "d1", "text": "something else"}\n')
    server.bodies["/birds.zip"] = zipped(other, "birds")
    with pytest.raises(BadInput, match=r"birds: corpus\.jsonl as fetched has SHA-256"):
        load_task("birds")
    assert not (tmp_path / "cache" / "data" / "birds").exists()


@pytest.mark.usefixtures("birds")
def test_what_is_no_archive_is_refused_and_fetched_anew(server: Server) -> None:
    good = server.bodies["/birds.zip"]
    server.bodies["/birds.zip"] = b"<html>Please log in</html>"
    with pytest.raises(BadInput, match="is no whole archive"):
        load_task("birds")
    server.bodies["/birds.zip"] = good
    assert len(load_task("birds").documents["en"]) == 4


@pytest.mark.parametrize("name", ["birds/../../out", "/out"])
@pytest.mark.usefixtures("birds")
def test_names_that_lead_out_of_an_archive_are_refused(server: Server, name: str) -> None:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    server.bodies["/birds.zip"] = memory.getvalue()
    with pytest.raises(BadInput, match="leads out of its folder"):
        load_task("birds")


def test_a_set_of_several_files_is_fetched_file_by_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = paragraph(["Alpha one."], [("q1", "what?", "one")])
    files = {}
    for language in ("en", "de"):
        path = write_language(tmp_path / "source", language, article("A", one))
        server.bodies[f"/{language}.json"] = path.read_bytes()
        files[f"{language}.json"] = f"{server.url}/{language}.json"
    monkeypatch.setitem(DATASETS, "flora", replace(DATASETS["xquad-r"], name="flora", files=files, sha256={}))
    server.faults = ["truncate"]
    task = load_task("flora")
    assert set(task.queries) == {"de", "en"}
    assert task.notes[0] == "flora was fetched without a checksum to compare with: unverified"
    assert load_pairs("flora").notes[0] == task.notes[0]
    (Path(os.environ["HYBRID_CACHE"]) / "data" / "flora" / "de.json").unlink()
    assert set(load_task("flora").queries) == {"de", "en"}, "a set that was fetched in part is completed"


def test_a_set_in_many_folders_shares_one_archive(
    server: Server, birds: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for forum in ("gis", "unix"):
        write_beir(tmp_path / "forums" / forum)
        row = replace(
            birds, name=f"forums/{forum}", archive=f"{server.url}/forums.zip", unpacks="forums", sha256={}
        )
        monkeypatch.setitem(DATASETS, row.name, row)
    server.bodies["/forums.zip"] = zipped(tmp_path / "forums", "forums")
    assert len(load_task("forums/gis").queries["en"]) == 2
    server.bodies.clear()
    assert len(load_task("forums/unix").queries["en"]) == 2


@pytest.mark.usefixtures("server", "birds")
def test_offline_and_absent_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    (found,) = check_names(["birds"], role="task", data_root=None)
    assert found.startswith("birds is not in the cache, and no data root is given, and HYBRID_OFFLINE is set")
    assert "give --data-root DIR with DIR/birds holding corpus.jsonl" in found
    with pytest.raises(BadInput, match="HYBRID_OFFLINE is set"):
        load_task("birds")


@pytest.mark.usefixtures("server")
def test_a_server_that_is_not_there_is_said_before_anything_is_fetched(
    birds: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "birds", replace(birds, archive="http://127.0.0.1:9/birds.zip"))
    (found,) = check_names(["birds"], role="task", data_root=None)
    assert "its source does not answer (http://127.0.0.1:9/birds.zip)" in found
