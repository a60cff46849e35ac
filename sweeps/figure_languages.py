"""Heat maps of languages × languages: the reference's values, and every arm's difference to them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, Normalize

from sweeps.drawing import Panel, hover, new_panel
from sweeps.tables import number

_LIGHT, _DARK = "#fefefe", "#101010"  # not the page's own colours: they stand on coloured cells


def language_panels(report: Mapping[str, Any]) -> Iterable[Panel]:
    """For each cross-lingual set: queries in rows, documents in columns, monolingual on the diagonal."""
    cross = [s for s in report["series"] if s["setting"] == "cross" and s["primary"] and s["task"] != "macro"]
    for series in cross:
        mono = series["id"].replace("/cross/", "/mono/")
        rows = [row for row in report["languages"] if row["series"] in (series["id"], mono)]
        pairs = dict.fromkeys((row["arm"], row["reference"]) for row in rows)
        if not rows:
            continue
        found = {arm["alias"]: arm for arm in report["arms"]}
        names = sorted({row["query_lang"] for row in rows} | {row["doc_lang"] for row in rows})
        widest = max((abs(row["difference"]) for row in rows if row["difference"] is not None), default=0.0)
        widest = max(widest, 0.001)
        values = {
            (row["reference"], row["query_lang"], row["doc_lang"]): row["reference_value"]
            for row in rows
            if row["reference_value"] is not None
        }
        trained = [reference for _, reference in pairs if not found[reference]["untouched"]]
        untouched = [reference for _, reference in pairs if found[reference]["untouched"]]
        for reference in dict.fromkeys((*untouched, *trained)):
            cells = {(a, b): (value, "") for (who, a, b), value in values.items() if who == reference}
            if not cells:
                continue
            title = f"{reference}: mAP"
            caption = f"{series['title']}, values in points; rows: queries, columns: documents."
            yield _map(f"{series['id']}-{reference}", title, caption, names, cells, sequential=True)
        for arm, reference in pairs:
            own = [row for row in rows if (row["arm"], row["reference"]) == (arm, reference)]
            cells = {
                (row["query_lang"], row["doc_lang"]): (row["difference"], _bounds(row))
                for row in own
                if row["difference"] is not None
            }
            if not cells:
                continue
            caption = (
                "Differences in points; rows: language of the query, columns: of the documents, diagonal: "
                "monolingual. Underlined: bounds that hold for all cells and arms leave out zero."
            )
            title = f"{arm} minus {reference}"
            yield _map(f"{series['id']}-{arm}-{reference}", title, caption, names, cells, widest)


def _bounds(row: Mapping[str, Any]) -> str:
    if row["all_lower"] is None:
        return ""
    return f" [{100 * row['all_lower']:+.1f}, {100 * row['all_upper']:+.1f}]"


def _map(
    name: str,
    title: str,
    caption: str,
    names: Sequence[str],
    cells: Mapping[tuple[str, str], tuple[float, str]],
    widest: float = 0.0,
    *,
    sequential: bool = False,
) -> Panel:
    """One matrix. `cells`: (query, document) → fraction and the bounds in words."""
    panel = new_panel("languages", name, title, caption, height=4.1)
    known = [value for value, _ in cells.values()]
    norm = Normalize(min(known), max(known)) if sequential else Normalize(-widest, widest)
    colours: Colormap = mpl.colormaps["viridis" if sequential else "RdBu"]
    grid = np.full((len(names), len(names)), np.nan)
    for (query, doc), (value, _) in cells.items():
        grid[names.index(query), names.index(doc)] = value
    panel.axes.pcolormesh(np.ma.masked_invalid(grid), cmap=colours, norm=norm, edgecolors="none", linewidth=0)
    size = 8.5 if len(names) < 7 else 6.2
    for (query, doc), (value, bounds) in cells.items():
        x, y = names.index(doc) + 0.5, names.index(query) + 0.5
        red, green, blue, _ = colours(norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        text = number(100 * value, 0 if sequential else 1, signed=not sequential)
        panel.axes.text(x, y, text, ha="center", va="center", fontsize=size, color=_DARK if dark else _LIGHT)
        ends = bounds.strip(" []").split(", ")
        if bounds and (float(ends[0]) > 0 or float(ends[1]) < 0):
            panel.axes.plot(
                [x - 0.3, x + 0.3], [y + 0.33] * 2, color=_DARK if dark else _LIGHT, linewidth=0.8
            )
        shown = number(100 * value, 1, signed=not sequential)
        hover(panel, x, y, f"{query} → {doc}: {shown}{bounds}")
    panel.axes.set_xticks(np.arange(len(names)) + 0.5, names)
    panel.axes.set_yticks(np.arange(len(names)) + 0.5, names)
    panel.axes.invert_yaxis()
    panel.axes.set_aspect("equal")
    panel.axes.grid(visible=False)
    panel.axes.set_xlabel("documents")
    panel.axes.set_ylabel("queries")
    return panel
