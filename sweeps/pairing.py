"""Score rows → dense blocks of paired scores, with every irregularity named.

A block is one measure of one task in one setting: an array trials × rows, a row being one query in one
language cell. Differences are taken only between the same query, cell and seed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.levels import is_pool
from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER
from sweeps.crossed import Crossed, Floats, Ints, from_rows

REQUIRED = ("arm", "seed", "task", "group", "query_id", "cluster_id", "measure", "value")
OPTIONAL = ("setting", "query_lang", "doc_lang")
FEWEST_CLUSTERS = 10
"""Below this a set gets no verdict: no interval for skewed differences of so few queries is trustworthy."""
FEW_CLUSTERS = 30
POOL, POOL_NOTE = "pool", "measured on a pool of the hardest documents, which flatters tuned arms"
"""Flag and note of whatever rests on a task at level `pool`."""
LOST_SHARE = 0.05
"""Share of queries that may be missing from one side before the set is refused."""
NO_SEED = None


class Refused(Exception):  # noqa: N818 - a finding about data, not a fault
    """A comparison that cannot be made: a short flag and one sentence that says why."""

    def __init__(self, flag: str, reason: str) -> None:
        super().__init__(reason)
        self.flag, self.reason = flag, reason


@dataclass(frozen=True)
class Block:
    """One measure of one task in one setting.

    `values`, `counts` (trials, rows): the mean of the table's rows and how many there were (0: absent,
    value NaN). `cells`, `clusters` (rows,). `broken[trial]` names rows that are not finite numbers.
    """

    group: str
    task: str
    setting: str | None
    measure: str
    values: Floats
    counts: npt.NDArray[np.int32]
    cells: Ints
    clusters: Ints
    cell_names: tuple[str, ...]
    queries: Ints  # (rows,) code of the query
    broken: Mapping[int, str]
    repeated: Mapping[int, str]

    @property
    def label(self) -> str:
        """The task's name, with its setting unless it is an ordinary collection."""
        return self.task if self.setting in (None, "beir") else f"{self.task}/{self.setting}"

    @property
    def lower_is_better(self) -> bool:
        return self.measure in LOWER_IS_BETTER


@dataclass(frozen=True)
class Scores:
    """All score rows of a table as blocks. `trials` lists (arm, seed); an untouched model's seed is None."""

    trials: tuple[tuple[str, int | None], ...]
    blocks: tuple[Block, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm for arm, _ in self.trials))

    def seeds(self, arm: str) -> dict[int | None, int]:
        """Seed → index of the trial."""
        return {seed: index for index, (name, seed) in enumerate(self.trials) if name == arm}


