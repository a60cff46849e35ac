"""Worlds whose true difference is known: arms, seeds, sets and queries drawn for `degradation.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq

from sweeps.crossed import Crossed, combine, from_rows

Floats = npt.NDArray[np.float64]


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
    curves: tuple[int, ...] = ()  # arms along an axis, each curve with a reference of its own; (): one
    along: float = 0.0  # correlation of neighbours on a curve, in all that is their own


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
    World("like study-minilm", "300 and 1,061 queries, nDCG@10, 5 and 2 arms along curves, neighbours alike",
          ranks=True, seed=0.03, query=0.5, residual=0.3, queries=(300, 1061), curves=(5, 2), along=0.8),
)  # fmt: skip


def draw(
    world: World, arms: int, seeds: int, shift: float, rng: np.random.Generator
) -> list[tuple[Floats, npt.NDArray[np.int64]]]:
    """Per set the scores (arms and references, seeds, queries), each reference before its arms, and the
    cluster of each query."""
    curves = world.curves or (arms,)
    rows = sum(curves) + len(curves)
    references = np.cumsum([0, *(count + 1 for count in curves[:-1])])

    def own(spread: float, *shape: int) -> Floats:
        """What is an arm's own: normal, neighbours on a curve correlated."""
        drawn = rng.normal(0, spread, (rows, *shape))
        for row in range(1, rows):
            if row not in references and row - 1 not in references:
                drawn[row] = world.along * drawn[row - 1] + (1 - world.along**2) ** 0.5 * drawn[row]
        return drawn

    common = own(world.seed * world.shared**0.5, seeds, 1)
    sets, offset = [], 0
    for wanted in world.queries:
        if world.largest_cluster > 1:
            sizes = rng.integers(1, world.largest_cluster + 1, 2 * wanted // world.largest_cluster)
            clusters = np.repeat(np.arange(len(sizes)), sizes)
        else:
            clusters = np.arange(wanted)
        count = len(clusters)
        of_set = own(world.seed * (1 - world.shared) ** 0.5, seeds, 1)
        difficulty = rng.normal(1.2, 1.5, count) if world.ranks else rng.uniform(0, 1, count)
        by_cluster = own(world.cluster, 1, clusters.max() + 1)[..., clusters]
        by_query = own(world.query, 1, count)
        noise = own(world.residual, seeds, count)
        by_query[references] = by_cluster[references] = 0
        scores = difficulty + common + of_set + by_cluster + by_query + noise + shift
        scores[references] -= shift
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


def macros(
    world: World, arms: int, seeds: int, shift: float, rng: np.random.Generator
) -> list[list[Crossed]]:
    """The macro difference of every arm of every curve in one drawn experiment."""
    sets = draw(world, arms, seeds, shift, rng)
    weights = [1 / len(sets)] * len(sets)
    out, reference = [], 0
    for count in world.curves or (arms,):
        curve = []
        for arm in range(reference + 1, reference + 1 + count):
            parts = [from_rows(s[arm] - s[reference], np.zeros(len(c), dtype=np.int64), c) for s, c in sets]
            curve.append(combine(parts, weights))
        out.append(curve)
        reference += 1 + count
    return out
