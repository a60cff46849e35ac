"""One table, four forms: HTML (by the page's template), Markdown, CSV and LaTeX.

A cell shows rounded text and carries the numbers behind it. CSV holds the numbers, fractions unscaled;
the other forms show the text, fractions as points (×100).
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MINUS = "−"


@dataclass(frozen=True)
class Cell:
    """What one place of a table shows and the numbers it was rounded from."""

    text: str
    detail: str = ""  # a second, smaller line: the values per seed, or the interval
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    seeds: Mapping[str, float] = field(default_factory=dict)
    tone: str = ""  # "better", "worse": the interval lies on one side of zero


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    kind: str = ""  # "reference", "untouched", "incomplete"


@dataclass(frozen=True)
class Block:
    """Rows that differ in the row axes alone."""

    title: str  # empty if the table has one block
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    name: str  # of its files
    title: str
    columns: Sequence[str]
    blocks: Sequence[Block]
    notes: Sequence[str] = ()
    text_columns: int = 1  # how many columns on the left hold words


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A rounded number with a true minus sign; never "−0.0"."""
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = f"{0:.{decimals}f}"
    return text.replace("-", MINUS)


def points(fraction: float) -> str:
    """A fraction in words: 0.01 is "1 point"."""
    text = f"{100 * fraction:g}"
    return f"{text} point" if text == "1" else f"{text} points"


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its notes below it."""
    head = _with_block(table, "", list(table.columns))
    lines = [f"**{_markdown_text(table.title)}**", "", _pipes(head)]
    words = table.text_columns + (1 if _has_blocks(table) else 0)
    lines.append(_pipes(["---" if at < words else "---:" for at in range(len(head))]))
    for block in table.blocks:
        for row in block.rows:
            texts = [_joined(cell) for cell in row.cells]
            lines.append(_pipes(_with_block(table, block.title, texts)))
    lines += ["", *(f"{_markdown_text(note)}  " for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def csv_text(table: Table) -> str:
    """The numbers as CSV: a column for each value, its interval and its seeds; words as they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = [(block.title, row) for block in table.blocks for row in block.rows]
    heads: list[str] = ["block"] if _has_blocks(table) else []
    columns: list[list[str]] = [[title for title, _ in rows]] if _has_blocks(table) else []
    for at, name in enumerate(table.columns):
        cells = [row.cells[at] for _, row in rows]
        plain = all(cell.value is None for cell in cells)
        heads.append(name)
        columns.append([cell.text if plain else _exact(cell.value) for cell in cells])
        if any(cell.lower is not None for cell in cells):
            heads += [f"{name} lower", f"{name} upper"]
            columns += [[_exact(cell.lower) for cell in cells], [_exact(cell.upper) for cell in cells]]
        seeds = list(dict.fromkeys(seed for cell in cells for seed in cell.seeds))
        for seed in seeds:
            heads.append(f"{name} seed {seed}")
            columns.append([_exact(cell.seeds.get(seed)) for cell in cells])
    writer.writerow(heads)
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def latex(table: Table) -> str:
    """A `table` environment with booktabs rules; needs \\usepackage{booktabs}."""
    width = len(table.columns)
    lines = [
        "\\begin{table}",
        "\\centering\\small",
        f"\\caption{{{latex_text(table.title)}. {' '.join(latex_text(note) for note in table.notes)}}}",
        f"\\label{{tab:{table.name}}}",
        f"\\begin{{tabular}}{{{'l' * table.text_columns}{'r' * (width - table.text_columns)}}}",
        "\\toprule",
        " & ".join(latex_text(name) for name in table.columns) + " \\\\",
    ]
    for block in table.blocks:
        lines.append("\\midrule")
        if block.title:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{latex_text(block.title)}}}}} \\\\")
        lines += [" & ".join(latex_text(_joined(cell)) for cell in row.cells) + " \\\\" for row in block.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


_LATEX = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "&": "\\&",
    "%": "\\%",
    "$": "\\$",
    "#": "\\#",
    "_": "\\_",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\textquotedbl{}",
    MINUS: "$-$",
    "–": "--",
    "·": "$\\cdot$",
    "×": "$\\times$",
    "±": "$\\pm$",
    "Δ": "$\\Delta$",
    "α": "$\\alpha$",
    "→": "$\\rightarrow$",
    "≥": "$\\geq$",
    "≤": "$\\leq$",
    "\n": " ",
}


def latex_text(text: str) -> str:
    """`text` so that LaTeX prints it as it stands, inside a table or a caption."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped  # "\\ [" would be an optional argument


def _joined(cell: Cell) -> str:
    return f"{cell.text} ({cell.detail})" if cell.detail else cell.text


def _has_blocks(table: Table) -> bool:
    return any(block.title for block in table.blocks)


def _with_block(table: Table, title: str, texts: list[str]) -> list[str]:
    return [title, *texts] if _has_blocks(table) else texts


def _pipes(texts: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown_text(text) for text in texts) + " |"


def _markdown_text(text: str) -> str:
    for character in "\\`*_<>|[]":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _exact(value: float | None) -> str:
    return "" if value is None else repr(round(value, 8))
