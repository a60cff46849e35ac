"""Which arms a curve joins, and how the safe range shows arms that its sequence did not reach."""

from typing import Any

from matplotlib.colors import to_hex

from sweeps.drawing import Panel
from sweeps.figure_curves import curve_panels, safe_panels
from sweeps.figure_looks import VERDICT_COLOURS

ARMS: dict[str, tuple[float, Any]] = {
    "m1": (1.0, None), "m0.5": (0.5, None), "m0": (0.0, None), "m1 en": (1.0, ["en"]),
}  # fmt: skip
SERIES = {
    "id": "s", "title": "zero-shot", "group": "zero_shot", "task": "macro", "setting": "beir",
    "measure": "ndcg_at_10", "headline": True, "primary": True, "points": True, "better": "higher",
}  # fmt: skip


def report() -> dict[str, Any]:
    tested = {"m1": "reference", "m0.5": "inconclusive", "m0": "not reached"}
    points = [
        {
            "x": ARMS[arm][0],
            "arm": arm,
            "difference": -at / 50,
            "lower": -at / 40,
            "upper": 0.0,
            "tested": tested[arm],
        }
        for at, arm in enumerate(tested)
    ]
    curve = {
        "series": "s", "title": "zero-shot", "declared": True, "points_scale": True, "reference": 1.0,
        "fixed": {"batch_size": 32}, "points": points,
    }  # fmt: skip
    return {
        "axes": {"mono_ratio": [1.0, 0.5, 0.0], "languages": [None, ["en"]]},
        "guardrail": {"level": 0.05, "margin": 0.02},
        "arms": [
            {
                "alias": name, "axes": {"mono_ratio": ratio, "languages": spoken}, "backbone": "m",
                "untouched": False,
            }
            for name, (ratio, spoken) in ARMS.items()
        ],
        "series": [SERIES],
        "values": [{"series": "s", "arm": arm, "mean": 0.5, "seeds": {"1": 0.5}} for arm in ARMS],
        "blocks": [
            {"axes": {"batch_size": 32}, "row_axes": ["mono_ratio", "languages"], "arms": list(ARMS)}
        ],
        "effects": {"mono_ratio": [curve]},
        "verdicts": {"rows": [{"arm": "m0", "task": "macro", "verdict": "degradation"}]},
    }  # fmt: skip


def drawn(panel: Panel) -> list[list[float]]:
    return [
        [float(x) for x in line.get_xdata()] for line in panel.axes.get_lines() if line.get_label()[0] != "_"
    ]


def test_a_line_joins_arms_that_differ_in_mono_ratio_alone() -> None:
    (panel,) = curve_panels(report())
    assert drawn(panel) == [[0.0, 0.5, 1.0], [1.0]]
    labels = [text.get_text() for text in panel.axes.figure.findobj(lambda a: hasattr(a, "get_text"))]
    assert any("en" in label and "32" in label for label in labels)


def test_an_arm_that_was_not_reached_is_red_where_the_verdict_is_degradation() -> None:
    (panel,) = safe_panels(report())
    markers = [line for line in panel.axes.get_lines() if line.get_marker() == "o"]
    filled = {float(line.get_xdata()[0]): line.get_markerfacecolor() for line in markers}
    assert filled[0.5] == "none"
    assert to_hex(filled[0.0]) == to_hex(VERDICT_COLOURS["degradation"])
