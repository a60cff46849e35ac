"""`sweeps run`: bring the store to hold every trial of a sweep, with Ray Tune.

Done trials are skipped, cut-off ones go on from their checkpoint, failed ones wait for
`retry_failed`. Ray Tune schedules, packs and retries; what is kept is kept in the store alone, so
that the same command again is the whole of resuming.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import IO

from hybrid.errors import BadInput
from sweeps.budget import Budget
from sweeps.cluster import check_cluster, ray_cluster
from sweeps.lease import Lease, process_started
from sweeps.live_tracking import LiveTracking
from sweeps.plan import Plan, Trial, digests_path, make_plan, prepare_sweep, proposed_path
from sweeps.spec import Sweep
from sweeps.status import Board, duration
from sweeps.store import Store

DONE, SOME_FAILED, BUDGET, INTERRUPTED = 0, 1, 3, 130
"""Exit codes; 2 is bad input."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    exit_code: int
    ran: int  # trials that were run to their end now
    failed: tuple[str, ...]  # labels of the trials of the sweep that are failed
    overhead_seconds: float  # of the trials run now, outside training and evaluation, on average
    seconds: float
    message: str  # the last line for a person


def run_sweep(
    sweep: Sweep,
    store: Store,
    data_root: Path | None,
    *,
    address: str | None = None,
    max_concurrent: int | None = None,
    retry_failed: bool = False,
    track: bool = True,
    out: IO[str] | None = None,
) -> Ended:
    """Run what the store lacks of a sweep: search for arms if it asks for that, then every trial left.

    `track` False leaves MLflow alone. Raises BadInput before anything is trained.
    """
    out = out or sys.stderr

    def say(line: str) -> None:
        print(line, file=out)

    data_root = data_root.absolute() if data_root is not None else None  # as workers elsewhere see it
    prepare_sweep(sweep, data_root, store, say)
    store.check_writable()
    with Lease(store, sweep.name):
        plan = _checked(sweep, store, data_root, say)
        if retry_failed:
            for trial in plan.failed:
                store.clear_failure(trial.train_key or "")
            plan = make_plan(sweep, store, data_root)
        searching = sweep.search is not None and not _search_is_done(sweep, store)
        listed = make_plan(sweep, store, data_root, points=sweep.points) if searching else plan
        _check_batches(listed.todo, data_root)
        start, done_before, interrupted = time.monotonic(), len(plan.done), False
        budget = Budget(sweep.limits, store, plan.trials)
        tracking = LiveTracking(sweep, store, data_root, say)
        overheads: list[float] = []
        with tracking if track else nullcontext():
            try:
                if searching or len(plan.todo) > len(plan.failed):
                    with ray_cluster(address), _terminated_like_interrupted(), _scratch() as folder:
                        overheads = _run(
                            sweep, store, data_root, budget, folder, max_concurrent,
                            changed=tracking.changed, say=say, out=out,
                        )  # fmt: skip
            except KeyboardInterrupt:
                interrupted = True
        after = make_plan(sweep, store, data_root)
        ran = len(after.done) - done_before
        return _ended(after, store, budget, interrupted, ran, overheads, time.monotonic() - start)


def _run(
    sweep: Sweep,
    store: Store,
    data_root: Path | None,
    budget: Budget,
    folder: Path,
    max_concurrent: int | None,
    *,
    changed: Callable[[], None],
    say: Callable[[str], None],
    out: IO[str],
) -> list[float]:
    """Everything that needs Ray, connected to a cluster; seconds of overhead of each trial that was run."""
    from sweeps.schedule import schedule  # Ray reads its settings when it is imported, so only now

    if sweep.search is not None and not _search_is_done(sweep, store):
        from sweeps.search import search

        check_cluster(make_plan(sweep, store, data_root, points=sweep.points).trials, store, data_root)
        search(sweep, store, data_root, budget, folder, max_concurrent=max_concurrent, say=say)
    plan = make_plan(sweep, store, data_root)
    left = [trial for trial in plan.todo if trial.train_key not in plan.failures]
    if not left or budget.exhausted():
        return []
    check_cluster(left, store, data_root)
    _describe(store, plan)
    left = sorted(left, key=_cost, reverse=True)  # longest first: no long trial runs alone at the end
    chosen = left[: sweep.limits.trials]
    with Board(store, sweep.name, chosen, [_cost(trial) for trial in chosen], out) as board:
        overheads = schedule(
            chosen, store, data_root, board, budget, folder,
            max_concurrent=max_concurrent, on_trial=lambda _: changed(),
        )  # fmt: skip
    if len(chosen) < len(left) and budget.reached is None:
        budget.reached = f"limits.trials: {len(chosen)} were run"
    return overheads


