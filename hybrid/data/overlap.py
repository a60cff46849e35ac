"""What a training set and a task have in common: ids, articles, whole texts, long sequences of characters.

Only the task's queries and relevant documents matter: training on other documents of a collection leaks
no answer. The task's side is held in memory; the training side is walked once, block by block.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hybrid.data.cache import cache_folder, read_json, write_text
from hybrid.data.locate import locate
from hybrid.data.pairs import Passage, data_digest, load_pairs
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.tasks import load_task

SEQUENCE = 50
"""Letters and digits in a row that two texts rarely share by chance (as in arXiv 2303.08774, appendix C)."""

_VERSION = 2
_TEXTS_AT_ONCE = 20_000
_OTHER = re.compile(r"[\W_]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Counts of a task's queries (one in several languages is one) and relevant documents met in training."""

    train: str
    task: str
    queries: int  # of the task
    relevant: int  # documents of the task that are relevant to some query
    same_id: int  # queries whose id a training pair of the same origin has
    same_article: int  # queries of an article that training pairs are of, by its title
    same_query: int  # queries whose text is a training question's, in any language
    same_document: int  # relevant documents whose text is a training passage's
    shared_sequence: int  # other queries and relevant documents with SEQUENCE characters of training text
    examples: tuple[str, ...]  # ids of some of them

    @property
    def found(self) -> bool:
        """Whether anything is shared that a sweep has to acknowledge."""
        return self.whole_texts or bool(self.same_article or self.shared_sequence)

    @property
    def whole_texts(self) -> bool:
        """Whether it is questions or relevant documents, and not articles or phrases alone."""
        return bool(self.same_id or self.same_query or self.same_document)

    def __str__(self) -> str:
        parts = (
            (self.same_id, f"of {self.queries} queries by id"),
            (self.same_article, f"of {self.queries} queries by article"),
            (self.same_query, f"of {self.queries} queries by text"),
            (self.same_document, f"of {self.relevant} relevant documents by text"),
            (self.shared_sequence, f"more texts in part, by {SEQUENCE} letters in a row"),
        )
        shared = ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing"
        example = f" (for example {', '.join(self.examples)})" if self.examples else ""
        return f"{self.train} and {self.task} share {shared}{example}"


def contamination(
    train: str,
    task: str,
    data_root: Path | None = None,
    *,
    passage: Passage = "sentence",
    cached_only: bool = False,
) -> Overlap | None:
    """The overlap of a training set and a task, computed once for what they hold.

    With `cached_only` it takes milliseconds: None if it is not known for the files as they are.
    """
    trained = data_digest(train, data_root, kind="pairs", passage=passage, cached_only=cached_only)
    measured = data_digest(task, data_root, kind="task", cached_only=cached_only)
    if trained is None or measured is None:
        return None
    sources = (locate(train, data_root, role="train"), locate(task, data_root, role="task"))
    one_origin = bool(sources[0].dataset.provenance & sources[1].dataset.provenance)
    name = hashlib.sha256(f"{_VERSION} {trained} {measured} {one_origin}".encode()).hexdigest()[:20]
    memory = cache_folder() / "overlap" / f"{name}.json"
    known = read_json(memory)
    if isinstance(known, dict):
        return Overlap(**{**known, "train": train, "task": task, "examples": tuple(known["examples"])})
    if cached_only:
        return None
    pairs = load_pairs(train, data_root, passage=passage)
    found = overlap(pairs, load_task(task, data_root), one_origin=one_origin)
    write_text(memory, json.dumps(asdict(found)))
    return found


def overlap(pairs: ParallelPairs, task: Task, *, one_origin: bool) -> Overlap:
    """Count what the pairs and the task share. `one_origin`: equal ids mean the same question.

    Texts are compared by their letters and digits alone, compatibility forms and case folded.
    """
    relevant = _relevant(task)
    queries = [
        (n, letters(t))
        for texts in task.queries.values()
        for n, t in zip(texts.ids, texts.texts, strict=True)
    ]
    documents = [
        (name, letters(texts.texts[row]))
        for texts in task.documents.values()
        for row, name in enumerate(texts.ids)
        if name in relevant
    ]
    asked, told = _by_text(queries), _by_text(documents)
    by_id = _same_ids(pairs, {name for name, _ in queries}) if one_origin else set()
    by_article = _same_articles(pairs, task)
    by_question: set[str] = set()
    by_passage: set[str] = set()
    sequences = _Sequences([*queries, *documents])
    for question_side in (True, False):
        for block in _blocks(pairs, question_side):
            for text in block:
                if question_side:
                    by_question |= asked.get(text, set())
                else:
                    by_passage |= told.get(text, set())
            sequences.meet(block)
    in_part = sequences.met() - by_id - by_question - by_passage
    some = chain(*map(sorted, (by_id, by_question, by_passage, in_part, by_article)))
    return Overlap(
        train=pairs.name,
        task=task.name,
        queries=len({name for name, _ in queries}),
        relevant=len(relevant),
        same_id=len(by_id),
        same_article=len(by_article),
        same_query=len(by_question),
        same_document=len(by_passage),
        shared_sequence=len(in_part),
        examples=tuple(islice(dict.fromkeys(some), 5)),
    )


