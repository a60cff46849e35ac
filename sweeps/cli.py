"""The command `sweeps`: each subcommand reads its arguments and calls the room it belongs to.

Exit codes: 0 done, 1 some trials failed, 2 bad input, 3 a limit of the sweep was reached, 130 stopped.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from hybrid.answer import answer_channel
from hybrid.errors import BadInput, unusable_place
from sweeps import commands
from sweeps.commands import BAD_INPUT, DONE, INTERRUPTED, Answer
from sweeps.secrets import redacted

Command = Callable[[argparse.Namespace], Answer]


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    arguments.line = redacted(
        shlex.join(["sweeps", *(w for w in words if w != "--retry-failed")])
    )  # to go on
    command: Command = arguments.command
    with answer_channel(arguments.json) as answer:
        try:
            code, value = command(arguments)
        except BadInput as error:
            for mistake in error.mistakes:
                print(mistake, file=sys.stderr)
            code, value = BAD_INPUT, {"mistakes": list(error.mistakes)}
        except KeyboardInterrupt:
            print("stopped; finished trials are in the store, the same command goes on", file=sys.stderr)
            code, value = INTERRUPTED, {"stopped": True}
        except BrokenPipeError:  # the reader of our output went away, `sweeps plan … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        except OSError as error:
            sentence = unusable_place(error)
            if sentence is None:
                raise
            print(sentence, file=sys.stderr)
            code, value = BAD_INPUT, {"mistakes": [sentence]}
        answer(value)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweeps",
        allow_abbrev=False,
        description="Ablation sweeps for hybrid-batch multilingual dense retrieval.",
        epilog="exit codes: 0 done, 1 some trials failed, 2 bad input, 3 a limit was reached, 130 stopped",
    )
    parser.add_argument("--version", action="version", version=f"hybrid-sweeps {version('hybrid-sweeps')}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], Answer], help_text: str
    ) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
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

    plan = add(
        "plan",
        commands.plan,
        "show trials, what is done, what would run, how long, what it could settle; writes nothing",
    )
    plan.add_argument(
        "--pilot", metavar="DIR_OR_URI", help="a store whose scores say how much differences vary"
    )
    add("prepare", commands.prepare, "read the data sets once, so that plan knows what is done")
    run = add("run", commands.run, "run what the store lacks; the same command again goes on")
    run.add_argument(
        "--address",
        metavar="RAY",
        help="a running Ray cluster, HEAD:6379 or auto; by default one is started here",
    )
    submit = add("submit", commands.submit, "run it as a job of a Ray cluster; places are those it sees")
    submit.add_argument("--address", required=True, metavar="URL", help="its dashboard, http://head:8265")
    submit.add_argument("--detach", action="store_true", help="do not follow the job's log")
    for runs in (run, submit):
        runs.add_argument("--max-concurrent", type=_count, metavar="N", help="at most so many trials at once")
        runs.add_argument("--retry-failed", action="store_true", help="take failed trials up again")
    run.add_argument("--yes", action="store_true", help="do not ask before a run of hours")
    add("status", commands.status, "show how far the sweep is, whoever runs it")
    add("stop", commands.stop, "end the run of a sweep, wherever it runs; what is finished is saved")
    report = add("report", commands.report, "write index.html, tables, figures and report.json")
    report.add_argument("--out", metavar="DIR", help="by default sweeps/<name>/report in the store")
    report.add_argument(
        "--scores", action="store_true", help="also scores.parquet, the scores of every query"
    )
    export = add(
        "export", commands.export, "write the chosen model, its configuration and card; register it in MLflow"
    )
    export.add_argument("--out", metavar="DIR", help="by default sweeps/<name>/export in the store")
    export.add_argument(
        "--check", action="store_true", help="train it again and say whether the scores are the same"
    )
    export.add_argument("--no-check", action="store_true", help="do not measure the written model once more")
    export.add_argument("--each", metavar="AXIS", help="a winner for each value of an axis, such as backbone")
    export.add_argument("--front", action="store_true", help="every arm on the Pareto front")
    add("sync", commands.sync, "bring MLflow to show what the store has")
    ui = add("ui", commands.ui, "open MLflow's pages on this machine")
    ui.add_argument("--port", type=_count, default=5000)
    _add_compare(subparsers)
    _add_verdict(subparsers)
    return parser


def _add_compare(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "set two sweeps side by side: what differs, arms on shared tasks, paired differences"
    compare = subparsers.add_parser("compare", help=text, description=text)
    option = compare.add_argument
    option("spec", metavar="SPEC_A", help="a sweep file, or the name of a shipped one")
    option("other", metavar="SPEC_B", help="the other")
    option("--store", default="store", metavar="DIR_OR_URI", help="where results are kept (./store)")
    option("--other-store", metavar="DIR_OR_URI", help="of SPEC_B, if not the same")
    option("--data-root", type=Path, metavar="DIR", help="folder of data sets (HYBRID_DATA_ROOT)")
    option("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    option("--json", action="store_true", help="print one JSON object and nothing else")
    compare.set_defaults(command=commands.compare)


def _add_verdict(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "apply the degradation statistics to any Parquet file of score rows"
    verdict = subparsers.add_parser("verdict", help=text, description=text)
    option = verdict.add_argument
    option("scores", metavar="SCORES.parquet", help="columns arm, seed, task, group, query_id, cluster_id, …")
    option("--spec", metavar="SPEC", help="the sweep whose reference and guardrail count")
    option("--reference", metavar="ARM", help="the arm that all others are compared with")
    option("--margin", type=float, help="non-inferiority margin, a fraction (0.01)")
    option("--level", type=float, help="one-sided level (0.05)")
    option("--measure", metavar="NAME", help="one measure alone")
    option("--data-root", type=Path, metavar="DIR", help="folder of data sets, with --spec")
    option("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field, with --spec")
    option("--all", action="store_true", help="show all groups and measures, as --json does")
    option("--json", action="store_true", help="print one JSON object and nothing else")
    verdict.set_defaults(command=commands.verdict)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
