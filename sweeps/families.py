"""One level for every comparison of a declared family.

Single-step max-T in a normal approximation (Hothorn, Bretz & Westfall 2008), so that the bounds printed
are the bounds that decide. All comparisons of a family share the same query clusters, whose contributions
give their correlation; their seed parts cannot be correlated reliably from a handful of seeds and enter as
uncorrelated, which for parts that are in truth positively correlated (they share the reference) is the
unfavourable case (Slepian's inequality).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from sweeps.crossed import Crossed, Estimate, Floats, t_quantile

LARGEST_FAMILY = 2000
"""Above it the covariance matrix is not built and Bonferroni's level is used."""


def simultaneous_level(
    parts: Sequence[Crossed], estimates: Sequence[Estimate], level: float, resamples: int, seed: int = 0
) -> float:
    """The level α′ at which one-sided bounds of all comparisons hold together with 1 − `level`.

    Null hypothesis of each: its difference is at the margin. Between Bonferroni's `level`/k and
    `level`; exact for one comparison.
    """
    return simultaneous_levels(parts, estimates, level, resamples, seed)[1]


def simultaneous_levels(
    parts: Sequence[Crossed], estimates: Sequence[Estimate], level: float, resamples: int, seed: int = 0
) -> tuple[float, float, float]:
    """`simultaneous_level` between what it could be with other draws, two of their standard errors away.

    The quantile of `resamples` maxima lies between those of their order that a share of `level` ±
    2 √(level (1 − level) / `resamples`) exceeds. All three are equal where nothing is drawn.
    """
    moving = [i for i, e in enumerate(estimates) if not e.constant]
    k = len(estimates)
    floor = level / max(k, 1)
    if k <= 1:
        return level, level, level
    if len(moving) < k or k > LARGEST_FAMILY or resamples < 1:
        return floor, floor, floor
    share = np.empty(k)
    for i, e in enumerate(estimates):
        query = t_quantile(level, e.df_query) ** 2 * e.var_query
        seeds = t_quantile(level, e.df_seed) ** 2 * e.var_seed
        share[i] = query / (query + seeds) if query > 0 else 0.0
    correlation = _correlation(parts) * np.sqrt(np.outer(share, share))
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))  # (k, k)
    generator = np.random.default_rng(seed)
    largest = np.empty(resamples)
    for start in range(0, resamples, 1000):
        draws = generator.standard_normal((min(1000, resamples - start), k)) @ root.T
        largest[start : start + len(draws)] = draws.max(axis=1)
    off = 2 * np.sqrt(level * (1 - level) / resamples)
    shares = np.clip([level - off, level, level + off], 0, 1)
    low, drawn, high = np.clip(special.ndtr(-np.quantile(largest, 1 - shares)), floor, level)
    return float(low), float(drawn), float(high)


def _correlation(parts: Sequence[Crossed]) -> Floats:
    """Correlation (k, k) of the cluster contributions, averaged over seeds, of k comparisons."""
    codes, position = np.unique(np.concatenate([p.clusters for p in parts]), return_inverse=True)
    table = np.zeros((len(parts), len(codes)))
    start = 0
    for row, part in zip(table, parts, strict=True):
        row[position[start : start + len(part.clusters)]] = part.contributions.mean(axis=0)
        start += len(part.clusters)
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    table /= np.where(norms > 0, norms, 1.0)
    return np.asarray(table @ table.T)
