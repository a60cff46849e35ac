"""What each subcommand of `sweeps` does: read the sweep, call the room it belongs to, say what came of it.

Rooms are imported by their command alone, so that `plan` answers in a second.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid.errors import BadInput

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.spec import Sweep
    from sweeps.store import Store

DONE, SOME_FAILED, BAD_INPUT, LIMIT_REACHED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""

Answer = tuple[int, dict[str, Any]]
"""Exit code, and what --json prints."""

_WORTH_ASKING = 3600.0  # seconds
_STOPS_WITHIN = 120.0  # seconds: it looks every second, and workers are given some to end


def plan(arguments: argparse.Namespace) -> Answer:
    from rich.console import Console

    from sweeps.pilot import settles
    from sweeps.plan_table import plan_json, print_plan
    from sweeps.store import Store

    plan, store = _planned(arguments)
    pilot = Store(arguments.pilot) if arguments.pilot else None
    able = settles(plan, store, arguments.data_root, pilot)
    if arguments.json:
        return DONE, plan_json(plan, str(store), able)
    print_plan(plan, str(store), Console(), able)
    return DONE, {}


def prepare(arguments: argparse.Namespace) -> Answer:
    from sweeps.plan import prepare_sweep
    from sweeps.prepare_tokens import prepare_tokens
    from sweeps.store import Store

    sweep = _sweep(arguments)
    prepare_sweep(sweep, arguments.data_root, Store(arguments.store), _say)
    plan, store = _planned(arguments, sweep)
    prepare_tokens(plan, store, arguments.data_root, _say)
    print(f"{sweep.name}: prepared, {len(plan.todo)} of {len(plan.trials)} trials to run")
    return DONE, {"name": sweep.name, "trials": len(plan.trials), "todo": len(plan.todo)}


def run(arguments: argparse.Namespace) -> Answer:
    from sweeps.run import run_sweep
    from sweeps.signals import end_in_order
    from sweeps.store import Store
    from sweeps.submit import TAKES_UP

    end_in_order()  # until this process ends
    sweep, store = _sweep(arguments), Store(arguments.store)
    if not arguments.yes and not _agreed(*_planned(arguments, sweep)):
        return DONE, {"ran": 0}
    ended = run_sweep(
        sweep,
        store,
        arguments.data_root,
        address=arguments.address,
        max_concurrent=arguments.max_concurrent,
        retry_failed=arguments.retry_failed,
        command=f"`{os.environ.get(TAKES_UP, arguments.line)}`",
    )
    print(ended.message)
    return ended.exit_code, asdict(ended)


def submit(arguments: argparse.Namespace) -> Answer:
    from sweeps.submit import submit_sweep

    words = [word for override in arguments.set for word in ("--set", override)]
    words += ["--max-concurrent", str(arguments.max_concurrent)] if arguments.max_concurrent else []
    words += ["--retry-failed"] if arguments.retry_failed else []
    submitted = submit_sweep(
        _sweep(arguments),
        arguments.address,
        store=arguments.store,
        data_root=arguments.data_root,
        arguments=words,
        follow=not arguments.detach,
        takes_up=arguments.line,
    )
    print(submitted.message)
    return submitted.exit_code, asdict(submitted)


def _agreed(plan: "Plan", store: "Store") -> bool:
    """Asks before hours are spent, where somebody sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or (plan.seconds_left or 0) < _WORTH_ASKING:
        return True
    from rich.console import Console

    from sweeps.plan_table import print_plan

    print_plan(plan, str(store), Console(stderr=True))
    print("Run it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def report(arguments: argparse.Namespace) -> Answer:
    from sweeps.report import write_report

    plan, store = _planned(arguments)
    _refuse_absent(store)
    folder = _folder(arguments, store, plan.sweep, "report")
    index = write_report(plan, store, folder, with_scores=arguments.scores)
    if plan.todo:
        print(f"{len(plan.todo)} of {len(plan.trials)} trials lack results; the report names them")
    print(f"report written: {index}")
    if arguments.out is None:
        _attach_report(plan, store)
    return DONE, {"index": str(index), "report": str(index.parent / "report.json")}


def _attach_report(plan: "Plan", store: "Store") -> None:
    """Put the report among what MLflow shows, where anything is tracked; the report stands without it."""
    from sweeps.tracking import project_report

    try:
        attached = project_report(plan, store)
    except BadInput as error:
        print(f"not attached to MLflow: {error}")
        return
    if attached is not None:
        print(f"attached to MLflow: {attached.uri}")


def export(arguments: argparse.Namespace) -> Answer:
    from sweeps.export import export_winners

    plan, store = _planned(arguments)
    _refuse_absent(store)
    winners = export_winners(
        plan,
        store,
        _folder(arguments, store, plan.sweep, "export"),
        each=arguments.each,
        front=arguments.front,
        data_root=arguments.data_root,
        check=not arguments.no_check,
        retrain=arguments.check,
    )
    for done in winners:
        print(done.choice.statement)
        print(f"model: {done.folder / 'model'}; configuration: {done.folder / 'best.yaml'}")
        if done.checked is not None:
            print(f"measured again: {done.checked.sentence}")
        if done.retrained is not None:
            print(done.retrained.sentence)
    reproduced = all(done.retrained is None or done.retrained.reproduces for done in winners)
    value = {**winners[0].as_json(), "winners": [done.as_json() for done in winners]}
    return DONE if reproduced else SOME_FAILED, value


def sync(arguments: argparse.Namespace) -> Answer:
    from sweeps.tracking import project, summary

    plan, store = _planned(arguments)
    _refuse_absent(store)
    done = project(plan, store)
    print(f"{done.uri}: {done.created} runs created, {done.updated} updated, {done.unchanged} as they were")
    return DONE, dict(summary(done))


def ui(arguments: argparse.Namespace) -> Answer:
    from sweeps.store import Store
    from sweeps.tracking_address import tracking_uri
    from sweeps.ui import serve

    store, uri = Store(arguments.store), _sweep(arguments).tracking.uri
    return serve(store, uri, port=arguments.port), {"uri": tracking_uri(store, uri)}


def compare(arguments: argparse.Namespace) -> Answer:
    from rich.console import Console

    from sweeps.compare import compare_sweeps, compared_tables, print_compared
    from sweeps.plan import make_plan
    from sweeps.spec import read_spec
    from sweeps.store import Store
    from sweeps.tables import markdown

    root: Path | None = arguments.data_root
    later = root is None and "HYBRID_DATA_ROOT" not in os.environ
    stores = Store(arguments.store), Store(arguments.other_store or arguments.store)
    sweeps = [read_spec(spec, (), root, files_later=later) for spec in (arguments.spec, arguments.other)]
    plans = make_plan(sweeps[0], stores[0], root), make_plan(sweeps[1], stores[1], root)
    compared = compare_sweeps(plans, stores)
    if arguments.markdown is not None:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        tables = [markdown(table) for table in compared_tables(compared)]
        notes = [f"{note}  \n" for note in compared.notes]
        arguments.markdown.write_text("\n".join((*tables, *notes)), encoding="utf-8")
    if not arguments.json:
        print_compared(compared, Console())
    return DONE, compared.as_json()


def verdict(arguments: argparse.Namespace) -> Answer:
    from rich.console import Console

    from sweeps.spec import read_spec
    from sweeps.verdict import judge_file, print_verdicts, verdict_json

    comparison = judge_file(
        arguments.scores,
        sweep=read_spec(arguments.spec, arguments.set, arguments.data_root, files_later=True)
        if arguments.spec
        else None,
        reference=arguments.reference,
        margin=arguments.margin,
        level=arguments.level,
        measure=arguments.measure,
    )
    if not arguments.json:
        print_verdicts(comparison, Console(), everything=arguments.all)
    return DONE, verdict_json(comparison)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _folder(arguments: argparse.Namespace, store: "Store", sweep: "Sweep", part: str) -> Path:
    """Where a command writes files: --out, or its place in a store that is a folder."""
    if arguments.out is not None:
        return Path(arguments.out)
    if store.local is None:
        raise BadInput(
            f"--out is missing: the store {store} is no folder of this machine; say where to write"
        )
    return store.local / "sweeps" / sweep.name / part


def stop(arguments: argparse.Namespace) -> Answer:
    from sweeps.lease import ask_to_stop
    from sweeps.store import Store

    name = _status(arguments)["sweep"]
    asked = ask_to_stop(Store(arguments.store), name, wait_seconds=_STOPS_WITHIN)
    after = _status(arguments)
    which = "trials of its last run" if after["not_here"] else "trials"
    saved = f"{after['done']} of {after['trials']} {which} are saved in {after['store']}"
    if asked is None:
        print(f"nobody is running {name}; {saved}")
    else:
        goes_on = asked.get("goes_on", "`sweeps run`")
        print(f"stopped process {asked['pid']} on {asked['host']}; {saved}; {goes_on} goes on from there")
    answer = {"stopped": asked is not None, "done": after["done"], "trials": after["trials"]}
    return DONE, answer if asked is None else {**answer, "goes_on": asked.get("goes_on")}


def status(arguments: argparse.Namespace) -> Answer:
    from sweeps.status import status_lines
    from sweeps.store import Store

    status = _status(arguments)
    print("\n".join(status_lines(status)))
    store = Store(arguments.store)
    if store.local is not None and not store.local.is_dir():
        print(f"the store {store} is not there yet")
    return DONE, status


def _status(arguments: argparse.Namespace) -> dict[str, Any]:
    """State of the sweep; where its data are not known here, by what its last run has left in the store."""
    from sweeps.spec import NotHere
    from sweeps.status import kept_status, sweep_status
    from sweeps.store import Store

    try:
        plan, store = _planned(arguments)
    except NotHere as error:
        if (kept := kept_status(error.name, Store(arguments.store), error.mistakes)) is None:
            raise
        return kept
    return sweep_status(plan, store)


def _refuse_absent(store: "Store") -> None:
    if store.local is not None and not store.local.is_dir():
        raise BadInput(f"store {store}: there is no such folder, so there are no results; mend --store")


def _sweep(arguments: argparse.Namespace) -> "Sweep":
    from sweeps.spec import NotHere, read_spec

    root: Path | None = arguments.data_root
    if root is not None and not root.is_dir() and arguments.command is not submit:
        absent = f"--data-root {root}: is no folder; give the one that holds the data sets"
        if arguments.command not in (status, stop):
            raise BadInput(absent)
        try:  # it may be one of the cluster that the sweep runs on
            name = read_spec(arguments.spec, arguments.set, files_later=True).name
        except NotHere as error:
            name = error.name
        raise NotHere([absent], name)
    if arguments.command is submit:  # data are looked for on the cluster
        root, later = (root if root is not None and root.is_dir() else None), True
    else:  # only what reads them must have them
        later = (
            arguments.command not in (run, prepare) and root is None and "HYBRID_DATA_ROOT" not in os.environ
        )
    return read_spec(arguments.spec, arguments.set, root, files_later=later)


def _planned(arguments: argparse.Namespace, sweep: "Sweep | None" = None) -> "tuple[Plan, Store]":
    from sweeps.plan import make_plan
    from sweeps.store import Store

    store = Store(arguments.store)
    return make_plan(sweep or _sweep(arguments), store, arguments.data_root), store
