"""How much a pool distorts a comparison: where a task was measured on a pool and in full, the difference of
the paired differences.

A pool leaves documents out that were hard for nobody before training; an arm that now ranks one of them high
is not punished for it. So tuned arms look better on pools, and which of them more so is not known beforehand.
With d the arm's value minus its reference's, query by query and seed by seed, the bias is mean(d on the pool)
- mean(d in full). Seeds and query clusters are crossed, as in verdicts (`sweeps.crossed`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.levels import is_nano, is_pool, queries_of, read_level
from sweeps.crossed import combine, estimate
from sweeps.pairing import Block, Paired, Refused, Scores, pair, read_scores

SEEDS_AND_QUERIES, QUERIES = "seed and query variation", "query variation only"


@dataclass(frozen=True)
class PoolBias:
    """Differences are arm minus reference in the measure's own unit; `bias` is `on_pool` minus `in_full`."""

    task: str  # at level pool
    full: str  # the same task in full
    setting: str | None
    measure: str
    arm: str
    reference: str
    on_pool: float
    in_full: float
    bias: float
    lower: float | None  # two-sided at `level`; None where too few queries are left
    upper: float | None
    level: float
    kind: str  # what the interval holds
    seeds: int
    queries: int


def pool_biases(scores: pa.Table, references: Mapping[str, str], *, level: float = 0.95) -> list[PoolBias]:
    """The bias of every arm's difference to its reference, for each task that stands in `scores` (columns as
    `Results.scores`) on a pool and in full. Queries and seeds that one of the two lacks are left out."""
    names = pc.unique(scores["task"].cast(pa.string())).to_pylist()
    fulls = {
        queries_of(name): name for name in names if read_level(name).level == "full" and not is_nano(name)
    }
    pairs = {name: fulls[queries_of(name)] for name in names if is_pool(name) and queries_of(name) in fulls}
    if not pairs:
        return []
    chosen = pa.array([*pairs, *pairs.values()])
    read = read_scores(scores.filter(pc.is_in(scores["task"].cast(pa.string()), chosen)))
    blocks = {(block.task, block.setting, block.measure): block for block in read.blocks}
    found = []
    for (name, setting, measure), block in blocks.items():
        full = blocks.get((pairs.get(name, ""), setting, measure))
        if full is None:
            continue
        for arm, reference in references.items():
            if arm != reference and (one := _bias(read, block, full, arm, reference, level)) is not None:
                found.append(one)
    return found


def _bias(
    scores: Scores, pool: Block, full: Block, arm: str, reference: str, level: float
) -> PoolBias | None:
    """None where the arm or its reference has no scores of one of the two, or they share no seed."""
    try:
        on_pool, in_full = (pair(scores, block, {arm: 1.0, reference: -1.0}) for block in (pool, full))
    except Refused:
        return None
    shared = [seed for seed in on_pool.seeds if seed in in_full.seeds]
    if not shared:
        return None
    parts = [_of_seeds(one, shared) for one in (on_pool, in_full)]
    whole = estimate(combine([one.part for one in parts], [1.0, -1.0]))
    crossed = whole.replicated and whole.seeds > 1
    half = whole.half_width((1 - level) / 2) if crossed else whole.query_half_width((1 - level) / 2)
    known = whole.fewest_clusters > 1
    return PoolBias(
        pool.task, full.task, pool.setting, pool.measure, arm, reference,
        float(parts[0].part.per_seed.mean()), float(parts[1].part.per_seed.mean()), whole.mean,
        whole.mean - half if known else None, whole.mean + half if known else None, level,
        SEEDS_AND_QUERIES if crossed else QUERIES, whole.seeds if whole.replicated else 0, on_pool.queries,
    )  # fmt: skip


def _of_seeds(paired: Paired, seeds: Sequence[object]) -> Paired:
    keep = np.array([seed in seeds for seed in paired.seeds])
    part = paired.part
    part = replace(part, per_seed=part.per_seed[keep], contributions=part.contributions[keep])
    return replace(paired, part=part, seeds=tuple(seed for seed in paired.seeds if seed in seeds))
