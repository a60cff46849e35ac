"""The record: trained models, scores and failures, each under the hash of everything that decides it.

    models/<train_key>/config.json, model/…, curve.parquet, mixture.json, record.json, DONE
    models/<train_key>/checkpoints/<n>/…, DONE     while it trains
    models/<train_key>/FAILED.json                 reason and log of a failure
    scores/<train_key>/<score_key>.parquet         one row a query, measure and setting
    scores/<train_key>/<score_key>.json            its sha256 and how it was measured; written last
    sweeps/<name>/…                                spec, plan, progress, report
    tmp/                                           files being written (local stores only)

A marker (DONE, the json beside a parquet file) is written after what it vouches for, so that what was
cut off is simply absent. Everything is plain JSON, Parquet or safetensors; nothing is ever unpickled.
"""

import builtins
import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from hybrid.errors import BadInput
from hybrid.scores import SCHEMA
from sweeps.folders import copy_folder, put_folder, read_folder
from sweeps.index import Index
from sweeps.secrets import redacted

_TRAIN_KEY = pa.field("train_key", pa.dictionary(pa.int32(), pa.string()), nullable=False)
STORED_SCHEMA = SCHEMA.insert(0, _TRAIN_KEY)
"""Score rows as stored: `hybrid.scores.SCHEMA` behind the key of the model that was measured."""

_ALMOST_AN_ADDRESS = re.compile(r"(s3|gs|gcs|hdfs|abfss?|file)(:|//)")
_KEY = re.compile(r"[0-9a-f]{8,64}")


class Damaged(BadInput):
    """A stored file that does not have the bytes that were written; it has to be made again."""


