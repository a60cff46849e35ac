"""The report's figures: small panels that fit a phone, drawn from the report's numbers alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import matplotlib as mpl

from sweeps.drawing import STYLE, Drawn, Panel, finish
from sweeps.figure_curves import batch_panels, curve_panels, safe_panels
from sweeps.figure_forests import arm_forests, difference_panels
from sweeps.figure_languages import language_panels
from sweeps.figure_overview import cost_panels, pareto_panels


def draw_figures(report: Mapping[str, Any]) -> list[Drawn]:
    """Those the data allow: curves with bands, safe ranges, forests, the Pareto front, languages, cost."""
    with mpl.rc_context(STYLE):
        panels: list[Panel] = [
            *safe_panels(report),
            *curve_panels(report),
            *batch_panels(report),
            *difference_panels(report),
            *arm_forests(report),
            *pareto_panels(report),
            *language_panels(report),
            *cost_panels(report),
        ]
        taken: dict[str, int] = {}
        drawn = []
        for panel in panels:
            taken[panel.name] = taken.get(panel.name, 0) + 1
            again = taken[panel.name]  # two data sets whose names differ in punctuation alone
            drawn.append(finish(replace(panel, name=f"{panel.name}-{again}") if again > 1 else panel))
        return drawn
