"""The command `sweeps verdict`: the degradation statistics on any Parquet file of score rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from hybrid.answer import finite
from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER, MEASURES, NEITHER_IS_BETTER
from sweeps.degradation import Comparison, Verdict, compare
from sweeps.pairing import Scores, read_scores
from sweeps.score_rows import OPTIONAL, REQUIRED

if TYPE_CHECKING:
    from sweeps.spec import Sweep

_COLOURS = {"no_degradation": "green", "degradation": "red", "inconclusive": "yellow", "refused": "magenta"}


def judge_file(
    path: str | Path,
    *,
    sweep: Sweep | None = None,
    reference: str | None = None,
    margin: float | None = None,
    level: float | None = None,
    measure: str | None = None,
) -> Comparison:
    """Verdicts on the rows of a Parquet file, with a sweep's guardrail and references, or with `reference`
    (one arm for all), `margin` and `level` (0.01 and 0.05), on all measures or on one.

    Raises BadInput for a file, column, arm or number that cannot be used.
    """
    if (sweep is None) == (reference is None):
        raise BadInput("give either --spec, or --reference with --margin and --level")
    if sweep is not None and (margin, level, measure) != (None, None, None):
        raise BadInput(
            "with --spec the margin, level and measure are the guardrail's; use --set to change them"
        )
    margin, level = 0.01 if margin is None else margin, 0.05 if level is None else level
    mistakes = []
    if not (np.isfinite(margin) and margin > 0):
        mistakes.append(f"--margin {margin} is not a positive number, such as 0.01 for one point")
    if not 0 < level < 0.5:
        mistakes.append(f"--level {level} is not between 0 and 0.5, such as 0.05")
    if mistakes:
        raise BadInput(mistakes)
    table = _read(Path(path))
    try:
        scores = read_scores(table, measures=None if measure is None else [measure])
    except BadInput as error:
        raise BadInput(f"{path}: {mistake}" for mistake in error.mistakes) from error
    if sweep is not None:
        return judge_sweep(scores, sweep)
    if margin >= 1 and _fractions(table, measure):
        raise BadInput(
            f"--margin {margin:g} is beyond every difference, since the scores of {path} are fractions; "
            f"write {margin / 100:g} for {margin:g} points"
        )
    if reference not in scores.arms:
        near = difflib.get_close_matches(str(reference), scores.arms, 1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(map(repr, scores.arms[:20]))}"
        )
        raise BadInput(f"{path}: the reference arm {reference!r} has no rows; {hint}")
    if scores.arms == (reference,):
        raise BadInput(f"{path}: holds only the reference arm {reference!r}; nothing to compare")
    references = {arm: str(reference) for arm in scores.arms}
    return compare(scores, references, margin=margin, level=level, measure=measure)


def judge_sweep(table: pa.Table | Scores, sweep: Sweep) -> Comparison:
    """The verdicts that a sweep's guardrail and references declare, as its report has them."""
    from sweeps.arms import name_arms
    from sweeps.comparisons import compare_arms

    scores = table if isinstance(table, Scores) else read_scores(table)
    arms = name_arms(sweep.points, sweep.reference, str(sweep.train.get("backbone", "")))
    known = {a.alias for a in arms}
    if not known & set(scores.arms):
        raise BadInput(
            f"no arm of the scores is an arm of {sweep.name}: the scores have "
            f"{', '.join(map(repr, scores.arms[:8]))}, the sweep {', '.join(map(repr, list(known)[:8]))}"
        )
    return compare_arms(scores, arms, sweep.guardrail)


def verdict_json(comparison: Comparison) -> dict[str, Any]:
    """What `--json` prints: `verdicts`, `method`, `notes`. Values that are not known are null."""
    return {
        "verdicts": [finite(asdict(v)) for v in comparison.verdicts],
        "method": comparison.method,
        "notes": list(comparison.notes),
    }


def print_verdicts(comparison: Comparison, console: Console, *, everything: bool = False) -> None:
    """One line per comparison, primary family first, and what lies behind refusals and open ones.

    Shown is the declared group and measure; `everything` adds the others.
    """
    shown = comparison.verdicts if everything else _declared(comparison)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width of its own
    table = Table(title="Difference to the reference, in points (fractions ×100); ranks for rank distance")
    texts, numbers = (
        ("arm", "reference", "task", "measure"),
        ("difference", "lower", "upper", "seeds", "queries"),
    )
    for name in (*texts, *numbers, "verdict"):
        table.add_column(name, justify="right" if name in numbers else "left")
    primary = True
    for v in shown:
        if primary and not v.family.startswith("primary"):
            table.add_section()
            primary = False
        points = [_points(v, value) for value in (v.difference, v.lower, v.upper)]
        flags = f" ({', '.join(v.flags)})" if v.flags else ""
        verdict = f"[{_COLOURS[v.verdict]}]{v.verdict.replace('_', ' ')}[/]{flags}"
        counts = ["" if n is None else str(n) for n in (v.n_seeds, v.n_queries)]
        names = (v.arm, v.reference, v.task, MEASURES.get(v.measure, v.measure))
        table.add_row(*names, *points, *counts, verdict)
    console.print(table)
    if hidden := len(comparison.verdicts) - len(shown):
        console.print(
            f"{hidden} exploratory comparisons of other groups and measures: --all", highlight=False
        )
    for v in shown:
        sentences = [*v.notes, *([v.needed.advice] if v.needed else [])]
        if sentences and (v.verdict == "refused" or v.family.startswith("primary")):
            console.print(f"{v.arm}, {v.task}, {v.measure}: {'; '.join(sentences)}", highlight=False)
    console.print(comparison.method, *comparison.notes, sep="\n", highlight=False)


def _declared(comparison: Comparison) -> Sequence[Verdict]:
    """All comparisons of the declared group and measure; all there are where none is declared."""
    declared = {(v.group, v.measure) for v in comparison.primary}
    return [v for v in comparison.verdicts if not declared or (v.group, v.measure) in declared]


def _fractions(table: pa.Table, measure: str | None) -> bool:
    """Whether there are scores of kinds that a margin in fractions is for, and all of them are fractions."""
    names = table["measure"].cast(pa.string())
    counts = pa.array(LOWER_IS_BETTER | NEITHER_IS_BETTER, pa.string())
    judged = pc.invert(pc.is_in(names, counts))
    if measure is not None:
        judged = pc.and_(judged, pc.equal(names, measure))
    values = np.abs(np.asarray(table.filter(judged)["value"], dtype=np.float64))
    return len(values) > 0 and float(np.nanmax(values, initial=0.0)) <= 1


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give a Parquet file of score rows")
    try:
        names = pq.read_schema(path).names
        wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
        text = [name for name in wanted if name not in ("seed", "value")]
        return pq.read_table(path, columns=wanted, read_dictionary=text)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file ({error})") from error


def _points(v: Verdict, value: float | None) -> str:
    if value is None:
        return "–"
    if v.measure in LOWER_IS_BETTER:
        return f"{value:+.1f}"
    as_it_is = max(abs(v.arm_mean or 0.0), abs(v.reference_mean or 0.0)) > 1  # already points
    return f"{value if as_it_is else 100 * value:+.2f}"
