"""What an encoder can tell apart in a task at all: unknown tokens, and candidates with equal tokens.

An English vocabulary maps much of Thai to the same few tokens. Candidates with equal tokens have equal
scores for every query, so a ranking of them is a matter of ids and not of the encoder: such a language
is shown apart from means over languages.
"""

from collections import Counter
from dataclasses import dataclass

from hybrid.config import EvalConfig
from hybrid.data.records import Task
from hybrid.encoder import Encoder


@dataclass(frozen=True)
class Coverage:
    """What the encoder makes of the candidates of one language."""

    language: str
    candidates: int
    unknown_share: float  # share in [0, 1] of the candidates' tokens that the vocabulary does not know
    indistinguishable: int  # candidates whose tokens an earlier one has already
    tied_queries: int  # queries of the language with a relevant document that has the tokens of another


def coverage(encoder: Encoder, task: Task, config: EvalConfig) -> list[Coverage]:
    """One entry for each language of the task's documents; nothing is embedded."""
    length = config.max_document_length or encoder.shipped_passage_length
    rows = []
    for language, documents in task.documents.items():
        texts = list(documents.texts)
        tokens = [ids.tobytes() for ids in encoder.tokenize(texts, "passage", max_length=length)]
        times = Counter(tokens)
        alike = {name for name, ids in zip(documents.ids, tokens, strict=True) if times[ids] > 1}
        queries = task.qrels.get(language, {}).values()
        rows.append(
            Coverage(
                language=language,
                candidates=len(texts),
                unknown_share=encoder.unknown_share(texts),
                indistinguishable=len(tokens) - len(times),
                tied_queries=sum(
                    any(gain > 0 and name in alike for name, gain in gains.items()) for gains in queries
                ),
            )
        )
    return rows
