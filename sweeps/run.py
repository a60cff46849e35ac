"""`sweeps run`: bring the store to hold every trial of a sweep, with Ray Tune.

Done trials are skipped, cut-off ones go on from their checkpoint, failed ones wait for
`retry_failed`. Ray Tune schedules, packs and retries; what is kept is kept in the store alone, so
that the same command again is the whole of resuming.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from hybrid.errors import BadInput
from sweeps.budget import Budget
from sweeps.cluster import check_cluster, ray_cluster
from sweeps.lease import Lease
from sweeps.plan import Plan, Trial, make_plan, prepare_sweep
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
    on_trial: Callable[[Trial], None] = lambda _: None,
    out: IO[str] | None = None,
) -> Ended:
    """Run what the store lacks of a sweep.

    `on_trial` is called in this process for each trial that ended, done or failed, after the store
    has it; it must return at once. Raises BadInput before anything is trained.
    """
    out = out or sys.stderr
    store.check_writable()
    with Lease(store, sweep.name):
        prepare_sweep(sweep, data_root)
        plan = _checked(sweep, store, data_root, out)
        if retry_failed:
            for trial in plan.failed:
                store.clear_failure(trial.train_key or "")
        left = [trial for trial in plan.todo if retry_failed or trial not in plan.failed]
        _describe(store, plan)
        if not left:
            return _nothing_to_run(plan, store)
        _check_batches(left, data_root)
        left = sorted(left, key=_cost, reverse=True)  # longest first: no long trial runs alone at the end
        chosen = left[: sweep.limits.trials]
        budget = Budget(sweep.limits, store, plan.trials)
        start = time.monotonic()
        interrupted = False
        with Board(store, sweep.name, chosen, [_cost(trial) for trial in chosen], out) as board:
            try:
                with _terminated_like_interrupted(), ray_cluster(address), _scratch() as folder:
                    from sweeps.schedule import schedule  # reads Ray's settings, so only now

                    check_cluster(chosen, store, data_root)
                    overheads = schedule(
                        chosen, store, data_root, board, budget, folder,
                        max_concurrent=max_concurrent, on_trial=on_trial,
                    )  # fmt: skip
            except KeyboardInterrupt:
                interrupted, overheads = True, []
        after = make_plan(sweep, store, data_root)
        if len(chosen) < len(left) and budget.reached is None:
            budget.reached = f"limits.trials: {sweep.limits.trials} were run"
        return _ended(after, store, budget, interrupted, board.counts["done"], overheads, start)


def _checked(sweep: Sweep, store: Store, data_root: Path | None, out: IO[str]) -> Plan:
    """The plan, after every score it would rely on was read back and what is damaged was dropped."""
    plan = make_plan(sweep, store, data_root)
    if plan.unknown:
        raise BadInput(plan.unknown)
    damaged = store.drop_damaged_scores(plan.scored)
    for sentence in damaged:
        print(sentence, file=out)
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


def _nothing_to_run(plan: Plan, store: Store) -> Ended:
    failed = tuple(trial.label for trial in plan.failed)
    message = f"nothing to run: the store {store} has all {len(plan.done)} trials of {plan.sweep.name}"
    if failed:
        message = (
            f"nothing to run: {len(plan.done)} of {len(plan.trials)} trials are done, {len(failed)} failed; "
            f"`--retry-failed` takes them up again"
        )
    return Ended(SOME_FAILED if failed else DONE, 0, failed, 0.0, 0.0, message)


def _ended(
    plan: Plan,
    store: Store,
    budget: Budget,
    interrupted: bool,
    ran: int,
    overheads: Sequence[float],
    start: float,
) -> Ended:
    seconds = time.monotonic() - start
    failed = tuple(trial.label for trial in plan.failed)
    state = f"{len(plan.done)} of {len(plan.trials)} trials of {plan.sweep.name} are saved in {store}"
    again = "the same command goes on from there"
    if interrupted:
        code, message = INTERRUPTED, f"stopped; {state}; {again}"
    elif budget.reached is not None:
        code, message = BUDGET, f"{budget.reached}; {state}; {again}"
    elif failed:
        code, message = SOME_FAILED, f"{state}; {len(failed)} failed:\n{_causes(plan)}"
    else:
        code, message = DONE, f"{state}, in {duration(seconds)}"
    overhead = sum(overheads) / len(overheads) if overheads else 0.0
    return Ended(code, ran, failed, overhead, seconds, message)


def _causes(plan: Plan) -> str:
    """Failed trials grouped by what went wrong."""
    groups: dict[str, list[str]] = {}
    for trial in plan.failed:
        reason = str(plan.failures[trial.train_key or ""].get("reason", "unknown"))
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
    """A folder for what Ray Tune and the trials write on the way; none of it is kept."""
    with tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as folder:
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
