"""MIRACL and Mr. TyDi as they are distributed: topics, judgements and a corpus for each language.

MIRACL v1.0 (arXiv 2210.09984):
    miracl-v1.0-<lang>/topics/topics.miracl-v1.0-<lang>-<split>.tsv
    miracl-v1.0-<lang>/qrels/qrels.miracl-v1.0-<lang>-<split>.tsv
    miracl-corpus-v1.0-<lang>/docs-<n>.jsonl.gz          {"docid", "title", "text"}
Mr. TyDi v1.1 (arXiv 2108.08787), <language> in full:
    mrtydi-v1.1-<language>/topic.<split>.tsv, qrels.<split>.txt
    mrtydi-v1.1-<language>/collection/docs.jsonl.gz      {"id", "contents"}
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hybrid.data.collection import Reader, json_texts, read_collection, tsv_texts
from hybrid.data.judged import Judged, pairs_of, task_of
from hybrid.data.languages import MR_TYDI_LANGUAGES
from hybrid.data.qrels import read_qrels
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.source import Source


@dataclass(frozen=True)
class _Files:
    topics: Path
    qrels: Path
    corpus: list[Path]
    reader: Reader
    kind: str


def _miracl(folder: Path, language: str, split: str) -> _Files:
    named = f"miracl-v1.0-{language}"
    shards = (folder / f"miracl-corpus-v1.0-{language}").glob("docs-*.jsonl.gz")
    return _Files(
        folder / named / "topics" / f"topics.{named}-{split}.tsv",
        folder / named / "qrels" / f"qrels.{named}-{split}.tsv",
        sorted(shards, key=_shard) or [folder / f"miracl-corpus-v1.0-{language}" / "docs-0.jsonl.gz"],
        json_texts("docid", "title", "text"),
        "miracl",
    )


def _mr_tydi(folder: Path, language: str, split: str) -> _Files:
    inside = folder / f"mrtydi-v1.1-{MR_TYDI_LANGUAGES[language]}"
    return _Files(
        inside / f"topic.{split}.tsv",
        inside / f"qrels.{split}.txt",
        [inside / "collection" / "docs.jsonl.gz"],
        json_texts("id", None, "contents"),
        "mrtydi",
    )


_PATHS: dict[str, Callable[[Path, str, str], _Files]] = {"miracl": _miracl, "mrtydi": _mr_tydi}


def _shard(path: Path) -> int:
    return int("".join(re.findall(r"docs-(\d+)", path.name)) or 0)


def _files(source: Source) -> _Files:
    paths = _PATHS[source.dataset.layout]
    return paths(source.folder, source.dataset.languages[0], str(source.split))


def recognises(folder: Path) -> bool:  # noqa: ARG001  these sets are known by their names alone
    return False


def splits(source: Source) -> tuple[str, ...]:
    return source.dataset.splits


def files(source: Source) -> list[Path]:
    found = _files(source)
    return [found.topics, found.qrels, *found.corpus]


def read_task(source: Source) -> Task:
    return task_of(_read(source), source)


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  passages have no parts
    return pairs_of(_read(source), source)


def _read(source: Source) -> Judged:
    found = _files(source)
    qrels, notes = read_qrels(found.qrels, trec=True)
    shards = [name for name in source.dataset.files if "/docs-" in name]
    absent = [Path(name).name for name in shards if not (source.folder / name).is_file()]
    if absent:
        notes.append(f"{len(absent)} of the {len(shards)} files of the corpus are not there: {_some(absent)}")
    return Judged(
        read_collection(found.corpus, found.reader, kind=found.kind),
        read_collection([found.topics], tsv_texts, kind="tsv"),
        qrels,
        found.qrels.name,
        tuple(notes),
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
