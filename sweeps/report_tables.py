"""The tables of a report, made from its numbers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hybrid.scores import MEASURES
from sweeps.report_verdicts import WORDS
from sweeps.series import SETTING_WORDS
from sweeps.tables import Block, Cell, Row, Table, number

_HELD_FIRST = (
    "data", "examples", "steps", "batch_size", "learning_rate", "temperature", "passage",
    "precision", "backbone", "mono_ratio",
)  # fmt: skip
"""What a table's note names of what is held fixed; the page lists all of it."""


def build_tables(report: Mapping[str, Any]) -> list[Table]:
    """Results first: in-domain by task, zero-shot by measure; then what else was measured, data, cost."""
    return [
        *_verdicts(report),
        *_result_tables(report),
        *_other_measures(report),
        *_mixture(report),
        _tasks(report),
        _cost(report),
        *_candidates(report),
    ]


def _verdicts(report: Mapping[str, Any]) -> Iterable[Table]:
    """The declared comparison, with the bounds that decide; single sets beside it as exploratory."""
    rows = {(row["arm"], row["task"]): row for row in report["verdicts"]["rows"]}
    if not rows:
        return
    rail, arms = report["guardrail"], {arm["alias"]: arm for arm in report["arms"]}
    sets = [task for task in dict.fromkeys(row["task"] for row in rows.values()) if task != "macro"]
    single = len(sets) == 1  # then the mean over sets is that set

    def cells(arm: Mapping[str, Any], block: Mapping[str, Any]) -> list[Cell]:
        declared = rows[(arm["alias"], "macro")]
        found = [Cell(_label(arm, block)), _bounds_cell(declared), Cell(WORDS[declared["verdict"]])]
        found += [_bounds_cell(rows.get((arm["alias"], task))) for task in sets if not single]
        return found

    blocks = []
    for block in report["blocks"]:
        members = [arms[alias] for alias in block["arms"] if (alias, "macro") in rows]
        if members:
            blocks.append(Block(block["title"], [Row(cells(arm, block), _kind(arm)) for arm in members]))
    declared = f"Δ {sets[0]}" if single else "Δ mean of sets"
    columns = [" / ".join(report["blocks"][0]["row_axes"]) or "arm", declared, "verdict"]
    columns += [f"Δ {task}" for task in sets if not single]
    notes = [
        f"Points of {MEASURES[rail['measure']]} against the reference arm, with simultaneous bounds. No "
        f"degradation: the lower bound is above −{100 * rail['margin']:g}; degradation: the upper bound is "
        "below it; else inconclusive." + ("" if single else " Single sets are exploratory."),
        report["verdicts"]["method"],
        held_note(report),
    ]
    title = f"Verdict: {_words(rail['group'])} {MEASURES[rail['measure']]}"
    yield Table("verdict", title, columns, blocks, notes)


def _bounds_cell(row: Mapping[str, Any] | None) -> Cell:
    if row is None or row["difference"] is None:
        return Cell("–")
    text = number(100 * row["difference"], 1, signed=True)
    if row["lower"] is None:
        return Cell(text, "no bounds", row["difference"])
    low, high = (number(100 * row[end], 1, signed=True) for end in ("lower", "upper"))
    tone = {"degradation": "worse", "no_degradation": "better"}.get(row["verdict"], "")
    return Cell(text, f"{low} to {high}", row["difference"], row["lower"], row["upper"], tone=tone)


def _result_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    headline = [series for series in report["series"] if series["headline"]]
    parallel = [series for series in headline if series["setting"] != "beir"]
    for group, task in dict.fromkeys((series["group"], series["task"]) for series in parallel):
        chosen = [series for series in parallel if (series["group"], series["task"]) == (group, task)]
        heads = [f"{SETTING_WORDS[s['setting']]} {MEASURES[s['measure']]}" for s in chosen]
        title = f"{_words(group)}: {'mean of sets' if task == 'macro' else task}"
        yield _values_table(report, f"{group}-{task}", title, chosen, heads)
    collections = [series for series in headline if series["setting"] == "beir"]
    for group, measure in dict.fromkeys((series["group"], series["measure"]) for series in collections):
        chosen = [s for s in collections if (s["group"], s["measure"]) == (group, measure)]
        chosen.sort(key=lambda series: series["task"] != "macro")
        heads = ["mean of sets" if series["task"] == "macro" else series["task"] for series in chosen]
        title = f"{_words(group)}: {MEASURES[measure]}"
        yield _values_table(report, f"{group}-{measure}", title, chosen, heads)


