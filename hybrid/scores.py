"""The table of per-query scores: the primary record of every measurement.

One row is one query's value of one measure in one setting. Values are fractions in [0, 1], except
`rank_distance`, which counts ranks.
"""

import pyarrow as pa

SETTINGS = ("mono", "cross", "multi", "beir")
"""`mono`, `cross`, `multi`: retrieval within one language, between two, and over the pooled
documents of all languages of a parallel set. `beir`: one collection in one language."""

MEASURES: dict[str, str] = {
    "ndcg_at_10": "nDCG@10",
    "map": "mAP",
    "recall_at_100": "R@100",
    "recall_at_10": "R@10",
    "recall_at_1": "R@1",
    "mrr_at_10": "MRR@10",
    "rank_distance": "rank distance",
    "own_language_at_10": "own language@10",
}
"""Name in code, files and MLflow → name printed in tables."""

LOWER_IS_BETTER = frozenset({"rank_distance"})
NEITHER_IS_BETTER = frozenset({"own_language_at_10"})

MEASURES_OF_SETTING: dict[str, tuple[str, ...]] = {
    "mono": ("map", "ndcg_at_10", "recall_at_1", "mrr_at_10"),
    "cross": ("map", "ndcg_at_10", "recall_at_1", "mrr_at_10"),
    "multi": ("map", "ndcg_at_10", "recall_at_10", "rank_distance", "own_language_at_10"),
    "beir": ("ndcg_at_10", "recall_at_100", "map", "mrr_at_10"),
}

PRIMARY_MEASURE: dict[str, str] = {"mono": "map", "cross": "map", "multi": "map", "beir": "ndcg_at_10"}
"""The measure of a setting that tables show first and choosing uses: the paper's mAP, BEIR's nDCG@10."""

_name = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("task", _name, nullable=False),
        pa.field("setting", _name, nullable=False),
        pa.field("query_lang", _name, nullable=False),
        pa.field("doc_lang", _name),  # null where the documents are of all languages
        pa.field("query_id", _name, nullable=False),
        pa.field("cluster_id", _name, nullable=False),  # what to resample by: the paragraph of a parallel set
        pa.field("measure", _name, nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""Columns `evaluate` returns; the store adds `train_key` in front."""
