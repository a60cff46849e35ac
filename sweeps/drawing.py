"""A panel and what is made of it: an SVG file, a PDF file, and a piece of a page.

Drawn dark on white for files; in the page, text, grid and background take the page's own colours, so that
one drawing serves light and dark.
"""

import io
import re
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

TEXT, _GRID, _PAPER = "#1c1c1c", "#dddddd", "#ffffff"
STYLE: Any = {
    "figure.dpi": 72,  # pixels are points, as in SVG
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": _PAPER,
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with dollars in it is a name
    "pdf.fonttype": 42,
}


@dataclass
class Panel:
    """A figure while it is drawn: what a pointer is shown over its points stands beside it."""

    name: str
    title: str
    caption: str
    figure: Figure
    axes: Axes
    hover: list[tuple[float, float, str]] = field(default_factory=list)  # x, y, text


@dataclass(frozen=True)
class Drawn:
    """One figure as page fragment, as SVG file and as PDF file."""

    name: str
    title: str
    caption: str
    inline: str
    svg: bytes
    pdf: bytes


def new_panel(
    kind: str, series: str, title: str, caption: str, *, width: float = 4.0, height: float = 3.1
) -> Panel:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    name = re.sub(r"[^a-z0-9]+", "-", f"{kind}-{series}".lower()).strip("-")
    return Panel(name, title, caption, figure, axes)


def hover(panel: Panel, x: float, y: float, text: str) -> None:
    """What the page shows when the pointer rests on a point."""
    panel.hover.append((x, y, text))


def finish(panel: Panel) -> Drawn:
    panel.figure.draw_without_rendering()
    panel.figure.set_layout_engine("none")  # it is laid out
    svg, pdf = io.StringIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": panel.name}):  # straight to the backends: savefig draws twice
        canvas: Any = FigureCanvasSVG(panel.figure)
        canvas.print_svg(svg, metadata={"Date": None, "Creator": None})
    undated = {"CreationDate": None, "Creator": None, "Producer": None}
    canvas = FigureCanvasPdf(panel.figure)
    canvas.print_pdf(pdf, metadata=undated)
    drawn = svg.getvalue()
    return Drawn(
        panel.name, panel.title, panel.caption, _inline(panel, drawn), drawn.encode(), pdf.getvalue()
    )


def _inline(panel: Panel, drawn: str) -> str:
    """The <svg> element for the page: ids made unique, colours left to the page, hover texts put in."""
    head, body = drawn[drawn.index("<svg") :].split(">", 1)
    svg = (
        re.sub(r' (width|height)="[^"]*"', "", head) + f' role="img" aria-label="{_xml(panel.title)}">' + body
    )
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{panel.name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{panel.name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{panel.name}-\1)", svg)
    for colour, own in ((TEXT, "currentColor"), (_GRID, "var(--grid)"), (_PAPER, "none")):
        svg = svg.replace(colour, own)
    height = panel.figure.get_figheight() * 72
    targets = []
    for x, y, text in panel.hover:
        across, up = panel.axes.transData.transform((x, y))
        at = f'cx="{across:.1f}" cy="{height - up:.1f}" r="6"'
        targets.append(f'<circle {at} class="hover"><title>{_xml(text)}</title></circle>')
    return svg.replace("</svg>", "".join(targets) + "</svg>")


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
