"""Paired differences between arms with a bootstrap over query clusters: query variation only.

Every arm ranks the same documents for the same queries, so an arm minus its reference is taken query by
query. Queries of one cluster (one paragraph in all its languages) are drawn together, and one draw serves
every seed, arm and cell. Seeds are averaged first and not resampled: the interval says how the difference
would move with other queries, not with other seeds.

Legend: A arms, S seeds, L cells (query language, document language), C clusters, B draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hybrid.errors import BadInput

Array = npt.NDArray[Any]

KIND = "query variation only"
"""What the intervals of this room hold, printed beside every one of them."""

_UNTOUCHED = -1  # the "seed" of an encoder that was not trained


@dataclass(frozen=True)
class Difference:
    """`arm` minus `reference`, mean over their common seeds, macro over cells, in the measure's own unit."""

    arm: str
    reference: str
    group: str
    task: str  # "macro": mean over the group's tasks
    setting: str
    measure: str
    difference: float
    lower: float
    upper: float
    seeds: int  # common seeds averaged over; 0 where both are untouched
    queries: int
    clusters: int


@dataclass(frozen=True)
class _Block:
    """One (group, task, setting, measure): sums and counts per arm, seed, cell and cluster."""

    group: str
    task: str
    setting: str
    measure: str
    sums: Array  # (A, S, L, C)
    counts: Array  # (L, C) queries, the same for every arm and seed that was measured
    present: Array  # (A, S) bool
    queries: int


def paired_differences(
    scores: pa.Table,
    pairs: Sequence[tuple[str, str]],
    *,
    level: float = 0.95,
    draws: int = 2000,
    random_state: int = 0,
) -> list[Difference]:
    """Differences of every (arm, reference) in `pairs`, per task, setting and measure, and macro over tasks.

    `scores` has the columns of `Results.scores`. Null hypothesis: none, this is estimation. The interval
    is the percentile bootstrap (Efron 1979) over clusters, two-sided at `level`. A pair without common
    seeds on a task gives no row for it. Arms that did not answer the same queries raise BadInput.
    """
    arms = {alias: row for row, alias in enumerate(dict.fromkeys(a for pair in pairs for a in pair))}
    tail = 100 * (1 - level) / 2
    found: list[Difference] = []
    for blocks in _by_macro(_blocks(scores, arms)):
        parts = [_resampled(block, pairs, arms, draws, random_state) for block in blocks]
        for pair in pairs:
            have = [(block, part[pair]) for block, part in zip(blocks, parts, strict=True) if pair in part]
            for block, (point, resampled, seeds) in have:
                lower, upper = np.nanpercentile(resampled, [tail, 100 - tail])
                found.append(
                    Difference(
                        *pair, block.group, block.task, block.setting, block.measure,
                        point, float(lower), float(upper), seeds, block.queries, block.counts.shape[1],
                    )
                )  # fmt: skip
            if len(have) == len(blocks) > 1:
                mean = np.mean([resampled for _, (_, resampled, _) in have], axis=0)  # (B,)
                lower, upper = np.nanpercentile(mean, [tail, 100 - tail])
                found.append(
                    Difference(
                        *pair, blocks[0].group, "macro", blocks[0].setting, blocks[0].measure,
                        float(np.mean([point for _, (point, _, _) in have])), float(lower), float(upper),
                        min(seeds for _, (_, _, seeds) in have),
                        sum(block.queries for block in blocks),
                        sum(block.counts.shape[1] for block in blocks),
                    )
                )  # fmt: skip
    return found


def _resampled(
    block: _Block, pairs: Sequence[tuple[str, str]], arms: dict[str, int], draws: int, random_state: int
) -> dict[tuple[str, str], tuple[float, Array, int]]:
    """Per pair: the difference, its B resampled values, the number of common seeds."""
    generator = np.random.default_rng([random_state, *block.task.encode()])  # one draw for all of a task
    weights = _draw(generator, draws, block.counts.shape[1])  # (B, C)
    resampled_counts = weights @ block.counts.T  # (B, L)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / resampled_counts  # a cell none of whose clusters was drawn is left out of that draw
    scale[~np.isfinite(scale)] = np.nan
    whole = 1.0 / block.counts.sum(axis=1)  # (L,)
    result = {}
    for arm, reference in pairs:
        means = _seed_means(block, arms[arm], arms[reference])
        if means is None:
            continue
        delta, seeds = means  # (L, C)
        resampled = np.nanmean((weights @ delta.T) * scale, axis=1)  # (B,)
        result[(arm, reference)] = (float(np.mean(delta.sum(axis=1) * whole)), resampled, seeds)
    return result


