"""The command `hybrid`: train one configuration, measure one model.

Exit codes: 0 done, 1 failed, 2 bad input.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hybrid.answer import answer_channel
from hybrid.errors import BadInput, unusable_place

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

Command = Callable[[argparse.Namespace], dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    with answer_channel(arguments.json) as answer:
        try:
            value, code = command(arguments), DONE
        except BadInput as error:
            print("\n".join(error.mistakes), file=sys.stderr)
            value, code = {"mistakes": list(error.mistakes)}, BAD_INPUT
        except FloatingPointError as error:
            print(error, file=sys.stderr)
            value, code = {"failed": str(error)}, FAILED
        except OSError as error:
            sentence = unusable_place(error)
            if sentence is None:
                raise
            print(sentence, file=sys.stderr)
            value, code = {"mistakes": [sentence]}, BAD_INPUT
        except KeyboardInterrupt:
            print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
            value, code = {"stopped": True}, INTERRUPTED
        answer(value)
    return code


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from hybrid.config_file import read_config
    from hybrid.training_folder import train_in_folder

    config, provenance = read_config(arguments.config)
    record = train_in_folder(
        config,
        provenance,
        arguments.out,
        arguments.data_root,
        checkpoint_seconds=arguments.checkpoint_seconds,
        trust_remote_code=arguments.trust_remote_code,
    )
    if record["already_finished"]:
        print(f"{arguments.out}: is finished; nothing to do.")
    else:
        print(
            f"{arguments.out}: {record['steps']} steps in {record['seconds']:.0f} s; the model is in model/."
        )
    return {"out": str(arguments.out), "model": str(arguments.out / "model"), **record}


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    names = [name for name in arguments.tasks.split(",") if name]
    mistakes = _mistakes_of_evaluate(arguments, names)
    if mistakes:
        raise BadInput(mistakes)

    if arguments.out is not None:  # before hours of measuring
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=arguments.out.parent).close()

    import pyarrow as pa
    import pyarrow.parquet as pq

    from hybrid.backbones import added_pooling, resolve
    from hybrid.config import EvalConfig
    from hybrid.data.tasks import load_task
    from hybrid.encoder import Encoder, hardware_precision
    from hybrid.evaluate import Corpora, evaluate, summarise

    for note in added_pooling(resolve(arguments.model)):
        print(f"note: {note}", file=sys.stderr)
    encoder = Encoder.load(
        arguments.model, device=arguments.device, trust_remote_code=arguments.trust_remote_code
    )
    asked = arguments.precision
    config = EvalConfig(precision=hardware_precision(arguments.device) if asked == "auto" else asked)
    corpora: Corpora = {}
    tables = [
        evaluate(encoder, load_task(name, arguments.data_root), config, corpora=corpora) for name in names
    ]
    scores = pa.concat_tables(tables).unify_dictionaries()
    cells = summarise(scores).to_pylist()
    means = _macro_rows(cells)
    if arguments.out is not None:
        partial = arguments.out.with_name(arguments.out.name + ".partial")
        pq.write_table(scores, partial, compression="zstd")
        partial.replace(arguments.out)
    if not arguments.json:
        _print_means(means)
    return {
        "scores": means + cells,
        "precision": config.precision,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _mistakes_of_evaluate(arguments: argparse.Namespace, names: Sequence[str]) -> list[str]:
    from hybrid.backbones import forbidden_code, resolve
    from hybrid.data.locate import check_names

    mistakes: list[str] = []
    try:
        mistakes += forbidden_code(resolve(arguments.model), arguments.trust_remote_code)
    except BadInput as error:
        mistakes += error.mistakes
    if not names:
        mistakes.append("--tasks: names no task; for example --tasks scifact,xquad-r.")
    twice = sorted({name for name in names if names.count(name) > 1})
    mistakes += [f"--tasks: names {name} twice." for name in twice]
    mistakes += check_names(list(names), role="task", data_root=arguments.data_root)
    if arguments.out is not None and arguments.out.is_dir():
        mistakes.append(f"--out {arguments.out}: is a folder; give a file, for example scores.parquet.")
    return mistakes


def _macro_rows(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per task, setting and measure the mean over cells, a language or a pair of them counting as one."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["task"], cell["setting"], cell["measure"]), []).append(cell)
    return [
        {
            "task": task,
            "setting": setting,
            "query_lang": None,
            "doc_lang": None,
            "measure": measure,
            "value": sum(cell["value"] for cell in group) / len(group),
            "queries": sum(cell["queries"] for cell in group),
        }
        for (task, setting, measure), group in groups.items()
    ]


def _print_means(means: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from hybrid.scores import MEASURES

    table = Table("task", "setting", "measure", "mean over languages", "queries")
    for row in means:
        table.add_row(
            row["task"], row["setting"], MEASURES[row["measure"]], f"{row['value']:.4f}", str(row["queries"])
        )
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hybrid", description="Train or measure one multilingual dense retriever.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"hybrid-sweeps {version('hybrid-sweeps')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(command=command)
        one.add_argument("--data-root", type=Path, metavar="DIR", help="folder of data sets")
        one.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        one.add_argument(
            "--trust-remote-code", action="store_true", help="run Python code that the model comes with"
        )
        return one

    train = add(
        "train", _train, "train one configuration; the same command again goes on where it was cut off"
    )
    train.add_argument("config", type=Path, metavar="CONFIG.yaml", help="file with a section `train:`")
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the model and its record"
    )

    train.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S", help="time between checkpoints (60)"
    )

    evaluate = add("evaluate", _evaluate, "measure a model on tasks")
    evaluate.add_argument("model", metavar="MODEL", help="a backbone's name, a folder, or a name on the hub")
    evaluate.add_argument("--tasks", required=True, metavar="A,B", help="for example scifact,xquad-r:test")
    evaluate.add_argument(
        "--precision", choices=["fp32", "bf16", "auto"], default="fp32", help="fp32 by default"
    )
    evaluate.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cpu by default")
    evaluate.add_argument(
        "--out", type=Path, metavar="FILE", help="Parquet file for the score of every query"
    )
    return parser
