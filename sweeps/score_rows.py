"""Score rows as codes: columns are checked, and texts and seeds become small integers.

What is harmless is read as it must be meant and said in `notes`: seeds written as text, queries without a
cluster. Everything else that is wrong is named at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.levels import queries_of
from hybrid.errors import BadInput
from sweeps.crossed import Floats, Ints

REQUIRED = ("arm", "seed", "task", "group", "query_id", "measure", "value")
OPTIONAL = ("cluster_id", "setting", "query_lang", "doc_lang")
Seed = int | str | None
NO_SEED = None
_NO_SEED_WORDS = frozenset({"", "none", "null", "nan"})


@dataclass(frozen=True)
class Coded:
    """The rows of a table. `codes[column]` (rows,) and what they stand for, `names[column]`, None where null;
    `codes["seed"]` with `seeds`; `codes["cluster_id"]` are bare numbers. `value` (rows,)."""

    codes: Mapping[str, Ints]
    names: Mapping[str, list[str | None]]
    seeds: list[Seed]
    value: Floats
    notes: tuple[str, ...]


def coded(table: pa.Table, measures: Sequence[str] | None = None) -> Coded:
    """Check and encode a table of score rows, of all measures or of some.

    Raises BadInput with every mistake in columns, types and nulls, and for measures without rows.
    """
    _check_columns(table)
    if measures is not None:
        known = pc.unique(table["measure"].cast(pa.string())).to_pylist()
        if unknown := [m for m in measures if m not in known]:
            raise BadInput([f"no rows of the measure {_quoted(m, known)}" for m in unknown])
        table = table.filter(pc.is_in(table["measure"].cast(pa.string()), pa.array(list(measures))))
    if table.num_rows == 0:
        raise BadInput("the score table has no rows")
    codes, names = {}, {}
    for column in (*REQUIRED, *OPTIONAL):
        if column not in ("seed", "value"):
            codes[column], names[column] = _encode(table, column)
    codes["seed"], seeds = _seeds(table["seed"])
    codes["cluster_id"], notes = _clusters(codes, names)
    value = table["value"].cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
    return Coded(codes, names, seeds, value, notes)


def set_of(task: str) -> str:
    """The set a task is a split of: the name before the colon, and without the level."""
    return task.partition("@")[0].partition(":")[0]


def joint(*columns: Ints) -> tuple[Ints, list[tuple[int, ...]]]:
    """Codes of the tuples that occur, and the tuples."""
    sizes = [int(column.max(initial=0)) + 1 for column in columns]
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        key = key * size + column
    unique, codes = distinct(key)
    parts: list[Ints] = []
    for size in reversed(sizes):
        unique, remainder = np.divmod(unique, size)
        parts.append(remainder)
    return codes, [tuple(int(i) for i in t) for t in zip(*reversed(parts), strict=True)]


def distinct(key: Ints) -> tuple[Ints, Ints]:
    """The values that occur, ascending, and for each entry which one it is; sorts only sparse keys."""
    if int(key.max(initial=0)) > max(1_000_000, 4 * len(key)):
        unique, codes = np.unique(key, return_inverse=True)
        return unique, codes.astype(np.int64)
    occurs = np.bincount(key) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[key]


def _check_columns(table: pa.Table) -> None:
    mistakes = []
    for column in REQUIRED:
        if column not in table.column_names:
            near = difflib.get_close_matches(column, table.column_names, 1)
            hint = f" (is it {near[0]!r}?)" if near else ""
            mistakes.append(f"column {column!r} is missing{hint}; columns needed: {', '.join(REQUIRED)}")
    for column in (*REQUIRED, *OPTIONAL):
        if column not in table.column_names:
            continue
        kind = table.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if column == "value":
            ok, want = number, "a number"
        elif column == "seed":
            ok, want = (
                number or _is_text(kind) or pa.types.is_null(kind),
                "a number or a name, or null for an untouched model",
            )
        elif column in ("query_id", "cluster_id"):
            ok, want = _is_text(kind) or pa.types.is_integer(kind), "text"
        else:
            ok, want = _is_text(kind), "text"
        if not ok and not (column in OPTIONAL and pa.types.is_null(kind)):
            mistakes.append(f"column {column!r} is {kind}, not {want}")
        elif column not in ("seed", "value", *OPTIONAL) and (nulls := table[column].null_count):
            mistakes.append(f"column {column!r} has {nulls} nulls; every row needs a value")
    if mistakes:
        raise BadInput(mistakes)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _encode(table: pa.Table, column: str) -> tuple[Ints, list[str | None]]:
    """Codes (rows,) and the text they stand for; None where the column is absent or null."""
    if column not in table.column_names or pa.types.is_null(table.schema.field(column).type):
        return np.zeros(table.num_rows, dtype=np.int64), [None]
    data = table[column]
    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    data = data.unify_dictionaries().combine_chunks()
    if isinstance(data, pa.ChunkedArray):
        data = pa.concat_arrays(data.chunks)
    names: list[str | None] = [str(name) for name in data.dictionary.to_pylist()]
    indices = pc.fill_null(data.indices.cast(pa.int64()), len(names)).to_numpy(zero_copy_only=False)
    return indices, [*names, None]


def _clusters(
    codes: Mapping[str, Ints], names: Mapping[str, list[str | None]]
) -> tuple[Ints, tuple[str, ...]]:
    """Codes (rows,) of what is resampled: the cluster_id within its set, or the query where there is none.

    Ids are often bare numbers, so that equal ones of different sets mean nothing. Splits and levels of a set
    have its queries, NanoBEIR's among them.
    """
    given, clusters = codes["cluster_id"], names["cluster_id"]
    absent = np.array([name is None for name in clusters])[given]
    own = np.where(absent, codes["query_id"] + len(clusters), given)
    of_task = [set_of(queries_of(str(name))) for name in names["task"]]
    sets = {name: at for at, name in enumerate(dict.fromkeys(of_task))}
    independent, _ = joint(np.array([sets[name] for name in of_task])[codes["task"]], own)
    if not absent.any():
        return independent, ()
    which = "no row has a" if absent.all() else f"{int(absent.sum())} of {len(absent)} rows have no"
    note = (
        f"{which} cluster_id: such a query is taken as independent of all others, which translations of a "
        "question and questions of one paragraph are not"
    )
    return independent, (note,)


def _seeds(column: pa.ChunkedArray) -> tuple[Ints, list[Seed]]:
    """Codes (rows,) and the seed of each code; NaN and null both mean an untouched model."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=np.int64), [NO_SEED]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        return _named_seeds(column)
    numbers = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    unique, codes = np.unique(numbers, return_inverse=True)  # NaN sorts last, and is one value
    if odd := [value for value in unique if np.isfinite(value) and value != round(value)]:
        raise BadInput(f"column 'seed' holds {odd[0]}, which is not a whole number")
    return codes.astype(np.int64), [NO_SEED if np.isnan(value) else int(value) for value in unique]


def _named_seeds(column: pa.ChunkedArray) -> tuple[Ints, list[Seed]]:
    """Seeds as text: numbers if all are, else names; an empty word means an untouched model."""
    codes, names = _encode(pa.table({"seed": column}), "seed")
    texts = [(name or "").strip() for name in names]
    seeds: list[Seed] = [NO_SEED if text.lower() in _NO_SEED_WORDS else text for text in texts]
    with suppress(ValueError):
        seeds = [seed if seed is None else _whole(str(seed)) for seed in seeds]
    known = list(dict.fromkeys(seeds))
    return np.array([known.index(seed) for seed in seeds])[codes], known


def _whole(text: str) -> int:
    """The whole number that "3" or "3.0" is; ValueError for anything else."""
    return int(text.removesuffix(".0"))


def _quoted(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{name!r}" + (
        f" (did you mean {near[0]!r}?)" if near else f" (there are: {', '.join(sorted(known))})"
    )
