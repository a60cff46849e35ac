"""The report of a sweep: one page that needs nothing else, its tables and figures as files, its numbers.

index.html  report.json  tables/*.{md,csv,tex}  figures/*.{svg,pdf}
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sweeps.drawing import Drawn
from sweeps.figures import draw_figures
from sweeps.plan import Plan
from sweeps.report_numbers import report_numbers
from sweeps.report_tables import build_tables, held_note
from sweeps.report_verdicts import WORDS
from sweeps.results import load_results
from sweeps.store import Store
from sweeps.tables import Table, csv_text, latex, markdown


def write_report(plan: Plan, store: Store, out: Path) -> Path:
    """Write the report of what the store has of a sweep into the folder `out`; returns its index.html.

    Nothing is shown that is not in report.json. Missing and failed trials are named, never filled in.
    """
    report = report_numbers(plan, load_results(plan, store, every_measure=False))
    tables = build_tables(report)
    figures = draw_figures(report)
    report["tables"] = [asdict(table) for table in tables]
    report["figures"] = [{"name": f.name, "title": f.title, "caption": f.caption} for f in figures]
    for folder in (out / "tables", out / "figures"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # of an earlier report of this sweep
            if old.suffix in {".md", ".csv", ".tex", ".svg", ".pdf"}:
                old.unlink()
    for table in tables:
        for suffix, render in (("md", markdown), ("csv", csv_text), ("tex", latex)):
            (out / "tables" / f"{table.name}.{suffix}").write_text(render(table), encoding="utf-8")
    for figure in figures:
        (out / "figures" / f"{figure.name}.svg").write_bytes(figure.svg)
        (out / "figures" / f"{figure.name}.pdf").write_bytes(figure.pdf)
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    index = out / "index.html"
    index.write_text(render_page(report, tables, figures), encoding="utf-8")
    return index


def render_page(report: dict[str, Any], tables: Sequence[Table], figures: Sequence[Drawn]) -> str:
    """The page: everything in it comes from `report`, escaped by Jinja; styles and figures stand inside."""
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = [
        ("question", "Question"),
        ("verdict", "Verdict"),
        ("answer", "What the intervals say"),
        ("results", "Results"),
        ("curves", "Curves"),
        ("differences", "Differences"),
        ("pareto", "Pareto"),
        ("choice", "Choice"),
        ("run", "What was run"),
        ("reading", "How to read"),
        ("reproduce", "Reproduce"),
    ]
    drawn = {
        kind: [figure for figure in figures if figure.name.startswith(prefix)]
        for kind, prefix in (("curves", "curve-"), ("differences", "difference-"), ("pareto", "pareto"))
    }
    named = {
        "verdict": [table for table in tables if table.name == "verdict"],
        "run": [table for table in tables if table.name in ("data", "mixture", "cost")],
        "choice": [table for table in tables if table.name == "choice"],
        "other": [table for table in tables if table.name.endswith("-other")],
    }
    elsewhere = {table.name for group in named.values() for table in group}
    named["results"] = [table for table in tables if table.name not in elsewhere]
    return environment.get_template("report.html.j2").render(
        report=report,
        tables=named,
        figures=drawn,
        sections=[(anchor, word) for anchor, word in sections if drawn.get(anchor, named.get(anchor, True))],
        arms_trained=sum(not arm["untouched"] for arm in report["arms"]),
        verdict_words=WORDS,
        held=held_note(report),
        unfinished=[trial for trial in report["trials"] if trial["state"] != "done"],
        unrun=[trial["label"] for trial in report["trials"] if trial["state"] == "missing"],
        css=_template("report.css"),
        script=_template("report.js"),
    )


def _template(name: str) -> str:
    return (files("sweeps") / "templates" / name).read_text(encoding="utf-8")
