"""Two sweeps side by side: what differs between them, their arms on shared tasks, paired differences.

An arm of one stands beside the arm of the other that agrees with it in every axis that varies in either;
what is fixed in both and differs is what is compared, and is listed. Differences are B − A on the same
queries, over common seeds, with seeds and queries crossed as in `sweeps.crossed`; intervals are 95% each,
not corrected for their number, and no verdict follows from them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER, MEASURES
from sweeps.arms import Arm
from sweeps.crossed import estimate
from sweeps.pairing import Refused, Scores, pair, read_scores
from sweeps.plan import Plan
from sweeps.results import HEADLINE, Results, load_results
from sweeps.series import REPORTED, SETTING_WORDS
from sweeps.spec import Sweep
from sweeps.spec_fields import TRAIN_FIELDS, as_written
from sweeps.store import Store
from sweeps.tables import Block, Cell, Row, Table, number

LEVEL = 0.95


@dataclass(frozen=True)
class Beside:
    """One arm in both sweeps on one task. Fractions, or ranks; None where it is not known.

    `note` says why there is no difference, or what its interval lacks.
    """

    arm: str
    task: str
    setting: str
    measure: str
    a: float | None
    b: float | None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    seeds: int | None = None
    queries: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Compared:
    names: tuple[str, str]
    differs: tuple[tuple[str, str, str], ...]  # field, in A, in B
    rows: tuple[Beside, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "level": LEVEL}


def compare_sweeps(plans: tuple[Plan, Plan], stores: tuple[Store, Store]) -> Compared:
    """Set two sweeps beside each other. Raises BadInput if they have no reported task or score in common."""
    a, b = (plan.sweep for plan in plans)
    if str(stores[0]) == str(stores[1]) and a.text == b.text:
        raise BadInput(f"{a.path} and {b.path} are the same sweep in the same store: nothing to compare")
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} in {stores[0]}", f"{b.name} in {stores[1]}")
    shared = [task for task in _reported(a) if task in _reported(b)]
    if not shared:
        raise BadInput(
            f"{names[0]} and {names[1]} report no task in common: {', '.join(_reported(a))}; "
            f"{', '.join(_reported(b))}"
        )
    results = tuple(
        load_results(plan, store, every_measure=False) for plan, store in zip(plans, stores, strict=True)
    )
    empty = [
        f"store {store}: has no scores of {name} yet; run it first, or name another with --store"
        for found, name, store in zip(results, names, stores, strict=True)
        if not len(found.scores)
    ]
    if empty:
        raise BadInput(empty)
    notes = []
    for task in list(shared):
        digests = [_digests(found, task) for found in results]
        if digests[0] and digests[1] and digests[0] != digests[1]:
            shared.remove(task)
            notes.append(f"{task}: its files are not the same in both, so nothing is set beside each other")
    pairs, alone = _matched(plans)
    notes += alone
    for name, found in zip(names, results, strict=True):
        lacking = [r.trial.label for r in found.trials if r.state != "done"]
        if lacking:
            shown = ", ".join(lacking[:6]) + (" …" if len(lacking) > 6 else "")
            notes.append(f"{name}: {len(lacking)} of {len(found.trials)} trials are not complete: {shown}")
        notes += [f"{name}: {sentence}" for sentence in found.damaged]
    scores = read_scores(
        pa.concat_tables([_rows(found, side, shared) for found, side in zip(results, "AB", strict=True)])
    )
    values = [_values(found) for found in results]
    rows = [row for task in shared for row in _beside(task, pairs, scores, values, plans)]
    return Compared(names, (*_spec_differences(a, b), *_made_with(results)), tuple(rows), tuple(notes))


def _reported(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys([*sweep.evaluate.in_domain, *sweep.evaluate.zero_shot]))


def _digests(results: Results, task: str) -> set[str]:
    found = (record.measured.get(task, {}).get("task_digest") for record in results.trials)
    return {str(digest) for digest in found if digest}


def _matched(plans: tuple[Plan, Plan]) -> tuple[list[tuple[str, Arm, Arm]], list[str]]:
    """(label, arm of A, arm of B); and a sentence for each sweep's arms that stand alone."""
    a, b = (plan.sweep for plan in plans)
    varying = dict.fromkeys(
        axis for sweep in (a, b) for axis, values in sweep.axes.items() if len(values) > 1
    )

    def place(sweep: Sweep, arm: Arm) -> tuple[Any, ...]:
        if arm.untouched:
            return ("untouched", arm.backbone if "backbone" in varying else "")
        fields = {**sweep.train, **arm.axes}
        return tuple(fields.get(axis) for axis in varying)

    sides = [{place(plan.sweep, arm): arm for arm in plan.arms} for plan in plans]
    pairs = []
    for key, arm in sides[0].items():
        other = sides[1].get(key)
        if other is not None:
            label = arm.alias if arm.alias == other.alias else f"{arm.alias} | {other.alias}"
            pairs.append((label, arm, other))
    pairs.sort(key=lambda one: not one[1].untouched)
    alone = []
    for plan, side, others in zip(plans, sides, reversed(sides), strict=True):
        left = [arm.alias for key, arm in side.items() if key not in others]
        if left:
            alone.append(f"only in {plan.sweep.name}: {', '.join(left)}")
    return pairs, alone