@dataclass(frozen=True)
class Paired:
    """A contrast between arms on one block, what was left out to make it, and the arms' own means."""

    part: Crossed
    seeds: tuple[int | None, ...]
    queries: int
    means: Mapping[str, float]
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def read_scores(table: pa.Table, *, measures: Sequence[str] | None = None) -> Scores:
    """Check a table of score rows and arrange it in blocks.

    Raises BadInput with every mistake in columns, types, nulls and clusters. Rows that are not finite,
    or repeated, are kept as such and refuse only the comparisons that would need them.
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
    for column in (*REQUIRED[:1], *REQUIRED[2:-1], *OPTIONAL):
        codes[column], names[column] = _encode(table, column)
    value = table["value"].cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
    seed, seed_names = _seeds(table["seed"])

    trial, trial_of = _joint(codes["arm"], seed)
    trials = tuple((str(names["arm"][a]), seed_names[s]) for a, s in trial_of)
    block, block_of = _joint(codes["group"], codes["task"], codes["setting"], codes["measure"])
    cell, cell_of = _joint(codes["query_lang"], codes["doc_lang"])
    cell_names = ["-".join(str(names[c][i]) for c, i in zip(OPTIONAL[1:], pair, strict=True) if names[c][i])
                  for pair in cell_of]  # fmt: skip
    separate = any(cell_names)
    order = np.argsort(block, kind="stable")
    bounds = np.searchsorted(block[order], np.arange(len(block_of) + 1))
    blocks, mistakes = [], []
    for index, (g, t, s, m) in enumerate(block_of):
        rows = order[bounds[index] : bounds[index + 1]]
        query, cluster = codes["query_id"][rows], codes["cluster_id"][rows]
        row_of = cell[rows] * len(names["query_id"]) + query
        unique, position = _unique(row_of)
        first = np.empty(len(unique), dtype=np.int64)
        first[position[::-1]] = np.arange(len(rows))[::-1]
        if (bad := cluster != cluster[first][position]).any():
            name = names["query_id"][query[bad.argmax()]]
            mistakes.append(f"task {names['task'][t]}: query {name!r} has several cluster_ids; give it one")
            continue
        _, cells = np.unique(cell[rows][first], return_inverse=True)
        shape = (len(trials), len(unique))
        key = trial[rows] * len(unique) + position
        counts = np.bincount(key, minlength=shape[0] * shape[1]).reshape(shape)
        total = np.bincount(key, weights=value[rows], minlength=shape[0] * shape[1]).reshape(shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = total / counts
        infinite = rows[~np.isfinite(value[rows])]
        broken = _first_rows(infinite, trial, lambda r: f"row {r + 1} has value {value[r]}")
        again = rows[(counts.ravel()[key] > 1)] if separate else rows[:0]
        repeated = _first_rows(
            again, trial, lambda r: f"row {r + 1} repeats another row's query and languages"
        )
        blocks.append(
            Block(
                str(names["group"][g]), str(names["task"][t]), names["setting"][s], str(names["measure"][m]),
                values, counts.astype(np.int32), cells, cluster[first],
                tuple(cell_names[c] for c in np.unique(cell[rows])), query[first], broken, repeated,
            )
        )  # fmt: skip
    if mistakes:
        raise BadInput(mistakes)
    return Scores(trials, tuple(blocks))


def pair(scores: Scores, block: Block, weights: Mapping[str, float], *, cell: int | None = None) -> Paired:
    """The contrast Σ weight·arm on one block, over the seeds and queries that all its arms have.

    Weights are +1 for the arm and −1 for its reference (or any others, for interactions). An arm
    without seeds (an untouched model) is set against every seed of the others. Raises Refused.
    """
    flags, notes = ([POOL], [POOL_NOTE]) if is_pool(block.task) else ([], [])
    trials = {arm: scores.seeds(arm) for arm in weights}
    present = {a: {s: t for s, t in of.items() if block.counts[t].any()} for a, of in trials.items()}
    if absent := [arm for arm, of in present.items() if not of]:
        raise Refused("missing_scores", f"{', '.join(absent)}: no scores of {block.label} {block.measure}")
    if mixed := [arm for arm, of in present.items() if NO_SEED in of and len(of) > 1]:
        raise Refused("mixed_seeds", f"{mixed[0]}: some rows have a seed and some have none")
    trained = {arm: set(of) for arm, of in present.items() if NO_SEED not in of}
    seeds: tuple[int | None, ...] = (NO_SEED,)
    if trained:
        common = set.intersection(*trained.values())
        every = set.union(*trained.values())
        seeds = tuple(sorted(s for s in common if s is not None))
        if not seeds:
            raise Refused("no_common_seeds", f"{' and '.join(trained)} share no seed, so nothing is paired")
        if common != every:
            flags.append("unequal_seeds")
            lost = ", ".join(str(s) for s in sorted(s for s in every - common if s is not None))
            notes.append(f"seeds {lost} are not in every arm compared and are left out")
    chosen = {
        arm: np.array([of[NO_SEED if NO_SEED in of else seed] for seed in seeds])
        for arm, of in present.items()
    }
    used = np.unique(np.concatenate(list(chosen.values())))
    for reasons, flag in ((block.broken, "not_a_number"), (block.repeated, "duplicate_rows")):
        if bad := [reasons[t] + f" ({_name(scores.trials[t])})" for t in used if t in reasons]:
            raise Refused(flag, "; ".join(bad[:3]) + (f" and {len(bad) - 3} trials more" * (len(bad) > 3)))
    keep = np.ones(len(block.cells), dtype=bool) if cell is None else block.cells == cell
    count = block.counts[used]
    there = (count > 0)[:, keep]
    some, all_ = there.any(axis=0), there.all(axis=0)
    if not all_.any():
        raise Refused("no_common_queries", "the arms share no query")
    lost_rows = int((some & ~all_).sum())
    if lost_rows:
        share = lost_rows / int(some.sum())
        sentence = f"{lost_rows} of {int(some.sum())} queries are missing from an arm or seed"
        if share > LOST_SHARE:
            raise Refused(
                "missing_queries", f"{sentence}: more than {LOST_SHARE:.0%}, and which is not chance"
            )
        flags.append("missing_queries")
        notes.append(f"{sentence} and are left out of all")
    keep[keep] = all_
    count = count[:, keep]
    if (count != count[0]).any():
        raise Refused("duplicate_rows", "a query has more rows in one arm or seed than in another")
    rows = {arm: block.values[np.ix_(index, keep)] for arm, index in chosen.items()}  # each (n, rows)
    if all(np.ptp(of) == 0 for of in rows.values()):
        raise Refused(
            "constant_scores", "every score of these arms is one constant: the measure says nothing here"
        )
    if any(np.ptp(of) == 0 for of in rows.values()):
        flags.append("constant_scores")
        flat = [arm for arm, of in rows.items() if np.ptp(of) == 0]
        notes.append(f"every score of {', '.join(flat)} is one constant")
    difference = sum((w * rows[arm] for arm, w in weights.items()), np.zeros(1))
    _, cells = np.unique(block.cells[keep], return_inverse=True)
    part = from_rows(np.asarray(difference), cells, block.clusters[keep], replicated=bool(trained))
    weight = 1.0 / (cells.max() + 1) / np.bincount(cells)[cells]
    means = {arm: float((of @ weight).mean()) for arm, of in rows.items()}
    queries = len(np.unique(block.queries[keep]))
    return Paired(part, seeds, queries, means, tuple(flags), tuple(notes))


def _check_columns(table: pa.Table) -> None:
    mistakes = []
    for column in REQUIRED:
        if column not in table.column_names:
            near = difflib.get_close_matches(column, table.column_names, 1)
            hint = f" (is it {near[0]!r}?)" if near else ""
            if column == "cluster_id":
                hint = " (what to resample by; the query_id where queries are independent)"
            mistakes.append(f"column {column!r} is missing{hint}; columns needed: {', '.join(REQUIRED)}")
    for column in (*REQUIRED, *OPTIONAL):
        if column not in table.column_names:
            continue
        kind = table.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if column == "value":
            ok, want = number, "a number"
        elif column == "seed":
            ok, want = number or pa.types.is_null(kind), "a whole number, or null for an untouched model"
        elif column in ("query_id", "cluster_id"):
            ok, want = text or pa.types.is_integer(kind), "text"
        else:
            ok, want = text or (column in OPTIONAL and pa.types.is_null(kind)), "text"
        if not ok:
            mistakes.append(f"column {column!r} is {kind}, not {want}")
        elif column not in ("seed", "value", *OPTIONAL) and (nulls := table[column].null_count):
            mistakes.append(f"column {column!r} has {nulls} nulls; every row needs a value")
    if mistakes:
        raise BadInput(mistakes)


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


def _seeds(column: pa.ChunkedArray) -> tuple[Ints, list[int | None]]:
    """Codes (rows,) and the seed of each code; NaN and null both mean an untouched model."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=np.int64), [NO_SEED]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    numbers = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    unique, codes = np.unique(numbers, return_inverse=True)  # NaN sorts last, and is one value
    if odd := [value for value in unique if np.isfinite(value) and value != round(value)]:
        raise BadInput(f"column 'seed' holds {odd[0]}, which is not a whole number")
    return codes.astype(np.int64), [NO_SEED if np.isnan(value) else int(value) for value in unique]


