"""The command `sweeps`: each subcommand reads its arguments and calls the room it belongs to.

Exit codes: 0 done, 1 some trials failed, 2 bad input, 3 a limit of the sweep was reached. Rooms are imported
by their command alone, so that `plan` answers in a second.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid.errors import BadInput

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.spec import Sweep
    from sweeps.store import Store

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
_WORTH_ASKING = 3600.0  # seconds

Answer = tuple[int, dict[str, Any]]
"""Exit code, and what --json prints."""

Command = Callable[[argparse.Namespace], Answer]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    with _answer_channel(arguments.json) as answer:
        try:
            code, value = command(arguments)
        except BadInput as error:
            for mistake in error.mistakes:
                print(mistake, file=sys.stderr)
            code, value = BAD_INPUT, {"mistakes": list(error.mistakes)}
        except PermissionError as error:
            mistake = f"{error.filename}: {error.strerror}; give a place that can be written"
            print(mistake, file=sys.stderr)
            code, value = BAD_INPUT, {"mistakes": [mistake]}
        except KeyboardInterrupt:
            print(
                "stopped; finished trials are in the store, the same command goes on",
                file=sys.stderr,
            )
            code, value = INTERRUPTED, {"stopped": True}
        except BrokenPipeError:  # the reader of our output went away, `sweeps plan … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        answer(value)
    return code


def _plan(arguments: argparse.Namespace) -> Answer:
    from rich.console import Console

    from sweeps.plan_table import plan_json, print_plan

    plan, store = _planned(arguments)
    if arguments.json:
        return DONE, plan_json(plan, str(store))
    print_plan(plan, str(store), Console())
    return DONE, {}


def _prepare(arguments: argparse.Namespace) -> Answer:
    from sweeps.plan import prepare_sweep

    sweep = _sweep(arguments)
    prepare_sweep(sweep, arguments.data_root)
    plan, _ = _planned(arguments, sweep)
    print(f"{sweep.name}: prepared, {len(plan.todo)} of {len(plan.trials)} trials to run")
    return DONE, {"name": sweep.name, "trials": len(plan.trials), "todo": len(plan.todo)}


def _run(arguments: argparse.Namespace) -> Answer:
    from sweeps.run import run_sweep
    from sweeps.store import Store

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
    )
    print(ended.message)
    return ended.exit_code, asdict(ended)


def _agreed(plan: "Plan", store: "Store") -> bool:
    """Asks before hours are spent, where somebody sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or (plan.seconds_left or 0) < _WORTH_ASKING:
        return True
    from rich.console import Console

    from sweeps.plan_table import print_plan

    print_plan(plan, str(store), Console(stderr=True))
    print("Run it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _report(arguments: argparse.Namespace) -> Answer:
    from sweeps.report import write_report

    plan, store = _planned(arguments)
    folder = _folder(arguments, store, plan.sweep, "report")
    index = write_report(plan, store, folder)
    print(f"report written: {index}")
    return DONE, {"index": str(index), "report": str(index.parent / "report.json")}


def _export(arguments: argparse.Namespace) -> Answer:
    from sweeps.export import export_best

    plan, store = _planned(arguments)
    done = export_best(
        plan,
        store,
        _folder(arguments, store, plan.sweep, "export"),
        data_root=arguments.data_root,
        check=not arguments.no_check,
    )
    print(done.choice.statement)
    print(f"model: {done.folder / 'model'}; configuration: {done.folder / 'best.yaml'}")
    if done.checked is not None:
        print(f"checked on {done.checked.task}: largest difference {done.checked.largest_difference:g}")
    value = {"folder": str(done.folder), "version": done.version, "choice": done.choice.as_json()}
    return DONE, value | {"checked": asdict(done.checked) if done.checked else None}


def _sync(arguments: argparse.Namespace) -> Answer:
    from sweeps.tracking import project, summary

    plan, store = _planned(arguments)
    done = project(plan, store)
    print(f"{done.uri}: {done.created} runs created, {done.updated} updated, {done.unchanged} as they were")
    return DONE, dict(summary(done))


def _ui(arguments: argparse.Namespace) -> Answer:
    from sweeps.store import Store
    from sweeps.tracking import tracking_uri
    from sweeps.ui import serve

    store, uri = Store(arguments.store), _sweep(arguments).tracking.uri
    return serve(store, uri, port=arguments.port), {"uri": tracking_uri(store, uri)}


def _verdict(arguments: argparse.Namespace) -> Answer:
    from rich.console import Console

    from sweeps.spec import read_spec
    from sweeps.verdict import judge_file, print_verdicts, verdict_json

    comparison = judge_file(
        arguments.scores,
        sweep=read_spec(arguments.spec, arguments.set, arguments.data_root) if arguments.spec else None,
        reference=arguments.reference,
        margin=arguments.margin,
        level=arguments.level,
        measure=arguments.measure,
    )
    if not arguments.json:
        print_verdicts(comparison, Console())
    return DONE, verdict_json(comparison)


def _folder(arguments: argparse.Namespace, store: "Store", sweep: "Sweep", part: str) -> Path:
    """Where a command writes files: --out, or its place in a store that is a folder."""
    if arguments.out is not None:
        return Path(arguments.out)
    if store.local is None:
        raise BadInput(
            f"--out is missing: the store {store} is no folder of this machine; say where to write"
        )
    return store.local / "sweeps" / sweep.name / part


def _status(arguments: argparse.Namespace) -> Answer:
    from sweeps.status import status_lines, sweep_status

    plan, store = _planned(arguments)
    status = sweep_status(plan, store)
    print("\n".join(status_lines(status)))
    return DONE, status


def _sweep(arguments: argparse.Namespace) -> "Sweep":
    from sweeps.spec import read_spec

    given = arguments.data_root is not None or "HYBRID_DATA_ROOT" in os.environ
    return read_spec(
        arguments.spec,
        arguments.set,
        arguments.data_root,
        files_later=arguments.command is _plan and not given,
    )


def _planned(arguments: argparse.Namespace, sweep: "Sweep | None" = None) -> "tuple[Plan, Store]":
    from sweeps.plan import make_plan
    from sweeps.store import Store

    store = Store(arguments.store)
    return make_plan(sweep or _sweep(arguments), store, arguments.data_root), store


@contextmanager
def _answer_channel(as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What hands over the answer. With --json it alone reaches standard output, the rest standard error."""
    if not as_json:
        yield lambda _: None
        sys.stdout.flush()
        return
    sys.stdout.flush()
    real = os.dup(1)  # libraries and child processes print to the descriptor itself
    os.dup2(2, 1)
    python_stdout, sys.stdout = sys.stdout, sys.stderr

    def answer(value: dict[str, Any]) -> None:
        os.write(real, (json.dumps(_finite(value), ensure_ascii=False) + "\n").encode())

    try:
        yield answer
    finally:
        sys.stdout = python_stdout
        os.dup2(real, 1)
        os.close(real)


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is null."""
    if isinstance(value, dict):
        return {key: _finite(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweeps",
        description="Ablation sweeps for hybrid-batch multilingual dense retrieval.",
        epilog="exit codes: 0 done, 1 some trials failed, 2 bad input, 3 a limit was reached",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], Answer], help_text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=help_text)
        added.add_argument("spec", metavar="SPEC", help="a sweep file, or the name of a shipped one")
        added.add_argument(
            "--store", default="store", metavar="DIR_OR_URI", help="where results are kept (./store)"
        )
        added.add_argument(
            "--data-root", type=Path, metavar="DIR", help="folder of data sets (HYBRID_DATA_ROOT)"
        )
        added.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field"
        )
        added.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        added.set_defaults(command=command)
        return added

    add("plan", _plan, "show the trials, what is done, what would run and for how long; writes nothing")
    add("prepare", _prepare, "read the data sets once, so that plan knows what is done")
    run = add("run", _run, "run what the store lacks; the same command again goes on")
    run.add_argument("--address", metavar="RAY", help="a running Ray cluster; by default one is started here")
    run.add_argument("--max-concurrent", type=_count, metavar="N", help="at most so many trials at once")
    run.add_argument("--retry-failed", action="store_true", help="take failed trials up again")
    run.add_argument("--yes", action="store_true", help="do not ask before a run of hours")
    add("status", _status, "show how far the sweep is, whoever runs it")
    report = add("report", _report, "write index.html, tables, figures and report.json")
    report.add_argument("--out", metavar="DIR", help="by default sweeps/<name>/report in the store")
    export = add(
        "export", _export, "write the chosen model, its configuration and card; register it in MLflow"
    )
    export.add_argument("--out", metavar="DIR", help="by default sweeps/<name>/export in the store")
    export.add_argument("--no-check", action="store_true", help="do not measure the written model once more")
    add("sync", _sync, "bring MLflow to show what the store has")
    ui = add("ui", _ui, "open MLflow's pages on this machine")
    ui.add_argument("--port", type=_count, default=5000)
    _add_verdict(commands)
    return parser


def _add_verdict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "apply the degradation statistics to any Parquet file of score rows"
    verdict = commands.add_parser("verdict", help=text, description=text)
    option = verdict.add_argument
    option("scores", metavar="SCORES.parquet", help="columns arm, seed, task, group, query_id, cluster_id, …")
    option("--spec", metavar="SPEC", help="the sweep whose reference and guardrail count")
    option("--reference", metavar="ARM", help="the arm that all others are compared with")
    option("--margin", type=float, help="non-inferiority margin, a fraction (0.01)")
    option("--level", type=float, help="one-sided level (0.05)")
    option("--measure", metavar="NAME", help="one measure alone")
    option("--data-root", type=Path, metavar="DIR", help="folder of data sets, with --spec")
    option("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field, with --spec")
    option("--json", action="store_true", help="print one JSON object and nothing else")
    verdict.set_defaults(command=_verdict)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
