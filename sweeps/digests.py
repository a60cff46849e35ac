"""Content digests of what a sweep reads, what sets share, and what is not known yet and why."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hybrid.backbones import backbone_digest, resolve
from hybrid.data.cache import short_hash
from hybrid.data.digests import Kind
from hybrid.data.document_pools import pool_digest, pool_path
from hybrid.data.layouts import LAYOUTS
from hybrid.data.levels import is_pool, read_level
from hybrid.data.locate import Role, locate
from hybrid.data.overlap import Overlap, contamination
from hybrid.data.pairs import Passage, data_digest
from hybrid.errors import BadInput

POOL_VERSION = 1
"""Raised when the same rankings give another pool."""


class Digests:
    """Digests of backbones and data sets.

    With `cached_only` no data is read: a set not prepared yet has None, and `unknown` says so. `recorded` are
    the digests that a run used; they count for what is not on this machine, so that a sweep can be looked at
    from anywhere. `pooled_by` are the backbones, and `lengths` the tokens of a query and of a document, that
    pools are made with.
    """

    def __init__(
        self,
        data_root: Path | None,
        *,
        cached_only: bool = True,
        recorded: Mapping[str, str] | None = None,
        pooled_by: Sequence[str] = (),
        lengths: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.data_root = data_root
        self.cached_only = cached_only
        self.recorded = recorded or {}
        self.pooled_by, self.lengths = tuple(pooled_by), lengths
        self.taken: dict[str, None] = {}  # names whose recorded digest was taken
        self._known: dict[tuple[str, str, str], str | None] = {}
        self._unprepared: dict[str, None] = {}  # names, in the order met
        self._mistakes: dict[str, None] = {}

    def backbone(self, name: str) -> str | None:
        key = ("backbone", name, "")
        if key not in self._known:
            self._known[key] = None
            try:
                self._known[key] = backbone_digest(resolve(name), remember=not self.cached_only)
            except BadInput as error:
                if not self._take(key):
                    self._mistakes |= dict.fromkeys(error.mistakes)
        return self._known[key]

    def task(self, name: str) -> str | None:
        return self._pool(name) if is_pool(name) else self._data(name, "task", "sentence")

    def pool_key(self, name: str) -> str | None:
        """What names the pool of a task at level `pool`: the collection, the depth and who ranks it; None
        while one of their digests is unknown."""
        level = read_level(name)
        parts = [self.task(level.task), *sorted({str(self.backbone(one)) for one in self.pooled_by})]
        if None in parts or "None" in parts:
            return None
        return short_hash(json.dumps([POOL_VERSION, level.depth, self.lengths, *parts]))

    def pairs(self, name: str, passage: Passage) -> str | None:
        return self._data(name, "pairs", passage)

    def overlaps(self, training: Iterable[tuple[str, Passage]], tasks: Iterable[str]) -> list[Overlap]:
        """What training sets and tasks share, where it is known and there is anything."""
        names = list(dict.fromkeys(read_level(name).task for name in tasks))
        found = [
            contamination(train, task, self.data_root, passage=passage, cached_only=self.cached_only)
            for train, passage in training
            for task in names
            if self.pairs(train, passage) and self.task(task)
        ]
        return [one for one in found if one is not None and one.found]

    @property
    def known(self) -> dict[str, str]:
        """Every digest met so far, as `recorded` takes it."""
        return {" ".join(key).strip(): digest for key, digest in self._known.items() if digest is not None}

    @property
    def unknown(self) -> tuple[str, ...]:
        """Why some digests are not known, one sentence each."""
        unprepared = ", ".join(self._unprepared)
        sentence = f"unknown until prepared (by `sweeps prepare` or `sweeps run`): {unprepared}"
        return (*([sentence] if unprepared else []), *self._mistakes)

    def _pool(self, name: str) -> str | None:
        pool = self.pool_key(name)
        if pool is None:
            return None
        key = ("pool", name, pool)
        if key not in self._known:
            self._known[key] = pool_digest(pool_path(pool))
            if self._known[key] is None and not self._take(key):
                self._unprepared[name] = None
        return self._known[key]

    def _data(self, name: str, kind: Kind, passage: Passage) -> str | None:
        key = (kind, name, passage)
        if key not in self._known:
            self._known[key] = None
            try:
                self._known[key] = data_digest(
                    name, self.data_root, kind=kind, passage=passage, cached_only=self.cached_only
                )
            except BadInput as error:
                self._mistakes |= dict.fromkeys(error.mistakes)
            else:
                if self._known[key] is None and not (self._absent(name, kind) and self._take(key)):
                    self._unprepared[name] = None
        return self._known[key]

    def _absent(self, name: str, kind: Kind) -> bool:
        role: Role = "task" if kind == "task" else "train"
        source = locate(name, self.data_root, role=role, supply=False, probe=False)
        return not any(path.is_file() for path in LAYOUTS[source.dataset.layout].files(source))

    def _take(self, key: tuple[str, str, str]) -> bool:
        self._known[key] = self.recorded.get(" ".join(key).strip())
        if self._known[key] is not None:
            self.taken[key[1]] = None
        return self._known[key] is not None