def _values_table(
    report: Mapping[str, Any],
    name: str,
    title: str,
    chosen: Sequence[Mapping[str, Any]],
    heads: Sequence[str],
) -> Table:
    """A row per arm; for each series its mean with the seeds' values, and the difference to the reference."""
    values = {(value["series"], value["arm"]): value for value in report["values"]}
    differences = {(d["series"], d["arm"], d["reference"]): d for d in report["differences"]}
    arms = {arm["alias"]: arm for arm in report["arms"]}

    def cells(arm: Mapping[str, Any], block: Mapping[str, Any]) -> list[Cell]:
        reference = block["reference"] if arm["untouched"] else arm["reference"]
        found = [Cell(_label(arm, block))]
        for series in chosen:
            found.append(_value_cell(series, values.get((series["id"], arm["alias"]))))
            one = differences.get((series["id"], arm["alias"], reference))
            found.append(Cell("reference") if arm["alias"] == reference else _difference_cell(series, one))
        return found

    blocks = []
    for block in report["blocks"]:
        rows = [
            Row(cells(arms[alias], block), _kind(arms[alias]))
            for alias in (*block["untouched"], *block["arms"])
        ]
        blocks.append(Block(block["title"], rows))
    columns = [" / ".join(report["blocks"][0]["row_axes"]) or "arm"]
    for head in heads:
        columns += [head, f"Δ {head}"]
    return Table(_file_name(name), title, columns, blocks, _value_notes(report, chosen))


def _value_cell(series: Mapping[str, Any], value: Mapping[str, Any] | None) -> Cell:
    if value is None:
        return Cell("–")
    scale, decimals = _scale(series)
    seeds = {seed: value["seeds"][seed] for seed in value["seeds"]}
    detail = " · ".join(number(v * scale, decimals) for v in seeds.values()) if len(seeds) > 1 else ""
    return Cell(number(value["mean"] * scale, decimals), detail, value["mean"], seeds=seeds)


def _difference_cell(series: Mapping[str, Any], one: Mapping[str, Any] | None) -> Cell:
    if one is None:
        return Cell("–")
    scale, decimals = _scale(series)
    low, high = (number(one[end] * scale, decimals, signed=True) for end in ("lower", "upper"))
    tone = ""
    if one["lower"] > 0 or one["upper"] < 0:
        tone = "better" if (one["lower"] > 0) == (series["better"] == "higher") else "worse"
    return Cell(
        number(one["difference"] * scale, decimals, signed=True),
        f"{low} to {high}",
        one["difference"],
        one["lower"],
        one["upper"],
        tone=tone,
    )


def _value_notes(report: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    interval = report["interval"]
    reference = ", ".join(f"{axis} {value}" for axis, value in report["reference"].items())
    notes = [
        f"Points (×100), mean over seeds {', '.join(map(str, report['seeds']))}; in small, each seed."
        + (" Rank distance in ranks, lower is better." if any(not s["points"] for s in chosen) else ""),
        f"Δ: paired difference to the reference arm ({reference}, other axes equal) with its "
        f"{100 * interval['level']:g}% interval, {interval['kind']}.",
        held_note(report),
    ]
    if report["synthetic"]:
        notes.insert(0, "Generated data, the embedded world: a demonstration of the machinery, not a result.")
    return notes


def held_note(report: Mapping[str, Any]) -> str:
    """What was the same in all trained arms, shortened to what a reader of a table must know."""
    held = report["held_fixed"]
    parts = [f"{name} {_plain(held[name])}" for name in _HELD_FIRST if name in held]
    follows = "updates" if report["hold"] == "examples" else "examples"
    swept = len(report["axes"].get("batch_size", ())) > 1
    tail = f" (hold: {report['hold']}; {follows} change with batch_size)" if swept else ""
    return f"Held fixed: {'; '.join(parts)}{tail}."


def _other_measures(report: Mapping[str, Any]) -> Iterable[Table]:
    """Everything measured that has no difference above: values alone."""
    values = {(value["series"], value["arm"]): value for value in report["values"]}
    for group in ("in_domain", "zero_shot"):
        chosen = [
            series
            for series in report["series"]
            if series["group"] == group and not series["headline"] and series["measure"] != "primary"
        ]
        if chosen:
            columns = ["arm", *(series["title"] for series in chosen)]

            def row(arm: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]] = chosen) -> Row:
                found = [_value_cell(series, values.get((series["id"], arm["alias"]))) for series in chosen]
                return Row([Cell(arm["alias"]), *found], _kind(arm))

            blocks = [Block("", [row(arm) for arm in report["arms"]])]
            notes = [*_value_notes(report, chosen)]
            del notes[-2]  # no differences here
            yield Table(
                _file_name(f"{group}-other"), f"{_words(group)}: other measures", columns, blocks, notes
            )


