"""Measures of retrieval, one value per query, from the ranks of its relevant documents.

Shapes: Q queries, R relevant documents of a query at most. `ranks` (Q, R) are 1-based, and 0 where the
ranking does not hold the document; `gains` (Q, R) are the judged gains, and 0 where a query has fewer
than R relevant documents. A document is relevant if its gain is above 0. All values are in [0, 1]; a
query without relevant documents gets 0. Definitions are those of trec_eval (usnistgov/trec_eval).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
Gains = NDArray[np.int64]
Values = NDArray[np.float64]


def average_precision(ranks: Ranks, gains: Gains) -> Values:
    """Mean, over the relevant documents, of the precision at their ranks, (Q,); 0 for those not ranked.

    trec_eval `map`: (1/|R|) sum over r in R of (relevant documents up to rank(r)) / rank(r).
    """
    in_order = np.sort(_finite_ranks(ranks, gains), axis=1)  # (Q, R)
    found = np.arange(1, ranks.shape[1] + 1)  # (R,)
    return _per_relevant((found / in_order).sum(axis=1), gains)


def ndcg_at(k: int, ranks: Ranks, gains: Gains) -> Values:
    """Discounted gain of the first k documents over that of the best possible order, (Q,).

    trec_eval `ndcg_cut`: linear gain, discount log2(rank + 1) (Järvelin and Kekäläinen 2002).
    """
    positions = _finite_ranks(ranks, gains)  # (Q, R)
    reached = (gains * (positions <= k) / np.log2(positions + 1.0)).sum(axis=1)  # (Q,)
    best = -np.sort(-np.maximum(gains, 0), axis=1)[:, :k]  # (Q, min(k, R))
    possible = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)  # (Q,)
    return _share(reached, possible)


def recall_at(k: int, ranks: Ranks, gains: Gains) -> Values:
    """Share of the relevant documents among the first k, (Q,). trec_eval `recall`."""
    return _per_relevant((_finite_ranks(ranks, gains) <= k).sum(axis=1), gains)


def reciprocal_rank_at(k: int, ranks: Ranks, gains: Gains) -> Values:
    """1 / rank of the first relevant document, 0 beyond k, (Q,). trec_eval `recip_rank`, cut at k."""
    first = _finite_ranks(ranks, gains).min(axis=1, initial=np.inf)  # (Q,)
    return np.where(first <= k, 1.0 / first, 0.0)


MEASURES: Mapping[str, Callable[[Ranks, Gains], Values]] = {
    "ndcg_at_10": partial(ndcg_at, 10),
    "map": average_precision,
    "recall_at_100": partial(recall_at, 100),
    "recall_at_10": partial(recall_at, 10),
    "recall_at_1": partial(recall_at, 1),
    "mrr_at_10": partial(reciprocal_rank_at, 10),
}
"""Name as in `hybrid.scores.MEASURES` → function. Measures of language bias are in `hybrid.bias`."""


def _finite_ranks(ranks: Ranks, gains: Gains) -> Values:
    """Ranks as floats, infinite for what is not ranked or not relevant."""
    return np.where((gains > 0) & (ranks > 0), ranks, np.inf)


def _per_relevant(sums: NDArray[Any], gains: Gains) -> Values:
    return _share(sums, (gains > 0).sum(axis=1))


def _share(parts: NDArray[Any], wholes: NDArray[Any]) -> Values:
    """Parts of wholes, (Q,); 0 where the whole is."""
    shares: Values = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return shares
