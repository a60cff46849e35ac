"""The values of a sweep as series: one measure in one setting of one task, for every arm and seed.

Means over sets and over settings are series too. Values are fractions, rank distances are ranks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid.scores import LOWER_IS_BETTER, MEASURES, NEITHER_IS_BETTER, PRIMARY_MEASURE
from sweeps.axis_words import axes_words
from sweeps.claims import MACRO, Verdict
from sweeps.comparisons import Judged
from sweeps.plan import Plan
from sweeps.results import HEADLINE, REPORTED, Results
from sweeps.score_rows import set_of

__all__ = ["REPORTED", "SETTING_WORDS", "blocks_of", "differences_of", "series_and_values", "series_id"]

SETTING_WORDS = {"mono": "monolingual", "cross": "cross-lingual", "multi": "multilingual", "beir": ""}


def series_id(group: str, task: str, setting: str, measure: str) -> str:
    return "/".join((group, task, setting, measure))


def blocks_of(plan: Plan) -> list[dict[str, Any]]:
    """Arms that differ in the row axes alone stand in one block, their untouched backbone first.

    Row axes are mono_ratio and those the reference is given in: along them one arm is compared with another.
    """
    varying = [axis for axis, points in plan.sweep.axes.items() if len(points) > 1]
    row_axes = [axis for axis in varying if axis == "mono_ratio" or axis in plan.sweep.reference]
    block_axes = [axis for axis in varying if axis not in row_axes]
    trained = [arm for arm in plan.arms if not arm.untouched]
    blocks: dict[tuple[Any, ...], dict[str, Any]] = {}
    for arm in trained:
        key = tuple(arm.axes.get(axis) for axis in block_axes)
        block = blocks.setdefault(
            key,
            {
                "title": axes_words(dict(zip(block_axes, key, strict=True))),
                "axes": dict(zip(block_axes, key, strict=True)),
                "row_axes": row_axes,
                "untouched": [a.alias for a in plan.arms if a.untouched and a.backbone == arm.backbone],
                "arms": [],
                "reference": arm.reference,
            },
        )
        block["arms"].append(arm.alias)
    if not trained:
        only = [arm.alias for arm in plan.arms]
        return [{"title": "", "axes": {}, "row_axes": [], "untouched": only, "arms": [], "reference": None}]
    return list(blocks.values())


def series_and_values(
    results: Results, groups: Sequence[str] = REPORTED
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Series in the order met, and per series and arm the values of the seeds, their mean and sd."""
    per_seed: dict[tuple[str, str], dict[int | None, float]] = {}
    series: dict[str, dict[str, Any]] = {}

    def put(
        group: str, task: str, setting: str, measure: str, arm: str, seed: int | None, value: float
    ) -> None:
        name = series_id(group, task, setting, measure)
        if name not in series:
            series[name] = _series(name, group, task, setting, measure)
        per_seed.setdefault((name, arm), {})[seed] = value

    queries = _queries(results)
    for group in groups:
        rows = results.rows(group)
        for row in rows:
            put(group, row["task"], row["setting"], row["measure"], row["arm"], row["seed"], row["value"])
        tasks: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            tasks.setdefault((row["setting"], row["measure"]), set()).add(row["task"])
        for (setting, measure, arm, seed), parts in _together(rows).items():
            if len(parts) == len(tasks[setting, measure]) > 1:
                put(group, "macro", setting, measure, arm, seed, _mean_of_sets(parts, queries))
        primary = [row for row in rows if PRIMARY_MEASURE[row["setting"]] == row["measure"]]
        whole = len({(row["task"], row["setting"]) for row in primary})
        means: dict[tuple[str, int | None], list[float]] = {}
        for row in primary:
            means.setdefault((row["arm"], row["seed"]), []).append(row["value"])
        for (arm, seed), found in means.items():
            if len(found) == whole:
                put(group, "all", "mean", "primary", arm, seed, float(np.mean(found)))
    values: list[dict[str, Any]] = [
        {
            "series": name,
            "arm": arm,
            "mean": float(np.mean(list(seeds.values()))),
            "sd": float(np.std(list(seeds.values()), ddof=1)) if len(seeds) > 1 else None,
            "seeds": {str(seed): value for seed, value in sorted(seeds.items()) if seed is not None},
        }
        if None not in seeds
        else {"series": name, "arm": arm, "mean": seeds[None], "sd": None, "seeds": {}}
        for (name, arm), seeds in per_seed.items()
    ]
    order = {name: at for at, name in enumerate(series)}
    return list(series.values()), sorted(values, key=lambda value: order[value["series"]])


