"""BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv in one folder, one language."""

from pathlib import Path

from hybrid.data.collection import json_texts, read_collection
from hybrid.data.judged import Judged, pairs_of, task_of
from hybrid.data.qrels import read_qrels
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.source import Source

_TEXTS = json_texts("_id", "title", "text")


def recognises(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("corpus.jsonl", "queries.jsonl"))


def splits(source: Source) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (source.folder / "qrels").glob("*.tsv")))


def files(source: Source) -> list[Path]:
    qrels = source.folder / "qrels" / f"{source.split}.tsv"
    return [source.folder / "corpus.jsonl", source.folder / "queries.jsonl", qrels]


def read_task(source: Source) -> Task:
    return task_of(_read(source), source)


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  documents have no parts
    return pairs_of(_read(source), source)


def _read(source: Source) -> Judged:
    corpus, queries, judgements = files(source)
    qrels, notes = read_qrels(judgements)
    return Judged(
        read_collection([corpus], _TEXTS, kind="beir"),
        read_collection([queries], _TEXTS, kind="beir"),
        qrels,
        judgements.name,
        tuple(notes),
    )