def letters(text: str) -> str:
    """Letters and digits of a text, compatibility forms and case folded."""
    return _OTHER.sub("", unicodedata.normalize("NFKC", text).casefold())


def _relevant(task: Task) -> set[str]:
    judgements = (gains for of_language in task.qrels.values() for gains in of_language.values())
    return {document for gains in judgements for document, gain in gains.items() if gain > 0}


def _by_text(texts: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Text -> ids; empty texts are nobody's."""
    found: dict[str, set[str]] = {}
    for name, text in texts:
        if text:
            found.setdefault(text, set()).add(name)
    return found


def _same_ids(pairs: ParallelPairs, queries: set[str]) -> set[str]:
    """Ids of queries that are a pair's id, or its question's where the pair's is `question:document`."""
    return {name for pair in pairs.pair_ids for name in (pair, pair.rpartition(":")[0]) if name in queries}


def _same_articles(pairs: ParallelPairs, task: Task) -> set[str]:
    """Ids of queries about an article with the title of a training pair's, in any of the languages."""
    titles = {letters(title) for title in set(pairs.articles or ())} - {""}
    return {
        name
        for texts in task.queries.values()
        for name, title in zip(texts.ids, texts.articles or (), strict=False)
        if letters(title) in titles
    }


def _blocks(pairs: ParallelPairs, question_side: bool) -> Iterator[list[str]]:
    """The training texts of one side by their letters, each text of a language once in a block."""
    for column in (pairs.questions if question_side else pairs.passages).values():
        texts = (text for text in column if text)
        while block := list(islice(texts, _TEXTS_AT_ONCE)):
            yield [letters(text) for text in dict.fromkeys(block)]


class _Sequences:
    """The sequences of SEQUENCE characters in the measured texts, and which of them training text holds."""

    def __init__(self, texts: list[tuple[str, str]]) -> None:
        self.names = [name for name, _ in texts]
        hashes, owners = _window_hashes([text for _, text in texts])
        self.known = np.unique(hashes)
        self.owners_of = hashes, owners
        self.hit = np.zeros(len(self.known), dtype=bool)

    def meet(self, block: list[str]) -> None:
        hashes, _ = _window_hashes(block)
        if len(hashes) and len(self.known):
            place = np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)
            self.hit[place[self.known[place] == hashes]] = True

    def met(self) -> set[str]:
        """Ids of the measured texts with a sequence that was met."""
        hashes, owners = self.owners_of
        return {self.names[owner] for owner in np.unique(owners[np.isin(hashes, self.known[self.hit])])}


def _window_hashes(texts: list[str]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hash of every window of SEQUENCE characters within a text, and the text's number.

    A polynomial hash modulo 2^64: a window's is the difference of two prefix sums, shifted to its start.
    """
    long = [(number, text) for number, text in enumerate(texts) if len(text) >= SEQUENCE]
    if not long:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    codes = np.frombuffer("".join(text for _, text in long).encode("utf-32-le", "surrogatepass"), np.uint32)
    powers = np.multiply.accumulate(np.full(len(codes), _BASE))  # wraps modulo 2^64, as all below
    inverses = np.multiply.accumulate(np.full(len(codes), _INVERSE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes.astype(np.uint64) * powers)])
    windows = (sums[SEQUENCE:] - sums[:-SEQUENCE]) * inverses[: len(codes) - SEQUENCE + 1]
    owners = np.repeat([number for number, _ in long], [len(text) for _, text in long])
    within = owners[: len(windows)] == owners[SEQUENCE - 1 :]
    return windows[within], owners[: len(windows)][within]
