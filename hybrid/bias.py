"""Language bias of a multilingual ranking: does a language stand above others that say the same?

Shapes: Q queries, R relevant documents of a query at most, k documents looked at. `ranks` and `gains`
as in `hybrid.metrics`.
"""

import numpy as np
from numpy.typing import NDArray


def rank_distance(ranks: NDArray[np.int64], gains: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lowest-standing minus highest-standing rank of a query's relevant documents, in ranks, (Q,).

    Parallel answers say the same in every language, so without bias they stand together. The range is
    [R - 1, N - 1] for R relevant of N documents; 0 where there is none. arXiv 2408.10536, section 3.2.
    """
    ranked = (gains > 0) & (ranks > 0)  # (Q, R)
    last = np.where(ranked, ranks, 0).max(axis=1, initial=0)  # (Q,)
    first = np.where(ranked, ranks, np.iinfo(np.int64).max).min(
        axis=1, initial=np.iinfo(np.int64).max
    )  # (Q,)
    return np.where(ranked.any(axis=1), last - first, 0).astype(np.float64)


def own_language_share(
    top_languages: NDArray[np.int64], query_languages: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of the query's language among the first k documents, in [0, 1], (Q,).

    `top_languages` (Q, k): number of each document's language, best first, -1 beyond the last;
    `query_languages` (Q,). Without bias it is near the language's share of the relevant documents.
    """
    shown = (top_languages >= 0).sum(axis=1)  # (Q,)
    own = (top_languages == query_languages[:, None]).sum(axis=1)  # (Q,)
    share: NDArray[np.float64] = np.divide(own, shown, out=np.zeros(len(shown)), where=shown > 0)
    return share
