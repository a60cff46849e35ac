"""The report's figures: small panels that fit a phone, drawn from the report's numbers alone."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from sweeps.drawing import STYLE, TEXT, Drawn, Panel, finish, hover, new_panel
from sweeps.series import series_id

_COLOURS = ("#2f86c9", "#d9822b", "#2a9d6f", "#b85fb0", "#c0504d", "#8a7a2f", "#5b6ee1", "#7f7f7f")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_figures(report: Mapping[str, Any]) -> list[Drawn]:
    """Curves against mono_ratio, differences with intervals, and the Pareto front; those the data allow."""
    with mpl.rc_context(STYLE):
        return [finish(panel) for panel in _panels(report)]


def _panels(report: Mapping[str, Any]) -> list[Panel]:
    return [*_curves(report), *_forests(report), *_pareto(report)]


def _curves(report: Mapping[str, Any]) -> list[Panel]:
    """One panel per headline series: its value against mono_ratio, a line per block."""
    if len(report["axes"].get("mono_ratio", ())) < 2:
        return []
    drawn = []
    for series in report["series"]:
        if not series["headline"] or (series["task"] != "macro" and _has_only_macro_panel(report, series)):
            continue
        values = {value["arm"]: value for value in report["values"] if value["series"] == series["id"]}
        caption = (
            "Line: mean over seeds; dots: single seeds; dashed: untouched backbone; bars: 95% interval of "
            f"the paired difference to the reference arm, placed on the curve ({report['interval']['kind']})."
        )
        panel = new_panel("curve", series["id"], series["title"], caption)
        scale = 100 if series["points"] else 1
        for at, block in enumerate(report["blocks"]):
            _curve(panel, report, block, at, values, series, scale)
        _untouched_lines(panel, report, values, scale)
        panel.axes.set_xlabel("mono_ratio  (1 = monolingual batches only)")
        panel.axes.set_ylabel("ranks, lower is better" if series["better"] == "lower" else "points")
        panel.axes.invert_xaxis()
        _widen(panel.axes, 2.0 if series["points"] else 5.0)
        _legend(panel)
        drawn.append(panel)
    return drawn


def _has_only_macro_panel(report: Mapping[str, Any], series: Mapping[str, Any]) -> bool:
    """Secondary measures of single sets are left to the tables where their mean has a panel."""
    macro = series_id(series["group"], "macro", series["setting"], series["measure"])
    return not series["primary"] and any(other["id"] == macro for other in report["series"])


def _curve(
    panel: Panel,
    report: Mapping[str, Any],
    block: Mapping[str, Any],
    at: int,
    values: Mapping[str, Any],
    series: Mapping[str, Any],
    scale: float,
) -> None:
    arms = {arm["alias"]: arm for arm in report["arms"]}
    points = sorted(
        (arms[alias]["axes"]["mono_ratio"], values[alias]["mean"] * scale, alias)
        for alias in block["arms"]
        if alias in values
    )
    if not points:
        return
    colour, marker = _look(report, block, at)
    panel.axes.plot(
        [x for x, _, _ in points],
        [y for _, y, _ in points],
        color=colour,
        marker=marker,
        markersize=4.5,
        linewidth=1.4,
        label=_short_title(block),
    )
    intervals = {d["arm"]: d for d in report["differences"] if d["series"] == series["id"]}
    for x, y, alias in points:
        seeds = [value * scale for value in values[alias]["seeds"].values()]
        panel.axes.plot(
            [x] * len(seeds), seeds, linestyle="none", marker=".", markersize=3, color=colour, alpha=0.6
        )
        text = f"{alias}: {y:.1f}"
        one = intervals.get(alias)
        if one:
            around = (one["difference"] - one["lower"]) * scale, (one["upper"] - one["difference"]) * scale
            panel.axes.errorbar(
                [x], [y], yerr=[[max(around[0], 0)], [max(around[1], 0)]], color=colour, linewidth=0.9
            )
            low, high = one["lower"] * scale, one["upper"] * scale
            text += f", {one['difference'] * scale:+.1f} [{low:+.1f}, {high:+.1f}]"
        hover(panel, x, y, text)


def _widen(axes: Axes, span: float) -> None:
    """Show at least `span` on the value axis, so that noise does not look like an effect."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _untouched_lines(
    panel: Panel, report: Mapping[str, Any], values: Mapping[str, Any], scale: float
) -> None:
    backbones = list(dict.fromkeys(arm["backbone"] for arm in report["arms"]))
    for arm in report["arms"]:
        if not arm["untouched"] or arm["alias"] not in values:
            continue
        y = values[arm["alias"]]["mean"] * scale
        colour = _COLOURS[backbones.index(arm["backbone"]) % len(_COLOURS)] if len(backbones) > 1 else TEXT
        panel.axes.axhline(y, color=colour, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.8)
        hover(panel, 0.5, y, f"{arm['alias']}: {y:.1f}")


