"""BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv in one folder, one language."""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.arrow import ArrowStrings, open_table, write_rows
from hybrid.data.cache import build_once, cache_folder, content_hash, read_json
from hybrid.data.catalog import Source
from hybrid.data.clusters import connected
from hybrid.data.lines import json_lines, refuse, text_lines
from hybrid.data.records import ParallelPairs, Task, Texts
from hybrid.errors import BadInput

_VERSION = 1  # of what parsing makes of a file
_SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("text", pa.string())])

Qrels = dict[str, dict[str, int]]


def recognises(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("corpus.jsonl", "queries.jsonl"))


def splits(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (folder / "qrels").glob("*.tsv")))


def files(folder: Path, split: str | None) -> list[Path]:
    return [folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / f"{split}.tsv"]


@dataclass(frozen=True)
class Collection:
    """The texts of one JSON Lines file, memory-mapped."""

    table: pa.Table  # columns id, text
    empty: int  # texts with nothing in them

    def rows_of(self, ids: list[str]) -> dict[str, int]:
        """Row of each of the ids that are there; one pass over the id column."""
        found = pc.is_in(self.table["id"], value_set=pa.array(ids, pa.string()))
        rows = np.flatnonzero(found.to_numpy())
        return dict(zip(self.table["id"].take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))


def read_task(source: Source) -> Task:
    """The queries that the split judges, over the whole corpus.

    Judgements of absent documents are kept, as BEIR does: they count as documents that cannot be found.
    """
    corpus_path, queries_path, qrels_path = files(source.folder, source.split)
    corpus, queries = read_collection(corpus_path), read_collection(queries_path)
    qrels, notes = read_qrels(qrels_path)
    rows = queries.rows_of(list(qrels))
    judged = sorted({document for gains in qrels.values() for document in gains})
    absent_documents = set(judged) - corpus.rows_of(judged).keys()
    absent_queries = [query for query in qrels if query not in rows]
    if absent_documents:
        count = sum(document in absent_documents for gains in qrels.values() for document in gains)
        notes.append(
            f"{qrels_path.name} judges {len(absent_documents)} documents that corpus.jsonl lacks "
            f"({count} judgements): they count as documents that cannot be found"
        )
    if absent_queries:
        notes.append(
            f"{qrels_path.name} names {len(absent_queries)} queries that queries.jsonl lacks: left out"
        )
    notes += _empty_notes(corpus, queries)
    kept = np.array(sorted(rows.values()), dtype=np.int64)
    query_texts = Texts(
        ArrowStrings(queries.table["id"], kept), ArrowStrings(queries.table["text"], kept), clusters=None
    )
    if not len(query_texts):
        raise BadInput(f"{qrels_path}: none of its queries is in queries.jsonl")
    language = source.dataset.languages[0]
    return Task(
        name=source.name,
        settings=("beir",),
        queries={language: query_texts},
        documents={language: Texts(ArrowStrings(corpus.table["id"]), ArrowStrings(corpus.table["text"]))},
        qrels={language: {query: qrels[query] for query in query_texts.ids}},
        digest="",
        drop_self_hits=source.dataset.drop_self_hits,
        synthetic=source.dataset.synthetic,
        notes=tuple(notes),
    )


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  a document is sentence and paragraph
    """One pair for every relevant judgement; what judgements connect is one cluster."""
    corpus_path, queries_path, qrels_path = files(source.folder, source.split)
    corpus, queries = read_collection(corpus_path), read_collection(queries_path)
    qrels, notes = read_qrels(qrels_path)
    positives = [
        (query, document) for query, gains in qrels.items() for document, gain in gains.items() if gain > 0
    ]
    query_rows = queries.rows_of(sorted({query for query, _ in positives}))
    document_rows = corpus.rows_of(sorted({document for _, document in positives}))
    there = [(q, d) for q, d in positives if q in query_rows and d in document_rows]
    if len(there) < len(positives):
        notes.append(f"{len(positives) - len(there)} judgements name an absent query or document: left out")
    if not there:
        raise BadInput(f"{qrels_path}: no relevant judgement names a query and a document that are there")
    groups = connected((("query", q), ("document", d)) for q, d in there)
    language = source.dataset.languages[0]
    questions = np.array([query_rows[q] for q, _ in there], dtype=np.int64)
    passages = np.array([document_rows[d] for _, d in there], dtype=np.int64)
    return ParallelPairs(
        name=source.name,
        pair_ids=[f"{q}:{d}" for q, d in there],
        clusters=[groups["query", q][1] for q, _ in there],
        questions={language: ArrowStrings(queries.table["text"], questions)},
        passages={language: ArrowStrings(corpus.table["text"], passages)},
        digest="",
        synthetic=source.dataset.synthetic,
        notes=tuple(notes),
    )


