"""A sweep seen by a person: a live table while it runs, plain lines, and `sweeps status` from anywhere."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import IO, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.lease import holder
from sweeps.plan import Plan, Trial
from sweeps.store import Store

_WRITE_SECONDS = 5.0
_DRAW_SECONDS = 0.25
_SHOWN = 12  # rows of the live table
_NOTE_CHARACTERS = 200


@dataclass
class _Row:
    trial: Trial
    cost: float  # relative to the other trials
    state: str = "waiting"  # waiting, running, done, failed, stopped
    doing: str = ""
    share: float = 0.0
    started: float = 0.0
    seconds: float = 0.0


class Board:
    """State of every trial of one run: a live table on a terminal, else lines; kept in the store, too."""

    def __init__(
        self,
        store: Store,
        name: str,
        trials: Sequence[Trial],
        costs: Sequence[float],
        out: IO[str] | None = None,
    ) -> None:
        self._store, self._name = store, name
        self._rows = [_Row(trial, cost) for trial, cost in zip(trials, costs, strict=True)]
        self._start = time.monotonic()
        self._written = self._drawn = float("-inf")
        self._console = Console(file=out or sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
        for row in self._rows:
            row.state = "stopped" if row.state in ("running", "waiting") else row.state
        self._write(force=True)

    def start(self, index: int) -> None:
        row = self._rows[index]
        row.state, row.doing, row.share, row.started = "running", "starting", 0.0, time.monotonic()
        self.refresh()

    def progress(self, index: int, doing: str, share: float) -> None:
        self._rows[index].doing, self._rows[index].share = doing, share
        self.refresh()

    def retry(self, index: int, reason: str) -> None:
        self._rows[index].state = "waiting"
        self.say(f"{self._rows[index].trial.label}: {reason}; it is tried again")

    def end(self, index: int, state: str, note: str = "") -> None:
        row = self._rows[index]
        row.state, row.share, row.seconds = state, 1.0, time.monotonic() - row.started
        ended = sum(self.counts[state] for state in ("done", "failed"))
        line = f"[{ended}/{len(self._rows)}] {row.trial.label}: {state} in {duration(row.seconds)}"
        self.say(f"{line}{' (' + shorten(note, _NOTE_CHARACTERS) + ')' if note else ''}{self._left()}")

    def say(self, line: str) -> None:
        """One line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.refresh()

    @property
    def counts(self) -> Counter[str]:
        return Counter(row.state for row in self._rows)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the share of the work done so far; None before anything is."""
        total = sum(row.cost for row in self._rows)
        done = sum(row.cost * _share(row) for row in self._rows)
        elapsed = time.monotonic() - self._start
        return elapsed * (total - done) / done if done > 0.01 * total else None

    def refresh(self) -> None:
        self._write()
        if self._console.is_terminal and time.monotonic() - self._drawn > _DRAW_SECONDS:
            self._drawn = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def _left(self) -> str:
        left = self.seconds_left
        return f", {duration(left)} to go" if left else ""

    def _table(self) -> Group:
        counts = self.counts
        title = ", ".join(f"{counts[state]} {state}" for state in ("done", "running", "waiting", "failed"))
        table = Table(box=None)
        running = [row for row in self._rows if row.state == "running"][:_SHOWN]
        axes = varying_axes([row.trial for row in self._rows])
        for heading in (*axes, "seed", "doing", "share", "time"):
            table.add_column(heading)
        for row in running:
            values = [str(row.trial.arm.axes.get(axis, "")) for axis in axes]
            seconds = duration(time.monotonic() - row.started)
            seed = "untouched" if row.trial.seed is None else str(row.trial.seed)
            table.add_row(*values, seed, row.doing, f"{row.share:.0%}", seconds)
        return Group(Text(f"{self._name}: {title}{self._left()}", style="bold"), table)

    def _write(self, force: bool = False) -> None:
        if not force and time.monotonic() - self._written < _WRITE_SECONDS:
            return
        self._written = time.monotonic()
        running = [
            {"trial": row.trial.label, "doing": row.doing, "share": round(row.share, 3)}
            for row in self._rows
            if row.state == "running"
        ]
        failed = [row.trial.label for row in self._rows if row.state == "failed"]
        progress = {
            "written": time.time(),
            "elapsed_seconds": round(time.monotonic() - self._start, 1),
            "seconds_left": self.seconds_left,
            "counts": dict(self.counts),
            "running": running,
            "failed": failed,
        }
        try:
            self._store.put_json(progress_path(self._name), progress)
        except OSError as error:
            self._console.print(f"the store cannot take the progress: {error}", markup=False)


def varying_axes(trials: Sequence[Trial]) -> list[str]:
    """Axes that have more than one value among these trials, in their order."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for axis, value in trial.arm.axes.items():
            values.setdefault(axis, set()).add(repr(value))
    return [axis for axis, different in values.items() if len(different) > 1]


def sweep_status(plan: Plan, store: Store) -> dict[str, Any]:
    """State of a sweep from what the store holds, whoever runs it and wherever: JSON-able.

    Keys: sweep, trials, done, todo, failed (label and reason of each), run_by (None if nobody runs
    it), progress (what the run last wrote; None if it never ran).
    """
    return {
        "sweep": plan.sweep.name,
        "store": str(store),
        "trials": len(plan.trials),
        "done": len(plan.done),
        "todo": len(plan.todo) - len(plan.failed),
        "failed": [
            {"trial": trial.label, "reason": _reason(plan.failures.get(trial.train_key or ""))}
            for trial in plan.failed
        ],
        "run_by": _holder(store, plan.sweep.name),
        "progress": store.get_json(progress_path(plan.sweep.name)),
    }


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """`sweep_status` as lines for a person."""
    lines = [f"{status['sweep']}: {status['done']} of {status['trials']} trials done, {status['todo']} to do"]
    run_by, progress = status["run_by"], status["progress"]
    if run_by:
        lines.append(f"run by process {run_by['pid']} on {run_by['host']} since {run_by['since']}")
        for row in progress["running"] if progress else ():
            lines.append(f"  {row['trial']}: {row['doing']} {row['share']:.0%}")
        if progress and progress["seconds_left"]:
            lines.append(f"about {duration(progress['seconds_left'])} to go")
    else:
        lines.append("nobody is running it")
    lines += [f"failed: {one['trial']}: {one['reason']}" for one in status["failed"]]
    return lines


def progress_path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/progress.json"


def duration(seconds: float) -> str:
    """A span of time for a person: "3.2 s", "4 min 05 s", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _share(row: _Row) -> float:
    if row.state in ("done", "failed"):
        return 1.0
    return row.share if row.state == "running" and row.doing == "training" else 0.0


def _holder(store: Store, sweep_name: str) -> dict[str, Any] | None:
    lease = holder(store, sweep_name)
    return {key: lease[key] for key in ("host", "pid", "since")} if lease else None


def _reason(failure: Mapping[str, Any] | None) -> str:
    return shorten(str(failure["reason"]), _NOTE_CHARACTERS) if failure and "reason" in failure else "unknown"
