"""A running sweep seen by a person: a live table on a terminal, few lines elsewhere; kept in the store."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import IO, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.axis_words import value_words
from sweeps.budget import Budget
from sweeps.estimate import Work
from sweeps.plan import Trial
from sweeps.status import duration, progress_path
from sweeps.store import Store

_WRITE_SECONDS = 5.0
_DRAW_SECONDS = 0.25
_LINE_SECONDS = 60.0  # to the first line of progress where there is no terminal; twice as long to each other
_LONGEST_LINE_SECONDS = 1800.0
_SHOWN = 16  # rows of the live table
_WIDEST = 32  # characters of a value: a backbone may be a long path
_ENOUGH = 0.02  # share of a trial after which its pace says something
_STYLES = {"running": "green", "failed": "red", "waiting": "dim"}
_NOTE_CHARACTERS = 200
_ORDER = ("running", "waiting", "failed", "done", "stopped")


@dataclass
class _Row:
    trial: Trial
    work: Work
    state: str = "waiting"  # waiting, running, done, failed, stopped
    doing: str = ""
    share: float = 0.0
    loss: float | None = None
    pairs_per_second: float | None = None
    started: float = 0.0
    seconds: float = 0.0


class Board:
    """State of every trial of one run."""

    def __init__(
        self,
        store: Store,
        name: str,
        trials: Sequence[Trial],
        work: Sequence[Work],
        budget: Budget,
        out: IO[str] | None = None,
    ) -> None:
        self._store, self._name, self._budget = store, name, budget
        self._rows = [_Row(trial, left) for trial, left in zip(trials, work, strict=True)]
        self._counts = Counter({"waiting": len(self._rows)})
        self._slots = 1  # most trials seen running at once
        self._ended_cost = self._ended_seconds = 0.0
        self._start = self._lined = time.monotonic()
        self._line_seconds = _LINE_SECONDS
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
            if row.state in ("running", "waiting"):
                self._set(row, "stopped")
        self._write(force=True)

    def start(self, index: int) -> None:
        row = self._rows[index]
        self._set(row, "running")
        row.doing, row.share, row.started = "starting", 0.0, time.monotonic()
        row.loss = row.pairs_per_second = None
        self._slots = max(self._slots, self._counts["running"])
        self.refresh()

    def progress(
        self,
        index: int,
        doing: str,
        share: float,
        loss: float | None = None,
        pairs_per_second: float | None = None,
    ) -> None:
        row = self._rows[index]
        row.doing, row.share, row.loss, row.pairs_per_second = doing, share, loss, pairs_per_second
        self.refresh()

    def doing(self, index: int) -> str:
        return self._rows[index].doing

    def retry(self, index: int, reason: str) -> None:
        self._set(self._rows[index], "waiting")
        self.say(f"{self._rows[index].trial.label}: {reason}; it is tried again")

    def end(self, index: int, state: str, note: str = "") -> None:
        row = self._rows[index]
        self._set(row, state)
        row.share, row.seconds = 1.0, time.monotonic() - row.started
        if state == "done":
            self._ended_cost += row.work.cost
            self._ended_seconds += row.seconds
        if self._console.is_terminal or state == "failed":
            ended = self._counts["done"] + self._counts["failed"]
            line = f"[{ended}/{len(self._rows)}] {row.trial.label}: {state} in {duration(row.seconds)}"
            self.say(f"{line}{' (' + shorten(note, _NOTE_CHARACTERS) + ')' if note else ''}")
        self.refresh()

    def say(self, line: str) -> None:
        """One line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.refresh()

    @property
    def counts(self) -> Counter[str]:
        return +self._counts

    @property
    def seconds_left(self) -> float | None:
        """Until the last trial ends, at the pace so far, as many at a time; None before there is one."""
        left = self._left()
        if left is None:
            return None
        return max(sum(seconds for _, seconds in left) / self._slots, *(seconds for _, seconds in left), 0.0)

    @property
    def hours_to_come(self) -> tuple[float, float] | None:
        """CPU-hours and GPU-hours that the trials not ended yet will take; None before there is a pace."""
        left = self._left()
        if left is None:
            return None
        return (
            sum(row.trial.cpus * seconds for row, seconds in left) / 3600,
            sum(row.trial.gpus * seconds for row, seconds in left) / 3600,
        )

    def refresh(self) -> None:
        self._write()
        now = time.monotonic()
        if self._console.is_terminal:
            if now - self._drawn > _DRAW_SECONDS:
                self._drawn = now
                self._live.update(self._table(), refresh=True)
        elif now - self._lined > self._line_seconds:
            self._lined = now
            self._line_seconds = min(2 * self._line_seconds, _LONGEST_LINE_SECONDS)
            self.say(self._summary())

    def _set(self, row: _Row, state: str) -> None:
        self._counts[row.state] -= 1
        self._counts[state] += 1
        row.state = state

    def _left(self) -> list[tuple[_Row, float]] | None:
        """Seconds each trial not ended yet still takes, at the pace so far."""
        rate, now = self._pace(), time.monotonic()
        if rate is None:
            return None
        return [
            (row, max(0.0, row.work.cost * rate - (now - row.started if row.state == "running" else 0.0)))
            for row in self._rows
            if row.state in ("running", "waiting")
        ]

    def _pace(self) -> float | None:
        """Seconds a unit of cost: of the trials that ended; before any did, of those running, roughly."""
        if self._ended_cost:
            return self._ended_seconds / self._ended_cost
        now, seconds, cost = time.monotonic(), 0.0, 0.0
        for row in self._rows:
            share = row.work.share_behind(row.doing, row.share) if row.state == "running" else 0.0
            if share > _ENOUGH:
                seconds, cost = seconds + now - row.started, cost + share * row.work.cost
        return seconds / cost if cost else None

    def _summary(self) -> str:
        counts, left, to_come, used = self.counts, self.seconds_left, self.hours_to_come, self._budget.used
        parts = [", ".join(f"{counts[state]} {state}" for state in ("done", "running", "waiting", "failed"))]
        about = "about" if self._ended_cost else "roughly"
        parts += [f"{about} {duration(left)} to go"] if left is not None else []
        gpus = any(row.trial.gpus for row in self._rows)
        word, spent = ("GPU", used.gpu_seconds) if gpus else ("CPU", used.cpu_seconds)
        come = f", {about} {to_come[1 if gpus else 0]:.2f} to come" if to_come is not None else ""
        return f"{self._name}: {'; '.join([*parts, f'{spent / 3600:.2f} {word}-hours used{come}'])}"

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        axes = varying_axes([row.trial for row in self._rows])
        for heading in (*axes, "seed", "state", "progress"):
            table.add_column(heading, no_wrap=True, max_width=_WIDEST)
        for heading in ("loss", "pairs/s", "time"):
            table.add_column(heading, no_wrap=True, justify="right")
        rows = sorted(self._rows, key=lambda row: _ORDER.index(row.state))
        for row in rows[:_SHOWN]:
            own = row.trial.arm.axes
            values = [value_words(axis, own[axis]) if axis in own else "" for axis in axes]
            seed = "untouched" if row.trial.seed is None else str(row.trial.seed)
            running = row.state == "running"
            seconds = time.monotonic() - row.started if running else row.seconds
            loss = f"{row.loss:.4f}" if running and row.loss is not None else ""
            pace = f"{row.pairs_per_second:,.0f}" if running and row.pairs_per_second is not None else ""
            table.add_row(
                *map(Text, values), seed, row.state,
                Text(f"{row.doing} {row.share:.0%}" if running else ""), loss, pace,
                duration(seconds) if seconds else "", style=_STYLES.get(row.state, ""),
            )  # fmt: skip
        group: list[Text | Table] = [Text(self._summary(), style="bold"), table]
        if len(rows) > _SHOWN:
            group.append(Text(f"… {len(rows) - _SHOWN} more", style="dim"))
        return Group(*group)

    def _write(self, force: bool = False) -> None:
        if not force and time.monotonic() - self._written < _WRITE_SECONDS:
            return
        self._written = time.monotonic()
        running = [
            {
                "trial": row.trial.label,
                "doing": row.doing,
                "share": round(row.share, 3),
                "loss": row.loss,
                "pairs_per_second": row.pairs_per_second,
            }
            for row in self._rows
            if row.state == "running"
        ]
        to_come = self.hours_to_come
        progress: dict[str, Any] = {
            "written": time.time(),
            "elapsed_seconds": round(time.monotonic() - self._start, 1),
            "seconds_left": self.seconds_left,
            "cpu_hours_to_come": to_come[0] if to_come else None,
            "gpu_hours_to_come": to_come[1] if to_come else None,
            "counts": dict(self.counts),
            "running": running,
            "failed": [row.trial.label for row in self._rows if row.state == "failed"],
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
