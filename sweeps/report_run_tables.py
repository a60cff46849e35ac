"""Tables of what was run: the realised mixture, data, cost, and the candidates of the choice."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hybrid.scores import MEASURES
from sweeps.report_cells import arm_kind, group_words, mean_cell
from sweeps.tables import Block, Cell, Row, Table


def run_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    yield from _mixture(report)
    yield _tasks(report)
    yield _cost(report)
    yield from _candidates(report)


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
            cells.append(mean_cell([value for value in found if value is not None], decimals))
        rows.append(Row(cells))
    notes = [
        "What the batches really held, mean over seeds. Negatives: other passages of the batch that count."
    ]
    yield Table(
        "mixture", "Realised mixture", ["arm", *(name for name, _, _ in fields)], [Block("", rows)], notes
    )


def _used_for(task: Mapping[str, Any]) -> str:
    words = ", ".join(group_words(group) for group in task["groups"])
    if not task["seen_by"] or not any(group.endswith("zero_shot") for group in task["groups"]):
        return words
    return f"{words} with respect to fine-tuning: {', '.join(task['seen_by'])} had been trained on it"


def _tasks(report: Mapping[str, Any]) -> Table:
    rows = [
        Row(
            [
                Cell(task["name"] + (" (generated)" if task["synthetic"] else "")),
                Cell(_used_for(task)),
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
        done = [trial for trial in trials if trial["state"] == "done"]
        for field in ("train_seconds", "evaluate_seconds"):
            seconds = [trial[field] for trial in done if trial[field] is not None]
            cells += [mean_cell(seconds, 1), mean_cell([min(seconds)] if seconds else [], 1)]
        cells.append(mean_cell([t["peak_rss_mb"] for t in trials if t["peak_rss_mb"] is not None], 0))
        rows.append(Row(cells, arm_kind(arm)))
    timed = [column for work in ("training", "evaluation") for column in (f"{work}, s", f"least {work}, s")]
    columns = ["arm", "trials done", *timed, "peak memory, MB"]
    where = "; ".join(report["cost"]["hardware"]) or "unknown"
    notes = [f"Means over the trials done, and the least of them. Hardware: {where}."]
    return Table("cost", "Cost per trial", columns, [Block("", rows)], notes)


def _candidates(report: Mapping[str, Any]) -> Iterable[Table]:
    choice = report["choice"]
    if "candidates" not in choice:
        return
    rows = [
        Row(
            [
                Cell(one["arm"]),
                mean_cell([one["score"]] if one["score"] is not None else [], 1, 100),
                mean_cell([one["difference"]] if one["difference"] is not None else [], 1, 100, signed=True),
                mean_cell([one["bound"]] if one["bound"] is not None else [], 1, 100, signed=True),
                Cell(one["reason"]),
            ],
            "reference" if one["arm"] == choice["arm"] else "",
        )
        for one in choice["candidates"]
    ]
    columns = ["arm", f"in-domain {MEASURES[choice['measure']]}", "Δ guardrail", "its bound", "why in or out"]
    notes = [choice["rule"], "Selection sets alone; none of these numbers is a result."]
    yield Table("choice", "Choosing the configuration", columns, [Block("", rows)], notes)
