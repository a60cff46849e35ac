"""What tracking shows of a trial and of an arm: at most `LIMIT` metrics, named `suite/dataset/measure`.

Everything else stays in Parquet and JSON artifacts: a tracking page with hundreds of metrics per run is
slow and unreadable.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from sweeps.series import series_id

LIMIT = 40
_NOTHING = {"difference": 0.0, "lower": 0.0, "upper": 0.0}
_ALLOWED = re.compile(r"[^A-Za-z0-9_.\- /]")


def metric_names(series: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Series id → metric name. The split is left out of a data set's name unless that is ambiguous."""
    names = {}
    for select in (False, True):
        some = [one for one in series if one["group"].startswith("select_") == select]
        bases = [_base(task) for task in dict.fromkeys(one["task"] for one in some)]
        for one in some:
            base = _base(one["task"])
            task = _slug(one["task"] if bases.count(base) > 1 else base)
            kinds = {other["group"] for other in some if _mean_of_sets(other) == _mean_of_sets(one)}
            if one["task"] == "macro" and len(kinds) > 1:
                task = f"macro_{one['group'].removeprefix('select_')}"
            names[one["id"]] = _name(one, task)
    return names


def _mean_of_sets(series: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two groups may both have a mean of."""
    return (series["task"] == "macro", series["setting"], series["measure"])


def _name(series: Mapping[str, Any], task: str) -> str:
    if series["setting"] == "mean":
        name = f"{series['group']}/mean"
    elif series["setting"] == "beir":
        name = f"beir/{task}/{series['measure']}"
    else:
        name = f"{task}/{series['setting']}/{series['measure']}"
    if series["group"].startswith("select_"):
        return f"select/{name.removeprefix('select_')}"
    return name


def _base(task: str) -> str:
    """The set without its split; a level stays, for other numbers come of it."""
    name, at, level = task.partition("@")
    return name.partition(":")[0] + at + level


def _slug(text: str) -> str:
    return _ALLOWED.sub("_", text.replace("-", "_").replace("/", "_").replace(":", "_"))


def trial_metrics(
    series: Sequence[Mapping[str, Any]], values: Iterable[Mapping[str, Any]], arm: str, seed: int | None
) -> dict[str, float]:
    """Metric → value of one trial, most telling first; the same `LIMIT` less three for all trials."""
    names = metric_names(series)
    found = {}
    for value in values:
        if value["arm"] == arm:
            one = value["mean"] if seed is None else value["seeds"].get(str(seed))
            if one is not None:
                found[value["series"]] = one
    shown = [one["id"] for one in _by_weight(series)][: LIMIT - 3]
    return {names[name]: found[name] for name in shown if name in found}


def arm_metrics(
    series: Sequence[Mapping[str, Any]],
    values: Iterable[Mapping[str, Any]],
    differences: Iterable[Mapping[str, Any]],
    arm: str,
    *,
    is_reference: bool = False,
) -> dict[str, float]:
    """Metric → value of one arm over its seeds: means, `zero_shot/mean` first; `n`; differences to the
    reference (`…/delta_<measure>`, and with two or more seeds the 95% interval `…/ci_lo`, `…/ci_hi`; 0 for
    the reference itself); of each mean `…/sd` and its 95% t interval."""
    names = metric_names(series)
    own = {value["series"]: value for value in values if value["arm"] == arm}
    deltas = {one["series"]: one for one in differences if one["arm"] == arm}
    reported = [one for one in _by_weight(series) if not one["group"].startswith("select_")]
    chosen = [one for one in reported if one["id"] in own and (one["headline"] or one["setting"] == "mean")]
    metrics = {names[one["id"]]: own[one["id"]]["mean"] for one in chosen}  # MLflow compares by the first
    metrics["n"] = float(max((len(own[one["id"]]["seeds"]) for one in chosen), default=0))
    for one in chosen:
        delta = _NOTHING if is_reference else deltas.get(one["id"])
        if delta and one["primary"] and not (one["task"] != "macro" and _macro(one) in own):
            path, _, measure = names[one["id"]].rpartition("/")
            name = f"{path}/delta_{measure}"
            ends = {name: "difference", f"{name}/ci_lo": "lower", f"{name}/ci_hi": "upper"}
            metrics |= {key: delta[end] for key, end in ends.items() if delta[end] is not None}
    for one in chosen:
        seeds = list(own[one["id"]]["seeds"].values())
        if len(seeds) > 1 and len(metrics) + 3 <= LIMIT:
            name, half = names[one["id"]], _half_width(seeds)
            metrics[f"{name}/sd"] = float(np.std(seeds, ddof=1))
            metrics[f"{name}/ci_lo"] = float(np.mean(seeds)) - half
            metrics[f"{name}/ci_hi"] = float(np.mean(seeds)) + half
    return dict(list(metrics.items())[:LIMIT])


def _half_width(values: Sequence[float]) -> float:
    """Half of the 95% interval of a mean over seeds, Student's t."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))


def _by_weight(series: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Means of groups, primary measures with means of sets first, headline ones, selection, the rest."""

    def weight(one: Mapping[str, Any]) -> tuple[bool, int, bool, bool]:
        select = one["group"].startswith("select_")
        if one["setting"] == "mean":
            rank = 0
        elif one["primary"]:
            rank = 1
        else:
            rank = 2 if one["headline"] else 4
        first = one["group"] == "zero_shot" and one["setting"] == "mean"
        return (select and rank == 4, 3 if select and rank else rank, not first, one["task"] != "macro")

    return sorted(series, key=weight)


def _macro(series: Mapping[str, Any]) -> str:
    return series_id(series["group"], "macro", series["setting"], series["measure"])
