"""The page of a report: which section shows what. All of it comes from the report, escaped by Jinja."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from hybrid.scores import MEASURES
from sweeps.axis_words import value_words
from sweeps.drawing import Drawn
from sweeps.report_cells import held_note
from sweeps.report_effects import safe_sentence
from sweeps.report_robustness import best_sentences, failure_sentence
from sweeps.report_verdicts import WORDS
from sweeps.tables import Table

MANY = 9
"""From so many panels on, a section shows the first ones and folds the others."""


@dataclass
class Section:
    """One part of the page: sentences, figures, tables. Empty ones are left out, but for `always`."""

    anchor: str
    word: str  # in the navigation
    heading: str
    tables: tuple[str, ...] = ()  # how the names of its tables begin
    folded: tuple[str, ...] = ()  # and of those that stand folded
    figures: tuple[str, ...] = ()
    sentences: Sequence[str] = ()
    wide: bool = False
    always: bool = False
    shown_tables: list[Table] = field(default_factory=list)
    folded_tables: list[Table] = field(default_factory=list)
    panels: list[Drawn] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.always or self.sentences or self.shown_tables or self.folded_tables or self.panels)


def sections_of(
    report: Mapping[str, Any], tables: Sequence[Table], figures: Sequence[Drawn]
) -> list[Section]:
    """The page from top to bottom. A table or figure goes to the section that names how its name begins, a
    table that none names to the results."""
    effects, robustness = report["effects"], report["robustness"]
    safe = {
        axis: [safe_sentence(axis, curve) for curve in effects[axis] if curve["declared"]]
        for axis in ("mono_ratio", "batch_size")
    }
    failures = failure_sentence(robustness["failures"])
    sections = [
        Section("verdict", "Verdict", "Verdict", ("verdict",), always=True),
        Section("safe", "Safe range", "How far down mono_ratio is safe", ("safe-range-mono-ratio",),
                figures=("safe-",), sentences=[*safe["mono_ratio"], *effects["notes"]]),
        Section("answer", "Intervals", "What the intervals say", always=True),
        Section("results", "Results", "Results", ("in-domain", "zero-shot")),
        Section("curves", "Curves", "Against mono_ratio", folded=("along-mono-ratio",), figures=("curve-",)),
        Section("batch", "Batch size", "Against batch_size, and what depends on what",
                ("safe-range-batch-size", "interactions"), ("along-batch-size", "other-interactions"),
                ("batch-",), safe["batch_size"]),
        Section("exchange", "Exchange rate", "What a zero-shot point buys", ("exchange-rate",)),
        Section("differences", "Differences", "Differences, set by set", ("without-a-set",),
                figures=("difference-", "forest-")),
        Section("languages", "Languages", "Languages", ("worst-language", "means-apart"),
                figures=("languages-",)),
        Section("pareto", "Pareto", "In-domain against zero-shot", folded=("pareto",), figures=("pareto",),
                sentences=best_sentences(robustness["best"], MEASURES), wide=True),
        Section("paper", "Paper", "Beside the published values", ("beside-the-paper",)),
        Section("choice", "Choice", "Chosen configuration", folded=("choice",), always=True),
        Section("run", "What was run", "What was run", ("data", "mixture", "cost", "coverage", "pool-bias"),
                ("in-domain-other", "zero-shot-other"), ("cost",),
                [*([failures] if failures else []), *_machines(report)], always=True),
        Section("reading", "How to read", "How to read this", always=True),
        Section("reproduce", "Reproduce", "How to reproduce it", always=True),
    ]  # fmt: skip
    for table in tables:
        folded = [one for one in sections if table.name.startswith(one.folded or ("\0",))]
        shown = [one for one in sections if table.name.startswith(one.tables or ("\0",))]
        if folded:
            folded[0].folded_tables.append(table)
        else:
            (shown or [one for one in sections if one.anchor == "results"])[0].shown_tables.append(table)
    for figure in figures:
        for one in sections:
            if figure.name.startswith(one.figures or ("\0",)):
                one.panels.append(figure)
    return [one for one in sections if not one.empty]


def render_page(report: Mapping[str, Any], tables: Sequence[Table], figures: Sequence[Drawn]) -> str:
    """The page; styles, script and figures stand inside, and nothing is fetched."""
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        sections=sections_of(report, tables, figures),
        many=MANY,
        axes=_axes(report),
        arms_trained=sum(not arm["untouched"] for arm in report["arms"]),
        verdict_words=WORDS,
        held=held_note(report),
        unfinished=[trial for trial in report["trials"] if trial["state"] != "done"],
        unrun=[trial["label"] for trial in report["trials"] if trial["state"] == "missing"],
        css=_template("report.css"),
        script=_template("report.js"),
    )


def _axes(report: Mapping[str, Any]) -> str:
    """Every axis with all its values."""
    axes = report["axes"].items()
    return "; ".join(
        f"{axis} {', '.join(value_words(axis, value) for value in values)}" for axis, values in axes
    )


def _machines(report: Mapping[str, Any]) -> list[str]:
    if not report["cost"]["mixed_hardware"]:
        return []
    kinds = report["cost"]["hardware"]
    of = {kind: [t["label"] for t in report["trials"] if t["hardware"] == kind] for kind in kinds}
    parts = [f"{kind}: {', '.join(labels[:6])}{' …' * (len(labels) > 6)}" for kind, labels in of.items()]
    return [
        "Mixed hardware: trials ran on unlike machines, so times do not compare, and verdicts across them "
        f"are marked. {'; '.join(parts)}."
    ]


def _template(name: str) -> str:
    return (files("sweeps") / "templates" / name).read_text(encoding="utf-8")
