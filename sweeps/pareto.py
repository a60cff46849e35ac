"""Which arms are on the Pareto front of two or more aims, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeps.crossed import Floats, estimate
from sweeps.macro import Aim, contrast
from sweeps.pairing import Paired, Refused, Scores, in_order
from sweeps.score_rows import NO_SEED, Seed


@dataclass(frozen=True)
class OnFront:
    """One arm: its macro mean per aim, whether no arm is better in all, and in what share of draws.

    `probability` is None where no seed is common to all arms, or there is only one.
    """

    arm: str
    means: tuple[float, ...]
    on_front: bool
    probability: float | None


def pareto_front(
    scores: Scores, arms: Sequence[str], aims: Sequence[Aim], *, resamples: int = 10_000, seed: int = 0
) -> tuple[OnFront, ...]:
    """The front of the measured means, and membership under joint resampling of seeds and queries.

    One draw of query clusters and of seeds serves all arms and aims, so that what the arms share moves
    them together. Query clusters get normal multipliers; the seeds' part is a multivariate t with n − 1
    degrees of freedom. A share of draws says how stable the front is, not how probable a hypothesis is.
    Arms without scores of every aim are left out.
    """
    kept, rows = [], []
    for arm in arms:
        try:
            rows.append([contrast(scores, {arm: 1.0}, aim) for aim in aims])
            kept.append(arm)
        except Refused:
            continue
    if not kept:
        return ()
    signs = np.array([aim.sign for aim in aims])
    means = np.array([[p.part.per_seed.mean() for p in row] for row in rows])  # (arms, aims)
    front = _front((means * signs)[None])[0]
    trained = [p for row in rows for p in row if p.seeds != (NO_SEED,)]
    shared = in_order(set.intersection(*(set(p.seeds) for p in trained))) if trained else ()
    probability: Floats | None = None
    if len(shared) > 1 or not trained:
        draws = _draws([p for row in rows for p in row], shared, resamples, np.random.default_rng(seed))
        probability = _front((means + draws.reshape(resamples, *means.shape)) * signs).mean(axis=0)
    return tuple(
        OnFront(
            arm,
            tuple(float(v) for v in means[i]),
            bool(front[i]),
            None if probability is None else float(probability[i]),
        )
        for i, arm in enumerate(kept)
    )


def _front(values: Floats) -> npt.NDArray[np.bool_]:
    """(draws, arms): true where no other arm is at least as good in every aim and better in one."""
    on = np.empty(values.shape[:2], dtype=bool)
    for i in range(values.shape[1]):
        mine = values[:, i : i + 1]
        dominated = np.all(values >= mine, axis=2) & np.any(values > mine, axis=2)
        on[:, i] = ~dominated.any(axis=1)
    return on


def _draws(
    paired: Sequence[Paired], shared: Sequence[Seed], resamples: int, rng: np.random.Generator
) -> Floats:
    """Joint deviations (resamples, quantities) of the means of all arms and aims."""
    codes, position = np.unique(np.concatenate([p.part.clusters for p in paired]), return_inverse=True)
    table, start = np.zeros((len(paired), len(codes))), 0
    seeds = np.zeros((len(paired), len(shared)))
    for row, seed_row, p in zip(table, seeds, paired, strict=True):
        e = estimate(p.part)
        scale = np.sqrt(e.var_query / e.var_between) if e.var_between > 0 else 0.0
        row[position[start : start + len(p.part.clusters)]] = scale * p.part.contributions.mean(axis=0)
        start += len(p.part.clusters)
        if p.seeds != (NO_SEED,):
            chosen = p.part.per_seed[[p.seeds.index(s) for s in shared]]
            seed_row[:] = chosen - chosen.mean()
    values, vectors = np.linalg.eigh(table @ table.T)
    queries = rng.standard_normal((resamples, len(paired))) @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    n = len(shared)
    if n < 2:
        return np.asarray(queries)
    normal = rng.standard_normal((resamples, n)) @ seeds.T / np.sqrt(n * (n - 1))
    return np.asarray(queries + normal / np.sqrt(rng.chisquare(n - 1, (resamples, 1)) / (n - 1)))
