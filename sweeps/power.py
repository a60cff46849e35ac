"""How small a difference a plan can settle, and how much more would settle one that is open.

Power is that of the one-sided bound: the true difference lies a distance D from the margin, and the
interval of half-width h is on the right side of it with the probability `power`, for which
D = h + z(power)·standard error (normal approximation for the estimate, h as `crossed.half_width`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from hybrid.errors import BadInput
from sweeps.crossed import Estimate, half_width

MOST_SEEDS = 200
MOST_QUERIES = 1000.0


@dataclass(frozen=True)
class Detectable:
    """Smallest margins, as fractions, that the planned scores can settle; `tasks` name → margin.

    `non_inferiority`: no degradation is shown with the stated power where the truth is no difference.
    `equivalence`: two-sided, the same for both bounds. `degradation` needs the same distance as
    non-inferiority, beyond the margin. `limit` is the macro's with unlimited seeds.
    """

    macro: float
    macro_equivalence: float
    limit: float
    tasks: Mapping[str, float]
    assumptions: str


def smallest_detectable(
    n_seeds: int,
    queries_per_task: Mapping[str, int],
    sd_seed: float,
    sd_query: float,
    sd_residual: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> Detectable:
    """The margin that `n_seeds` and the queries of each task can support, at a one-sided level.

    The standard deviations are of one paired difference (arm − reference): between seeds' means on a
    task, between queries, and what is left of a single (seed, query) cell. The seed part is taken as
    common to all tasks, so that the macro does not average it away (conservative).
    """
    mistakes = []
    if n_seeds < 2:
        mistakes.append(f"{n_seeds} seed: a verdict needs at least 2, and 5 or more to be sharp")
    if not queries_per_task or min(queries_per_task.values()) < 2:
        mistakes.append("every task needs at least 2 queries")
    if not 0 < level < 0.5:
        mistakes.append(f"level {level} is not between 0 and 0.5")
    if not 0.5 <= power < 1:
        mistakes.append(f"power {power} is not between 0.5 and 1")
    if min(sd_seed, sd_query, sd_residual) < 0:
        mistakes.append("a standard deviation is negative")
    if mistakes:
        raise BadInput(mistakes)
    counts = np.array(list(queries_per_task.values()), dtype=float)
    weights = np.full(len(counts), 1 / len(counts))

    def margin(query: float, residual: float, seeds: float, df_query: float, share: float) -> float:
        seed_part = (sd_seed**2 + residual) / seeds
        width = half_width(seed_part, query, max(seeds - 1, 1), df_query, level)
        return float(width + special.ndtri(share) * np.sqrt(seed_part + query))

    query = float((weights**2 * sd_query**2 / counts).sum())
    residual = float((weights**2 * sd_residual**2 / counts).sum())
    df = float(counts.sum() - len(counts))
    return Detectable(
        macro=margin(query, residual, n_seeds, df, power),
        macro_equivalence=margin(query, residual, n_seeds, df, (1 + power) / 2),
        limit=margin(query, residual, 1e9, df, power),
        tasks={
            task: margin(sd_query**2 / q, sd_residual**2 / q, n_seeds, max(q - 1, 1), power)
            for task, q in queries_per_task.items()
        },
        assumptions=f"standard deviations of paired differences: {sd_seed:g} between seeds, {sd_query:g} "
        f"between queries, {sd_residual:g} within; one-sided level {level:g}, power {power:g}, "
        "no true difference",
    )


def components(e: Estimate) -> tuple[float, float, float]:
    """Standard deviations between seeds, between query clusters and within, as a pilot estimates them.

    The three that `smallest_detectable` asks for; a component below zero is 0.
    """
    seed = max(e.var_seed - e.var_residual, 0.0) * e.seeds
    return seed**0.5, (e.var_query * e.clusters) ** 0.5, (e.var_residual * e.seeds * e.clusters) ** 0.5


@dataclass(frozen=True)
class Needed:
    """What would settle an open comparison if the difference stays as estimated, with power 0.8.

    `seeds`: how many in all; None if no number is enough. `queries`: how many times as many queries
    with the present seeds; None if no number is enough.
    """

    seeds: int | None
    queries: float | None
    advice: str


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 10 else f"{factor:.0f} times"


def needed(e: Estimate, distance: float, level: float, power: float = 0.8) -> Needed:
    """Seeds, or queries, needed for an estimate that lies `distance` from its margin."""
    distance, z = abs(distance), float(special.ndtri(power))
    if not e.replicated or e.constant:
        factor = (e.half_width(level) + z * e.standard_error) / distance if distance > 0 else np.inf
        times = float(factor if e.constant else factor**2)
        if times > MOST_QUERIES:
            return Needed(None, None, "the difference lies at the margin: no amount of data will settle it")
        return Needed(None, times, f"more queries: about {_times(times)} as many")
    seeds = np.arange(2, MOST_SEEDS + 1)
    part = e.var_seed * e.seeds / seeds
    reach = half_width(part, e.var_query, seeds - 1, e.df_query, level) + z * np.sqrt(part + e.var_query)
    enough = np.flatnonzero((reach <= distance) & (seeds > e.seeds))
    count = int(seeds[enough[0]]) if enough.size else None
    times_grid = np.geomspace(1, MOST_QUERIES, 200)
    part = max(e.var_seed - e.var_residual, 0.0) + e.var_residual / times_grid
    query = e.var_query / times_grid
    df = e.df_query * times_grid
    reach = half_width(part, query, e.df_seed, df, level) + z * np.sqrt(part + query)
    enough = np.flatnonzero(reach <= distance)
    more = float(times_grid[enough[0]]) if enough.size else None
    reach = half_width(0.0, query, 1, df, level) + z * np.sqrt(query)  # as of seeds without number
    enough = np.flatnonzero(reach <= distance)
    least = float(times_grid[enough[0]]) if enough.size else None
    if count is not None:
        extra = count - e.seeds
        advice = (
            f"{extra} more seed{'s' * (extra > 1)} ({count} in all) would settle it if the difference stays"
        )
        if more is not None and count > 2 * e.seeds:
            advice += f"; or about {_times(more)} as many queries"
    elif least == 1:
        advice = f"more than {MOST_SEEDS} seeds would be needed to settle it"
    elif least is None:
        advice = "the difference lies at the margin: no realistic amount of data will settle it"
    elif more is not None and more < 1.5 * least:
        advice = f"no number of seeds would settle it, only more queries: about {_times(more)} as many"
    else:
        alone = f", or about {_times(more)} as many with these seeds" if more is not None else ""
        advice = (
            f"no number of seeds would settle it, only more queries, at least {_times(least)} as many, "
            f"together with more seeds{alone}"
        )
    return Needed(count, more, advice)
