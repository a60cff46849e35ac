"""How small a difference a sweep as planned can settle: from scores that are there, or from assumptions.

With D = half-width + z(power)·standard error of a paired difference, no degradation is shown with the
stated power where the true difference is −margin + D or more, degradation where it is −margin − D or less.
Reads a few score tables at most, imports NumPy and SciPy's special functions alone, and writes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from hybrid.data.locate import locate
from hybrid.errors import BadInput
from hybrid.scores import MEASURES
from sweeps.crossed import Estimate, estimate, half_width, t_quantile
from sweeps.macro import macro
from sweeps.pairing import FEWEST_CLUSTERS, Refused, pair, read_scores
from sweeps.plan import Plan, Trial
from sweeps.power import MOST_SEEDS, smallest_detectable
from sweeps.score_rows import set_of
from sweeps.store import Damaged, Store
from sweeps.tables import points

POWER = 0.8
_MOST_ROWS = 1_500_000  # of score tables read: a plan is to answer in a second or two
_MOST_PAIRS = 6  # arms compared with their reference

Reach = Callable[[float], float]
"""Seeds → D."""

Pair = Sequence[tuple[Mapping[str, str], Mapping[str, str], int]]
"""Per seed: the score files of an arm and of its reference, task → path in the store; and the seed."""


@dataclass(frozen=True)
class Settles:
    """D as a fraction, for the mean of the guardrail's sets and for each set alone; how it was reckoned.

    `seeds_needed`: so many make D no more than the margin; None if no number does. `limit`: D with
    unlimited seeds. D is None where it is not known, and `sentences` say why.
    """

    measure: str
    tasks: tuple[str, ...]
    seeds: int
    comparisons: int
    margin: float
    level: float
    power: float
    mean: float | None = None
    alone: Mapping[str, float] | None = None
    limit: float | None = None
    seeds_needed: int | None = None
    source: str = ""  # what the standard deviations come from
    measured: bool = False
    sentences: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def settles(plan: Plan, store: Store, data_root: Path | None = None, pilot: Store | None = None) -> Settles:
    """What the seeds and queries of `plan` can settle on its guardrail's group.

    Standard deviations are those of `pilot`, a store with scores of these tasks; by default of what `store`
    has of this sweep; by default the sweep's assumptions. Raises BadInput for a pilot without any.
    """
    rail, sweep = plan.sweep.guardrail, plan.sweep
    tasks = tuple(sweep.evaluate.groups[rail.group])
    compared = [a for a in plan.arms if not a.untouched and a.reference not in (None, a.alias)]
    count = sweep.search.arms if sweep.search else len(compared)
    blank = Settles(rail.measure, tasks, len(sweep.seeds), count, rail.margin, rail.level, POWER)
    if not tasks or not count:
        what = f"no task under evaluate.{rail.group}" if not tasks else "no arm beside its reference"
        return replace(blank, sentences=(f"nothing to settle: the sweep has {what}",))
    level = rail.level / count
    found = _measured(_pairs_of_store(pilot, plan) if pilot else _pairs_of_plan(plan), pilot or store, plan)
    if pilot is not None and not found:
        raise BadInput(
            f"pilot {pilot}: has no {MEASURES[rail.measure]} of {' or '.join(tasks)} for an arm and its "
            "reference; give a store that has, or leave --pilot out"
        )
    if found:
        few = {task: min(e.fewest_clusters for e in es) for task, es in found.items() if task}
        if said := _too_few(few):
            return replace(blank, sentences=(said,), measured=True)
        own = [e for e in found.values() if e]
        reach = {name: _reach(es, level, sweep.assume.sd_seed) for name, es in found.items()}
        seeds = max(e.seeds for e in own[0])
        source = (
            f"from {len(own[0])} arm{'s' * (len(own[0]) > 1)} with {seeds} seed{'s' * (seeds > 1)} in "
            f"{pilot or store}"
        )
        if seeds == 1:
            source += f"; seeds assumed to vary by {points(sweep.assume.sd_seed)}"
    else:
        assumed = _assumed(plan, tasks, data_root, level)
        if isinstance(assumed, str):
            return replace(blank, sentences=(assumed,))
        reach = assumed
        a = sweep.assume
        source = (
            f"assumed, not measured: paired differences vary by {points(a.sd_seed)} between seeds, "
            f"{points(a.sd_query)} between queries, {points(a.sd_within)} within"
        )
    return _told(replace(blank, source=source, measured=bool(found)), reach)


def _too_few(queries: Mapping[str, int]) -> str:
    """A sentence where a set gets no verdict for its handful of queries; empty if none is like that."""
    few = [f"{task} has {count}" for task, count in queries.items() if count < FEWEST_CLUSTERS]
    if not few:
        return ""
    return (
        f"no verdict, whatever the seeds: {', '.join(few)} independent queries, {FEWEST_CLUSTERS} are needed"
    )


def _told(blank: Settles, reach: Mapping[str, Reach]) -> Settles:
    mean, n = reach[""], blank.seeds
    limit = mean(float("inf"))
    enough = next((k for k in range(2, MOST_SEEDS + 1) if mean(k) <= blank.margin), None)
    if n < 2:
        sentence = "one seed: nothing will be known of how seeds vary, so no verdict; plan at least 3"
        return replace(blank, limit=limit, seeds_needed=enough, sentences=(sentence,))
    d = mean(n)
    alone = {task: one(n) for task, one in reach.items() if task} if len(blank.tasks) > 1 else {}
    on = f"the mean of {len(blank.tasks)} sets" if len(blank.tasks) > 1 else blank.tasks[0]
    family = f" over {blank.comparisons} comparisons, Bonferroni" if blank.comparisons > 1 else ""
    sentences = [
        f"{n} seeds settle differences of {_points(d)} of {MEASURES[blank.measure]} on {on} "
        f"({blank.power:.0%} power, one-sided level {blank.level:g}{family})"
    ]
    if alone:
        sentences.append("alone: " + ", ".join(f"{task} {_points(v)}" for task, v in alone.items()))
    gain, loss = d - blank.margin, d + blank.margin
    shown = f"a gain of {_points(gain)} or more" if gain > 0 else f"a loss of {_points(-gain)} or less"
    sentences.append(
        f"at the margin of {points(blank.margin)}: no degradation will be shown where the truth is {shown}, "
        f"degradation where it is a loss of {_points(loss)} or more"
    )
    if d > blank.margin:
        sentences.append(f"to show it where nothing changes takes {_takes(blank.margin, limit, enough)}")
    return replace(blank, mean=d, alone=alone, limit=limit, seeds_needed=enough, sentences=tuple(sentences))


def _takes(margin: float, limit: float, enough: int | None) -> str:
    if enough is not None:
        return f"{enough} seeds"
    if limit <= margin:
        return f"more than {MOST_SEEDS} seeds"
    return (
        f"more queries: with these no number of seeds settles less than {_points(limit)}; "
        f"about {(limit / margin) ** 2:.1f} times as many, and more seeds"
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f} points"


def _reach(estimates: Sequence[Estimate], level: float, sd_seed: float) -> Reach:
    """D as a function of the seeds, with the queries that were measured; the median over the arms."""
    z = float(special.ndtri(POWER))

    def one(e: Estimate, n: float) -> float:
        if not e.replicated or e.constant:
            return e.half_width(level) + z * e.standard_error
        if e.seeds == 1:
            seed, query = sd_seed**2, e.var_between
        else:
            seed, query = e.var_seed * e.seeds, e.var_query
        if n == float("inf"):
            return float((t_quantile(level, e.df_query) + z) * query**0.5)
        width = half_width(seed / n, query, max(n - 1, 1), e.df_query, level)
        return float(width + z * (seed / n + query) ** 0.5)

    return lambda n: median(one(e, n) for e in estimates)


def _assumed(
    plan: Plan, tasks: Sequence[str], data_root: Path | None, level: float
) -> dict[str, Reach] | str:
    """D by the sweep's assumptions and the queries of each task; a sentence if those are not known."""
    counts = {task: queries_of(task, data_root) for task in tasks}
    unknown = [task for task, count in counts.items() if count is None]
    if unknown:
        return (
            f"smallest difference unknown: how many independent queries {', '.join(unknown)} "
            f"{'have' if len(unknown) > 1 else 'has'} is known once measured; --pilot takes a store that has"
        )
    if said := _too_few({task: count or 0 for task, count in counts.items()}):
        return said
    sets: dict[str, int] = {}
    for task, count in counts.items():
        sets[set_of(task)] = sets.get(set_of(task), 0) + (count or 0)
    a = plan.sweep.assume

    def reach(queries: Mapping[str, int]) -> Reach:
        return lambda n: (
            smallest_detectable(
                int(min(n, 10**9)), queries, a.sd_seed, a.sd_query, a.sd_within, level, POWER
            ).macro
        )

    return {"": reach(sets), **{task: reach({task: count or 0}) for task, count in counts.items()}}