def _forests(report: Mapping[str, Any]) -> list[Panel]:
    """Differences to the reference with intervals, the guardrail's margin drawn in."""
    drawn = []
    rail = report["guardrail"]
    for series in _forest_series(report):
        rows = [
            (block, one)
            for block in report["blocks"]
            for alias in block["arms"]
            for one in report["differences"]
            if one["series"] == series["id"]
            and one["arm"] == alias
            and one["reference"] == block["reference"]
        ]
        if not rows:
            continue
        scale = 100 if series["points"] else 1
        caption = (
            f"95% intervals, {report['interval']['kind']}. Dotted: the guardrail's margin, where it applies."
        )
        panel = new_panel(
            "difference", series["id"], series["title"], caption, height=max(1.6, 0.21 * len(rows) + 1.1)
        )
        for y, (block, one) in enumerate(rows):
            colour, marker = _look(report, block, report["blocks"].index(block))
            ends = [one["lower"] * scale, one["upper"] * scale]
            panel.axes.plot(ends, [y, y], color=colour, linewidth=1.4)
            panel.axes.plot([one["difference"] * scale], [y], marker=marker, markersize=4.5, color=colour)
            hover(
                panel, one["difference"] * scale, y,
                f"{one['arm']}: {one['difference'] * scale:+.2f} [{ends[0]:+.2f}, {ends[1]:+.2f}]",
            )  # fmt: skip
        panel.axes.axvline(0, color=TEXT, linewidth=0.9)
        if (series["group"], series["measure"]) == (rail["group"], rail["measure"]):
            panel.axes.axvline(-rail["margin"] * scale, color=TEXT, linewidth=0.9, linestyle=(0, (2, 2)))
        panel.axes.set_yticks(range(len(rows)), [one["arm"] for _, one in rows])
        panel.axes.invert_yaxis()
        panel.axes.grid(visible=False, axis="y")
        panel.axes.set_xlabel("difference in points" if series["points"] else "difference in ranks")
        drawn.append(panel)
    return drawn


def _forest_series(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The primary measures: zero-shot as the mean of sets where there are several, and in-domain ones."""
    macros = {(s["group"], s["setting"], s["measure"]) for s in report["series"] if s["task"] == "macro"}
    return [
        series
        for series in report["series"]
        if series["primary"]
        and (
            series["task"] == "macro" or (series["group"], series["setting"], series["measure"]) not in macros
        )
    ]


def _pareto(report: Mapping[str, Any]) -> list[Panel]:
    if len(report["pareto"]) < 2:
        return []
    points = {point["arm"]: point for point in report["pareto"]}
    arms = {arm["alias"]: arm for arm in report["arms"]}
    caption = "Up and right is better. Labels: " + " / ".join(report["blocks"][0]["row_axes"] or ["arm"])
    caption += ", where there is room. Line: the front of seed means; no arm beats those on it in both."
    panel = new_panel("pareto", "", "In-domain against zero-shot", caption, width=6.6, height=4.4)
    front = sorted((p["zero_shot"] * 100, p["in_domain"] * 100) for p in points.values() if p["front"])
    panel.axes.step(
        [x for x, _ in front], [y for _, y in front], where="pre", color=TEXT, linewidth=0.8, alpha=0.6
    )
    labels: list[tuple[bool, float, float, str]] = []
    for at, block in enumerate(report["blocks"]):
        colour, marker = _look(report, block, at)
        title = _short_title(block)
        for alias in (*block["arms"], *block["untouched"]):
            if alias not in points:
                continue
            x, y = points[alias]["zero_shot"] * 100, points[alias]["in_domain"] * 100
            untouched = arms[alias]["untouched"]
            label = "/".join(_short(arms[alias]["axes"][axis]) for axis in block["row_axes"] if not untouched)
            labels.append((not points[alias]["front"], x, y, label or alias))
            panel.axes.plot(
                [x], [y], linestyle="none", markersize=6, color=TEXT if untouched else colour,
                marker="x" if untouched else marker, label=None if untouched else title,
            )  # fmt: skip
            title = title if untouched else None  # named once
            hover(panel, x, y, f"{alias}: zero-shot {x:.1f}, in-domain {y:.1f}")
    _place_labels(panel, labels)
    panel.axes.set_xlabel("zero-shot, mean of primary measures (points)")
    panel.axes.set_ylabel("in-domain, mean of primary measures (points)")
    _legend(panel)
    return [panel]


def _place_labels(panel: Panel, labels: list[tuple[bool, float, float, str]]) -> None:
    """Label points, those on the front first, and leave out labels that would lie on one another."""
    panel.figure.draw_without_rendering()
    taken: list[tuple[float, float, float]] = []
    for _, x, y, text in sorted(labels):
        left, middle = panel.axes.transData.transform((x, y)) * 72 / panel.figure.dpi
        left, width = left + 4, 4.8 * len(text)
        if any(abs(middle - m) < 9 and left < r and left + width > l for l, r, m in taken):  # noqa: E741
            continue
        taken.append((left, left + width, middle))
        panel.axes.annotate(text, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7.5)


def _look(report: Mapping[str, Any], block: Mapping[str, Any], at: int) -> tuple[str, str]:
    """Colour by backbone and marker by the rest, if backbones are compared; else colour by block."""
    backbones = list(report["axes"].get("backbone", ()))
    if len(backbones) < 2 or "backbone" not in block["axes"]:
        return _COLOURS[at % len(_COLOURS)], _MARKERS[at % len(_MARKERS)]
    alike = [other for other in report["blocks"] if other["axes"]["backbone"] == block["axes"]["backbone"]]
    colour = _COLOURS[backbones.index(block["axes"]["backbone"]) % len(_COLOURS)]
    return colour, _MARKERS[alike.index(block) % len(_MARKERS)]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _short_title(block: Mapping[str, Any]) -> str | None:
    """Legend entry: the values of the block's axes."""
    words = [
        f"{axis.removesuffix('_size')} {value}" if isinstance(value, int | float) else str(value)
        for axis, value in block["axes"].items()
    ]
    return ", ".join(words) or None


def _legend(panel: Panel) -> None:
    handles, labels = panel.axes.get_legend_handles_labels()
    if handles and any(label for label in labels):
        panel.figure.legend(
            handles, labels, loc="outside lower left", ncols=1 if max(map(len, labels)) > 24 else 2
        )
