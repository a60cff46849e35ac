"""Pieces that the tables of a report have in common: cells, labels of arms, and what is held fixed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.axis_words import value_words
from sweeps.tables import Cell, number

_HELD_FIRST = (
    "data", "examples", "steps", "batch_size", "learning_rate", "temperature", "passage",
    "precision", "backbone", "mono_ratio",
)  # fmt: skip
"""What a table's note names of what is held fixed; the page lists all of it."""


def value_cell(series: Mapping[str, Any], value: Mapping[str, Any] | None) -> Cell:
    """A mean over seeds, and in small each seed."""
    if value is None:
        return Cell("–")
    scale, decimals = scale_of(series)
    seeds = {seed: value["seeds"][seed] for seed in value["seeds"]}
    detail = " · ".join(number(v * scale, decimals) for v in seeds.values()) if len(seeds) > 1 else ""
    return Cell(number(value["mean"] * scale, decimals), detail, value["mean"], seeds=seeds)


def difference_cell(series: Mapping[str, Any], one: Mapping[str, Any] | None) -> Cell:
    """A difference with its 95% interval; with one seed, the interval of these trained models alone."""
    if one is None or one["difference"] is None:
        return Cell("–", "refused" if one else "")
    scale, decimals = scale_of(series)
    text = number(one["difference"] * scale, decimals, signed=True)
    if one["lower"] is None:
        if one["query_lower"] is None:
            return Cell(text, "no interval", one["difference"])
        return Cell(text, f"queries only: {span(one, 'query', scale, decimals)}", one["difference"])
    tone = ""
    if one["lower"] > 0 or one["upper"] < 0:
        tone = "better" if (one["lower"] > 0) == (series["better"] == "higher") else "worse"
    detail = span(one, "", scale, decimals)
    return Cell(text, detail, one["difference"], one["lower"], one["upper"], tone=tone)


def bounds_cell(row: Mapping[str, Any] | None, kind: str = "all", *, points: bool = True) -> Cell:
    """A difference with bounds `{kind}_lower`, `{kind}_upper` (or `lower`, `upper`)."""
    if row is None or row["difference"] is None:
        return Cell("–")
    scale = 100 if points else 1
    text = number(scale * row["difference"], 1, signed=True)
    low, high = (row[_end(kind, end)] for end in ("lower", "upper"))
    if low is None:
        return Cell(text, "no bounds", row["difference"])
    return Cell(text, span(row, kind, scale, 1), row["difference"], low, high)


def span(row: Mapping[str, Any], kind: str, scale: float, decimals: int) -> str:
    """ "−1.0 to +0.5"."""
    ends = (row[_end(kind, end)] for end in ("lower", "upper"))
    return " to ".join(number(scale * end, decimals, signed=True) for end in ends)


def _end(kind: str, end: str) -> str:
    return f"{kind}_{end}" if kind else end


def mean_cell(values: Sequence[float], decimals: int, scale: float = 1, *, signed: bool = False) -> Cell:
    if not values:
        return Cell("–")
    mean = sum(values) / len(values)
    whole = all(float(value).is_integer() for value in values) and float(mean).is_integer() and scale == 1
    return Cell(number(mean * scale, 0 if whole else decimals, signed=signed), value=mean)


def arm_label(arm: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    """The arm by the axes its block varies."""
    if arm["untouched"]:
        return "untouched"
    text = " / ".join(value_words(axis, arm["axes"][axis]) for axis in block["row_axes"]) or arm["alias"]
    incomplete = arm["trials_done"] < arm["trials"]
    return f"{text} ({arm['trials_done']} of {arm['trials']} seeds)" if incomplete else text


def arm_kind(arm: Mapping[str, Any]) -> str:
    if arm["untouched"]:
        return "untouched"
    if arm["trials_done"] < arm["trials"]:
        return "incomplete"
    return "reference" if arm["reference"] == arm["alias"] else ""


def arm_column(report: Mapping[str, Any]) -> str:
    """Head of the column that `arm_label` fills."""
    return " / ".join(report["blocks"][0]["row_axes"]) or "arm"


def held_note(report: Mapping[str, Any]) -> str:
    """What was the same in all trained arms, shortened to what a reader of a table must know."""
    held = report["held_fixed"]
    parts = [f"{name} {value_words(name, held[name])}" for name in _HELD_FIRST if name in held]
    follows = "updates" if report["hold"] == "examples" else "examples"
    swept = len(report["axes"].get("batch_size", ())) > 1
    tail = f" (hold: {report['hold']}; {follows} change with batch_size)" if swept else ""
    return f"Held fixed: {'; '.join(parts)}{tail}."


def generated_notes(report: Mapping[str, Any]) -> list[str]:
    """What every table of the embedded world begins its notes with; empty for real data."""
    note = "Generated data, the embedded world: a demonstration of the machinery, not a result."
    return [note] if report["synthetic"] else []


def scale_of(series: Mapping[str, Any]) -> tuple[float, int]:
    return (100, 1) if series["points"] else (1, 1)


def group_words(group: str) -> str:
    return {
        "in_domain": "in-domain",
        "zero_shot": "zero-shot",
        "select_in_domain": "selection, in-domain",
        "select_zero_shot": "selection, zero-shot",
        "levels": "beside the same task in full",
    }[group]


def file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