def _rows(results: Results, side: str, tasks: Sequence[str]) -> pa.Table:
    """Headline score rows of the shared tasks, each once, under arms named for their side."""
    table = results.scores
    headline = pa.array(sorted({measure for measures in HEADLINE.values() for measure in measures}))
    wanted = pc.and_(pc.is_in(table["group"], pa.array(REPORTED)), pc.is_in(table["task"], pa.array(tasks)))
    table = table.filter(pc.and_(wanted, pc.is_in(table["measure"], headline)))
    arm = pc.binary_join_element_wise(pa.scalar(side), table["arm"].cast(pa.string()), " ")
    columns = {name: table[name] for name in table.column_names if name not in ("arm", "group")}
    plain = {
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in columns.items()
    }
    return pa.table({"arm": arm, "group": pa.array(["shared"] * len(table)), **plain})


_BySeed = Mapping[int | None, float]


def _values(results: Results) -> dict[tuple[str, str, str, str], dict[int | None, float]]:
    """(arm, task, setting, measure) → seed → macro mean."""
    found: dict[tuple[str, str, str, str], dict[int | None, float]] = {}
    for row in results.rows():
        if row["group"] in REPORTED:
            key = (row["arm"], row["task"], row["setting"], row["measure"])
            found.setdefault(key, {})[row["seed"]] = row["value"]
    return found


def _level(values: _BySeed, seeds: Collection[int | None]) -> float | None:
    """Mean over those of the seeds that there are; over all where none of them is."""
    wanted = [value for seed, value in values.items() if seed in seeds] or list(values.values())
    return sum(wanted) / len(wanted) if wanted else None


def _beside(
    task: str,
    pairs: Sequence[tuple[str, Arm, Arm]],
    scores: Scores,
    values: Sequence[Mapping[tuple[str, str, str, str], _BySeed]],
    plans: tuple[Plan, Plan],
) -> list[Beside]:
    rows = []
    keys: list[dict[tuple[str, Any], str | None]] = [
        {(t.arm.alias, t.seed): t.train_key for t in plan.trials} for plan in plans
    ]
    for block in scores.blocks:
        setting = block.setting or "beir"
        if block.task != task or block.measure not in HEADLINE.get(setting, ()):
            continue
        for label, one, other in pairs:
            of_each = [
                values[i].get((arm.alias, task, setting, block.measure), {})
                for i, arm in enumerate((one, other))
            ]
            common = set(of_each[0]) & set(of_each[1])  # levels of the same seeds as the difference
            a, b = (_level(each, common) for each in of_each)
            row = Beside(label, task, setting, block.measure, a, b)
            if a is None and b is None:
                continue
            try:
                paired = pair(scores, block, {f"B {other.alias}": 1.0, f"A {one.alias}": -1.0})
            except Refused as refusal:
                reason = str(refusal).replace("A " + one.alias, "A").replace("B " + other.alias, "B")
                rows.append(Beside(**{**asdict(row), "note": reason}))
                continue
            e, tail = estimate(paired.part), (1 - LEVEL) / 2
            notes = list(paired.notes)
            seeds = [seed for seed in paired.seeds if seed is not None]
            same = [s for s in paired.seeds if keys[0].get((one.alias, s)) == keys[1].get((other.alias, s))]
            width: float | None = e.half_width(tail)
            if len(same) == len(paired.seeds):
                width, notes = 0.0, ["the same trials in both"]
            elif not e.replicated:
                notes.append("untouched: query variation only")
            elif e.seeds == 1:
                width = e.query_half_width(tail)
                notes.append("one common seed: query variation only")
            elif e.constant:
                width = None
                notes.append("every seed and query shows the same difference")
            rows.append(
                Beside(
                    label, task, setting, block.measure, a, b, e.mean,
                    None if width is None else e.mean - width, None if width is None else e.mean + width,
                    len(seeds), paired.queries, "; ".join(notes),
                )
            )  # fmt: skip
    return rows


