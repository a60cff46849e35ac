"""The values of a sweep as series: one measure in one setting of one task, for every arm and seed.

Means over sets and over settings are series too. Values are fractions, rank distances are ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.scores import LOWER_IS_BETTER, MEASURES, NEITHER_IS_BETTER, PRIMARY_MEASURE
from sweeps.differences import Difference, paired_differences
from sweeps.plan import Plan
from sweeps.results import HEADLINE, Results

LEVEL, DRAWS = 0.95, 2000
SETTING_WORDS = {"mono": "monolingual", "cross": "cross-lingual", "multi": "multilingual", "beir": ""}
REPORTED = ("in_domain", "zero_shot")


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
                "title": ", ".join(f"{axis} {arm.axes.get(axis)}" for axis in block_axes),
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

    for group in groups:
        rows = results.rows(group)
        for row in rows:
            put(group, row["task"], row["setting"], row["measure"], row["arm"], row["seed"], row["value"])
        for key, parts in _together(rows).items():
            setting, measure, arm, seed = key
            if len(parts) == _tasks_with(rows, setting, measure) > 1:
                put(group, "macro", setting, measure, arm, seed, float(np.mean(parts)))
        primary = [row for row in rows if PRIMARY_MEASURE[row["setting"]] == row["measure"]]
        whole = len({(row["task"], row["setting"]) for row in primary})
        means: dict[tuple[str, int | None], list[float]] = {}
        for row in primary:
            means.setdefault((row["arm"], row["seed"]), []).append(row["value"])
        for (arm, seed), parts in means.items():
            if len(parts) == whole:
                put(group, "all", "mean", "primary", arm, seed, float(np.mean(parts)))
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


def _together(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str, int | None], list[float]]:
    found: dict[tuple[str, str, str, int | None], list[float]] = {}
    for row in rows:
        found.setdefault((row["setting"], row["measure"], row["arm"], row["seed"]), []).append(row["value"])
    return found


def _tasks_with(rows: Sequence[Mapping[str, Any]], setting: str, measure: str) -> int:
    return len({row["task"] for row in rows if (row["setting"], row["measure"]) == (setting, measure)})


def differences_of(plan: Plan, results: Results, blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every arm and the untouched backbone against the reference of its block, headline measures."""
    pairs = [(arm.alias, arm.reference) for arm in plan.arms if arm.reference not in (None, arm.alias)]
    pairs += [
        (arm, block["reference"]) for block in blocks for arm in block["untouched"] if block["reference"]
    ]
    if not pairs or not len(results.scores):
        return []
    headline = sorted({measure for measures in HEADLINE.values() for measure in measures})
    wanted = pc.and_(
        pc.is_in(results.scores["group"], pa.array(REPORTED)),
        pc.is_in(results.scores["measure"], pa.array(headline)),
    )
    found = paired_differences(results.scores.filter(wanted), pairs, level=LEVEL, draws=DRAWS)
    return [_difference(one) for one in found if one.measure in HEADLINE[one.setting]]


def _difference(one: Difference) -> dict[str, Any]:
    row = asdict(one)
    name = series_id(row.pop("group"), row.pop("task"), row.pop("setting"), row.pop("measure"))
    return {"series": name, **row}


def pareto_of(plan: Plan, values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """In-domain against zero-shot, both the mean of primary measures; an arm no other beats in both is on
    the front."""
    mean = {
        group: {
            v["arm"]: v["mean"] for v in values if v["series"] == series_id(group, "all", "mean", "primary")
        }
        for group in REPORTED
    }
    points = [
        {
            "arm": arm.alias,
            "zero_shot": mean["zero_shot"][arm.alias],
            "in_domain": mean["in_domain"][arm.alias],
        }
        for arm in plan.arms
        if arm.alias in mean["zero_shot"] and arm.alias in mean["in_domain"]
    ]
    for point in points:
        point["front"] = not any(_dominates(other, point) for other in points)
    return points


def _dominates(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    gains = [one[group] - other[group] for group in REPORTED]
    return bool(min(gains) >= 0 and max(gains) > 0)
