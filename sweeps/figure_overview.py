"""In-domain against zero-shot, and what the arms cost."""

from collections.abc import Mapping
from typing import Any

from hybrid.scores import MEASURES
from sweeps.axis_words import value_words
from sweeps.drawing import TEXT, Panel, hover, new_panel
from sweeps.figure_looks import COLOURS, legend, legend_words, look


def pareto_panels(report: Mapping[str, Any]) -> list[Panel]:
    pareto = report["pareto"]
    points = {point["arm"]: point for point in pareto["arms"]}
    if len(points) < 2:
        return []
    arms = {arm["alias"]: arm for arm in report["arms"]}
    caption = (
        f"Up and right is better. Labels: {' / '.join(report['blocks'][0]['row_axes'] or ['arm'])} and, in "
        "brackets, in how many of a hundred resampled sweeps the arm is on the front; where there is room. "
        "Filled: on the front of the measured means, which the line joins."
    )
    panel = new_panel("pareto", "", "In-domain against zero-shot", caption, width=5.0, height=3.9)
    front = sorted((p["zero_shot"] * 100, p["in_domain"] * 100) for p in points.values() if p["front"])
    panel.axes.step(
        [x for x, _ in front], [y for _, y in front], where="pre", color=TEXT, linewidth=0.8, alpha=0.6
    )
    labels: list[tuple[bool, float, float, str]] = []
    for block in report["blocks"]:
        colour, marker = look(report, block)
        title = legend_words(block["axes"])
        for alias in (*block["arms"], *block["untouched"]):
            if alias not in points or (arms[alias]["untouched"] and alias in {label[3] for label in labels}):
                continue
            one, untouched = points[alias], arms[alias]["untouched"]
            x, y, share = one["zero_shot"] * 100, one["in_domain"] * 100, one["probability"]
            label = "/".join(
                value_words(axis, arms[alias]["axes"][axis]) for axis in block["row_axes"] if not untouched
            )
            sure = "" if share is None else f" ({100 * share:.0f})"
            labels.append((not one["front"], x, y, alias if untouched else f"{label or alias}{sure}"))
            panel.axes.plot(
                [x], [y], linestyle="none", markersize=6, color=TEXT if untouched else colour,
                marker="x" if untouched else marker, label=None if untouched else title,
                markerfacecolor=colour if one["front"] else "none",
            )  # fmt: skip
            title = title if untouched else None  # named once
            told = "" if share is None else f"; on the front in {100 * share:.0f}% of resampled sweeps"
            hover(panel, x, y, f"{alias}: zero-shot {x:.1f}, in-domain {y:.1f}{told}")
    _place_labels(panel, labels)
    panel.axes.set_xlabel(f"zero-shot {MEASURES[pareto['zero_shot']]}, points")
    panel.axes.set_ylabel(f"in-domain {MEASURES[pareto['in_domain']]}, points")
    legend(panel)
    return [panel]


def _place_labels(panel: Panel, labels: list[tuple[bool, float, float, str]]) -> None:
    """Label points, those on the front first, and leave out labels that would lie on one another."""
    panel.figure.draw_without_rendering()
    taken: list[tuple[float, float, float]] = []
    for _, x, y, text in sorted(labels):
        left, middle = panel.axes.transData.transform((x, y)) * 72 / panel.figure.dpi
        left, width = left + 4, 4.8 * len(text)
        if any(abs(middle - m) < 11 and left < r and left + width > l for l, r, m in taken):  # noqa: E741
            continue
        taken.append((left, left + width, middle))
        panel.axes.annotate(text, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7.5)


def cost_panels(report: Mapping[str, Any]) -> list[Panel]:
    """Seconds of one trial of every arm, training and evaluation, mean over seeds."""
    rows = []
    for arm in report["arms"]:
        trials = [trial for trial in report["trials"] if trial["arm"] == arm["alias"]]
        parts = []
        for field in ("train_seconds", "evaluate_seconds"):
            known = [trial[field] for trial in trials if trial[field] is not None]
            parts.append(sum(known) / len(known) if known else 0.0)
        if any(parts):
            rows.append((arm["alias"], *parts))
    if not rows:
        return []
    caption = "Seconds of one trial, mean over seeds: training, then evaluation."
    if report["cost"]["mixed_hardware"]:
        caption += " Mixed hardware: times of arms do not compare."
    panel = new_panel("cost", "", "Cost of a trial", caption, height=max(1.6, 0.21 * len(rows) + 1.1))
    for y, (alias, train, evaluate) in enumerate(rows):
        first = y == 0
        panel.axes.barh(y, train, color=COLOURS[0], height=0.6, label="training" if first else None)
        panel.axes.barh(
            y, evaluate, left=train, color=COLOURS[1], height=0.6, label="evaluation" if first else None
        )
        hover(
            panel, (train + evaluate) / 2, y, f"{alias}: training {train:.1f} s, evaluation {evaluate:.1f} s"
        )
    panel.axes.set_yticks(range(len(rows)), [alias for alias, _, _ in rows])
    panel.axes.invert_yaxis()
    panel.axes.grid(visible=False, axis="y")
    panel.axes.set_xlabel("seconds")
    legend(panel)
    return [panel]
