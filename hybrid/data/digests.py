"""Content digests: what a task or a training set holds, in 20 hexadecimal digits."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hybrid.data.cache import cache_folder, content_hash, read_json, write_text
from hybrid.data.layouts import LAYOUTS
from hybrid.data.records import ParallelPairs, Task, Texts
from hybrid.data.source import Source

READER_VERSION = 2
"""Raised when a reader makes something else of the same files, so that remembered digests are not used."""

Kind = Literal["task", "pairs"]


def task_digest(task: Task) -> str:
    """Digest of ids, texts, clusters, judgements and the self-hit rule, whatever their order in the files.

    Equal digests mean equal scores of any model. Memory: 16 bytes a text.
    """
    whole = hashlib.sha256(f"task {task.drop_self_hits} {' '.join(task.settings)}".encode())
    for side, texts in (("queries", task.queries), ("documents", task.documents)):
        for language in sorted(texts):
            whole.update(f"\n{side} {language} ".encode() + _texts_digest(texts[language]))
    for language in sorted(task.qrels):
        whole.update(f"\nqrels {language}".encode())
        for query in sorted(task.qrels[language]):
            gains = task.qrels[language][query]
            whole.update(_joined([query, *(f"{d} {gain}" for d, gain in sorted(gains.items()))]))
    return whole.hexdigest()[:20]


def pairs_digest(pairs: ParallelPairs) -> str:
    """Digest of ids, clusters and texts in their order, which decides what a batch holds."""
    whole = hashlib.sha256(b"pairs")
    columns: list[tuple[str, Iterable[str | None]]] = [("ids", pairs.pair_ids), ("clusters", pairs.clusters)]
    for language in sorted(pairs.questions):
        columns += [(f"questions {language}", pairs.questions[language])]
        columns += [(f"passages {language}", pairs.passages[language])]
    for name, values in columns:
        whole.update(f"\n{name}\n".encode())
        for value in values:
            whole.update(b"\xff" if value is None else _joined([value]))  # 0xff is in no UTF-8 text
    for language in sorted(pairs.negatives):
        whole.update(f"\nnegatives {language}".encode())
        for negatives in pairs.negatives[language]:
            whole.update(_joined(negatives))
    return whole.hexdigest()[:20]


def remembered_digest(source: Source, kind: Kind, passage: str, *, cached_only: bool = False) -> str | None:
    """The digest computed earlier from the same bytes; None if there is none.

    With `cached_only` no source file is read: their paths, sizes and times of change must be known too.
    """
    memory = _memory(source, kind, passage, cached_only=cached_only)
    value = None if memory is None else read_json(memory)
    return value if isinstance(value, str) else None


def remember_digest(source: Source, kind: Kind, passage: str, digest: str) -> None:
    memory = _memory(source, kind, passage, cached_only=False)
    assert memory is not None  # hashes are computed where they are not known
    write_text(memory, f'"{digest}"')


def _memory(source: Source, kind: Kind, passage: str, *, cached_only: bool) -> Path | None:
    parts = [
        str(READER_VERSION),
        kind,
        passage,
        source.dataset.name,
        source.dataset.layout,
        str(source.split),
    ]
    parts.append(str(source.dataset.drop_self_hits))
    for path in LAYOUTS[source.dataset.layout].files(source):
        if not path.is_file():
            return None
        digest = content_hash(path, cached_only=cached_only)
        if digest is None:
            return None
        parts += [str(path.relative_to(source.folder)), digest]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
    return cache_folder() / "digests" / f"{key}.json"


def _texts_digest(texts: Texts) -> bytes:
    clusters: Sequence[str] = texts.clusters if texts.clusters is not None else texts.ids
    digests = bytearray()
    for name, text, cluster in zip(texts.ids, texts.texts, clusters, strict=True):
        digests += hashlib.blake2b(_joined([name, text, cluster]), digest_size=16).digest()
    rows = np.frombuffer(digests, dtype=">u8").reshape(-1, 2)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return hashlib.sha256(rows[order].tobytes()).digest()


def _joined(texts: Iterable[str]) -> bytes:
    """Texts with their lengths, so that no two lists give the same bytes."""
    return b"".join(b"%d:%s" % (len(raw := text.encode("utf-8", "surrogatepass")), raw) for text in texts)
