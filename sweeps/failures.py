"""Failure records: what went wrong with a trial, as the store keeps it and as a person reads it.

A record has `kind`, `reason` (one line) and `log`; the store adds how often it was tried, and when.
"""

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from hybrid.errors import BadInput
from sweeps.plan import Plan
from sweeps.secrets import redacted

_LOG_CHARACTERS = 20_000
_REASON_CHARACTERS = 300
_LABELS_SHOWN = 8
_PATH = re.compile(r"(?<![\w.])/[^\s'\":,;)]+")
_NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?", re.IGNORECASE)

_LOST = re.compile(r"node has died|node was terminated|The actor (?:[0-9a-f]+|None) is unavailable: ")

LOST_NODE, PREEMPTED, UNFIT_NODE = "NodeLost", "Preempted", "NodeUnfit"
"""Kinds that are not the trial's fault: such attempts do not count among its retries."""


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as a failure record: its kind, one line of reason, and the traceback's end as log."""
    lines = str(error).strip().splitlines()
    log = "".join(traceback.format_exception(error))[-_LOG_CHARACTERS:]
    kind = type(error).__name__
    reason = lines[0] if lines else kind
    if not isinstance(error, BadInput):
        reason = f"{kind}: {reason}"
    return {"kind": kind, "reason": redacted(reason), "log": redacted(log)}


def death(error_file: Path) -> dict[str, Any]:
    """A failure record for a worker that could not say anything, from what Tune wrote about it."""
    log = error_file.read_text()[-_LOG_CHARACTERS:] if error_file.is_file() else ""
    last = log.rpartition("Failure # ")[2]  # the file holds every attempt
    kind, reason = "ProcessDied", "its process was killed"
    if "preempt" in last.lower():
        return preempted()
    if "OutOfMemory" in last or "running low on memory" in last:
        kind, reason = "OutOfMemory", "its process was killed: the machine's memory was full"
    elif _LOST.search(last):
        kind, reason = LOST_NODE, "its machine was lost"
    elif "failed to import on the worker" in last:
        why = last.strip().splitlines()[-1]
        kind, reason = "ImportFailed", f"its process could not import the code: {why}"
    return {"kind": kind, "reason": reason, "log": redacted(log)}


def preempted() -> dict[str, Any]:
    """A record for a trial that left a machine that is being taken away; it stays in no store."""
    reason = "its machine is being taken away, its checkpoint is saved"
    return {"kind": PREEMPTED, "reason": reason, "log": ""}


def unfit(mistakes: Sequence[str]) -> dict[str, Any]:
    """A record for an attempt on a machine that lacks what trials need; it stays in no store."""
    return {"kind": UNFIT_NODE, "reason": mistakes[0], "log": ""}


def stalled(minutes: float, doing: str, threads: str) -> dict[str, Any]:
    """A failure record for a trial that was ended because nothing moved; `threads`: where they stood."""
    reason = f"no progress for {minutes:g} minutes (limits.stalled_minutes) while {doing or 'starting'}"
    return {"kind": "Stalled", "reason": reason, "log": redacted(threads[-_LOG_CHARACTERS:])}


def causes(plan: Plan) -> str:
    """The failed trials of a plan, grouped by what went wrong: a line for each cause, the commonest first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for trial in plan.failed:
        failure = plan.failures.get(trial.train_key or "") or {}
        groups.setdefault(cause_of(failure), []).append((reason_of(failure), trial.label))
    lines = []
    for failed in sorted(groups.values(), key=len, reverse=True):
        reasons, labels = zip(*failed, strict=True)
        more = f" and {len(labels) - _LABELS_SHOWN} more" if len(labels) > _LABELS_SHOWN else ""
        like = "" if len(set(reasons)) == 1 else " and the like"
        shown = ", ".join(labels[:_LABELS_SHOWN])
        lines.append(f"  {len(labels)} × {reasons[0]}{like} ({shown}{more})")
    return "\n".join(lines)


def cause_of(failure: Mapping[str, Any]) -> str:
    """What failures of one kind share: the reason without the numbers and paths that differ among trials."""
    reason = _PATH.sub("…", reason_of(failure))
    return f"{failure.get('kind', '')}: {_NUMBER.sub('#', reason)}"


def reason_of(failure: Mapping[str, Any] | None) -> str:
    """The reason of a failure record in one line of bounded length."""
    return shorten(str((failure or {}).get("reason", "unknown")), _REASON_CHARACTERS)
