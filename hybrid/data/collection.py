"""Collections of texts with ids, parsed once into memory-mapped Arrow files in the cache."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.arrow import ArrowStrings, open_table, write_rows
from hybrid.data.cache import build_once, cache_folder, content_hash, read_json
from hybrid.data.lines import json_lines, refuse, text_lines
from hybrid.errors import BadInput

_VERSION = 1  # of what parsing makes of a file
_SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("text", pa.string())])

Row = tuple[int, str, str]  # line number, id, text
Reader = Callable[[Path, list[str]], Iterator[Row]]
"""Reads one file; a line that cannot be used is told in the list of mistakes and left out."""


@dataclass(frozen=True)
class Collection:
    """Texts with their ids, memory-mapped."""

    table: pa.Table  # columns id, text
    empty: int  # texts with nothing in them

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> ArrowStrings:
        return ArrowStrings(self.table["id"])

    @property
    def texts(self) -> ArrowStrings:
        return ArrowStrings(self.table["text"])

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Row of each of the ids that are there; one pass over the id column."""
        found = pc.is_in(self.table["id"], value_set=pa.array(ids, pa.string()))
        rows = np.flatnonzero(found.to_numpy())
        return dict(zip(self.table["id"].take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))

    def places_of(self, ids: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """(ids,) the row of each of these distinct ids, -1 where it is not there; for millions of them."""
        found = pc.fill_null(pc.index_in(self.table["id"], value_set=ids), -1).to_numpy()
        rows = np.full(len(ids), -1, dtype=np.int64)
        there = np.flatnonzero(found >= 0)
        rows[found[there]] = there
        return rows


def json_texts(id_field: str, title_field: str | None, text_field: str) -> Reader:
    """Reader of JSON Lines; a text is `(title + " " + text).strip()`, as BEIR joins them."""

    def read(path: Path, mistakes: list[str]) -> Iterator[Row]:
        for number, value in json_lines(path):
            problem = _problem(value, id_field, title_field, text_field)
            if problem:
                mistakes.append(f"{path}:{number}: {problem}")
            else:
                title = value.get(title_field) or "" if title_field else ""
                yield number, value[id_field], f"{title} {value[text_field]}".strip()

    return read


def tsv_texts(path: Path, mistakes: list[str]) -> Iterator[Row]:
    """Reads lines of an id and a text with a tab between them."""
    for number, line in text_lines(path):
        name, tab, text = line.partition("\t")
        if not line.strip():
            continue
        if not tab or not name:
            mistakes.append(f"{path}:{number}: an id, a tab and a text are wanted")
        else:
            yield number, name, text.strip()


def read_collection(paths: Iterable[Path], reader: Reader, *, kind: str) -> Collection:
    """All texts of the files, parsed once per content; `kind` names what the reader makes of a file.

    Raises BadInput with file and line for what the reader refuses and for an id that stands twice.
    """
    files = list(paths)
    name = "\n".join([f"{kind} {_VERSION}", *(str(content_hash(path)) for path in files)])
    folder = cache_folder() / "parsed" / hashlib.sha256(name.encode()).hexdigest()[:20]
    build_once(folder, lambda unfinished: _parse(files, reader, unfinished))
    facts = read_json(folder / "facts.json")
    if not isinstance(facts, dict):
        raise BadInput(f"{folder}: the cache is damaged: delete this folder")
    return Collection(open_table(folder / "texts.arrow"), int(facts["empty"]))


def _parse(files: Sequence[Path], reader: Reader, folder: Path) -> None:
    hashes, places = array("q"), array("q")  # of each row: its id's hash; its line, and its file above 2^40
    mistakes: list[str] = []
    empty = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal empty
        for index, path in enumerate(files):
            for number, name, text in reader(path, mistakes):
                empty += not text.strip()
                hashes.append(_hash(name))
                places.append((index << 40) + number)
                yield name, text

    write_rows(folder / "texts.arrow", _SCHEMA, rows())
    refuse(mistakes)
    if not hashes:
        raise BadInput(f"{files[0]}: holds no text")
    refuse(_repeated(files, open_table(folder / "texts.arrow")["id"], hashes, places))
    (folder / "facts.json").write_text(json.dumps({"empty": empty}))


def _problem(value: dict[str, Any], id_field: str, title_field: str | None, text_field: str) -> str | None:
    """What is wrong with one line's object, in one sentence."""
    for name in (id_field, text_field):
        if name not in value:
            return f"the field {name} is missing"
    if not isinstance(value[id_field], str) or not value[id_field]:
        return f"the field {id_field} must be a non-empty string, not {_shown(value[id_field])}"
    if not isinstance(value[text_field], str):
        return f"the field {text_field} must be a string, not {_shown(value[text_field])}"
    if title_field and not isinstance(value.get(title_field) or "", str):
        return f"the field {title_field} must be a string, not {_shown(value[title_field])}"
    return None


def _shown(value: object) -> str:
    return json.dumps(value)[:40]


def _hash(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little", signed=True)


def _repeated(
    files: Sequence[Path], ids: pa.ChunkedArray, hashes: "array[int]", places: "array[int]"
) -> list[str]:
    """A sentence for each id that stands twice. Memory: 16 bytes a row, not a set of strings."""
    values = np.frombuffer(hashes, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    same = np.flatnonzero(values[order][1:] == values[order][:-1])
    sentences = []
    for first, second in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        if ids[first].as_py() == ids[second].as_py():
            here, there = _place(files, places[second]), _place(files, places[first])
            where = f"line {there[1]}" if here[0] == there[0] else f"line {there[1]} of {there[0].name}"
            sentences.append(f"{here[0]}:{here[1]}: the id {ids[second].as_py()!r} stands on {where} already")
    return sentences


def _place(files: Sequence[Path], packed: int) -> tuple[Path, int]:
    return files[packed >> 40], packed & ((1 << 40) - 1)