def _search_is_done(sweep: Sweep, store: Store) -> bool:
    """Whether earlier runs tried as many arms as are asked for."""
    written = store.get_json(proposed_path(sweep)) or {}
    return sweep.search is not None and int(written.get("searched", 0)) >= sweep.search.arms


def _checked(sweep: Sweep, store: Store, data_root: Path | None, say: Callable[[str], None]) -> Plan:
    """The plan, after every score it would rely on was read back and what is damaged was dropped."""
    plan = make_plan(sweep, store, data_root)
    if plan.unknown:
        raise BadInput(plan.unknown)
    damaged = [*store.drop_damaged_models(plan.trained), *store.drop_damaged_scores(plan.scored)]
    for sentence in damaged:
        say(sentence)
    return make_plan(sweep, store, data_root) if damaged else plan


def _check_batches(trials: Sequence[Trial], data_root: Path | None) -> None:
    """Batches the data cannot give are found now and not by a failing trial."""
    from hybrid.batching import check
    from hybrid.data.pairs import load_pairs

    seen: set[str] = set()
    mistakes: dict[str, None] = {}
    for trial in trials:
        if trial.train is not None:
            config = trial.train.model_copy(update={"seed": 0})
            if (text := config.model_dump_json()) not in seen:
                seen.add(text)
                pairs = [load_pairs(name, data_root, passage=config.passage) for name in config.data]
                mistakes |= dict.fromkeys(check(config, pairs))
    if mistakes:
        raise BadInput(mistakes)


def _describe(store: Store, plan: Plan) -> None:
    """Keep in the store what was asked for: the sweep file as written and the trials it means."""
    store.put_bytes(f"sweeps/{plan.sweep.name}/spec.yaml", plan.sweep.text.encode())
    trials = [
        {
            "trial": trial.label,
            "arm": trial.arm.alias,
            "seed": trial.seed,
            "axes": dict(trial.arm.axes),
            "train_key": trial.train_key,
            "scores": dict(trial.scores),
        }
        for trial in plan.trials
    ]
    store.put_json(f"sweeps/{plan.sweep.name}/plan.json", {"trials": trials})
    store.put_json(digests_path(plan.sweep), dict(plan.digests))


def _ended(
    plan: Plan,
    store: Store,
    budget: Budget,
    interrupted: bool,
    ran: int,
    overheads: Sequence[float],
    seconds: float,
) -> Ended:
    failed = tuple(trial.label for trial in plan.failed)
    state = f"{len(plan.done)} of {len(plan.trials)} trials of {plan.sweep.name} are saved in {store}"
    again = "the same command goes on from there"
    if interrupted:
        code, message = INTERRUPTED, f"stopped; {state}; {again}"
    elif budget.reached is not None:
        code, message = BUDGET, f"{budget.reached}; {state}; {again}"
        message += f"; {len(failed)} failed:\n{_causes(plan)}" if failed else ""
    elif failed:
        code = SOME_FAILED
        message = f"{state}; {len(failed)} failed, `--retry-failed` takes them up again:\n{_causes(plan)}"
    elif not ran:
        code, message = DONE, f"nothing to run: {state}"
    else:
        code = DONE
        message = f"{state}; {ran} run in {duration(seconds)}; next: sweeps report {plan.sweep.name}"
    overhead = sum(overheads) / len(overheads) if overheads else 0.0
    return Ended(code, ran, failed, overhead, seconds, message)


def _causes(plan: Plan) -> str:
    """Failed trials grouped by what went wrong."""
    groups: dict[str, list[str]] = {}
    for trial in plan.failed:
        reason = shorten(str(plan.failures[trial.train_key or ""].get("reason", "unknown")), 300)
        groups.setdefault(reason, []).append(trial.label)
    return "\n".join(f"  {len(labels)} × {reason} ({', '.join(labels)})" for reason, labels in groups.items())


def _cost(trial: Trial) -> float:
    """What a trial takes, relative to others: examples times the bytes of the encoder's weights."""
    from hybrid.backbones import backbone_path, resolve

    folder = backbone_path(resolve(trial.backbone))
    weights = Path(folder).glob("**/*.safetensors") if isinstance(folder, Path) else ()
    size = sum(file.stat().st_size for file in weights) or 1
    examples = trial.train.steps * trial.train.batch_size if trial.train else 0
    return float(size * (examples + 1))


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what Ray Tune and the trials write on the way; those of killed runs are removed."""
    prefix = "hybrid-sweeps-"
    for old in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        pid = old.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and process_started(int(pid)) is None:
            shutil.rmtree(old, ignore_errors=True)
    prefix = f"{prefix}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM (a stopped job, a cluster going down) end a run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever runs it decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