def _series(name: str, group: str, task: str, setting: str, measure: str) -> dict[str, Any]:
    group_word = group.replace("_", "-")
    if measure == "primary":
        title = f"{group_word}, mean of the primary measures"
    else:
        what = " ".join(word for word in (SETTING_WORDS[setting], MEASURES[measure]) if word)
        title = f"{group_word} {what}, mean of sets" if task == "macro" else f"{task} {what}"
    return {
        "id": name,
        "group": group,
        "task": task,
        "setting": setting,
        "measure": measure,
        "title": title,
        "points": measure != "rank_distance",  # shown ×100
        "better": _direction(measure),
        "headline": measure in HEADLINE.get(setting, ()),
        "primary": PRIMARY_MEASURE.get(setting) == measure,
    }


def _direction(measure: str) -> str:
    if measure in NEITHER_IS_BETTER:
        return "neither"
    return "lower" if measure in LOWER_IS_BETTER else "higher"


def _together(
    rows: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str, str, int | None], dict[str, float]]:
    found: dict[tuple[str, str, str, int | None], dict[str, float]] = {}
    for row in rows:
        key = (row["setting"], row["measure"], row["arm"], row["seed"])
        found.setdefault(key, {})[row["task"]] = row["value"]
    return found


def _queries(results: Results) -> dict[str, int]:
    """Task → queries, summed over languages."""
    cells = results.cells.group_by(["task", "arm", "seed", "setting", "measure"]).aggregate(
        [("queries", "sum")]
    )
    most = cells.group_by("task").aggregate([("queries_sum", "max")])
    return dict(zip(most["task"].to_pylist(), most["queries_sum_max"].to_pylist(), strict=True))


def _mean_of_sets(parts: Mapping[str, float], queries: Mapping[str, int]) -> float:
    """Task → value: sets count equally, splits of one set by their queries."""
    sets: dict[str, list[str]] = {}
    for task in parts:
        sets.setdefault(set_of(task), []).append(task)
    own = [
        np.average([parts[t] for t in tasks], weights=[queries[t] for t in tasks]) for tasks in sets.values()
    ]
    return float(np.mean(own))


def differences_of(judged: Judged | None, blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every arm, and the untouched backbone, against the reference of its block, headline measures.

    `lower`, `upper`: the 95% interval of this difference by itself; `all_lower`, `all_upper`: bounds that
    hold together for all arms and sets of the group and measure; `query_lower`, `query_upper`: with one
    seed, the 95% interval for these trained models alone. None where there is none.
    """
    untouched = {alias for block in blocks for alias in block["untouched"]}
    found = []
    for v in judged.comparison.verdicts if judged else ():
        headline = v.setting is not None and v.measure in HEADLINE[v.setting]
        if v.query_lang is None and v.doc_lang is None and headline:
            found.append(_difference(v, v.reference in untouched))
    return found


def _difference(v: Verdict, turned: bool) -> dict[str, Any]:
    """`turned`: the untouched backbone minus the arm, for a comparison made the other way round."""
    task = "macro" if v.task.split("/")[0] == MACRO else v.task.removesuffix(f"/{v.setting}")
    sign = -1.0 if turned else 1.0

    def ends(low: float | None, high: float | None) -> list[float | None]:
        if low is None or high is None:
            return [None, None]
        return [*sorted((sign * low, sign * high))]

    lower, upper = ends(*(v.interval or (None, None)))
    all_lower, all_upper = ends(v.lower, v.upper)
    query_lower, query_upper = ends(*(v.query_only or (None, None)))
    difference = None if v.difference is None else sign * v.difference
    base = v.arm_mean if turned else v.reference_mean
    return {
        "series": series_id(v.group, task, str(v.setting), v.measure),
        "arm": v.reference if turned else v.arm,
        "reference": v.arm if turned else v.reference,
        "difference": difference,
        "relative": difference / base if difference is not None and base else None,
        "lower": lower,
        "upper": upper,
        "all_lower": all_lower,
        "all_upper": all_upper,
        "query_lower": query_lower,
        "query_upper": query_upper,
        "verdict": None if turned else v.verdict,
        "seeds": v.n_seeds,
        "queries": v.n_queries,
        "clusters": v.n_clusters,
        "flags": list(v.flags),
        "notes": list(v.notes),
    }
