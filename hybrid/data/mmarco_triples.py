"""The triples of MS MARCO and mMARCO: data/triples.train.ids.small.tsv, a query, a relevant passage and one
that is not, by ids between tabs; 39,780,811 lines as published.

A line is read once; of each query the first NEGATIVES different negatives are kept (the file has about a
hundred of each of its 400,000 queries, found by BM25), so that memory does not grow with the lines.
"""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from hybrid.data.arrow import open_table, write_rows
from hybrid.data.cache import build_once, cache_folder, content_hash
from hybrid.data.lines import MOST_MISTAKES, refuse, text_lines
from hybrid.errors import BadInput

NEGATIVES = 16
"""Of each query, in the order of the file."""

_VERSION = 1
_SCHEMA = pa.schema([pa.field("query", pa.int64()), pa.field("passage", pa.int64())])


def read_triples(path: Path) -> tuple[pa.Table, pa.Table]:
    """The distinct relevant pairs and the kept negatives, both with columns query and passage, memory-mapped.

    Read once per content. Raises BadInput for lines that are not three whole numbers between tabs.
    """
    name = f"triples {_VERSION} {NEGATIVES} {content_hash(path)}"
    folder = cache_folder() / "parsed" / hashlib.sha256(name.encode()).hexdigest()[:20]
    build_once(folder, lambda unfinished: _parse(path, unfinished))
    return open_table(folder / "positives.arrow"), open_table(folder / "negatives.arrow")


def _parse(path: Path, folder: Path) -> None:
    positives: dict[int, array[int]] = {}  # query -> its relevant passages
    negatives: dict[int, array[int]] = {}
    mistakes: list[str] = []
    for number, line in text_lines(path):
        try:
            query, positive, negative = map(int, line.split("\t"))
        except ValueError:
            if line.strip() and len(mistakes) <= MOST_MISTAKES:
                mistakes.append(f"{path}:{number}: three ids, whole numbers with tabs between, are wanted")
            continue
        relevant = positives.setdefault(query, array("q"))
        if positive not in relevant:
            relevant.append(positive)
        kept = negatives.setdefault(query, array("q"))
        if len(kept) < NEGATIVES and negative not in kept:
            kept.append(negative)
    refuse(mistakes)
    if not positives:
        raise BadInput(f"{path}: holds no triple")
    write_rows(folder / "positives.arrow", _SCHEMA, _rows(positives))
    write_rows(folder / "negatives.arrow", _SCHEMA, _rows(negatives))


def _rows(passages: "dict[int, array[int]]") -> Iterator[tuple[int, int]]:
    return ((query, passage) for query, of_query in passages.items() for passage in of_query)
