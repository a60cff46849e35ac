"""`sweeps run`: bring the store to hold every trial of a sweep, with Ray Tune.

Done trials are skipped, cut-off ones go on from their checkpoint, failed ones wait for
`retry_failed`. Ray Tune schedules, packs and retries; what is kept is kept in the store alone, so
that the same command again is the whole of resuming.
"""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.cluster import check_cluster, cluster_address, cluster_size, gcs_address, ray_cluster
from sweeps.estimate import work_left
from sweeps.failures import causes
from sweeps.head_watch import HeadWatch
from sweeps.lease import Lease, lease_token, others_running
from sweeps.live_tracking import LiveTracking
from sweeps.plan import Plan, Trial, digests_path, make_plan, prepare_sweep, proposed_path
from sweeps.preflight import check_batches, say_if_tracking_is_away, sound_plan
from sweeps.scratch import scratch
from sweeps.secrets import redacted
from sweeps.signals import end_in_order, ending_in_order
from sweeps.spec import Sweep
from sweeps.status import command_line, duration, kept_trainings, plan_path
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
    command: str = "the same command",
    out: IO[str] | None = None,
) -> Ended:
    """Run what the store lacks of a sweep: search for arms if it asks for that, then every trial left.

    `track` False leaves MLflow alone. `command` is what a person is told to go on with. Raises
    BadInput before anything is trained.
    """
    away = cluster_address(address)
    out = out or sys.stderr

    def say(line: str) -> None:
        print(line, file=out)

    data_root = data_root.absolute() if data_root is not None else None  # as workers elsewhere see it
    prepare_sweep(sweep, data_root, store, say)
    store.check_writable()
    with ending_in_order(), Lease(store, sweep.name, goes_on=command) as lease:
        plan = sound_plan(sweep, store, data_root, say)
        for note in plan.notes:
            say(f"note: {note}")
        budget = Budget(sweep.limits, store, sweep.name, plan.trials)
        if retry_failed:
            budget.forgive()
            for trial in plan.failed:
                store.clear_failure(trial.train_key or "")
            plan = make_plan(sweep, store, data_root)
        searching = sweep.search is not None and not _search_is_done(sweep, store)
        listed = make_plan(sweep, store, data_root, points=sweep.points) if searching else plan
        check_batches(listed.todo, data_root)
        start, done_before, stopped_by = time.monotonic(), len(plan.done), None
        tracking = LiveTracking(sweep, store, data_root, say)
        overheads: list[float] = []
        try:
            with tracking if track else nullcontext():
                if (searching or len(plan.todo) > len(plan.failed)) and not budget.exhausted():
                    if track:
                        say_if_tracking_is_away(sweep, store, data_root, say)
                    arms = sweep.search.arms if sweep.search is not None and searching else 0
                    left = len(plan.todo) - len(plan.failed)
                    what = f"up to {arms} arms to try" if arms else f"{left} trials to run"
                    say(f"{sweep.name}: {what}; {f'connecting to {away}' if away else 'starting Ray'}")
                    with ray_cluster(address), _watched(away, store, command, say), scratch() as folder:
                        end_in_order()  # again, for Ray sets a handler of its own as it starts
                        say(f"Ray is up with {cluster_size()}")
                        overheads = _run(
                            sweep, store, data_root, budget, folder, max_concurrent,
                            changed=tracking.changed, say=say, out=out,
                        )  # fmt: skip
        except KeyboardInterrupt:
            end_in_order()  # Ray took SIGTERM's handler away as it ended
            stopped_by = lease.ended_by or "a signal"
        budget.keep(now=True)
        after = make_plan(sweep, store, data_root)
        ran, seconds = len(after.done) - done_before, time.monotonic() - start
        ended = _ended(after, store, budget, stopped_by, ran, overheads, seconds, command)
        return replace(ended, message=ended.message + _next(after, store, data_root, address))


