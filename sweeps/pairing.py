"""Score rows → dense blocks of paired scores, with every irregularity named.

A block is one measure of one task in one setting: an array trials × rows, a row being one query in one
language cell. Differences are taken only between the same query, cell and seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hybrid.data.levels import is_pool
from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER
from sweeps.crossed import Crossed, Floats, Ints, from_rows
from sweeps.score_rows import NO_SEED, Coded, Seed, coded, distinct, joint

FEWEST_CLUSTERS = 10
"""Below this a set gets no verdict: no interval for skewed differences of so few queries is trustworthy."""
FEW_CLUSTERS = 30
POOL, POOL_NOTE = "pool", "measured on a pool of the hardest documents, which flatters tuned arms"
"""Flag and note of whatever rests on a task at level `pool`."""
LOST_SHARE = 0.05
"""Share of queries that may be missing from one side before the set is refused."""


class Refused(Exception):  # noqa: N818 - a finding about data, not a fault
    """A comparison that cannot be made: a short flag and one sentence that says why."""

    def __init__(self, flag: str, reason: str) -> None:
        super().__init__(reason)
        self.flag, self.reason = flag, reason


@dataclass(frozen=True)
class Block:
    """One measure of one task in one setting.

    `values`, `counts` (trials, rows): the mean of the table's rows and how many there were (0: absent,
    value NaN). `cells`, `clusters` (rows,); rows of one cell lie side by side, `languages` names the query's
    and the documents' language of each. `broken[trial]` names rows that are not finite numbers.
    """

    group: str
    task: str
    setting: str | None
    measure: str
    values: Floats
    counts: npt.NDArray[np.int32]
    cells: Ints
    clusters: Ints
    languages: tuple[tuple[str | None, str | None], ...]
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

    def only(self, cell: int) -> Block:
        """The rows of one language cell, as views."""
        low, high = np.searchsorted(self.cells, [cell, cell + 1])
        part = slice(int(low), int(high))
        return replace(
            self, values=self.values[:, part], counts=self.counts[:, part], cells=self.cells[part],
            clusters=self.clusters[part], queries=self.queries[part], languages=(self.languages[cell],),
        )  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """All score rows of a table as blocks. `trials` lists (arm, seed); an untouched model's seed is None.
    `notes` say what of the table had to be read as something."""

    trials: tuple[tuple[str, Seed], ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm for arm, _ in self.trials))

    def seeds(self, arm: str) -> dict[Seed, int]:
        """Seed → index of the trial."""
        return {seed: index for index, (name, seed) in enumerate(self.trials) if name == arm}


@dataclass(frozen=True)
class Paired:
    """A contrast between arms on one block, what was left out to make it, and the arms' own means."""

    part: Crossed
    seeds: tuple[Seed, ...]
    queries: int
    means: Mapping[str, float]
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def read_scores(table: pa.Table, *, measures: Sequence[str] | None = None) -> Scores:
    """Check a table of score rows and arrange it in blocks.

    Raises BadInput with every mistake in columns, types, nulls and clusters. Rows that are not finite,
    or repeated, are kept as such and refuse only the comparisons that would need them.
    """
    rows = coded(table, measures)
    codes, names, value = rows.codes, rows.names, rows.value
    trial, trial_of = joint(codes["arm"], codes["seed"])
    trials = tuple((str(names["arm"][a]), rows.seeds[s]) for a, s in trial_of)
    block, block_of = joint(codes["group"], codes["task"], codes["setting"], codes["measure"])
    cell, cell_of = joint(codes["query_lang"], codes["doc_lang"])
    languages = [(names["query_lang"][q], names["doc_lang"][d]) for q, d in cell_of]
    separate = any(any(pair) for pair in languages)
    order = np.argsort(block, kind="stable")
    bounds = np.searchsorted(block[order], np.arange(len(block_of) + 1))
    blocks, mistakes = [], []
    for index, (g, t, s, m) in enumerate(block_of):
        here = order[bounds[index] : bounds[index + 1]]
        query, cluster = codes["query_id"][here], codes["cluster_id"][here]
        row_of = cell[here] * len(names["query_id"]) + query
        unique, position = distinct(row_of)
        first = np.empty(len(unique), dtype=np.int64)
        first[position[::-1]] = np.arange(len(here))[::-1]
        if (bad := cluster != cluster[first][position]).any():
            name = names["query_id"][query[bad.argmax()]]
            mistakes.append(f"task {names['task'][t]}: query {name!r} has several cluster_ids; give it one")
            continue
        _, cells = np.unique(cell[here][first], return_inverse=True)
        shape = (len(trials), len(unique))
        key = trial[here] * len(unique) + position
        counts = np.bincount(key, minlength=shape[0] * shape[1]).reshape(shape)
        total = np.bincount(key, weights=value[here], minlength=shape[0] * shape[1]).reshape(shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = total / counts
        infinite = here[~np.isfinite(value[here])]
        broken = _first_rows(infinite, trial, lambda r: f"row {r + 1} has value {value[r]}")
        again = here[(counts.ravel()[key] > 1)] if separate else here[:0]
        repeated = _first_rows(
            again, trial, lambda r: f"row {r + 1} repeats another row's query and languages"
        )
        blocks.append(
            Block(
                str(names["group"][g]), str(names["task"][t]), names["setting"][s], str(names["measure"][m]),
                values, counts.astype(np.int32), cells, cluster[first],
                tuple(languages[c] for c in np.unique(cell[here])), query[first], broken, repeated,
            )
        )  # fmt: skip
    if mistakes:
        raise BadInput(mistakes)
    return Scores(trials, tuple(blocks), (*rows.notes, *_scale_notes(rows)))


def pair(scores: Scores, block: Block, weights: Mapping[str, float]) -> Paired:
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
    seeds: tuple[Seed, ...] = (NO_SEED,)
    if trained:
        common = set.intersection(*trained.values())
        every = set.union(*trained.values())
        seeds = in_order(common)
        if not seeds:
            raise Refused("no_common_seeds", f"{' and '.join(trained)} share no seed, so nothing is paired")
        if common != every:
            flags.append("unequal_seeds")
            lost = ", ".join(str(s) for s in in_order(every - common))
            notes.append(f"seeds {lost} are not in every arm compared and are left out")
    chosen = {
        arm: np.array([of[NO_SEED if NO_SEED in of else seed] for seed in seeds])
        for arm, of in present.items()
    }
    used = np.unique(np.concatenate(list(chosen.values())))
    for reasons, flag in ((block.broken, "not_a_number"), (block.repeated, "duplicate_rows")):
        if bad := [reasons[t] + f" ({_name(scores.trials[t])})" for t in used if t in reasons]:
            raise Refused(flag, "; ".join(bad[:3]) + (f" and {len(bad) - 3} trials more" * (len(bad) > 3)))
    count = block.counts[used]
    there = count > 0
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
    keep = np.flatnonzero(all_)
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


def in_order(seeds: Iterable[Seed]) -> tuple[int | str, ...]:
    """The seeds that are some, ascending."""
    return tuple(sorted((s for s in seeds if s is not None), key=lambda s: (isinstance(s, str), s)))


def _scale_notes(rows: Coded) -> list[str]:
    """Measures that are fractions by their kind and yet go beyond one."""
    names, notes = rows.names["measure"], []
    for code, name in enumerate(names):
        if name is not None and name not in LOWER_IS_BETTER:
            own = rows.value[rows.codes["measure"] == code]
            top = float(np.nanmax(np.abs(own), initial=0.0))
            if top > 1 and np.isfinite(top):
                notes.append(f"{name} reaches {top:g}: no fractions, so the margin is in the same unit")
    return notes


def _first_rows(rows: Ints, trial: Ints, sentence: object) -> dict[int, str]:
    """For each trial with rows among `rows`, a sentence on the first and how many follow."""
    found: dict[int, str] = {}
    for t in np.unique(trial[rows]):
        mine = rows[trial[rows] == t]
        more = f" and {len(mine) - 1} rows more" if len(mine) > 1 else ""
        found[int(t)] = f"{sentence(int(mine.min()))}{more}"  # type: ignore[operator]
    return found


def _name(trial: tuple[str, Seed]) -> str:
    return f"{trial[0]}, untouched" if trial[1] is NO_SEED else f"{trial[0]}, seed {trial[1]}"


def labelled(scores: Scores, group: str, measure: str) -> Iterator[Block]:
    """The blocks of one group and measure, in the table's order of names."""
    return (b for b in scores.blocks if b.group == group and b.measure == measure)
