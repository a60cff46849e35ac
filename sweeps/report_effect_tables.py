"""Tables of effects: along mono_ratio and batch_size, interactions, exchange rates, the Pareto front."""

from collections.abc import Iterable, Mapping
from typing import Any

from hybrid.scores import MEASURES
from sweeps.axis_words import axes_words
from sweeps.report_cells import bounds_cell, generated_notes
from sweeps.tables import Block, Cell, Row, Table, number

_TESTED = {
    "reference": "reference",
    "no_degradation": "no degradation",
    "degradation": "degradation",
    "inconclusive": "inconclusive",
    "refused": "refused",
    "not reached": "not reached",
}


def effect_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    for axis in ("mono_ratio", "batch_size"):
        yield from _safe_range(report, axis)
        yield from _curves(report, axis)
    yield from _interactions(report)
    yield from _exchange(report)
    yield from _pareto(report)


def _safe_range(report: Mapping[str, Any], axis: str) -> Iterable[Table]:
    """The declared measure along an axis, tested in fixed order."""
    curves = [curve for curve in report["effects"][axis] if curve["declared"]]
    if not curves:
        return
    blocks = []
    for curve in curves:
        rows = []
        for point in curve["points"]:
            first = Cell(f"{point['x']:g}", value=point["x"])
            if point["tested"] == "reference":
                rows.append(Row([first, Cell("reference"), Cell("")], "reference"))
                continue
            band = bounds_cell(point, "", points=curve["points_scale"])
            rows.append(Row([first, band, Cell(_TESTED[point["tested"]], point["note"])]))
        blocks.append(Block(axes_words(curve["fixed"]), rows))
    rail, share = report["guardrail"], curves[0]["safe"]["level"]
    order = "from the reference down" if axis == "mono_ratio" else "from the reference up"
    notes = [
        *generated_notes(report),
        f"Tested in fixed order {order}, each step at one-sided level {share:g}, until one is not shown to "
        f"stay within {100 * rail['margin']:g} of the reference. Bounds: the simultaneous band of the curve, "
        f"each side at {rail['level']:g}; its edges are not the bounds that the sequence tests. "
        + ("A family of its own, beside that of the verdicts." if axis == "mono_ratio" else "Exploratory."),
    ]
    title = f"Safe range of {axis}: {curves[0]['title']}"
    columns = [axis, "Δ", "tested"]
    yield Table(f"safe-range-{axis.replace('_', '-')}", title, columns, blocks, notes)


def _curves(report: Mapping[str, Any], axis: str) -> Iterable[Table]:
    """Every other measure along the axis: differences with the band of its curve."""
    curves = [curve for curve in report["effects"][axis] if not curve["declared"]]
    if not curves:
        return
    series = list(dict.fromkeys(curve["series"] for curve in curves))
    titles = {curve["series"]: curve["title"] for curve in curves}
    blocks = []
    for fixed in dict.fromkeys(axes_words(curve["fixed"]) for curve in curves):
        own = {curve["series"]: curve for curve in curves if axes_words(curve["fixed"]) == fixed}
        at = {(name, point["x"]): point for name, curve in own.items() for point in curve["points"]}
        rows = []
        for x in dict.fromkeys(x for _, x in at):
            cells = [Cell(f"{x:g}", value=x)]
            for name in series:
                point = at.get((name, x))
                here = name in own and x == own[name]["reference"]
                scale = own[name]["points_scale"] if name in own else True
                cells.append(Cell("reference") if here else bounds_cell(point, "", points=scale))
            rows.append(Row(cells, "reference" if "reference" in [cell.text for cell in cells] else ""))
        blocks.append(Block(fixed, rows))
    notes = [
        *generated_notes(report),
        f"Δ to the reference on {axis}; bounds: the simultaneous band of each curve, each side at "
        f"{report['guardrail']['level']:g}. Exploratory.",
    ]
    columns = [axis, *(f"Δ {titles[name]}" for name in series)]
    yield Table(f"along-{axis.replace('_', '-')}", f"Along {axis}", columns, blocks, notes)


