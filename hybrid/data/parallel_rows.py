"""Pairs that a file gives row by row, a row for each language: stored as Arrow, seen as parallel columns."""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.arrow import ArrowStrings, open_table, write_rows
from hybrid.data.cache import build_once, cache_folder, content_hash
from hybrid.data.hard_negatives import HardNegatives
from hybrid.data.records import ParallelPairs
from hybrid.errors import BadInput

_VERSION = 2
_ROWS = pa.schema(
    [
        pa.field("pair", pa.int64()),
        pa.field("language", pa.string()),
        pa.field("question", pa.string()),
        pa.field("passage", pa.string()),
        pa.field("negatives", pa.list_(pa.string())),
    ]
)
_PAIRS = pa.schema([pa.field("id", pa.string()), pa.field("cluster", pa.string())])

Row = tuple[int, str, str, str, list[str]]
"""Number of the pair, language, question, passage, hard negatives."""


@dataclass(frozen=True)
class Pairs:
    """What is known of the pairs when all rows were read."""

    ids: list[str]
    clusters: list[str]
    notes: tuple[str, ...]


Parse = Callable[[Path], Generator[Row, None, Pairs]]
"""Yields the rows of a file, in memory that does not grow with their texts; raises BadInput for bad ones."""


def parallel_pairs(path: Path, parse: Parse, *, kind: str, name: str) -> ParallelPairs:
    """The pairs of a file, parsed once per content; `kind` names what `parse` makes of it."""
    key = hashlib.sha256(f"{kind} {_VERSION} {content_hash(path)}".encode()).hexdigest()[:20]
    folder = build_once(cache_folder() / "parsed" / key, lambda unfinished: _store(path, parse, unfinished))
    rows, pairs = open_table(folder / "rows.arrow"), open_table(folder / "pairs.arrow")
    spoken = pc.unique(rows["language"]).to_pylist()
    row_of = {language: _rows_of(rows, language, len(pairs)) for language in sorted(spoken)}
    return ParallelPairs(
        name=name,
        pair_ids=pairs["id"].to_pylist(),
        clusters=pairs["cluster"].to_pylist(),
        questions={lang: ArrowStrings(rows["question"], place) for lang, place in row_of.items()},
        passages={lang: ArrowStrings(rows["passage"], place) for lang, place in row_of.items()},
        digest="",
        notes=tuple(json.loads((folder / "notes.json").read_text(encoding="utf-8"))),
        negatives=_negatives(rows["negatives"], open_table(folder / "negatives.arrow")["first"], row_of),
    )


def _store(path: Path, parse: Parse, folder: Path) -> None:
    pairs = Pairs([], [], ())
    hashes = bytearray()  # 16 bytes of every negative

    def parsed() -> Iterator[Row]:
        nonlocal pairs
        pairs = yield from parse(path)

    def rows() -> Iterator[Row]:
        for row in parsed():
            for text in row[-1]:
                raw = text.encode("utf-8", "surrogatepass")
                hashes.extend(hashlib.blake2b(raw, digest_size=16).digest())
            yield row

    write_rows(folder / "rows.arrow", _ROWS, rows())
    if not pairs.ids:
        raise BadInput(f"{path}: holds no pair")
    write_rows(folder / "pairs.arrow", _PAIRS, zip(pairs.ids, pairs.clusters, strict=True))
    first = pa.table({"first": _first_alike(np.frombuffer(hashes, dtype="<u8").reshape(-1, 2))})
    with pa.OSFile(str(folder / "negatives.arrow"), "wb") as file, pa.ipc.new_file(file, first.schema) as to:
        to.write_table(first)
    (folder / "notes.json").write_text(json.dumps(pairs.notes), encoding="utf-8")


def _first_alike(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """(texts,) of every text the place of the first that is the same; given their hashes, (texts, 2)."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: of equal ones the first comes first
    other = np.any(np.diff(hashes[order], axis=0), axis=1)
    new = np.concatenate([np.ones(min(1, len(hashes)), dtype=bool), other])
    first = np.empty(len(hashes), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _rows_of(rows: pa.Table, language: str, pairs: int) -> npt.NDArray[np.int64]:
    """(pairs,) the row that holds a pair in a language, -1 where it is missing."""
    here = np.flatnonzero(pc.equal(rows["language"], language).to_numpy())
    found = np.full(pairs, -1, dtype=np.int64)
    found[rows["pair"].to_numpy()[here]] = here
    return found


def _negatives(
    lists: pa.ChunkedArray, first: pa.ChunkedArray, row_of: dict[str, npt.NDArray[np.int64]]
) -> dict[str, HardNegatives]:
    """The hard negatives in every language, each distinct one once; nothing where no pair has any.

    `first` says of each text of the lists where the same text first stands.
    """
    count = pc.list_value_length(lists).to_numpy()  # (rows,)
    if not count.any():
        return {}
    begins = np.cumsum(count) - count
    texts, alike, found = pc.list_flatten(lists), first.to_numpy(), {}
    for language, place in row_of.items():
        of_pair = np.where(place >= 0, count[place], 0)  # (pairs,)
        starts = np.concatenate([[0], np.cumsum(of_pair)])
        used = np.arange(starts[-1]) + np.repeat(begins[place] - starts[:-1], of_pair)
        distinct, rows = np.unique(alike[used], return_inverse=True)
        found[language] = HardNegatives(ArrowStrings(texts, distinct), starts, rows.astype(np.int64))
    return found
