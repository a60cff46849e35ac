"""The tables of a report, made from its numbers: results here, the others in their rooms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hybrid.scores import MEASURES
from sweeps.axis_words import axes_words
from sweeps.report_cells import (
    arm_column,
    arm_kind,
    arm_label,
    difference_cell,
    file_name,
    generated_notes,
    group_words,
    held_note,
    value_cell,
)
from sweeps.report_effect_tables import effect_tables
from sweeps.report_level_tables import level_tables
from sweeps.report_run_tables import run_tables
from sweeps.report_verdict_tables import verdict_tables
from sweeps.series import SETTING_WORDS
from sweeps.tables import Block, Cell, Row, Table


def build_tables(report: Mapping[str, Any]) -> list[Table]:
    """Verdict, results, what the effects depend on, what the answer hangs on, data and cost; unlike names."""
    tables = [
        *verdict_tables(report),
        *_result_tables(report),
        *_other_measures(report),
        *level_tables(report),
        *effect_tables(report),
        *run_tables(report),
    ]
    taken: dict[str, int] = {}
    for at, table in enumerate(tables):
        taken[table.name] = taken.get(table.name, 0) + 1
        if taken[table.name] > 1:  # two data sets whose names differ in punctuation alone
            tables[at] = replace(table, name=f"{table.name}-{taken[table.name]}")
    return tables


def _result_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    headline = [series for series in report["series"] if series["headline"]]
    parallel = [series for series in headline if series["setting"] != "beir"]
    for group, task in dict.fromkeys((series["group"], series["task"]) for series in parallel):
        chosen = [series for series in parallel if (series["group"], series["task"]) == (group, task)]
        heads = [f"{SETTING_WORDS[s['setting']]} {MEASURES[s['measure']]}" for s in chosen]
        title = f"{group_words(group)}: {'mean of sets' if task == 'macro' else task}"
        yield _values_table(report, f"{group}-{task}", title, chosen, heads)
    collections = [series for series in headline if series["setting"] == "beir"]
    for group, measure in dict.fromkeys((series["group"], series["measure"]) for series in collections):
        chosen = [s for s in collections if (s["group"], s["measure"]) == (group, measure)]
        chosen.sort(key=lambda series: series["task"] != "macro")
        heads = ["mean of sets" if series["task"] == "macro" else series["task"] for series in chosen]
        title = f"{group_words(group)}: {MEASURES[measure]}"
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
        found = [Cell(arm_label(arm, block))]
        for series in chosen:
            found.append(value_cell(series, values.get((series["id"], arm["alias"]))))
            one = differences.get((series["id"], arm["alias"], reference))
            found.append(Cell("reference") if arm["alias"] == reference else difference_cell(series, one))
        return found

    blocks = []
    for block in report["blocks"]:
        rows = [
            Row(cells(arms[alias], block), arm_kind(arms[alias]))
            for alias in (*block["untouched"], *block["arms"])
        ]
        blocks.append(Block(block["title"], rows))
    columns = [arm_column(report)]
    for head in heads:
        columns += [head, f"Δ {head}"]
    notes = [*_value_notes(report, chosen), _difference_note(report), held_note(report)]
    return Table(file_name(name), title, columns, blocks, notes)


def _value_notes(report: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    text = f"Points (×100), mean over seeds {', '.join(map(str, report['seeds']))}; in small, each seed."
    if any(not series["points"] for series in chosen):
        text += " Rank distance in ranks, lower is better."
    return [*generated_notes(report), text]


def _difference_note(report: Mapping[str, Any]) -> str:
    reference = axes_words(report["reference"])
    few = len(report["seeds"])
    text = (
        f"Δ: paired difference to the reference arm ({reference}, other axes equal) with its 95% interval, "
        "seeds and queries varying together"
    )
    if few == 1:
        return f"{text}; with one seed nothing is known of seeds, and the interval is of queries only."
    if few < report["fewest_seeds"]:
        return f"{text}; {few} seeds make it very wide."
    return f"{text}."


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
                found = [value_cell(series, values.get((series["id"], arm["alias"]))) for series in chosen]
                return Row([Cell(arm["alias"]), *found], arm_kind(arm))

            blocks = [Block("", [row(arm) for arm in report["arms"]])]
            notes = [*_value_notes(report, chosen), held_note(report)]
            title = f"{group_words(group)}: other measures"
            yield Table(file_name(f"{group}-other"), title, columns, blocks, notes)
