"""How much of a collection a task is measured on: all of it, a pool of its hardest documents, or NanoBEIR.

A level stands behind a task's name: `climate-fever@pool`, `climate-fever@pool-50` (50 documents a query from
each ranking instead of DEPTH), `climate-fever@nano`. Without one a task is measured in full.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from hybrid.data.catalog import DATASETS
from hybrid.errors import BadInput

Level = Literal["nano", "pool", "full"]
LEVELS: tuple[Level, ...] = ("nano", "pool", "full")

DEPTH = 100
"""Unjudged documents that a pool takes for each query from each ranking: as deep as any measure looks."""

_NANO = "nano-"
_WRITTEN = re.compile(r"(?P<level>[^-]*)(-(?P<depth>.*))?")


@dataclass(frozen=True)
class Levelled:
    """A task's name taken apart."""

    task: str  # without the level; for `nano`, NanoBEIR's set
    level: Level = "full"
    depth: int | None = None  # of a pool

    @property
    def name(self) -> str:
        """The one spelling of it that everything else uses."""
        if self.level != "pool":
            return self.task
        return f"{self.task}@pool" if self.depth == DEPTH else f"{self.task}@pool-{self.depth}"


def read_level(name: str) -> Levelled:
    """Take a task's name apart. Raises BadInput for a level that there is not, or not of this set."""
    task, at, written = name.partition("@")
    if not at:
        return Levelled(task)
    match = _WRITTEN.fullmatch(written)
    level, depth = (match["level"], match["depth"]) if match else (written, None)
    if level not in LEVELS:
        close = difflib.get_close_matches(level, LEVELS, n=1)
        hint = f"; did you mean {task}@{close[0]}?" if close else f"; levels are {', '.join(LEVELS)}"
        raise BadInput(f"{name}: there is no level {level!r}{hint}")
    if depth is not None and level != "pool":
        raise BadInput(f"{name}: only a pool has a depth; write {task}@{level}")
    if depth is not None and not re.fullmatch(r"[1-9][0-9]{0,5}", depth):
        raise BadInput(f"{name}: a pool's depth is a whole number from 1 on, as in {task}@pool-{DEPTH}")
    if level == "nano":
        return Levelled(_nano(name, task), "nano")
    if level == "full":
        return Levelled(task)
    return Levelled(task, "pool", DEPTH if depth is None else int(depth))


def is_pool(name: str) -> bool:
    """Whether a task's name, as `Levelled.name` spells it, is that of a pool."""
    return "@pool" in name


def is_nano(name: str) -> bool:
    """Whether a task is one of NanoBEIR's, by its own name or as a level."""
    row = DATASETS.get(read_level(name).task.partition(":")[0])
    return row is not None and row.layout == "nano-beir"


def queries_of(name: str) -> str:
    """What two levels of one task have in common: the set and split whose queries are asked.

    NanoBEIR's queries are some of the full set's.
    """
    task = name.partition("@")[0]
    base, _, split = task.partition(":")
    if is_nano(task):
        return base.removeprefix(_NANO)
    row = DATASETS.get(base)
    default = row.default_split if row is not None else "test"
    return base if split == default else task


def fullest(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of tasks that ask the same queries at several levels the fullest, so that a mean counts none twice."""
    best: dict[str, str] = {}
    for name in names:
        queries = queries_of(name)
        if queries not in best or _fullness(name) > _fullness(best[queries]):
            best[queries] = name
    return tuple(name for name in names if best[queries_of(name)] == name)


def _fullness(name: str) -> tuple[int, int]:
    level = read_level(name)
    if is_nano(name):
        return (LEVELS.index("nano"), 0)
    return (LEVELS.index(level.level), level.depth or 0)


def _nano(name: str, task: str) -> str:
    """NanoBEIR's set of a set of BEIR."""
    base, _, split = task.partition(":")
    row = DATASETS.get(base)
    if f"{_NANO}{base}" not in DATASETS:
        known = [set_name.removeprefix(_NANO) for set_name in DATASETS if set_name.startswith(_NANO)]
        close = difflib.get_close_matches(base, known, n=1)
        hint = f"; did you mean {close[0]}@nano?" if close else f"; it is there for {', '.join(known)}"
        raise BadInput(f"{name}: NanoBEIR has no set of {base!r}{hint}")
    if split and row is not None and split != row.default_split:
        raise BadInput(f"{name}: NanoBEIR's queries are of {base}:{row.default_split}; write {base}@nano")
    return f"{_NANO}{base}"