def _joint(*columns: Ints) -> tuple[Ints, list[tuple[int, ...]]]:
    """Codes of the tuples that occur, and the tuples."""
    sizes = [int(column.max(initial=0)) + 1 for column in columns]
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        key = key * size + column
    unique, codes = _unique(key)
    parts: list[Ints] = []
    for size in reversed(sizes):
        unique, remainder = np.divmod(unique, size)
        parts.append(remainder)
    return codes, [tuple(int(i) for i in t) for t in zip(*reversed(parts), strict=True)]


def _unique(key: Ints) -> tuple[Ints, Ints]:
    """The values that occur, ascending, and for each entry which one it is; sorts only sparse keys."""
    if int(key.max(initial=0)) > max(1_000_000, 4 * len(key)):
        unique, codes = np.unique(key, return_inverse=True)
        return unique, codes.astype(np.int64)
    occurs = np.bincount(key) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[key]


def _first_rows(rows: Ints, trial: Ints, sentence: object) -> dict[int, str]:
    """For each trial with rows among `rows`, a sentence on the first and how many follow."""
    found: dict[int, str] = {}
    for t in np.unique(trial[rows]):
        mine = rows[trial[rows] == t]
        more = f" and {len(mine) - 1} rows more" if len(mine) > 1 else ""
        found[int(t)] = f"{sentence(int(mine.min()))}{more}"  # type: ignore[operator]
    return found


def _name(trial: tuple[str, int | None]) -> str:
    return f"{trial[0]}, untouched" if trial[1] is NO_SEED else f"{trial[0]}, seed {trial[1]}"


def _quoted(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{name!r}" + (
        f" (did you mean {near[0]!r}?)" if near else f" (there are: {', '.join(sorted(known))})"
    )


def labelled(scores: Scores, group: str, measure: str) -> Iterator[Block]:
    """The blocks of one group and measure, in the table's order of names."""
    return (b for b in scores.blocks if b.group == group and b.measure == measure)
