"""A user's own parallel pairs: pairs.jsonl or pairs.parquet, one row for a pair in one language.

Columns `id`, `lang`, `question`, `passage`, and optionally `passage_id` and `negatives`. Rows with one id
are translations of each other; a pair may be missing in a language. Pairs with one `passage_id` are no
negatives of each other. `negatives` is a list of hard negatives, the same passages in every language.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid.data.clusters import connected
from hybrid.data.languages import is_language
from hybrid.data.lines import json_lines, refuse
from hybrid.data.parallel_rows import Pairs, Row, parallel_pairs
from hybrid.data.records import ParallelPairs
from hybrid.data.source import Source
from hybrid.errors import BadInput

_COLUMNS = ("id", "lang", "question", "passage")


def recognises(folder: Path) -> bool:
    return any(path.is_file() for path in _names(folder))


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  all of it is for training
    return ()


def files(source: Source) -> list[Path]:
    return [next((path for path in _names(source.folder) if path.is_file()), _names(source.folder)[0])]


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  passages have no parts
    """The pairs in the order in which their ids first stand in the file."""
    (path,) = files(source)
    return parallel_pairs(path, _parse, kind=f"pairs {path.suffix}", name=source.name)


def _parse(path: Path) -> Generator[Row, None, Pairs]:
    place: dict[str, int] = {}
    counts: dict[str, dict[int, int]] = {}  # language -> pair -> its hard negatives
    links: list[tuple[tuple[str, str], tuple[str, str]]] = []
    mistakes: list[str] = []
    empty = 0
    for where, row in _rows(path):
        problem = _problem(row)
        if problem is None and place.get(row["id"], -1) in counts.get(row["lang"], {}):
            problem = f"the pair {row['id']!r} stands in {row['lang']} already"
        if problem is None:
            problem = _other_count(row, place.get(row["id"], -1), counts)
        if problem is not None:
            mistakes.append(f"{where}: {problem}")
            continue
        negatives = row.get("negatives") or []
        pair = place.setdefault(row["id"], len(place))
        counts.setdefault(row["lang"], {})[pair] = len(negatives)
        links.append((("pair", row["id"]), ("passage", row.get("passage_id") or f"of pair {row['id']}")))
        empty += not row["question"].strip() or not row["passage"].strip()
        yield pair, row["lang"], row["question"], row["passage"], negatives
    refuse(mistakes)
    groups = connected(links)
    notes = (f"{empty} rows have an empty question or passage",) if empty else ()
    return Pairs(list(place), [groups["pair", pair][1] for pair in place], notes)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place for messages, row)."""
    if path.suffix == ".jsonl":
        for number, value in json_lines(path):
            yield f"{path}:{number}", value
        return
    try:
        with pq.ParquetFile(path) as parquet:
            missing = [name for name in _COLUMNS if name not in parquet.schema_arrow.names]
            if missing:
                raise BadInput(f"{path}: the columns {', '.join(missing)} are missing")
            number = 0
            for batch in parquet.iter_batches():
                for value in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", value
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a whole Parquet file ({error})") from None


def _problem(row: dict[str, Any]) -> str | None:
    for name in _COLUMNS:
        if not isinstance(row.get(name), str):
            return f"the field {name} must be a string" if name in row else f"the field {name} is missing"
    if not row["id"]:
        return "the field id is empty"
    if not is_language(row["lang"]):
        return f"{row['lang']!r} is no language code of ISO 639-1"
    if not isinstance(row.get("passage_id") or "", str):
        return "the field passage_id must be a string"
    negatives = row.get("negatives") or []
    if not isinstance(negatives, list) or not all(isinstance(text, str) and text for text in negatives):
        return "the field negatives must be a list of strings, none of them empty"
    return None


def _other_count(row: dict[str, Any], pair: int, counts: dict[str, dict[int, int]]) -> str | None:
    """Hard negatives are the same passages in every language, so there are equally many of them."""
    count = len(row.get("negatives") or [])
    for language, of_language in counts.items():
        if of_language.get(pair, count) != count:
            return (
                f"the pair {row['id']!r} has {count} negatives in {row['lang']} and {of_language[pair]} "
                f"in {language}; give the same passages in each"
            )
    return None


def _names(folder: Path) -> tuple[Path, Path]:
    return folder / "pairs.jsonl", folder / "pairs.parquet"
