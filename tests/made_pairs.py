"""Parallel question-passage pairs made from numbers."""

from hybrid.data.records import ParallelPairs

LANGUAGES = ("en", "de", "th", "ar")


def make_pairs(
    count: int = 60, per_cluster: int = 3, languages: tuple[str, ...] = LANGUAGES
) -> ParallelPairs:
    """`count` pairs, `per_cluster` neighbours to a cluster, texts of very different lengths."""
    return ParallelPairs(
        name="made",
        pair_ids=[f"p{i}" for i in range(count)],
        clusters=[f"c{i // per_cluster}" for i in range(count)],
        questions={
            lang: [f"{lang} what is {i} {'so ' * (i % 5)}?" for i in range(count)] for lang in languages
        },
        passages={
            lang: [f"{lang} it is {i} {'very ' * (i * 7 % 23)}." for i in range(count)] for lang in languages
        },
        digest="made",
    )
