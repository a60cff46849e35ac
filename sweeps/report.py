"""The report of a sweep: one page that needs nothing else, its tables and figures as files, its numbers.

index.html  report.json  tables/*.{md,csv,tex}  figures/*.{svg,pdf}  and, where asked for, scores.parquet
"""

import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sweeps.figures import draw_figures
from sweeps.plan import Plan
from sweeps.published import beside_paper
from sweeps.report_numbers import report_numbers
from sweeps.report_page import render_page
from sweeps.report_tables import build_tables
from sweeps.results import load_results
from sweeps.store import Store
from sweeps.tables import csv_text, latex, markdown


def write_report(plan: Plan, store: Store, out: Path, *, with_scores: bool = False) -> Path:
    """Write the report of what the store has of a sweep into the folder `out`; returns its index.html.

    Nothing is shown that is not in report.json. Missing and failed trials are named, never filled in.
    `with_scores` adds scores.parquet: the scores of every query that all of it rests on, in the columns
    that `sweeps verdict` reads.
    """
    results = load_results(plan, store, every_measure=False)
    report = report_numbers(plan, results)
    published = beside_paper(results)
    tables = [*build_tables(report), *([published] if published else [])]
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
    if with_scores:
        pq.write_table(results.scores, out / "scores.parquet", compression="zstd")
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    index = out / "index.html"
    index.write_text(render_page(report, tables, figures), encoding="utf-8")
    return index


def report_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of report.json, as it is shipped."""
    text = (files("sweeps") / "templates" / "report.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