def _interactions(report: Mapping[str, Any]) -> Iterable[Table]:
    """The declared measure's open, the others' folded."""
    columns = ["measure", "at", "minus at", "mono_ratio", "Δ of Δ"]
    notes = [
        *generated_notes(report),
        "Does the effect of mono_ratio depend on the batch size or the backbone? Its difference to the "
        "reference at one, minus the same at the other. 95% bounds, together for the rows of a measure and "
        "axis. Exploratory.",
    ]
    for declared, name, title in (
        (True, "interactions", "Interactions"),
        (False, "other-interactions", "Interactions in-domain"),
    ):
        rows = [
            Row(
                [
                    Cell(one["title"]),
                    Cell(axes_words({one["axis"]: one["z"], **one["fixed"]})),
                    Cell(axes_words({one["axis"]: one["base"]})),
                    Cell(f"{one['x']:g}", value=one["x"]),
                    bounds_cell(one, "", points=one["points_scale"]),
                ]
            )
            for one in report["effects"]["interactions"]
            if one["declared"] == declared
        ]
        if rows:
            yield Table(name, title, columns, [Block("", rows)], notes, text_columns=3)


def _exchange(report: Mapping[str, Any]) -> Iterable[Table]:
    """In-domain points won for a zero-shot point lost, only where points are lost."""
    found = report["effects"]["exchange"]
    if not found:
        return
    gains = list(dict.fromkeys(one["gain"] for one in found))
    titles = {one["gain"]: one["title"] for one in found}
    by = {(one["arm"], one["gain"]): one for one in found}

    def cell(one: Mapping[str, Any] | None) -> Cell:
        if one is None or one["rate"] is None:
            return Cell("–", one["note"] if one else "")
        ends = [None if one[end] is None else number(one[end], 1, signed=True) for end in ("lower", "upper")]
        detail = f"{ends[0] or 'unbounded'} to {ends[1] or 'unbounded'}"
        return Cell(number(one["rate"], 1, signed=True), detail, one["rate"], one["lower"], one["upper"])

    rows = [
        Row([Cell(arm), *(cell(by.get((arm, gain))) for gain in gains)])
        for arm in dict.fromkeys(one["arm"] for one in found)
    ]
    notes = [
        *generated_notes(report),
        "In-domain points won for each zero-shot point lost, against the reference, with Fieller's 95% set; "
        "given only where the loss can be told from zero.",
    ]
    columns = ["arm", *(titles[gain] for gain in gains)]
    yield Table("exchange-rate", "Exchange rate", columns, [Block("", rows)], notes)


def _pareto(report: Mapping[str, Any]) -> Iterable[Table]:
    pareto = report["pareto"]
    if len(pareto["arms"]) < 2:
        return
    rows = []
    for one in sorted(pareto["arms"], key=lambda one: -(one["probability"] or one["front"])):
        share = one["probability"]
        rows.append(
            Row(
                [
                    Cell(one["arm"]),
                    Cell(number(100 * one["zero_shot"], 1), value=one["zero_shot"]),
                    Cell(number(100 * one["in_domain"], 1), value=one["in_domain"]),
                    Cell("yes" if one["front"] else "no"),
                    Cell("–") if share is None else Cell(f"{100 * share:.0f}%", value=share),
                ]
            )
        )
    measures = [MEASURES[pareto[group]] for group in ("zero_shot", "in_domain")]
    columns = [
        "arm",
        f"zero-shot {measures[0]}",
        f"in-domain {measures[1]}",
        "on the front",
        "in resampled sweeps",
    ]
    notes = [
        *generated_notes(report),
        "On the front: no arm is at least as good in both and better in one. Beside it, the share of sweeps, "
        "resampled over seeds and query clusters together, in which that is so: how stable the front is.",
    ]
    yield Table("pareto", "Pareto front", columns, [Block("", rows)], notes)
