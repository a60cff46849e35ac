"""Do the intervals cover and the verdicts err as seldom as they say? Simulation with known truth.

    python benchmarks/degradation.py [--replicates 2000] [--out benchmarks/results]

Every world draws arms, seeds, sets and queries whose true difference Δ is known, and runs them through
the functions that `sweeps verdict` uses. Per world and number of seeds it counts: how often the 95%
interval of the macro difference covers Δ (also for Satterthwaite's t, for comparison), and, with Δ
exactly at the margin −δ for every arm of a family, how often any arm gets a false "no degradation" and
how often any gets a false "degradation". Writes degradation.json and degradation.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq

from sweeps.crossed import Crossed, Estimate, combine, estimate, from_rows, half_width, t_quantile
from sweeps.families import simultaneous_level

Floats = npt.NDArray[np.float64]
LEVEL = 0.05
MARGIN = 0.01


@dataclass(frozen=True)
class World:
    """How scores come about. Standard deviations are of one arm's scores; a difference has more."""

    name: str
    what: str
    queries: tuple[int, ...] = (300, 300, 300)
    seed: float = 0.005  # a seed's effect on a set
    shared: float = 0.5  # share of its variance that all sets have in common
    query: float = 0.10  # an arm's own effect on a query
    residual: float = 0.10  # what one seed does to one query
    cluster: float = 0.0  # an arm's own effect on a cluster of queries
    largest_cluster: int = 1  # sizes are uniform from 1 to this
    ranks: bool = False  # scores are nDCG@10 of the rank of one relevant document


WORLDS = (
    World("plain", "normal effects, 3 sets × 300 queries"),
    World("no seed effect", "seeds change single queries, but no mean", seed=0.0),
    World("no arm effect on queries", "all variation is seed and noise", query=0.0),
    World("strong seeds", "seeds vary more than queries let one see", seed=0.02),
    World("correlated sets", "a seed is as lucky on one set as on all others", seed=0.01, shared=1.0),
    World("retrieval", "nDCG@10 of one relevant document: zero-inflated, skewed", ranks=True, seed=0.03,
          query=0.5, residual=0.5),
    World("clusters", "paragraphs of 1 to 17 questions, 60 a set", cluster=0.05, largest_cluster=17,
          queries=(500, 500)),
    World("one small set", "a single set of 50 queries, retrieval-like", ranks=True, seed=0.03, query=0.5,
          residual=0.5, queries=(50,)),
)  # fmt: skip


def draw(
    world: World, arms: int, seeds: int, shift: float, rng: np.random.Generator
) -> list[tuple[Floats, npt.NDArray[np.int64]]]:
    """Per set the scores (1 + arms, seeds, queries), reference first, and the cluster of each query."""
    common = rng.normal(0, world.seed * world.shared**0.5, (1 + arms, seeds, 1))
    sets, offset = [], 0
    for wanted in world.queries:
        if world.largest_cluster > 1:
            sizes = rng.integers(1, world.largest_cluster + 1, 2 * wanted // world.largest_cluster)
            clusters = np.repeat(np.arange(len(sizes)), sizes)
        else:
            clusters = np.arange(wanted)
        count = len(clusters)
        own = rng.normal(0, world.seed * (1 - world.shared) ** 0.5, (1 + arms, seeds, 1))
        difficulty = rng.normal(1.2, 1.5, count) if world.ranks else rng.uniform(0, 1, count)
        by_cluster = rng.normal(0, world.cluster, (1 + arms, 1, clusters.max() + 1))[..., clusters]
        by_query = rng.normal(0, world.query, (1 + arms, 1, count))
        noise = rng.normal(0, world.residual, (1 + arms, seeds, count))
        by_query[0] = by_cluster[0] = 0
        scores = difficulty + common + own + by_cluster + by_query + noise
        scores[1:] += shift
        if world.ranks:  # the latent is the logarithm of the rank
            rank = np.maximum(np.ceil(np.exp(scores)), 1)
            scores = np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0)
        sets.append((scores, clusters + offset))
        offset += clusters.max() + 1
    return sets


def truth(world: World, shift: float) -> float:
    """The difference that the estimate aims at: `shift` itself, or for ranks an integral.

    Given its difficulty a query's latent is normal, so the expected score is a sum over ranks.
    """
    if not world.ranks:
        return shift
    edges = np.log(np.arange(0, 11), where=np.arange(0, 11) > 0, out=np.full(11, -np.inf))
    gain = 1 / np.log2(np.arange(1, 11) + 1)

    def expected(mean: float, query: float) -> float:
        spread = np.sqrt(1.5**2 + world.seed**2 + query**2 + world.residual**2)
        return float(np.diff(stats.norm.cdf(edges, 1.2 + mean, spread)) @ gain)

    return expected(shift, world.query) - expected(0.0, 0.0)


def shift_for(world: World, difference: float) -> float:
    """The latent shift whose true difference is the one wanted."""
    if not world.ranks:
        return difference
    return float(brentq(lambda s: truth(world, s) - difference, -2, 2))


def macros(world: World, arms: int, seeds: int, shift: float, rng: np.random.Generator) -> list[Crossed]:
    """The macro difference of every arm in one drawn experiment."""
    sets = draw(world, arms, seeds, shift, rng)
    weights = [1 / len(sets)] * len(sets)
    out = []
    for arm in range(1, arms + 1):
        parts = [from_rows(s[arm] - s[0], np.zeros(len(c), dtype=np.int64), c) for s, c in sets]
        out.append(combine(parts, weights))
    return out


