"""What the batches of a run really hold: part of its result."""

from collections import Counter
from typing import Any

import numpy as np

from hybrid.batching import Mixture


def realised(mixture: Mixture, steps: int) -> dict[str, Any]:
    """What steps 0 … steps-1 really hold, as JSON: part of the result, since batch size changes it."""
    kinds: Counter[str] = Counter()
    by_language: Counter[str] = Counter()
    repeats = np.zeros(len(mixture.pool), dtype=np.int64)
    by_data: Counter[int] = Counter()
    masked = hard = 0
    for step in range(steps):
        batch = mixture.batch(step)
        kinds[batch.kind] += 1
        by_language.update(
            f"{q}-{p}" for q, p in zip(batch.query_languages, batch.passage_languages, strict=True)
        )
        np.add.at(repeats, batch.pairs, 1)
        by_data.update(mixture.pool.sets[batch.pairs].tolist())
        masked += int(batch.masked().sum())
        hard += len(batch.negatives)
    size = mixture.config.batch_size
    return {
        "steps": steps,
        "batch_size": size,
        "examples": steps * size,
        "batches": {"mono": kinds["mono"], "cross": kinds["cross"]},
        "mono_share": kinds["mono"] / steps,
        "pairs_by_language": dict(sorted(by_language.items())),
        "pairs_by_data": {mixture.config.data[number]: by_data[number] for number in sorted(by_data)},
        "languages": list(mixture.pool.languages),
        "pool_pairs": len(mixture.pool),
        "pool_clusters": int(mixture.pool.clusters.max()) + 1,
        "pairs_left_out": mixture.pool.left_out,
        "epochs": steps / mixture.batches_per_epoch,
        "repeats_per_pair": {
            "min": int(repeats.min()), "mean": float(repeats.mean()), "max": int(repeats.max())
        },
        "candidates_left_out": masked,
        "hard_negatives_per_query": hard / (steps * size),
        "effective_negatives_per_query": size - 1 + hard / steps - masked / (steps * size),
    }  # fmt: skip