def _mixture(report: Mapping[str, Any]) -> Iterable[Table]:
    trials = [trial for trial in report["trials"] if trial["mixture"]]
    if not trials:
        return
    fields: list[tuple[str, int, Callable[[Mapping[str, Any]], float | None]]] = [
        ("steps", 0, lambda m: m.get("steps")),
        ("examples", 0, lambda m: m.get("examples")),
        ("monolingual batches", 1, lambda m: m.get("batches", {}).get("mono")),
        ("cross-lingual batches", 1, lambda m: m.get("batches", {}).get("cross")),
        ("realised mono_ratio", 3, lambda m: m.get("mono_share")),
        ("language pairs seen", 1, lambda m: len(m.get("pairs_by_language", {})) or None),
        ("epochs", 2, lambda m: m.get("epochs")),
        ("most repeats of a pair", 1, lambda m: m.get("repeats_per_pair", {}).get("max")),
        ("negatives per query", 2, lambda m: m.get("effective_negatives_per_query")),
    ]
    rows = []
    for arm in dict.fromkeys(trial["arm"] for trial in trials):
        cells = [Cell(arm)]
        for _, decimals, get in fields:
            found = [get(trial["mixture"]) for trial in trials if trial["arm"] == arm]
            cells.append(_mean_cell([value for value in found if value is not None], decimals))
        rows.append(Row(cells))
    notes = [
        "What the batches really held, mean over seeds. Negatives: other passages of the batch that count."
    ]
    yield Table(
        "mixture", "Realised mixture", ["arm", *(name for name, _, _ in fields)], [Block("", rows)], notes
    )


def _tasks(report: Mapping[str, Any]) -> Table:
    rows = [
        Row(
            [
                Cell(task["name"] + (" (generated)" if task["synthetic"] else "")),
                Cell(", ".join(_words(group) for group in task["groups"])),
                Cell(", ".join(task["languages"])),
                Cell(str(task["queries"]), value=task["queries"]),
                Cell(str(task["clusters"]), value=task["clusters"]),
                Cell(str(task["documents"] or "–"), value=task["documents"]),
                Cell(task["digest"] or "–"),
            ]
        )
        for task in report["tasks"]
    ]
    columns = [
        "data set",
        "used for",
        "query languages",
        "queries",
        "clusters",
        "documents",
        "content digest",
    ]
    notes = ["Queries of one cluster (one paragraph in all languages) are resampled together."]
    return Table("data", "Data", columns, [Block("", rows)], notes, text_columns=3)


def _cost(report: Mapping[str, Any]) -> Table:
    rows = []
    for arm in report["arms"]:
        trials = [trial for trial in report["trials"] if trial["arm"] == arm["alias"]]
        cells = [Cell(arm["alias"]), Cell(f"{arm['trials_done']} of {arm['trials']}")]
        for field, decimals in (("train_seconds", 1), ("evaluate_seconds", 1), ("peak_rss_mb", 0)):
            cells.append(_mean_cell([t[field] for t in trials if t[field] is not None], decimals))
        rows.append(Row(cells, _kind(arm)))
    columns = ["arm", "trials done", "training, s", "evaluation, s", "peak memory, MB"]
    where = "; ".join(report["cost"]["hardware"]) or "unknown"
    return Table(
        "cost", "Cost per trial", columns, [Block("", rows)], [f"Means over seeds. Hardware: {where}."]
    )


def _candidates(report: Mapping[str, Any]) -> Iterable[Table]:
    choice = report["choice"]
    if "candidates" not in choice:
        return
    rows = [
        Row(
            [
                Cell(one["arm"]),
                _mean_cell([one["score"]] if one["score"] is not None else [], 1, 100),
                _mean_cell([one["difference"]] if one["difference"] is not None else [], 1, 100, signed=True),
                _mean_cell([one["bound"]] if one["bound"] is not None else [], 1, 100, signed=True),
                Cell(one["reason"]),
            ],
            "reference" if one["arm"] == choice["arm"] else "",
        )
        for one in choice["candidates"]
    ]
    columns = ["arm", f"in-domain {MEASURES[choice['measure']]}", "Δ guardrail", "its bound", "why in or out"]
    notes = [choice["rule"], "Selection sets alone; none of these numbers is a result."]
    yield Table("choice", "Choosing the configuration", columns, [Block("", rows)], notes)


def _mean_cell(values: Sequence[float], decimals: int, scale: float = 1, *, signed: bool = False) -> Cell:
    if not values:
        return Cell("–")
    mean = sum(values) / len(values)
    whole = all(float(value).is_integer() for value in values) and float(mean).is_integer() and scale == 1
    return Cell(number(mean * scale, 0 if whole else decimals, signed=signed), value=mean)


def _label(arm: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    if arm["untouched"]:
        return "untouched"
    text = " / ".join(_plain(arm["axes"][axis]) for axis in block["row_axes"]) or arm["alias"]
    incomplete = arm["trials_done"] < arm["trials"]
    return f"{text} ({arm['trials_done']} of {arm['trials']} seeds)" if incomplete else text


def _kind(arm: Mapping[str, Any]) -> str:
    if arm["untouched"]:
        return "untouched"
    if arm["trials_done"] < arm["trials"]:
        return "incomplete"
    return "reference" if arm["reference"] == arm["alias"] else ""


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scale(series: Mapping[str, Any]) -> tuple[float, int]:
    return (100, 1) if series["points"] else (1, 1)


def _words(group: str) -> str:
    return {
        "in_domain": "in-domain",
        "zero_shot": "zero-shot",
        "select_in_domain": "selection, in-domain",
        "select_zero_shot": "selection, zero-shot",
    }[group]


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
