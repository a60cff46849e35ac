"""How blocks and lines look, the same in every figure: colour by backbone, marker by the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from sweeps.axis_words import value_words
from sweeps.drawing import Panel

COLOURS = ("#2f86c9", "#d9822b", "#2a9d6f", "#b85fb0", "#c0504d", "#8a7a2f", "#5b6ee1", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P")
VERDICT_COLOURS = {
    "no_degradation": "#2a9d6f",
    "degradation": "#c0504d",
    "inconclusive": "#d9a02b",
    "refused": "#8a8a8a",
    "not reached": "#8a8a8a",
}


def look(report: Mapping[str, Any], block: Mapping[str, Any]) -> tuple[str, str]:
    """Colour by backbone and marker by the rest, if backbones are compared; else colour by block."""
    backbones, at = list(report["axes"].get("backbone", ())), report["blocks"].index(block)
    if len(backbones) < 2 or "backbone" not in block["axes"]:
        return COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]
    alike = [other for other in report["blocks"] if other["axes"]["backbone"] == block["axes"]["backbone"]]
    colour = COLOURS[backbones.index(block["axes"]["backbone"]) % len(COLOURS)]
    return colour, MARKERS[alike.index(block) % len(MARKERS)]


def legend_words(axes: Mapping[str, Any]) -> str | None:
    """Legend entry: the values of a block's axes, short: names stand alone, batch_size is batch."""
    words = [
        value if isinstance(value, str) else f"{axis.removesuffix('_size')} {value_words(axis, value)}"
        for axis, value in axes.items()
    ]
    return ", ".join(words) or None


def widen(axes: Axes, span: float) -> None:
    """Show at least `span` on the value axis, so that noise does not look like an effect."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def legend(panel: Panel) -> None:
    handles, labels = panel.axes.get_legend_handles_labels()
    if handles and any(label for label in labels):
        wide = 1 if max(map(len, labels)) > 24 else 2
        panel.figure.legend(handles, labels, loc="outside lower left", ncols=wide)


def share_limits(panels: Sequence[Panel]) -> None:
    """The same value axis for panels that are compared."""
    ends = [panel.axes.get_ylim() for panel in panels]
    for panel in panels:
        panel.axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
