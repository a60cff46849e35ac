"""Whether training sets can give the batches that a configuration asks for, with the arithmetic if not."""

from collections.abc import Sequence
from math import floor

from hybrid.config import TrainConfig
from hybrid.data.records import ParallelPairs
from hybrid.language_shares import pair_shares
from hybrid.pair_pool import Pool


def check(config: TrainConfig, pairs: Sequence[ParallelPairs]) -> list[str]:
    """Why these pairs cannot give such batches, one sentence each; empty if they can."""
    where = " + ".join(p.name for p in pairs)
    if config.weights is not None and len(config.weights) != len(config.data):
        return [
            f"weights: gives {len(config.weights)} numbers for {len(config.data)} sets of `data`; "
            f"give one for each, in their order."
        ]
    if not pairs:
        return ["data: names no training set; give at least one, for example data: [xquad-r:train]."]
    if config.languages is not None:
        mistakes = [
            f"languages: '{lang}' is not in {one.name}, which has {', '.join(one.languages)}."
            for one in pairs
            for lang in config.languages
            if lang not in one.questions
        ]
        if len(set(config.languages)) != len(config.languages):
            mistakes.append(f"languages: {', '.join(config.languages)} names a language twice.")
        if not config.languages:
            mistakes.append("languages: is empty; leave it out for all languages of the data.")
        if mistakes:
            return mistakes
    pool = Pool(pairs, config.languages)
    if not pool.languages:
        return [f"data: {where} share no language; a batch draws its pairs from all of them."]
    mistakes = []
    if len(pool.languages) == 1 and config.mono_ratio < 1.0:
        mistakes.append(
            f"mono_ratio: {config.mono_ratio:g} asks for cross-lingual batches but {pool.languages[0]} is "
            f"the only language; set mono_ratio: 1.0 or give at least two languages."
        )
    elif config.language_pairs is not None and config.mono_ratio < 1.0:
        mistakes += pair_shares(config.language_pairs, pool.languages)[1]
    if config.hard_negatives and not any(one.negatives for one in pairs):
        mistakes.append(
            f"hard_negatives: {config.hard_negatives} of a query are asked for but {where} has none; "
            f"set hard_negatives: 0 or give a set with negatives."
        )
    return mistakes + _too_small(config, pool, pairs)


def _too_small(config: TrainConfig, pool: Pool, sets: Sequence[ParallelPairs]) -> list[str]:
    """Data that have fewer clusters than a batch needs: of all sets, or of one by its weight."""
    size, clusters = config.batch_size, len(set(pool.clusters.tolist()))
    if size > clusters:
        where, spoken = " + ".join(p.name for p in sets), ", ".join(pool.languages)
        missing = f" ({pool.left_out} more are missing in one of {spoken})" if pool.left_out else ""
        return [
            f"batch_size: {size} needs as many pairs of different clusters, but {where} has "
            f"{len(pool)} pairs in {clusters} clusters{missing}; "
            f"set batch_size to at most {clusters} or add data."
        ]
    if config.weights is None:
        return []
    mistakes = []
    for number, (one, weight) in enumerate(zip(sets, config.weights, strict=True)):
        share = weight / sum(config.weights)
        own = len(set(pool.clusters[pool.sets == number].tolist()))
        if floor(share * size) > own:
            mistakes.append(
                f"weights: {weight:g} of {sum(config.weights):g} is {share * size:.0f} of a batch's {size} "
                f"pairs, but {one.name} has {own} clusters; lower its weight or the batch size."
            )
    return mistakes