def queries_of(task: str, data_root: Path | None) -> int | None:
    """Independent queries of a task: counted in its judgements, else as published; None: unknown."""
    try:
        source = locate(task, data_root, role="task", supply=False, probe=False)
    except BadInput:
        return None
    row = source.dataset
    if row.layout == "parallel-qa":  # many questions share a paragraph
        return None
    judged = source.folder / "qrels" / f"{source.split}.tsv"
    if judged.is_file():
        lines = judged.read_text(encoding="utf-8").splitlines()[1:]
        return len({line.split("\t", 1)[0] for line in lines if line}) or None
    return row.queries if source.split == row.default_split else None


def _pairs_of_plan(plan: Plan) -> Iterable[Pair]:
    """Arms of the plan whose scores, and whose reference's, the store has for some seed."""
    trials = {(t.arm.alias, t.seed): t for t in plan.trials}
    tasks = plan.sweep.evaluate.groups[plan.sweep.guardrail.group]

    def files(trial: Trial | None) -> dict[str, str]:
        if trial is None or trial.train_key is None:
            return {}
        keys = {task: trial.scores.get(task) for task in tasks}
        return {
            task: f"{trial.train_key}/{key}"
            for task, key in keys.items()
            if key and (trial.train_key, key) in plan.scored
        }

    for arm in plan.arms:
        if arm.untouched or arm.reference in (None, arm.alias):
            continue
        both = [
            (files(trials.get((arm.alias, seed))), files(trials.get((arm.reference or "", seed))), seed)
            for seed in plan.sweep.seeds
        ]
        if whole := [one for one in both if len(one[0]) == len(one[1]) == len(tasks)]:
            yield whole


