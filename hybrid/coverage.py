"""What an encoder can tell apart in a task at all: unknown tokens, and candidates with equal tokens.

An English vocabulary maps much of Thai to the same few tokens. Candidates with equal tokens have equal
scores for every query, so a ranking of them is a matter of ids and not of the encoder: such a language
is shown apart from means over languages. Training changes no tokenizer, so one look holds for every arm.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hybrid.config import EvalConfig
from hybrid.data.cache import cache_folder, read_json, short_hash, write_text
from hybrid.data.records import Task
from hybrid.encoder import Encoder, TokenIds
from hybrid.evaluate import in_blocks

_VERSION = 1
_LOOKED_AT = 200_000  # documents of a language, the first ones


@dataclass(frozen=True)
class Coverage:
    """What the encoder makes of the candidates of one language."""

    language: str
    candidates: int  # looked at: all, or the first 200,000
    unknown_share: float  # share in [0, 1] of the candidates' tokens that the vocabulary does not know
    indistinguishable: int  # candidates whose tokens an earlier one has already
    queries: int  # of the language, with a relevant document in it
    tied_queries: int  # of those, the ones with a relevant document there that has the tokens of another


def known_coverage(encoder: Encoder, task: Task, config: EvalConfig) -> list[Coverage]:
    """`coverage`, looked at once on a machine for a tokenizer, a task's content and a length."""
    length = config.max_document_length or encoder.shipped_passage_length
    if encoder.tokenizer_digest is None or not task.digest:
        return coverage(encoder, task, config)
    parts = [_VERSION, encoder.tokenizer_digest, encoder.passage_prompt, length, task.digest]
    memory = cache_folder() / "coverage" / f"{short_hash(json.dumps(parts))}.json"
    known = read_json(memory)
    if isinstance(known, list):
        return [Coverage(**row) for row in known]
    rows = coverage(encoder, task, config)
    write_text(memory, json.dumps([asdict(row) for row in rows]))
    return rows


def coverage(encoder: Encoder, task: Task, config: EvalConfig) -> list[Coverage]:
    """One entry for each language of the task's documents; nothing is embedded."""
    length = config.max_document_length or encoder.shipped_passage_length
    tokens = _document_tokens(encoder, task, length)
    rows, last = [], list(task.documents)[-1]
    for language, documents in task.documents.items():
        seen = list(islice(tokens, min(len(documents), _LOOKED_AT)))
        if language != last:  # what of this language is not looked at stands before the next
            for _ in islice(tokens, len(documents) - len(seen)):
                pass
        hashes = np.array([_hash(ids) for ids in seen], dtype=np.uint64)
        _, place, times = np.unique(hashes, return_inverse=True, return_counts=True)
        many = times[place] > 1
        alike = {name for name, same in zip(islice(documents.ids, len(seen)), many, strict=True) if same}
        here = set(islice(documents.ids, len(seen)))
        gains = task.qrels.get(language, {}).values()
        relevant = [{name for name, gain in of.items() if gain > 0 and name in here} for of in gains]
        rows.append(
            Coverage(
                language=language,
                candidates=len(seen),
                unknown_share=_unknown_share(encoder, seen),
                indistinguishable=len(seen) - len(times),
                queries=sum(map(bool, relevant)),
                tied_queries=sum(bool(names & alike) for names in relevant),
            )
        )
    return rows


def _document_tokens(encoder: Encoder, task: Task, length: int) -> Iterator[TokenIds]:
    """The token ids of all documents, in the blocks that evaluation encodes them in."""
    for texts in in_blocks(task.documents.values()):
        kept = encoder.kept_tokens(texts, "passage", max_length=length)
        yield from encoder.tokenize(texts, "passage", max_length=length) if kept is None else kept


def _unknown_share(encoder: Encoder, token_ids: list[TokenIds]) -> float:
    """Share of the tokens, special ones and the prompt's aside, that the vocabulary does not know."""
    tokenizer = encoder.model.tokenizer
    unknown = tokenizer.unk_token_id
    special = [one for one in tokenizer.all_special_ids if one != unknown]

    def counts(ids: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.array([np.sum(ids == unknown), np.sum(~np.isin(ids, special))])

    found = np.zeros(2, dtype=np.int64)
    for start in range(0, len(token_ids), 10_000):
        found += counts(np.concatenate(token_ids[start : start + 10_000]))
    of_prompt = counts(encoder.tokenize([""], "passage")[0])
    found -= len(token_ids) * of_prompt
    return max(0.0, float(found[0])) / float(found[1]) if found[1] > 0 else 0.0


def _hash(token_ids: TokenIds) -> int:
    return int.from_bytes(hashlib.blake2b(token_ids.tobytes(), digest_size=8).digest(), "little")