def _seed_means(block: _Block, arm: int, reference: int) -> tuple[Array, int] | None:
    """Sums (L, C) of the arm minus the reference, averaged over common seeds. An untouched encoder has
    one value, which stands beside every seed of the other."""
    here, there = block.present[arm], block.present[reference]  # (S,) with the untouched encoder first
    if here[0] and there[0]:
        return block.sums[arm, 0] - block.sums[reference, 0], 0
    seeds = here | there if here[0] or there[0] else here & there
    seeds[0] = False
    if not seeds.any():
        return None
    minuend = block.sums[arm, [0]] if here[0] else block.sums[arm, seeds]
    subtrahend = block.sums[reference, [0]] if there[0] else block.sums[reference, seeds]
    return minuend.mean(axis=0) - subtrahend.mean(axis=0), int(seeds.sum())


def _draw(generator: np.random.Generator, draws: int, clusters: int) -> Array:
    """How often each cluster is drawn, (B, C) float64."""
    chosen = generator.integers(0, clusters, size=(draws, clusters))
    chosen += np.arange(draws)[:, None] * clusters
    return np.bincount(chosen.ravel(), minlength=draws * clusters).reshape(draws, clusters).astype(np.float64)


def _by_macro(blocks: list[_Block]) -> list[list[_Block]]:
    """Blocks of one group, setting and measure together: what a macro mean over tasks runs over."""
    groups: dict[tuple[str, str, str], list[_Block]] = {}
    for block in blocks:
        groups.setdefault((block.group, block.setting, block.measure), []).append(block)
    return list(groups.values())


def _blocks(scores: pa.Table, arms: dict[str, int]) -> list[_Block]:
    columns = {name: _codes(scores, name) for name in ("arm", "group", "task", "setting", "measure")}
    seed_values = np.asarray(scores["seed"].fill_null(_UNTOUCHED).to_numpy())
    seeds = [_UNTOUCHED, *sorted(set(np.unique(seed_values).tolist()) - {_UNTOUCHED})]
    seed_codes = np.searchsorted(seeds, seed_values)
    arm_rows = np.array([arms.get(name, -1) for name in columns["arm"][1]] or [-1])[columns["arm"][0]]
    values = scores["value"].to_numpy()
    pieces = {name: _codes(scores, name) for name in ("query_lang", "doc_lang", "query_id", "cluster_id")}

    parts = [columns[name] for name in ("group", "task", "setting", "measure")]
    combined = np.zeros(scores.num_rows, dtype=np.int64)
    for codes, names in parts:
        combined = combined * len(names) + codes
    small = combined.astype(np.int16) if combined.max(initial=0) < 2**15 else combined  # sorts by radix
    order = np.argsort(small, kind="stable")
    kinds, starts = np.unique(combined[order], return_index=True)
    blocks = []
    for kind, start, stop in zip(kinds, starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:stop]
        rows = rows[arm_rows[rows] >= 0]
        if not len(rows):
            continue
        kind_names: list[str] = []
        rest = int(kind)
        for _, part_names in reversed(parts):
            rest, code = divmod(rest, len(part_names))
            kind_names.insert(0, part_names[code])
        (query_lang, _), (doc_lang, languages) = pieces["query_lang"], pieces["doc_lang"]
        cell = query_lang[rows] * (len(languages) + 1) + doc_lang[rows] + 1  # null, all languages: 0
        blocks.append(
            _block(
                tuple(kind_names), arm_rows[rows], seed_codes[rows], cell,
                pieces["cluster_id"][0][rows], pieces["query_id"][0][rows], values[rows],
                list(arms), seeds,
            )
        )  # fmt: skip
    return blocks


def _block(
    names: tuple[str, ...],
    arm: Array,
    seed: Array,
    cell: Array,
    cluster: Array,
    query: Array,
    values: Array,
    arms: list[str],
    seeds: list[int],
) -> _Block:
    group, task, setting, measure = names
    cell, cluster = _renumbered(cell), _renumbered(cluster)
    shape = (len(arms), len(seeds), int(cell.max()) + 1, int(cluster.max()) + 1)
    place = ((arm * shape[1] + seed) * shape[2] + cell) * shape[3] + cluster
    size = int(np.prod(shape))
    sums = np.bincount(place, weights=values, minlength=size).reshape(shape)
    counts = np.bincount(place, minlength=size).reshape(shape)
    present: Array = np.any(counts, axis=(2, 3))
    one = counts[tuple(np.argwhere(present)[0])]
    unlike = [arms[a] for a, s in np.argwhere(present) if not np.array_equal(counts[a, s], one)]
    if unlike:
        raise BadInput(
            f"{task} ({setting}, {measure}): arms {', '.join(dict.fromkeys(unlike))} were not measured on "
            "the same queries as the others, so no paired difference exists; measure all on one version."
        )
    return _Block(
        group,
        task,
        setting,
        measure,
        sums,
        one.astype(np.float64),
        present,
        int(np.bincount(query).astype(bool).sum()),
    )


def _renumbered(codes: Array) -> Array:
    """Codes without gaps, in the same order."""
    used = np.bincount(codes) > 0
    return (np.cumsum(used) - 1)[codes]


def _codes(scores: pa.Table, name: str) -> tuple[Array, list[str]]:
    """Codes (rows,) int64 of a text column and the names they stand for; null is −1."""
    column = scores[name]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], column.type)
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, whole.dictionary.to_pylist()
