"""Do the intervals cover and the verdicts err as seldom as they say? Simulation with known truth.

    python benchmarks/degradation.py [--replicates 2000] [--out benchmarks/results]

Every world draws arms, seeds, sets and queries whose true difference Δ is known, and runs them through
`estimate`, `simultaneous_level` and `in_fixed_order`, which verdicts, bands and safe ranges use. A family's
level takes 2,000 draws, in a sweep 10,000. Per world and number of seeds it counts: how often the 95%
interval of the macro difference covers Δ (also for Satterthwaite's t, for comparison), and, with Δ
exactly at the margin −δ for every arm of a family, how often any arm gets a false "no degradation", how
often any gets a false "degradation", and how often a safe range holds an arm that is not safe; and how
often a curve's band holds all its points. Writes degradation.json, degradation.md and, for docs/method.md,
degradation-summary.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from known_truth import WORLDS, Floats, World, macros, shift_for
from scipy import stats

from sweeps.crossed import Estimate, estimate, half_width, t_quantile
from sweeps.dose import in_fixed_order, judged_alone
from sweeps.families import simultaneous_level

LEVEL = 0.05
MARGIN = 0.01
QUADRATURE = (0.05, 0.025, LEVEL / 7, 0.001)
"""Levels: of one comparison, of a 95% interval, Bonferroni's for the seven arms of study-minilm, far out."""


def widths_at(estimates: list[Estimate], level: float) -> Floats:
    """`Estimate.half_width` of many at once."""
    columns = np.array([(e.var_seed, e.var_query, e.df_seed, e.df_query) for e in estimates]).T
    return half_width(columns[0], columns[1], columns[2], columns[3], level)


def measure(world: World, seeds: int, replicates: int, arms: int, rng: np.random.Generator) -> dict[str, Any]:
    """Coverage of single 95% intervals and of bands, and errors of families at the boundary Δ = −δ.

    All arms are one family. A safe range is wrong if it takes in any arm; each of several curves tests at
    its share of the level, and has a band of its own, as in `sweeps.dose`.
    """
    shift = shift_for(world, -MARGIN)
    covered = satterthwaite = intervals = 0
    false_none = false_some = false_safe = 0
    bands = whole = 0
    widths: list[float] = []
    for _ in range(replicates):
        curves = macros(world, arms, seeds, shift, rng)
        parts = [part for curve in curves for part in curve]
        estimates = [estimate(part) for part in parts]
        means = np.array([e.mean for e in estimates])
        errors = np.abs(means + MARGIN)
        width = widths_at(estimates, 0.025)
        covered += int((errors <= width).sum())
        t = t_quantile(0.025, [e.df for e in estimates])
        satterthwaite += int((errors <= t * [e.standard_error for e in estimates]).sum())
        intervals += len(estimates)
        widths.extend(width)
        level = simultaneous_level(parts, estimates, LEVEL, 2000)
        reach = widths_at(estimates, level)
        false_none += bool((means - reach > -MARGIN).any())
        false_some += bool((means + reach < -MARGIN).any())
        alone = widths_at(estimates, LEVEL / len(curves))
        start, passed = 0, False
        for curve in curves:
            here = slice(start, start + len(curve))
            verdicts = [judged_alone(m, w, MARGIN) for m, w in zip(means[here], alone[here], strict=True)]
            passed |= "no_degradation" in in_fixed_order(verdicts)
            band = widths_at(estimates[here], simultaneous_level(curve, estimates[here], LEVEL, 2000))
            whole += bool((errors[here] <= band).all())
            bands += 1
            start += len(curve)
        false_safe += passed
    return {
        "world": world.name,
        "seeds": seeds,
        "replicates": replicates,
        "arms": len(parts),
        "coverage": covered / intervals,
        "coverage_satterthwaite": satterthwaite / intervals,
        "half_width": float(np.median(widths)),
        "false_no_degradation": false_none / replicates,
        "false_degradation": false_some / replicates,
        "false_safe_range": false_safe / replicates,
        "band_coverage": whole / bands,
    }