def widths_at(estimates: list[Estimate], level: float) -> Floats:
    """`Estimate.half_width` of many at once."""
    columns = np.array([(e.var_seed, e.var_query, e.df_seed, e.df_query) for e in estimates]).T
    return half_width(columns[0], columns[1], columns[2], columns[3], level)


def measure(world: World, seeds: int, replicates: int, arms: int, rng: np.random.Generator) -> dict[str, Any]:
    """Coverage of single 95% intervals and family-wise errors at the boundary Δ = −δ."""
    shift = shift_for(world, -MARGIN)
    covered = satterthwaite = intervals = 0
    false_none = false_some = 0
    widths: list[float] = []
    for _ in range(replicates):
        parts = macros(world, arms, seeds, shift, rng)
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
    return {
        "world": world.name,
        "seeds": seeds,
        "replicates": replicates,
        "arms": arms,
        "coverage": covered / intervals,
        "coverage_satterthwaite": satterthwaite / intervals,
        "half_width": float(np.median(widths)),
        "false_no_degradation": false_none / replicates,
        "false_degradation": false_some / replicates,
    }


def power(world: World, seeds: int, replicates: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Share of each verdict for one arm, against the true difference."""
    rows = []
    for difference in (-0.05, -0.04, -0.03, -0.02, -0.015, -0.01, -0.005, 0.0, 0.01):
        shift = shift_for(world, difference)
        none = some = 0
        for _ in range(replicates):
            e = estimate(macros(world, 1, seeds, shift, rng)[0])
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
    return {"seeds": seeds, "nominal": 1 - 2 * level, "lowest": min(ours), "highest": max(ours),
            "lowest_satterthwaite": min(satterthwaite)}  # fmt: skip


def run_job(job: tuple[Callable[..., Any], tuple[Any, ...], int, int]) -> Any:
    function, arguments, seed, index = job
    return function(*arguments, np.random.default_rng([seed, index]))


def markdown(answer: dict[str, Any]) -> str:
    """The tables, with what does not hold its promise set in bold."""
    replicates, arms = answer["replicates"], answer["arms"]
    noise = 3 * (LEVEL * (1 - LEVEL) / replicates) ** 0.5
    lines = [
        "# Simulation of the degradation statistics",
        "",
        f"Made by `python benchmarks/degradation.py --replicates {replicates}` in {answer['seconds']:.0f} s. "
        f"{replicates} experiments a row, {arms} arms and one reference, all at Δ = −{MARGIN:g}; "
        f"one-sided level {LEVEL:g}. Bold: coverage outside 93 to 97%, or an error rate above the level by "
        "more than three standard errors of the simulation.",
        "",
        "| world | seeds | coverage of 95% | Satterthwaite | half-width (points) | "
        "any false *no degradation* | any false *degradation* |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in answer["rows"]:
        coverage = f"{row['coverage']:.1%}"
        coverage = coverage if 0.93 <= row["coverage"] <= 0.97 else f"**{coverage}**"
        errors = [f"{row[k]:.1%}" for k in ("false_no_degradation", "false_degradation")]
        errors = [
            e if row[k] <= LEVEL + noise else f"**{e}**"
            for e, k in zip(errors, ("false_no_degradation", "false_degradation"), strict=True)
        ]
        lines.append(
            f"| {row['world']} | {row['seeds']} | {coverage} | {row['coverage_satterthwaite']:.1%} | "
            f"{100 * row['half_width']:.2f} | {errors[0]} | {errors[1]} |"
        )
    lines += ["", "Worlds:", ""] + [f"- *{w.name}*: {w.what}." for w in WORLDS]
    lines += [
        "", "## The interval alone", "",
        "Coverage over all ratios of seed to query variance, by quadrature.", "",
        "| seeds | nominal | lowest | highest | lowest with Satterthwaite's t |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in answer["method"]:
        lines.append(
            f"| {row['seeds']} | {row['nominal']:.1%} | {row['lowest']:.2%} | {row['highest']:.2%} | "
            f"{row['lowest_satterthwaite']:.1%} |"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--seed", type=int, default=1, help="of the simulation")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    start = time.perf_counter()
    n = arguments.replicates
    jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (measure, (w, s, n, arguments.arms)) for w in WORLDS for s in arguments.seeds
    ]
    curves: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (power, (WORLDS[0], s, max(n // 4, 1))) for s in arguments.seeds
    ]
    numbered = [(f, a, arguments.seed, i) for i, (f, a) in enumerate(jobs + curves)]
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(run_job, numbered))
    answer = {
        "replicates": n,
        "arms": arguments.arms,
        "rows": done[: len(jobs)],
        "power": [row for rows in done[len(jobs) :] for row in rows],
        "method": [method_alone(s, level) for level in (0.025, 0.05) for s in arguments.seeds],
        "seconds": time.perf_counter() - start,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "degradation.json").write_text(json.dumps(answer, indent=1) + "\n")
    (arguments.out / "degradation.md").write_text(markdown(answer))
    print(markdown(answer))


if __name__ == "__main__":
    main()
