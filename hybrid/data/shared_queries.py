"""Whether two sets ask the same questions, whatever their names: what is chosen by and what is reported.

A copy of a reporting set in a folder of one's own has other names and perhaps other ids; its questions
are the same by their letters and digits.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hybrid.data.cache import cache_folder, read_json, short_hash, write_text
from hybrid.data.digests import Kind
from hybrid.data.locate import Role
from hybrid.data.overlap import letters
from hybrid.data.pairs import Passage, data_digest, load_pairs
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.tasks import load_task

SOME = 0.05
"""Share of the questions up to which two sets count as different: public splits share some by accident
(SciFact's training and test claims two)."""

_VERSION = 1


@dataclass(frozen=True)
class SharedQueries:
    """How many questions of one set stand in the other, word for word in some language of both."""

    chooses: str
    reports: str
    shared: int  # questions of the set that reports
    queries: int  # of that set
    share: float  # of the set that has the larger share in common

    @property
    def same(self) -> bool:
        """Whether one is a copy of the other, or much of one is in the other."""
        return self.share > SOME

    def __str__(self) -> str:
        return (
            f"{self.chooses} chooses and {self.reports} reports: they share {self.shared} of {self.queries} "
            "queries by text"
        )


def shared_queries(
    chooses: str,
    reports: str,
    data_root: Path | None = None,
    *,
    role: Role = "task",
    passage: Passage = "sentence",
    cached_only: bool = False,
) -> SharedQueries | None:
    """What a set that chooses (a task, or training pairs if `role` says so) shares with one that reports.

    Computed once for what both hold. With `cached_only` it takes milliseconds: None if it is not known for
    the files as they are.
    """
    kind: Kind = "task" if role == "task" else "pairs"
    first = data_digest(chooses, data_root, kind=kind, passage=passage, cached_only=cached_only)
    second = data_digest(reports, data_root, kind="task", cached_only=cached_only)
    if first is None or second is None:
        return None
    memory = cache_folder() / "overlap" / f"{short_hash(f'queries {_VERSION} {kind} {first} {second}')}.json"
    known = read_json(memory)
    if isinstance(known, dict):
        return SharedQueries(**{**known, "chooses": chooses, "reports": reports})
    if cached_only:
        return None
    one = load_task(chooses, data_root) if role == "task" else load_pairs(chooses, data_root, passage=passage)
    found = count_shared(one, load_task(reports, data_root))
    write_text(memory, json.dumps(asdict(found)))
    return found


def count_shared(one: Task | ParallelPairs, other: Task) -> SharedQueries:
    """Questions are counted by id, so that one in several languages is one."""
    asked: dict[str, set[str]] = {}  # text -> ids in the set that reports
    ids: set[str] = set()
    for name, text in _questions(other):
        ids.add(name)
        if text:
            asked.setdefault(text, set()).add(name)
    met: set[str] = set()
    own: set[str] = set()
    own_met: set[str] = set()
    for name, text in _questions(one):
        own.add(name)
        if text in asked:
            met |= asked[text]
            own_met.add(name)
    share = max(len(met) / max(1, len(ids)), len(own_met) / max(1, len(own)))
    return SharedQueries(one.name, other.name, len(met), len(ids), share)


def _questions(held: Task | ParallelPairs) -> Iterator[tuple[str, str]]:
    """(id, letters and digits) of every question in every language."""
    if isinstance(held, ParallelPairs):
        for column in held.questions.values():
            yield from ((n, letters(t)) for n, t in zip(held.pair_ids, column, strict=True) if t is not None)
    else:
        for texts in held.queries.values():
            yield from ((n, letters(t)) for n, t in zip(texts.ids, texts.texts, strict=True))