def _pairs_of_store(store: Store, plan: Plan) -> Iterable[Pair]:
    """Models of any sweep in a store, alike but for the reference's axes, that have scores of these tasks."""
    wanted = plan.sweep.evaluate.groups[plan.sweep.guardrail.group]
    reference = {name: _plain(value) for name, value in plan.sweep.reference.items()}
    scores: dict[str, dict[str, str]] = {}
    for path in store.list("scores"):
        if path.endswith(".json"):
            key, _, name = path.removeprefix("scores/").removesuffix(".json").partition("/")
            task = (store.score_record(key, name) or {}).get("task")
            if task in wanted:
                scores.setdefault(key, {})[str(task)] = f"{key}/{name}"
    families: dict[str, dict[str, dict[int, str]]] = {}  # what is equal -> reference's axes -> seed -> model
    for key, found in scores.items():
        config = (store.get_json(f"models/{key}/config.json") or {}).get("train")
        if isinstance(config, dict) and len(found) == len(wanted):
            point = str({name: _plain(config.get(name)) for name in reference})
            rest = {k: v for k, v in config.items() if k not in (*reference, "seed")}
            family = families.setdefault(str(sorted(rest.items())), {})
            family.setdefault(point, {})[int(config.get("seed") or 0)] = key
    for family in families.values():
        base = family.get(str(reference), {})
        for point, models in family.items():
            seeds = sorted(set(models) & set(base)) if point != str(reference) else []
            if seeds:
                yield [(scores[models[s]], scores[base[s]], s) for s in seeds]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _measured(pairs: Iterable[Pair], store: Store, plan: Plan) -> dict[str, list[Estimate]]:
    """Estimates of the mean ("") and of each task, one for every arm; empty if there is none."""
    rail = plan.sweep.guardrail
    found: dict[str, list[Estimate]] = {}
    read: dict[str, pa.Table] = {}
    rows = 0
    for seeds in pairs:
        if len(found.get("", ())) >= _MOST_PAIRS or (found and rows > _MOST_ROWS):
            break
        tables = []
        try:
            for own, other, seed in seeds:
                for name, files in (("arm", own), ("reference", other)):
                    for task, path in files.items():
                        if path not in read:
                            read[path] = _rows(store, path, rail.measure)
                            rows += len(read[path])
                        tables.append(_labelled(read[path], name, seed, task, rail.group))
            scores = read_scores(pa.concat_tables(tables))
            blocks = [b for b in scores.blocks if b.measure == rail.measure]
            paired = [pair(scores, block, {"arm": 1.0, "reference": -1.0}) for block in blocks]
            whole = estimate(macro(blocks, paired).part)
        except (Refused, Damaged, BadInput):
            continue  # the report says what is wrong with it
        if not blocks or whole.constant:
            continue
        found.setdefault("", []).append(whole)
        for block, one in zip(blocks, paired, strict=True):
            found.setdefault(block.label, []).append(estimate(one.part))
    return found


def _rows(store: Store, path: str, measure: str) -> pa.Table:
    table = store.scores(*path.split("/"))
    return table.filter(pc.equal(table["measure"], measure)).drop_columns(["train_key", "task"])


def _labelled(rows: pa.Table, arm: str, seed: int, task: str, group: str) -> pa.Table:
    columns = {name: pa.array([text] * len(rows)) for name, text in (("arm", arm), ("task", task))}
    columns |= {"group": pa.array([group] * len(rows)), "seed": pa.array([seed] * len(rows))}
    plain = {
        name: rows[name].cast(pa.string()) if pa.types.is_dictionary(rows[name].type) else rows[name]
        for name in rows.column_names
    }
    return pa.table({**columns, **plain})
