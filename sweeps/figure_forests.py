"""Forests: differences to the reference with their intervals, by arm and by set."""

from collections.abc import Iterable, Mapping
from typing import Any

from sweeps.drawing import TEXT, Panel, hover, new_panel
from sweeps.figure_looks import VERDICT_COLOURS, look


def difference_panels(report: Mapping[str, Any]) -> Iterable[Panel]:
    """One panel per primary series, a row per arm; the guardrail's margin drawn in."""
    rail = report["guardrail"]
    caption = (
        "Difference to the reference with its 95% interval, seeds and queries varying together. Dotted: the "
        "guardrail's margin, where it applies."
    )
    for series in _forest_series(report):
        rows = [
            (block, one)
            for block in report["blocks"]
            for alias in block["arms"]
            for one in report["differences"]
            if (one["series"], one["arm"], one["reference"]) == (series["id"], alias, block["reference"])
            and one["difference"] is not None
        ]
        if not rows:
            continue
        scale = 100 if series["points"] else 1
        height = max(1.6, 0.21 * len(rows) + 1.1)
        panel = new_panel("difference", series["id"], series["title"], caption, height=height)
        for y, (block, one) in enumerate(rows):
            colour, marker = look(report, block)
            _bar(panel, y, one["arm"], one, scale, colour, marker)
        margin = (series["group"], series["measure"]) == (rail["group"], rail["measure"])
        _rows(panel, [one["arm"] for _, one in rows], rail["margin"] * scale if margin else None)
        panel.axes.set_xlabel("difference in points" if series["points"] else "difference in ranks")
        yield panel


def arm_forests(report: Mapping[str, Any]) -> Iterable[Panel]:
    """One panel per arm: each set, their mean, and the mean without each set; bounds as the verdict's."""
    rail = report["guardrail"]
    points = rail["measure"] != "rank_distance"
    scale = 100 if points else 1
    caption = (
        "Each set, their mean, and the mean without each set; simultaneous bounds. Dotted: the margin. "
        "Green: no degradation, red: degradation, yellow: inconclusive, grey: refused."
    )
    for arm in dict.fromkeys(row["arm"] for row in report["robustness"]["without_a_set"]):
        own = [row for row in report["verdicts"]["rows"] if row["arm"] == arm]
        sets = [row for row in own if row["task"] != "macro" and row["difference"] is not None]
        left = [
            row
            for row in report["robustness"]["without_a_set"]
            if row["arm"] == arm and row["difference"] is not None
        ]
        whole = [row for row in own if row["task"] == "macro"]
        named = [(row["task"], row, "s") for row in sets] + [("mean of sets", row, "D") for row in whole]
        named += [(f"without {row['without']}", row, "o") for row in left]
        panel = new_panel("forest", arm, arm, caption, height=0.23 * len(named) + 1.1)
        for y, (name, row, marker) in enumerate(named):
            colour = VERDICT_COLOURS.get(row.get("verdict", ""), TEXT)
            _bar(panel, y, name, row, scale, colour, marker, 6.5 if marker == "D" else 4.5)
        _rows(panel, [name for name, _, _ in named], rail["margin"] * scale)
        panel.axes.set_xlabel("difference in points" if points else "difference in ranks")
        yield panel


def _bar(
    panel: Panel,
    y: float,
    name: str,
    row: Mapping[str, Any],
    scale: float,
    colour: str,
    marker: str,
    size: float = 4.5,
) -> None:
    """One row: the difference, and its bounds where it has any."""
    middle, low, high = (row[key] for key in ("difference", "lower", "upper"))
    text = f"{name}: {scale * middle:+.2f}"
    if low is not None:
        panel.axes.plot([scale * low, scale * high], [y, y], color=colour, linewidth=1.4)
        text += f" [{scale * low:+.2f}, {scale * high:+.2f}]"
    face = colour if low is not None else "none"
    panel.axes.plot([scale * middle], [y], marker=marker, markersize=size, color=colour, markerfacecolor=face)
    hover(panel, scale * middle, y, text)


def _rows(panel: Panel, names: list[str], margin: float | None) -> None:
    panel.axes.axvline(0, color=TEXT, linewidth=0.9)
    if margin is not None:
        panel.axes.axvline(-margin, color=TEXT, linewidth=0.9, linestyle=(0, (2, 2)))
    panel.axes.set_yticks(range(len(names)), names)
    panel.axes.invert_yaxis()
    panel.axes.grid(visible=False, axis="y")


def _forest_series(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The primary measures: each set, and the mean of sets where there are several."""
    return [series for series in report["series"] if series["primary"]]