def power(world: World, seeds: int, replicates: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Share of each verdict for one arm, against the true difference."""
    rows = []
    for difference in (-0.05, -0.04, -0.03, -0.02, -0.015, -0.01, -0.005, 0.0, 0.01):
        shift = shift_for(world, difference)
        none = some = 0
        for _ in range(replicates):
            e = estimate(macros(world, 1, seeds, shift, rng)[0][0])
            width = e.half_width(LEVEL)
            none += e.mean - width > -MARGIN
            some += e.mean + width < -MARGIN
        rows.append(
            {"seeds": seeds, "difference": difference,
             "no_degradation": none / replicates, "degradation": some / replicates}
        )  # fmt: skip
    return rows


def method_alone(seeds: int, level: float) -> dict[str, float]:
    """Lowest and highest coverage of two-sided intervals over all ratios of the two variance parts.

    By quadrature, no simulation: normal data, the queries' part known, the seeds' part with n − 1
    degrees of freedom.
    """
    u = ((np.arange(4000) + 0.5) / 4000) ** 2
    mass = np.gradient(u) / np.gradient(u).sum()
    shape = stats.chi2.ppf(u, seeds - 1) / (seeds - 1)
    ours, satterthwaite = [], []
    for part in 10 ** np.linspace(-4, 4, 41):
        true = np.sqrt(1 + part)
        ours.append(
            mass @ (1 - 2 * stats.norm.sf(half_width(part * shape, 1.0, seeds - 1, 1e9, level) / true))
        )
        df = np.minimum((1 + part * shape) ** 2 / ((part * shape) ** 2 / (seeds - 1) + 1e-12), 1e9)
        t = stats.t.isf(level, df)
        satterthwaite.append(mass @ (1 - 2 * stats.norm.sf(t * np.sqrt(1 + part * shape) / true)))
    return {"seeds": seeds, "level": level, "nominal": 1 - 2 * level, "lowest": min(ours),
            "highest": max(ours), "largest_error": (1 - min(ours)) / (2 * level),
            "lowest_satterthwaite": min(satterthwaite)}  # fmt: skip


def run_job(job: tuple[Callable[..., Any], tuple[Any, ...], int, int]) -> Any:
    function, arguments, seed, index = job
    return function(*arguments, np.random.default_rng([seed, index]))


def markdown(answer: dict[str, Any]) -> str:
    """The tables, with what does not hold its promise set in bold."""
    replicates, arms = answer["replicates"], answer["arms"]
    noise, of_band = (3 * (p * (1 - p) / replicates) ** 0.5 for p in (LEVEL, 2 * LEVEL))
    lines = [
        "# Simulation of the degradation statistics",
        "",
        f"Made by `{answer['command']}` in {answer['seconds']:.0f} s. "
        f"{replicates} experiments a row, {arms} arms and one reference where the world says nothing else, "
        f"all at Δ = −{MARGIN:g}; one-sided level {LEVEL:g}. Bold: coverage of an interval outside 93 to "
        f"97%, or, by more than three standard errors of the simulation, of a band below {1 - 2 * LEVEL:.0%} "
        "or an error rate above the level.",
        "",
        "| world | seeds | coverage of 95% | Satterthwaite | half-width (points) "
        "| any false *no degradation* | any false *degradation* | false safe range | band holds all points |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in answer["rows"]:
        coverage = f"{row['coverage']:.1%}"
        coverage = coverage if 0.93 <= row["coverage"] <= 0.97 else f"**{coverage}**"
        kinds = ("false_no_degradation", "false_degradation", "false_safe_range")
        errors = [f"{row[k]:.1%}" if row[k] <= LEVEL + noise else f"**{row[k]:.1%}**" for k in kinds]
        band = f"{row['band_coverage']:.1%}"
        band = band if row["band_coverage"] >= 1 - 2 * LEVEL - of_band else f"**{band}**"
        lines.append(
            f"| {row['world']} | {row['seeds']} | {coverage} | {row['coverage_satterthwaite']:.1%} | "
            f"{100 * row['half_width']:.2f} | {' | '.join(errors)} | {band} |"
        )
    lines += ["", "Worlds:", ""] + [f"- *{w.name}*: {w.what}." for w in WORLDS]
    lines += [
        "", "## The interval alone", "",
        "Over all ratios of seed to query variance, by quadrature, for normal data, the queries' part known.",
        "",
        "| seeds | one-sided level | coverage nominal | lowest | highest | largest error, of the level | "
        "lowest with Satterthwaite's t |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in answer["method"]:
        lines.append(
            f"| {row['seeds']} | {row['level']:.2%} | {row['nominal']:.1%} | {row['lowest']:.2%} | "
            f"{row['highest']:.2%} | {row['largest_error']:.3f} | {row['lowest_satterthwaite']:.1%} |"
        )
    lines += [
        "", "## Power", "",
        f"World *{WORLDS[0].name}*, one arm, margin {100 * MARGIN:g} point, level {LEVEL:g}: "
        "share of *no degradation* / *degradation*.", "",
    ]  # fmt: skip
    differences = sorted({row["difference"] for row in answer["power"]})
    lines.append("| seeds | " + " | ".join(f"{100 * d:+g}" for d in differences) + " |")
    lines.append("|---" * (len(differences) + 1) + "|")
    for seeds in dict.fromkeys(row["seeds"] for row in answer["power"]):
        cells = {row["difference"]: row for row in answer["power"] if row["seeds"] == seeds}
        shares = [f"{cells[d]['no_degradation']:.0%} / {cells[d]['degradation']:.0%}" for d in differences]
        lines.append(f"| {seeds} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def summary(answer: dict[str, Any]) -> str:
    """Ranges over all worlds with 3 seeds or more, and the world like the study with its 5 seeds."""
    several = [row for row in answer["rows"] if row["seeds"] > 2]
    alike = [row for row in several if (row["world"], row["seeds"]) == ("like study-minilm", 5)]
    if not alike:
        return "This run does not hold the worlds and seeds of the summary.\n"
    lines = ["| | from 3 seeds up | like the study, 5 seeds | promised |", "|---|---|---|---|"]
    for key, words, promised in (
        ("coverage", "95% intervals cover", "95%"),
        ("false_no_degradation", "some false *no degradation*", f"{LEVEL:.0%} at most"),
        ("false_degradation", "some false *degradation*", f"{LEVEL:.0%} at most"),
        ("false_safe_range", "a safe range that goes too far", f"{LEVEL:.0%} at most"),
        ("band_coverage", "band holds all points of its curve", f"{1 - 2 * LEVEL:.0%} at least"),
    ):
        low, high = (100 * end(row[key] for row in several) for end in (min, max))
        own = ", ".join(f"{100 * row[key]:.1f}%" for row in alike)
        lines.append(f"| {words} | {low:.1f} to {high:.1f}% | {own} | {promised} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--seed", type=int, default=1, help="of the simulation")
    names = [w.name for w in WORLDS]
    parser.add_argument(
        "--worlds",
        nargs="+",
        choices=names,
        default=names,
        help="only these; the power table is always of the first",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    start = time.perf_counter()
    n = arguments.replicates
    jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (measure, (w, s, n, arguments.arms))
        for w in WORLDS
        if w.name in arguments.worlds
        for s in arguments.seeds
    ]
    powers: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (power, (WORLDS[0], s, max(n // 4, 1))) for s in arguments.seeds
    ]
    numbered = [(f, a, arguments.seed, i) for i, (f, a) in enumerate(jobs + powers)]
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(run_job, numbered))
    answer = {
        "command": shlex.join(["python", *sys.argv]),
        "replicates": n,
        "arms": arguments.arms,
        "rows": done[: len(jobs)],
        "power": [row for rows in done[len(jobs) :] for row in rows],
        "method": [method_alone(s, level) for level in QUADRATURE for s in arguments.seeds],
        "seconds": time.perf_counter() - start,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "degradation.json").write_text(json.dumps(answer, indent=1) + "\n")
    (arguments.out / "degradation.md").write_text(markdown(answer))
    (arguments.out / "degradation-summary.md").write_text(summary(answer))
    print(markdown(answer))


if __name__ == "__main__":
    main()