class Store:
    """A folder of results on any filesystem pyarrow knows: a path, `file://…`, `s3://bucket/folder`, `gs://…`.

    Constructing one touches nothing. Instances pickle as their address, so that trials can carry them.
    """

    def __init__(self, uri: str | Path, *, filesystem: pafs.FileSystem | None = None) -> None:
        text = str(uri)
        self._filesystem = filesystem
        if filesystem is not None:
            self.fs, self.root, self.uri = filesystem, text.strip("/"), text
        elif "://" in text:
            try:
                self.fs, self.root = pafs.FileSystem.from_uri(text)
            except OSError as error:
                raise BadInput(f"store {_shown(text)!r} cannot be reached: {redacted(str(error))}") from error
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                reason = redacted(str(error))
                raise BadInput(f"store {_shown(text)!r} is no address pyarrow can open: {reason}") from error
            self.uri = text
        elif _ALMOST_AN_ADDRESS.match(text):
            scheme = re.split("[:/]", text)[0]
            raise BadInput(
                f"store {scheme}…: an address has :// after its first word, {scheme}://bucket/folder"
            )
        else:
            path = Path(text).expanduser().absolute()
            self.fs, self.root, self.uri = pafs.LocalFileSystem(), str(path), str(path)
        self.local: Path | None = Path(self.root) if isinstance(self.fs, pafs.LocalFileSystem) else None
        """The folder of a store on this machine, else None."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_open_store, (self.uri, self._filesystem))

    def __str__(self) -> str:
        return _shown(self.uri)

    # Bytes and JSON

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that readers see all of it or none of it."""
        target = self._at(path)
        if self.local is None:  # an object appears when its upload is complete
            parent = target.rpartition("/")[0]
            if self.fs.type_name not in ("s3", "gcs", "abfs"):  # those have no folders to make
                self.fs.create_dir(parent, recursive=True)
            with self.fs.open_output_stream(target) as stream:
                stream.write(content)
            return
        temporary = self.local / "tmp" / uuid.uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def get_bytes(self, path: str) -> bytes:
        """Contents of a file; FileNotFoundError if there is none."""
        with self.fs.open_input_stream(self._at(path)) as stream:
            content: bytes = stream.read()
        return content

    def put_json(self, path: str, value: Any) -> None:
        self.put_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())

    def get_json(self, path: str) -> Any:
        """The value in a JSON file; None if there is no such file; Damaged if it is not JSON."""
        try:
            content = self.get_bytes(path)
        except FileNotFoundError:
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.damaged(path, "it is not JSON") from error

    def exists(self, path: str) -> bool:
        return bool(self.fs.get_file_info(self._at(path)).type == pafs.FileType.File)

    def list(self, prefix: str = "") -> Sequence[str]:
        """Paths of all files below a folder, relative to the store, sorted."""
        selector = pafs.FileSelector(self._at(prefix), recursive=True, allow_not_found=True)
        cut = len(self._at("")) + 1
        found = (info.path for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.File)
        return sorted(path[cut:] for path in found)

    def delete(self, path: str) -> None:
        """Remove a file or a folder with what is in it; absent is fine."""
        kind = self.fs.get_file_info(self._at(path)).type
        if kind == pafs.FileType.File:
            self.fs.delete_file(self._at(path))
        elif kind == pafs.FileType.Directory:
            self.fs.delete_dir(self._at(path))

    # Models, checkpoints, failures

    def has_model(self, train_key: str) -> bool:
        return self.exists(f"{_model(train_key)}/DONE")

    def put_model(self, train_key: str, folder: Path) -> None:
        """Store a finished training (config.json, model/, …); its checkpoints and failure are dropped."""
        put_folder(self, _model(train_key), folder)
        self.delete(f"{_model(train_key)}/checkpoints")
        self.clear_failure(train_key)

    def get_model(self, train_key: str, to: Path) -> Path:
        """Copy a finished training to `to`, checked; returns the folder that SentenceTransformer loads."""
        copy_folder(self, _model(train_key), to)
        return to / "model"

    def drop_model(self, train_key: str) -> None:
        """Forget a damaged model, so that it is trained again."""
        self.delete(f"{_model(train_key)}/DONE")

    def record(self, train_key: str) -> dict[str, Any] | None:
        """What is known of a training: seconds, hardware, versions, attempts; None if that cannot be read."""
        return self.read_record(f"{_model(train_key)}/record.json")

    def put_checkpoint(self, train_key: str, checkpoint: Path) -> None:
        """Store a checkpoint (file or folder) in place of the one before it."""
        before = self._checkpoints(train_key)
        number = 1 + max((int(name) for name in before), default=0)
        put_folder(self, f"{_model(train_key)}/checkpoints/{number:06d}", checkpoint)
        for name in before:
            self.delete(f"{_model(train_key)}/checkpoints/{name}")

    def get_checkpoint(self, train_key: str, to: Path) -> bool:
        """Copy the newest whole checkpoint to `to` (a file or folder as it was given); False if none."""
        for name in reversed(self._checkpoints(train_key)):
            try:
                copy_folder(self, f"{_model(train_key)}/checkpoints/{name}", to)
            except Damaged:
                continue
            return True
        return False

    def failure(self, train_key: str) -> dict[str, Any] | None:
        """Why the trial failed for good: {"reason", "log", "attempts", …}; None if it did not."""
        path = f"{_model(train_key)}/FAILED.json"
        return self.read_record(path) or ({"reason": "its record is damaged"} if self.exists(path) else None)

    def put_failure(self, train_key: str, failure: dict[str, Any]) -> None:
        self.put_json(f"{_model(train_key)}/FAILED.json", failure)

    def clear_failure(self, train_key: str) -> None:
        self.delete(f"{_model(train_key)}/FAILED.json")

    # Scores

    def has_scores(self, train_key: str, score_key: str) -> bool:
        return self.exists(f"{_score(train_key, score_key)}.json")

    def put_scores(
        self, train_key: str, score_key: str, table: pa.Table, record: dict[str, Any] | None = None
    ) -> None:
        """Store the scores of one model on one task, with how they were measured.

        Raises ValueError if the table is empty, has another schema than `hybrid.scores.SCHEMA`, or a
        value that is not finite: such a trial has failed, it does not score badly.
        """
        rows = table.cast(SCHEMA)
        if not len(rows) or not pc.all(pc.is_finite(rows["value"])).as_py():
            raise ValueError("no scores" if not len(rows) else "a score is not a finite number")
        key = pa.DictionaryArray.from_arrays(pa.array([0] * len(rows), pa.int32()), pa.array([train_key]))
        rows = rows.add_column(0, _TRAIN_KEY, pa.chunked_array([key]))
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        content = buffer.getvalue()
        path = _score(train_key, score_key)
        self.delete(f"{path}.json")
        self.put_bytes(f"{path}.parquet", content)
        sidecar = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "rows": len(rows)}
        self.put_json(f"{path}.json", {**sidecar, **(record or {})})

    def scores(self, train_key: str, score_key: str) -> pa.Table:
        """Stored score rows, columns `STORED_SCHEMA`; Damaged if the bytes are not those written."""
        path = f"{_score(train_key, score_key)}.parquet"
        content = self._checked_scores(train_key, score_key)
        try:
            return pq.read_table(io.BytesIO(content), schema=STORED_SCHEMA)
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(path, str(error)) from error

    def score_record(self, train_key: str, score_key: str) -> dict[str, Any] | None:
        """How scores were measured: task, seconds, sha256; None if that cannot be read."""
        return self.read_record(f"{_score(train_key, score_key)}.json")

    def drop_damaged_scores(self, keys: Iterable[tuple[str, str]]) -> Sequence[str]:
        """Read back these scores (train key, score key); forget the damaged ones, a sentence for each."""
        mistakes: builtins.list[str] = []
        for train_key, score_key in keys:
            try:
                self._checked_scores(train_key, score_key)
            except Damaged as damage:
                mistakes.extend(damage.mistakes)
                self.delete(f"{_score(train_key, score_key)}.json")
        return mistakes

    def drop_damaged_models(self, train_keys: Iterable[str]) -> Sequence[str]:
        """Read back what is stored beside the weights; forget damaged models, a sentence for each.

        The weights, being large, are checked whenever they are read.
        """
        mistakes: builtins.list[str] = []
        for train_key in train_keys:
            try:
                for _ in read_folder(self, _model(train_key), but="model/"):
                    pass
            except Damaged as damage:
                mistakes.extend(damage.mistakes)
                self.drop_model(train_key)
        return mistakes

    # The store as a whole

    def index(self) -> Index:
        """What the store holds now, by listing it twice however many trials there are."""
        return Index(self.list("models"), self.list("scores"))

    def check_writable(self) -> None:
        """Write and remove a small file. Raises BadInput if that fails."""
        probe = f"tmp/probe-{uuid.uuid4().hex}"
        try:
            self.put_bytes(probe, b"probe")
            self.delete(probe)
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            message = f"store {self}: cannot be written ({reason}); give another place with --store"
            raise BadInput(message) from error

    def _at(self, path: str) -> str:
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\0" in path:
            raise ValueError(f"{path!r} is no path inside the store")
        return "/".join([self.root.rstrip("/"), *parts])

    def damaged(self, path: str, why: str) -> Damaged:
        """The error for a file that is not as it was written."""
        return Damaged(f"{self}/{path} is damaged ({why}); `sweeps run` makes it again")

    def _checked_scores(self, train_key: str, score_key: str) -> bytes:
        path = _score(train_key, score_key)
        sidecar = self.get_json(f"{path}.json")
        try:
            content = self.get_bytes(f"{path}.parquet")
        except FileNotFoundError:
            raise self.damaged(f"{path}.parquet", "it is missing") from None
        if not isinstance(sidecar, dict) or hashlib.sha256(content).hexdigest() != sidecar.get("sha256"):
            raise self.damaged(f"{path}.parquet", "its sha256 is not the recorded one")
        return content

    def _checkpoints(self, train_key: str) -> Sequence[str]:
        done = re.compile(r"checkpoints/(\d+)/DONE$")
        paths = self.list(f"{_model(train_key)}/checkpoints")
        return [match[1] for path in paths if (match := done.search(path))]

    def read_record(self, path: str) -> dict[str, Any] | None:
        """The object in a JSON file; None if there is no such file or it is none."""
        try:
            value = self.get_json(path)
        except Damaged:  # named where what it stands beside is checked
            return None
        return value if isinstance(value, dict) else None


def _model(train_key: str) -> str:
    return f"models/{_key(train_key)}"


def _score(train_key: str, score_key: str) -> str:
    return f"scores/{_key(train_key)}/{_key(score_key)}"


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key")
    return key


def _open_store(uri: str, filesystem: pafs.FileSystem | None) -> Store:
    return Store(uri, filesystem=filesystem)


def _shown(uri: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