def read_collection(path: Path) -> Collection:
    """The texts of corpus.jsonl or queries.jsonl, parsed once into the cache.

    A text is `(title + " " + text).strip()`, as BEIR joins them. Raises BadInput for a missing or
    repeated id, a text that is no string, and what `json_lines` refuses.
    """
    key = hashlib.sha256(f"collection {_VERSION} {content_hash(path)}".encode()).hexdigest()[:20]
    folder = build_once(cache_folder() / "parsed" / key, lambda unfinished: _parse(path, unfinished))
    facts = read_json(folder / "facts.json")
    if not isinstance(facts, dict):
        raise BadInput(f"{folder}: the cache is damaged: delete this folder")
    return Collection(open_table(folder / "texts.arrow"), int(facts["empty"]))


def _parse(path: Path, folder: Path) -> None:
    hashes, numbers = array("q"), array("q")  # of each row: its id's hash, its line
    mistakes: list[str] = []
    empty = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal empty
        for number, value in json_lines(path):
            problem = _problem(value)
            if problem:
                mistakes.append(f"{path}:{number}: {problem}")
                continue
            text = f"{value.get('title') or ''} {value['text']}".strip()
            empty += not text
            hashes.append(_hash(value["_id"]))
            numbers.append(number)
            yield value["_id"], text

    write_rows(folder / "texts.arrow", _SCHEMA, rows())
    refuse(mistakes)
    if not hashes:
        raise BadInput(f"{path}: holds no text")
    refuse(_repeated(path, open_table(folder / "texts.arrow")["id"], hashes, numbers))
    (folder / "facts.json").write_text(json.dumps({"empty": empty}))


def _problem(value: dict[str, Any]) -> str | None:
    """What is wrong with one line's object, in one sentence."""
    if "_id" not in value:
        return "the field _id is missing"
    if not isinstance(value["_id"], str) or not value["_id"]:
        return f"the field _id must be a non-empty string, not {json.dumps(value['_id'])[:40]}"
    if "text" not in value:
        return "the field text is missing"
    for name in ("title", "text"):
        if not isinstance(value.get(name) or "", str) or (name == "text" and value["text"] is None):
            return f"the field {name} must be a string, not {json.dumps(value[name])[:40]}"
    return None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _repeated(path: Path, ids: pa.ChunkedArray, hashes: "array[int]", numbers: "array[int]") -> list[str]:
    """A sentence for each id that stands on two lines. Memory: 16 bytes a row, not a set of strings."""
    values = np.frombuffer(hashes, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    same = np.flatnonzero(values[order][1:] == values[order][:-1])
    sentences = []
    for first, second in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        if ids[first].as_py() == ids[second].as_py():
            sentences.append(
                f"{path}:{numbers[second]}: the id {ids[second].as_py()!r} "
                f"stands on line {numbers[first]} already"
            )
    return sentences


def read_qrels(path: Path) -> tuple[Qrels, list[str]]:
    """Judgements by query, and notes. Lines are query id, document id and a whole number, between tabs.

    A first line whose third field is no number is a header. A judgement that is repeated is counted; one
    that contradicts another is refused.
    """
    qrels: Qrels = {}
    mistakes: list[str] = []
    repeated = 0
    for number, line in text_lines(path):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 3:
            mistakes.append(
                f"{path}:{number}: {len(cells)} fields between tabs; query-id, corpus-id and score are wanted"
            )
            continue
        query, document, score = cells
        try:
            gain = int(score)
        except ValueError:
            if number > 1:
                mistakes.append(f"{path}:{number}: the score {score!r} is no whole number")
            continue
        if not query or not document:
            mistakes.append(f"{path}:{number}: an id is empty")
            continue
        gains = qrels.setdefault(query, {})
        repeated += document in gains
        if gains.setdefault(document, gain) != gain:
            mistakes.append(
                f"{path}:{number}: query {query!r} and document {document!r} "
                f"have the score {gains[document]} already"
            )
    refuse(mistakes)
    if not qrels:
        raise BadInput(f"{path}: holds no judgement")
    return qrels, [f"{path.name} repeats {repeated} judgements"] if repeated else []


def _empty_notes(corpus: Collection, queries: Collection) -> list[str]:
    return [
        f"{count} of {len(collection.table)} {what} are empty"
        for collection, what in ((corpus, "documents"), (queries, "queries of all splits"))
        if (count := collection.empty)
    ]
