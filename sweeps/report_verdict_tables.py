"""Tables of the verdict and of what it hangs on: sets, languages, failures."""

from collections.abc import Iterable, Mapping
from typing import Any

from hybrid.scores import MEASURES
from sweeps.report_cells import (
    arm_column,
    arm_kind,
    arm_label,
    bounds_cell,
    generated_notes,
    group_words,
    held_note,
)
from sweeps.report_verdicts import WORDS
from sweeps.tables import Block, Cell, Row, Table, number

_TONES = {"degradation": "worse", "no_degradation": "better"}


def verdict_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    yield from _verdicts(report)
    yield from _without_a_set(report)
    yield from _worst_languages(report)


def _verdicts(report: Mapping[str, Any]) -> Iterable[Table]:
    """The declared comparison, with the bounds that decide; single sets beside it as exploratory."""
    rows = {(row["arm"], row["task"]): row for row in report["verdicts"]["rows"]}
    rail, arms = report["guardrail"], {arm["alias"]: arm for arm in report["arms"]}
    if not any(task == "macro" for _, task in rows):
        return
    points = rail["measure"] != "rank_distance"
    sets = [task for task in dict.fromkeys(row["task"] for row in rows.values()) if task != "macro"]
    single = len(sets) == 1  # then the mean over sets is that set
    counts = {(row["seeds"], row["clusters"]) for (_, task), row in rows.items() if task == "macro"}
    counted = len(counts) > 1 or None in next(iter(counts))  # else a note says it once

    def cells(arm: Mapping[str, Any], block: Mapping[str, Any]) -> list[Cell]:
        declared = rows[(arm["alias"], "macro")]
        relative, word = declared["relative"], WORDS[declared["verdict"]]
        found = [Cell(arm_label(arm, block)), _bounds(declared, points)]
        found.append(
            Cell("–")
            if relative is None
            else Cell(f"{number(100 * relative, 1, signed=True)}%", value=relative)
        )
        found.append(Cell(word, _flags(declared), tone=_TONES.get(declared["verdict"], "")))
        if counted:
            found += [_count(declared["seeds"]), _count(declared["clusters"])]
        return found + [_bounds(rows.get((arm["alias"], task)), points) for task in sets if not single]

    blocks = []
    for block in report["blocks"]:
        members = [arms[alias] for alias in block["arms"] if (alias, "macro") in rows]
        if members:
            blocks.append(Block(block["title"], [Row(cells(arm, block), arm_kind(arm)) for arm in members]))
    declared = f"Δ {sets[0]}" if single else "Δ mean of sets"
    columns = [arm_column(report), declared, "relative", "verdict"]
    columns += ["seeds", "query clusters"] if counted else []
    columns += [f"Δ {task}" for task in sets if not single]
    margin = f"{100 * rail['margin']:g}"
    notes = [
        *generated_notes(report),
        f"Points of {MEASURES[rail['measure']]} against the reference arm, with simultaneous bounds. No "
        f"degradation: the lower bound is above −{margin}; degradation: the upper bound is below it; else "
        "inconclusive." + ("" if single else " Single sets are exploratory."),
        *([] if counted else ["{} seeds and {} query clusters in every row.".format(*counts.pop())]),
        report["verdicts"]["method"],
        held_note(report),
    ]
    title = f"Verdict: {group_words(rail['group'])} {MEASURES[rail['measure']]}"
    yield Table("verdict", title, columns, blocks, notes)


def _flags(row: Mapping[str, Any]) -> str:
    words = {
        "lower_within_margin": "lower, within the margin",
        "lower": "lower, by how much is open",
        "near_margin": "near the margin: random draws decide",
        "few_queries": "few queries",
        "unequal_seeds": "unequal seeds",
        "missing_queries": "queries missing",
        "seeds_agree": "seeds agree by luck",
        "one_seed": "one seed",
        "few_seeds": "too few seeds",
        "no_variation": "no variation",
        "identical_seeds": "seeds are copies",
        "constant_scores": "constant scores",
        "missing_reference": "no reference scores",
        "missing_scores": "scores missing",
        "handful_of_queries": "a handful of queries",
        "unlike_machines": "trained on unlike hardware",
    }
    return ", ".join(words[flag] for flag in row["flags"] if flag in words)


def _bounds(row: Mapping[str, Any] | None, points: bool) -> Cell:
    return bounds_cell(row, "", points=points)


def _count(value: int | None) -> Cell:
    return Cell("–") if value is None else Cell(str(value), value=value)


def _without_a_set(report: Mapping[str, Any]) -> Iterable[Table]:
    """The declared mean without each set in turn."""
    found = report["robustness"]["without_a_set"]
    if not found:
        return
    rail = report["guardrail"]
    points = rail["measure"] != "rank_distance"
    whole = {row["arm"]: row for row in report["verdicts"]["rows"] if row["task"] == "macro"}
    sets = list(dict.fromkeys(row["without"] for row in found))
    by = {(row["arm"], row["without"]): row for row in found}
    rows = [
        Row(
            [Cell(arm), _bounds(whole[arm], points), *(_bounds(by.get((arm, name)), points) for name in sets)]
        )
        for arm in dict.fromkeys(row["arm"] for row in found)
    ]
    columns = ["arm", "all sets", *(f"without {name}" for name in sets)]
    notes = [
        *generated_notes(report),
        f"Δ mean of sets, points of {MEASURES[rail['measure']]}, bounds at the level that decided the "
        "verdict. An answer that changes when one set goes is an answer about that set.",
    ]
    yield Table("without-a-set", "Leave one set out", columns, [Block("", rows)], notes)


def _worst_languages(report: Mapping[str, Any]) -> Iterable[Table]:
    found = report["robustness"]["worst_language"]
    if not found:
        return
    series = {one["id"]: one for one in report["series"]}
    columns = [name for name in dict.fromkeys(row["series"] for row in found) if name in series]
    by = {(row["arm"], row["series"]): row for row in found}

    def cell(row: Mapping[str, Any] | None, points: bool) -> Cell:
        plain = bounds_cell(row, "all", points=points)
        if row is None or row["difference"] is None:
            return plain
        languages = " → ".join(name for name in (row["query_lang"], row["doc_lang"]) if name)
        return Cell(plain.text, f"{languages}: {plain.detail}", plain.value, plain.lower, plain.upper)

    rows = [
        Row([Cell(arm), *(cell(by.get((arm, name)), series[name]["points"]) for name in columns)])
        for arm in dict.fromkeys(row["arm"] for row in found)
    ]
    notes = [
        *generated_notes(report),
        "For each arm the language, or query → document pair, that loses most against the reference. The "
        "bounds hold for all languages of all arms together, so picking the worst is allowed for.",
    ]
    heads = ["arm", *(series[name]["title"] for name in columns)]
    yield Table("worst-language", "Worst language", heads, [Block("", rows)], notes)