def _spec_differences(a: Sweep, b: Sweep) -> list[tuple[str, str, str]]:
    """Fields of the two sweep files that differ: what is trained as axis or fixed, then all else."""
    fields = [(name, _trained(a, name), _trained(b, name)) for name in TRAIN_FIELDS]
    others = ("seeds", "hold", "reference", "evaluate", "guardrail", "resources", "search", "export")
    for name in others:
        left, right = (_flat(name, getattr(sweep, name)) for sweep in (a, b))
        fields += [(key, left.get(key, ""), right.get(key, "")) for key in dict.fromkeys((*left, *right))]
    return [(name, one, other) for name, one, other in fields if one != other]


def _trained(sweep: Sweep, name: str) -> str:
    values = sweep.axes.get(name) or ((sweep.train[name],) if name in sweep.train else ())
    return " | ".join(as_written(value) for value in values)


def _flat(name: str, value: Any) -> dict[str, str]:
    """A section as dotted fields and their values in words."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, Mapping) and value:
        return {k: v for key, inside in value.items() for k, v in _flat(f"{name}.{key}", inside).items()}
    if isinstance(value, tuple):
        return {name: ", ".join(str(getattr(one, "model_dump", lambda one=one: one)()) for one in value)}
    return {name: "" if value is None else str(value)}


def _made_with(results: Sequence[Results]) -> list[tuple[str, str, str]]:
    """Versions and processors that the trials of the two were made with, where they differ."""
    found: list[dict[str, str]] = []
    for one in results:
        kinds: dict[str, dict[str, None]] = {}
        for record in one.trials:
            made = {f"made with {name}": v for name, v in record.record.get("versions", {}).items()}
            machine = record.record.get("hardware", {})
            made["made on"] = str(machine.get("gpu") or machine.get("processor") or "")
            for name, value in made.items():
                if value:
                    kinds.setdefault(name, {})[str(value)] = None
        found.append({name: ", ".join(values) for name, values in kinds.items()})
    names = dict.fromkeys((*found[0], *found[1]))
    rows = [(name, found[0].get(name, ""), found[1].get(name, "")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def compared_tables(compared: Compared) -> list[Table]:
    """What differs, and a table of values for each task."""
    a, b = compared.names
    cells = [Row([Cell(text) for text in row]) for row in compared.differs]
    tables = [Table("differs", "What differs", ["field", a, b], [Block("", cells)], (), text_columns=3)]
    for task in dict.fromkeys(row.task for row in compared.rows):
        own = [row for row in compared.rows if row.task == task]
        blocks = []
        for setting, measure in dict.fromkeys((row.setting, row.measure) for row in own):
            title = " ".join(word for word in (SETTING_WORDS[setting], MEASURES[measure]) if word)
            chosen = [row for row in own if (row.setting, row.measure) == (setting, measure)]
            blocks.append(Block(title, [Row(_cells(row)) for row in chosen]))
        notes = [f"{row.arm}, {row.setting}, {MEASURES[row.measure]}: {row.note}" for row in own if row.note]
        columns = ["arm", a, b, "B − A", "seeds", "queries"]
        tables.append(Table(task, task, columns, blocks, (_HOW, *notes)))
    return tables


_HOW = (
    f"Points (×100), rank distance in ranks; B − A on the same queries and common seeds with its {LEVEL:.0%} "
    "interval, seeds and queries crossed, not corrected for the number of comparisons."
)


def _cells(row: Beside) -> list[Cell]:
    scale = 1 if row.measure in LOWER_IS_BETTER else 100
    values = [Cell("–") if v is None else Cell(number(v * scale, 1), value=v) for v in (row.a, row.b)]
    if row.difference is None:
        return [Cell(row.arm), *values, Cell("–"), Cell("–"), Cell("–")]
    detail = "no interval"
    if row.lower is not None and row.upper is not None:
        detail = " to ".join(number(end * scale, 1, signed=True) for end in (row.lower, row.upper))
    shown = number(row.difference * scale, 1, signed=True)
    difference = Cell(shown, detail, row.difference, row.lower, row.upper)
    return [Cell(row.arm), *values, difference, Cell(str(row.seeds or "–")), Cell(str(row.queries))]


def print_compared(compared: Compared, console: Console) -> None:
    """The same tables on a terminal."""
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width of its own
    for table in compared_tables(compared):
        shown = Grid(title=table.title, box=None, header_style="bold", title_justify="left")
        for at, name in enumerate(table.columns):
            shown.add_column(Text(name), justify="left" if at < table.text_columns else "right")
        for block in table.blocks:
            if block.title:
                shown.add_row(Text(block.title, style="italic"))
            for row in block.rows:
                shown.add_row(*(Text(f"{c.text} ({c.detail})" if c.detail else c.text) for c in row.cells))
        console.print(shown)
        for note in table.notes:
            console.print(note, highlight=False, markup=False)
        console.print()
    for note in compared.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
