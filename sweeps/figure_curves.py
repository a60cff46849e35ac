"""Curves: every measure against mono_ratio and batch_size with its band, and the safe range."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweeps.drawing import TEXT, Panel, hover, new_panel
from sweeps.figure_looks import (
    COLOURS,
    MARKERS,
    VERDICT_COLOURS,
    legend,
    legend_words,
    look,
    share_limits,
    widen,
)

_MONO = "mono_ratio  (1 = monolingual batches only)"
_TESTED = {"no_degradation": "no degradation", "not reached": "not reached by the sequence"}


def safe_panels(report: Mapping[str, Any]) -> list[Panel]:
    """The declared difference along mono_ratio, a panel per line, with the margin and what was tested."""
    curves = [curve for curve in report["effects"]["mono_ratio"] if curve["declared"]]
    rows = report["verdicts"]["rows"]
    degraded = {row["arm"] for row in rows if (row["task"], row["verdict"]) == ("macro", "degradation")}
    panels = []
    for curve in curves:
        scale = 100 if curve["points_scale"] else 1
        where = legend_words(curve["fixed"])
        caption = (
            f"Difference of {curve['title']} to mono_ratio {curve['reference']:g} with its simultaneous "
            f"{100 - 200 * report['guardrail']['level']:g}% band; dotted: the margin. Filled green: shown "
            "not to degrade; filled red: degradation by the verdict; open: inconclusive or not reached."
        )
        name = "-".join(f"{axis}-{value}" for axis, value in curve["fixed"].items())
        panel = new_panel("safe", name or "range", where or "Safe range", caption)
        known = [point for point in curve["points"] if point["difference"] is not None]
        xs = [point["x"] for point in known]
        panel.axes.plot(
            xs, [scale * point["difference"] for point in known], color=COLOURS[0], linewidth=1.4, zorder=2
        )
        _band(panel, known, 0.0, scale, COLOURS[0])
        for point in known:
            _tested_marker(panel, point, scale, degraded=point["arm"] in degraded)
        panel.axes.axhline(0, color=TEXT, linewidth=0.8)
        panel.axes.axhline(
            -scale * report["guardrail"]["margin"], color=TEXT, linewidth=0.9, linestyle=(0, (2, 2))
        )
        panel.axes.set_xlabel(_MONO)
        panel.axes.set_ylabel("difference, " + ("points" if curve["points_scale"] else "ranks"))
        panel.axes.invert_xaxis()
        widen(panel.axes, 4 * scale * report["guardrail"]["margin"])
        panels.append(panel)
    share_limits(panels)
    return panels


def _tested_marker(panel: Panel, point: Mapping[str, Any], scale: float, *, degraded: bool) -> None:
    shown = "degradation" if degraded and point["tested"] != "no_degradation" else point["tested"]
    colour = VERDICT_COLOURS.get(shown, TEXT)
    filled = shown in ("no_degradation", "degradation", "reference")
    panel.axes.plot(
        [point["x"]], [scale * point["difference"]], marker="o", markersize=6.5, color=colour, zorder=3,
        markerfacecolor=colour if filled else "none", markeredgewidth=1.6, linestyle="none",
    )  # fmt: skip
    words = _TESTED.get(point["tested"], point["tested"])
    words = f"degradation, {words}" if shown != point["tested"] else words
    hover(panel, point["x"], scale * point["difference"], f"{point['arm']}: {_delta(point, scale)}, {words}")


def _band(panel: Panel, points: Sequence[Mapping[str, Any]], base: float, scale: float, colour: str) -> None:
    """The band of the differences of `points`, drawn around `base`, the value of the reference."""
    within = [point for point in points if point["lower"] is not None]
    if len(within) > 1:
        panel.axes.fill_between(
            [point["x"] for point in within],
            [base + scale * point["lower"] for point in within],
            [base + scale * point["upper"] for point in within],
            color=colour,
            alpha=0.14,
            linewidth=0,
            zorder=1,
        )


def _delta(point: Mapping[str, Any], scale: float) -> str:
    text = f"{scale * point['difference']:+.2f}"
    if point["lower"] is not None:
        text += f" [{scale * point['lower']:+.2f}, {scale * point['upper']:+.2f}]"
    return text


def curve_panels(report: Mapping[str, Any]) -> Iterable[Panel]:
    """One panel per headline series: its value against mono_ratio, a line per block."""
    if len(report["axes"].get("mono_ratio", ())) < 2:
        return
    caption = (
        "Line: mean over seeds; dots: single seeds; dashed: untouched backbone; shaded: the simultaneous "
        f"{100 - 200 * report['guardrail']['level']:g}% band of the difference to the reference, placed on "
        "the reference's mean."
    )
    backbones = list(dict.fromkeys(arm["backbone"] for arm in report["arms"]))
    for series in _curve_series(report):
        values = {value["arm"]: value for value in report["values"] if value["series"] == series["id"]}
        panel = new_panel("curve", series["id"], series["title"], caption)
        scale = 100 if series["points"] else 1
        for block in report["blocks"]:
            colour, marker = look(report, block)
            for at, (apart, points) in enumerate(_lines_of(report, block, values)):
                style = (colour, marker if at == 0 else MARKERS[-at])
                label = legend_words(block["axes"] if at == 0 else {**block["axes"], **apart})
                _line(panel, report, series, points, values, style, label)
        for arm in report["arms"]:
            if arm["untouched"] and arm["alias"] in values:
                y = values[arm["alias"]]["mean"] * scale
                colour = (
                    COLOURS[backbones.index(arm["backbone"]) % len(COLOURS)] if len(backbones) > 1 else TEXT
                )
                panel.axes.axhline(y, color=colour, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.8)
                hover(panel, 0.5, y, f"{arm['alias']}: {y:.1f}")
        panel.axes.set_xlabel(_MONO)
        panel.axes.invert_xaxis()
        _finish_axes(panel, series)
        yield panel


def _lines_of(
    report: Mapping[str, Any], block: Mapping[str, Any], values: Mapping[str, Any]
) -> list[tuple[dict[str, Any], list[tuple[float, str]]]]:
    """The arms of a block that differ in mono_ratio alone, the most arms first.

    Of each such line what its arms have in common on the block's other axes, and (mono_ratio, arm) in order.
    """
    axes_of = {arm["alias"]: arm["axes"] for arm in report["arms"]}
    lines: dict[str, tuple[dict[str, Any], list[tuple[float, str]]]] = {}
    for alias in block["arms"]:
        if alias in values:
            apart = {axis: axes_of[alias][axis] for axis in block["row_axes"] if axis != "mono_ratio"}
            points = lines.setdefault(str(apart), (apart, []))[1]
            points.append((axes_of[alias].get("mono_ratio"), alias))
    return sorted(
        ((apart, sorted(points)) for apart, points in lines.values()), key=lambda line: -len(line[1])
    )


def batch_panels(report: Mapping[str, Any]) -> Iterable[Panel]:
    """The declared and primary measures against batch_size, a line per mono_ratio, a panel per backbone."""
    curves = report["effects"]["batch_size"]
    caption = (
        "Line: mean over seeds; dots: single seeds; shaded: the simultaneous band of the difference to the "
        "smallest batch, placed on its mean."
    )
    series_of = {series["id"]: series for series in report["series"]}
    backbones = list(dict.fromkeys(curve["fixed"].get("backbone") for curve in curves))
    for name in dict.fromkeys(curve["series"] for curve in curves):
        series = series_of.get(name)
        for backbone in backbones if series else ():
            own = [c for c in curves if c["series"] == name and c["fixed"].get("backbone") == backbone]
            if not own or series is None:
                continue
            title = series["title"] + (f", {backbone}" if backbone else "")
            panel = new_panel("batch", f"{name}-{backbone or ''}", title, caption)
            values = {value["arm"]: value for value in report["values"] if value["series"] == name}
            for at, curve in enumerate(own):
                fixed = {axis: value for axis, value in curve["fixed"].items() if axis != "backbone"}
                style = (COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)])
                points = [(p["x"], p["arm"]) for p in curve["points"] if p["arm"] in values]
                _line(panel, report, series, points, values, style, legend_words(fixed), "batch_size")
            sizes = sorted({point["x"] for curve in own for point in curve["points"]})
            panel.axes.set_xscale("log", base=2)
            panel.axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            panel.axes.set_xlabel("batch_size")
            _finish_axes(panel, series)
            yield panel


def _line(
    panel: Panel,
    report: Mapping[str, Any],
    series: Mapping[str, Any],
    points: Sequence[tuple[float, str]],
    values: Mapping[str, Any],
    style: tuple[str, str],
    label: str | None,
    axis: str = "mono_ratio",
) -> None:
    """Means, seeds and band of arms along an axis."""
    if not points:
        return
    (colour, marker), scale = style, 100 if series["points"] else 1
    ys = [values[arm]["mean"] * scale for _, arm in points]
    panel.axes.plot(
        [x for x, _ in points], ys, color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label
    )
    names = {arm for _, arm in points}
    curve = next(
        (
            c for c in report["effects"][axis]
            if c["series"] == series["id"] and names & {p["arm"] for p in c["points"]}
        ),
        None,
    )  # fmt: skip
    known = [p for p in curve["points"] if p["difference"] is not None] if curve else []
    of = {point["arm"]: point for point in known}
    reference = next((p["arm"] for p in known if curve and p["x"] == curve["reference"]), None)
    if reference is not None and reference in values:
        _band(panel, known, values[reference]["mean"] * scale, scale, colour)
    for (x, arm), y in zip(points, ys, strict=True):
        seeds = [value * scale for value in values[arm]["seeds"].values()]
        panel.axes.plot(
            [x] * len(seeds), seeds, linestyle="none", marker=".", markersize=3, color=colour, alpha=0.6
        )
        text = f"{arm}: {y:.1f}"
        hover(panel, x, y, f"{text}, {_delta(of[arm], scale)}" if arm in of and arm != reference else text)


def _curve_series(report: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Headline series; of secondary measures the mean of sets alone, where there is one."""
    macros = {(s["group"], s["setting"], s["measure"]) for s in report["series"] if s["task"] == "macro"}
    for series in report["series"]:
        has_mean = (series["group"], series["setting"], series["measure"]) in macros
        if series["headline"] and (series["task"] == "macro" or series["primary"] or not has_mean):
            yield series


def _finish_axes(panel: Panel, series: Mapping[str, Any]) -> None:
    panel.axes.set_ylabel("ranks, lower is better" if series["better"] == "lower" else "points")
    widen(panel.axes, 2.0 if series["points"] else 5.0)
    legend(panel)
