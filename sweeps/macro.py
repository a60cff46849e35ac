"""The macro mean over sets: the sets are fixed, the seeds are shared, and splits are strata of their set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid.scores import LOWER_IS_BETTER
from sweeps.crossed import combine
from sweeps.pairing import Block, Paired, Refused, Scores, pair
from sweeps.score_rows import set_of


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


@dataclass(frozen=True)
class Aim:
    """What is averaged: a measure over the sets of a group, in one setting or all, of one task or without
    one set."""

    group: str = "zero_shot"
    measure: str = "ndcg_at_10"
    setting: str | None = None
    task: str | None = None
    without: str | None = None

    @property
    def sign(self) -> int:
        """+1 where a higher value is better."""
        return -1 if self.measure in LOWER_IS_BETTER else 1

    def blocks(self, scores: Scores) -> list[Block]:
        """The blocks it averages; raises Refused if there is none."""
        chosen = [
            b
            for b in scores.blocks
            if (b.group, b.measure) == (self.group, self.measure)
            and self.setting in (None, b.setting)
            and self.task in (None, b.task)
            and set_of(b.task) != self.without
        ]
        if not chosen:
            raise Refused("missing_scores", f"no scores of {self.measure} in the group {self.group}")
        return chosen


def contrast(scores: Scores, weights: Mapping[str, float], aim: Aim) -> Paired:
    """The macro mean of the contrast Σ weight·arm. Raises Refused."""
    blocks = aim.blocks(scores)
    return macro(blocks, [pair(scores, block, weights) for block in blocks])