def _watched(
    address: str | None, store: Store, command: str, say: Callable[[str], None]
) -> AbstractContextManager[object]:
    """Says what is left to do if the head of a cluster goes away; one of our own ends with this process."""
    if address is None:
        return nullcontext()
    gcs = gcs_address()

    def lost() -> None:
        say(
            f"the head of the cluster, {gcs}, does not answer any more; what was finished is in {store}; "
            f"once a cluster is up, {command} goes on from there"
        )

    return HeadWatch(gcs, lost)


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

        whole = make_plan(sweep, store, data_root, points=sweep.points)
        search(
            sweep, store, data_root, budget, folder,
            max_concurrent=max_concurrent, changed=changed, say=say,
            expected=check_cluster(whole.trials, store, data_root, whole, say),
        )  # fmt: skip
    plan = make_plan(sweep, store, data_root)
    left = [trial for trial in plan.todo if trial.train_key not in plan.failures]
    if not left or budget.exhausted():
        return []
    expected = check_cluster(left, store, data_root, plan, say)
    _describe(store, plan)
    work = dict(zip(map(id, left), work_left(plan, left), strict=True))
    beside = _run_by_others(store, sweep, left, say)
    left = sorted(left, key=lambda t: (t.train_key in beside, -work[id(t)].cost, t.backbone))
    chosen = left[: budget.trials_left]
    with Board(store, sweep.name, chosen, [work[id(trial)] for trial in chosen], budget, out) as board:
        return schedule(
            chosen, store, data_root, board, budget, folder,
            max_concurrent=max_concurrent, on_trial=lambda _: changed(), expected=expected,
        )  # fmt: skip


def _run_by_others(
    store: Store, sweep: Sweep, left: Sequence[Trial], say: Callable[[str], None]
) -> frozenset[str]:
    """Trainings left that are also those of another sweep now run in this store: they come last, when it may
    have made them."""
    found: frozenset[str] = frozenset()
    for name in others_running(store, sweep.name):
        shared = kept_trainings(name, store) & {trial.train_key for trial in left}
        found |= shared
        if shared:
            who = f"trials of {name}, which runs in this store now"
            say(f"{len(shared)} of the trials left are also {who}: they come last")
    return found


def _search_is_done(sweep: Sweep, store: Store) -> bool:
    """Whether earlier runs tried as many arms as are asked for."""
    written = store.get_json(proposed_path(sweep)) or {}
    return sweep.search is not None and int(written.get("searched", 0)) >= sweep.search.arms


def _describe(store: Store, plan: Plan) -> None:
    """Keep in the store what was asked for: the sweep file as written and the trials it means."""
    store.put_bytes(f"sweeps/{plan.sweep.name}/spec.yaml", redacted(plan.sweep.text).encode())
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
    run = lease_token(store, plan.sweep.name)
    store.put_json(plan_path(plan.sweep.name), {"trials": trials, "run": run})
    store.put_json(digests_path(plan.sweep), dict(plan.digests))


def _ended(
    plan: Plan,
    store: Store,
    budget: Budget,
    stopped_by: str | None,
    ran: int,
    overheads: Sequence[float],
    seconds: float,
    command: str,
) -> Ended:
    failed = tuple(trial.label for trial in plan.failed)
    state = f"{len(plan.done)} of {len(plan.trials)} trials of {plan.sweep.name} are saved in {store}"
    left = len(plan.todo) > len(plan.failed)
    if stopped_by is not None:
        code, message = INTERRUPTED, f"stopped by {stopped_by}; {state}; {command} goes on from there"
    elif left and budget.exhausted():
        code, message = BUDGET, f"{budget.reached}; {state}; {budget.remedy} {command} goes on"
    elif left:  # what went wrong could not be recorded
        code, message = SOME_FAILED, f"{state}; {command} takes up those that are left"
    elif failed:
        code, message = SOME_FAILED, state
    else:
        code, message = DONE, state if ran else f"nothing to run: {state}"
    message += f"; {ran} run in {duration(seconds)}" if ran else ""
    if failed:
        message += f"; {len(failed)} failed, `--retry-failed` takes them up again:\n{causes(plan)}"
    overhead = sum(overheads) / len(overheads) if overheads else 0.0
    return Ended(code, ran, failed, overhead, seconds, message)


def _next(plan: Plan, store: Store, data_root: Path | None, address: str | None) -> str:
    """Where the report is, and whether a cluster is still up."""
    folder = f"{store}/sweeps/{plan.sweep.name}/report" if store.local is not None else "where --out says"
    report = command_line("report", plan.sweep, str(store), data_root)
    line = f"\nreport: `{report}` writes it to {folder}/index.html"
    if cluster_address(address) is None:
        return line
    return f"{line}; nothing of this sweep runs on the cluster any more: it may be torn down"
