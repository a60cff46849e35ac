"""Tasks written as mappings, `{task: climate-fever, level: pool, depth: 50}`, by their one name."""

from typing import Any

from hybrid.data.levels import DEPTH, LEVELS, read_level
from hybrid.errors import BadInput
from sweeps.spec_checks import REPORTING, SELECTION
from sweeps.spec_fields import did_you_mean
from sweeps.spec_source import Path, Source

_FIELDS = ("task", "level", "depth")


def read_levels(source: Source) -> None:
    """Put every task of the file by its name alone; what cannot be read is told, and its full task stands in.

    Names that are texts and wrong are left as they are, for whoever looks names up to tell.
    """
    for group in (*SELECTION, *REPORTING):
        holder = source.value
        for part in group[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        written = holder.get(group[-1]) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(written, list):
            holder[group[-1]] = [_name(source, (*group, i), entry) for i, entry in enumerate(written)]


def _name(source: Source, path: Path, entry: Any) -> Any:
    if isinstance(entry, str):
        try:
            return read_level(entry).name
        except BadInput:
            return entry
    if not isinstance(entry, dict):
        return entry
    before = len(source.mistakes)
    for field in entry:
        if field not in _FIELDS:
            source.mistake((*path, field), f"unknown field{did_you_mean(field, _FIELDS)}")
    task, level, depth = (entry.get(field) for field in _FIELDS)
    if not isinstance(task, str):
        source.mistake(path, "names no task; write {task: climate-fever, level: pool}, or climate-fever@pool")
        return entry
    if level is not None and level not in LEVELS:
        shown = level if isinstance(level, str) else ""
        source.mistake((*path, "level"), f"there is no level {level!r}{did_you_mean(shown, LEVELS)}")
    elif "@" in task and level is not None:
        source.mistake((*path, "task"), "has its level in its name already; keep one of the two")
    if depth is not None and level != "pool":
        source.mistake((*path, "depth"), "only a pool has a depth; add level: pool, or leave it out")
    elif depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        source.mistake(
            (*path, "depth"), f"must be a whole number from 1 on, not {depth}; {DEPTH} is the default"
        )
    if len(source.mistakes) > before:
        return task
    suffix = f"@{level}" + (f"-{depth}" if depth is not None else "") if level is not None else ""
    try:
        return read_level(f"{task}{suffix}").name
    except BadInput as error:
        for sentence in error.mistakes:
            source.mistake(path, sentence)
        return task
