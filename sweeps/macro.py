"""The macro mean over sets: the sets are fixed, the seeds are shared, and splits are strata of their set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sweeps.crossed import combine
from sweeps.pairing import Block, Paired, Refused, Scores, pair


def set_of(task: str) -> str:
    """The set a task is a split of: the name before the colon."""
    return task.split(":")[0]


def macro_weights(blocks: Sequence[Block], queries: Sequence[int]) -> list[float]:
    """Weights that sum to one: sets equal, settings of a set equal, splits by their queries."""
    sets: dict[str, dict[str | None, int]] = {}
    for block, count in zip(blocks, queries, strict=True):
        settings = sets.setdefault(set_of(block.task), {})
        settings[block.setting] = settings.get(block.setting, 0) + count
    return [
        count / sets[set_of(b.task)][b.setting] / len(sets[set_of(b.task)]) / len(sets)
        for b, count in zip(blocks, queries, strict=True)
    ]


def macro(blocks: Sequence[Block], paired: Sequence[Paired]) -> Paired:
    """The macro mean of contrasts that were paired block by block, over the seeds they share."""
    shared = set.intersection(*(set(p.seeds) for p in paired))
    if not shared:
        raise Refused("no_common_seeds", "no seed has scores of every set")
    weights = macro_weights(blocks, [p.queries for p in paired])
    parts, flags = [], [flag for p in paired for flag in p.flags]
    notes = [f"{b.label}: {note}" for b, p in zip(blocks, paired, strict=True) for note in p.notes]
    for p in paired:
        keep = np.array([seed in shared for seed in p.seeds])
        part = p.part
        if not keep.all():
            flags.append("unequal_seeds")
            part = replace(part, per_seed=part.per_seed[keep], contributions=part.contributions[keep])
        parts.append(part)
    means = {
        arm: sum(w * p.means[arm] for w, p in zip(weights, paired, strict=True)) for arm in paired[0].means
    }
    return Paired(
        combine(parts, weights),
        tuple(seed for seed in paired[0].seeds if seed in shared),
        sum(p.queries for p in paired),
        means,
        tuple(dict.fromkeys(flags)),
        tuple(notes),
    )


def macro_contrast(
    scores: Scores, weights: Mapping[str, float], *, group: str, measure: str, without: str | None = None
) -> Paired:
    """The contrast Σ weight·arm of the macro mean of a group, or of it without one set. Raises Refused."""
    blocks = [
        b for b in scores.blocks if (b.group, b.measure) == (group, measure) and set_of(b.task) != without
    ]
    if not blocks:
        raise Refused("missing_scores", f"no scores of {measure} in the group {group}")
    return macro(blocks, [pair(scores, block, weights) for block in blocks])
