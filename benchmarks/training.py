"""How fast training is, against sentence-transformers' own trainer measured in the same run.

    python benchmarks/training.py speed   --data-root DIR    seconds a step of both, and where ours go
    python benchmarks/training.py quality --data-root DIR    in-domain mAP of both after the same training
    python benchmarks/training.py scaling --data-root DIR    a step's cost by batch size, plain and cached
    python benchmarks/training.py memory                     batch 4,096 through the gradient cache

Each writes benchmarks/results/training-<what>.json. Model: all-MiniLM-L6-v2. Pairs: XQuAD-R in all languages,
half of the batches cross-lingual. Both sides get the same pairs in the same batches, the same lengths (128
tokens), threads, learning rate and loss (InfoNCE over the batch, temperature 0.05); each brings its own
tokenising, padding, optimiser and loop. Their turns alternate, the first step of every turn is left out, and
medians over steps are compared; CPU seconds suffer less than wall seconds from what else the machine does.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from training_sides import LENGTH, Moment, ours, theirs

from hybrid.config import EvalConfig, TrainConfig
from hybrid.data.pairs import load_pairs
from hybrid.data.records import ParallelPairs, Precision
from hybrid.data.tasks import load_task
from hybrid.encoder import Encoder, hardware_precision
from hybrid.evaluate import evaluate
from hybrid.score_table import macro
from hybrid.train import train

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "quality", "scaling", "memory", "memory-of-one"])
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HYBRID_DATA_ROOT"))
    parser.add_argument("--steps", type=int, default=6, help="timed steps of a turn; quality: of a training")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side; quality: seeds")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="one alone; by default all there are")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.data_root is None and not args.what.startswith("memory"):
        parser.error("give --data-root or HYBRID_DATA_ROOT, the folder that holds xquad-r")
    torch.set_num_threads(args.threads)
    if args.what == "memory-of-one":
        print(json.dumps(memory_of_one(args.batch_size, args.threads)))
        return
    there: list[Precision] = ["fp32", "bf16"] if hardware_precision() == "bf16" else ["fp32"]
    precisions = [name for name in there if args.precision in (None, name)]
    found = {"machine": machine(args.threads), "command": " ".join(["python", *sys.argv])}
    measure = {"speed": speed, "quality": quality, "scaling": scaling, "memory": memory}[args.what]
    found |= measure(args, precisions)
    found["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(found, indent=1))
    out = args.out or RESULTS / f"training-{args.what}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


def machine(threads: int) -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "bf16": hardware_precision() == "bf16",
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
        "load_before": os.getloadavg()[0],
    }


def config_of(args: argparse.Namespace, precision: Precision, **changes: Any) -> TrainConfig:
    fields = {
        "backbone": "minilm-l6", "data": ("xquad-r",), "mono_ratio": 0.5, "batch_size": args.batch_size,
        "steps": args.steps + 1, "seed": 1, "max_query_length": LENGTH, "max_passage_length": LENGTH,
        "precision": precision, "threads": args.threads,
    }  # fmt: skip
    return TrainConfig(**(fields | changes))


def speed(args: argparse.Namespace, precisions: list[Precision]) -> dict[str, Any]:
    """Median wall and CPU seconds of a step of each side, their ratio, and where our time goes."""
    pairs = load_pairs("xquad-r", args.data_root)
    found: dict[str, Any] = {
        "batch_size": args.batch_size,
        "gflops_of_a_matrix_product": {name: matrix_rate(name) for name in precisions},
    }
    for precision in precisions:
        config = config_of(args, precision)
        sides: dict[str, list[Moment]] = {"sentence_transformers": [], "ours": []}
        for _ in range(args.rounds):
            sides["sentence_transformers"] += theirs(config, pairs).steps
            side = ours(config, pairs)
            sides["ours"] += side.steps
        medians = {name: summary(steps) for name, steps in sides.items()}
        a, b = medians["sentence_transformers"], medians["ours"]
        found[precision] = {
            **medians,
            "times_faster": a["seconds"] / b["seconds"],
            "times_less_cpu": a["cpu_seconds"] / b["cpu_seconds"],
            "share_of_our_time": side.shares,
        }
        print(json.dumps({precision: found[precision]}, indent=1), file=sys.stderr, flush=True)
    if set(precisions) == {"fp32", "bf16"}:
        slow, fast = found["fp32"]["sentence_transformers"], found["bf16"]["ours"]
        found["our_bf16_against_their_fp32"] = {
            "times_faster": slow["seconds"] / fast["seconds"],
            "times_less_cpu": slow["cpu_seconds"] / fast["cpu_seconds"],
        }
    return found


def summary(steps: list[Moment]) -> dict[str, float]:
    return {
        "seconds": statistics.median(s[0] for s in steps),
        "fastest_seconds": min(s[0] for s in steps),
        "cpu_seconds": statistics.median(s[1] for s in steps),
        "mean_loss": statistics.mean(s[2] for s in steps),
        "steps": len(steps),
    }


def quality(args: argparse.Namespace, precisions: list[Precision]) -> dict[str, Any]:
    """In-domain mAP on articles held out, of both sides after the same training, seed by seed."""
    pairs = load_pairs("xquad-r:train", args.data_root)
    task = load_task("xquad-r:test", args.data_root)
    rows: list[dict[str, Any]] = []

    def measured(encoder: Encoder) -> dict[str, float]:
        lengths = EvalConfig(max_query_length=LENGTH, max_document_length=LENGTH, precision=precisions[-1])
        means = macro(evaluate(encoder, task, lengths))
        return {setting: means[task.name, setting, "map"] for setting in ("mono", "cross", "multi")}

    untouched = measured(Encoder.load("minilm-l6"))
    for precision in precisions:
        for seed in range(args.first_seed, args.first_seed + args.rounds):
            config = config_of(args, precision, data=("xquad-r:train",), seed=seed, steps=args.steps)
            for name, side in (("sentence_transformers", theirs), ("ours", ours)):
                result = side(config, pairs)
                rows.append({"side": name, "precision": precision, "seed": seed, **measured(result.encoder)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return {"task": task.name, "steps": args.steps, "untouched": untouched, "rows": rows}


def scaling(args: argparse.Namespace, precisions: list[Precision]) -> dict[str, Any]:
    """A step by batch size: plain, and through the gradient cache with chunks of 64 texts, in turns."""
    pairs = load_pairs("xquad-r", args.data_root)
    forms: dict[int, list[int | None]] = {16: [None], 32: [None], 64: [None, 64], 128: [None, 64], 192: [64]}
    rows, over = [], {}
    for precision in precisions:
        for size, chunks in forms.items():
            steps: dict[int | None, list[Moment]] = {chunk: [] for chunk in chunks}
            for _ in range(args.rounds):
                for chunk in chunks:
                    config = config_of(args, precision, batch_size=size, chunk_size=chunk)
                    steps[chunk] += ours(config, pairs).steps
            found = {chunk: summary(taken) for chunk, taken in steps.items()}
            for chunk, of_form in found.items():
                rows.append({"precision": precision, "batch_size": size, "chunk_size": chunk, **of_form,
                             "cpu_seconds_a_pair": of_form["cpu_seconds"] / size})  # fmt: skip
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            if len(chunks) > 1:
                over[f"{precision} {size}"] = {
                    kind: found[64][kind] / found[None][kind]
                    for kind in ("seconds", "fastest_seconds", "cpu_seconds")
                }
    return {"rows": rows, "cached_over_plain": over}


def memory(args: argparse.Namespace, precisions: list[Precision]) -> dict[str, Any]:  # noqa: ARG001
    """Peak memory of training in a process of its own: batch 64 plain, batch 4,096 through the cache."""
    rows = {}
    for size in (64, 4096):
        command = [sys.executable, __file__, "memory-of-one", "--batch-size", str(size), "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[str(size)] = json.loads(done.stdout.splitlines()[-1])
    more = rows["4096"]["peak_mb"] - rows["64"]["peak_mb"]
    return {"rows": rows, "more_than_batch_64_mb": more, "embeddings_mb": rows["4096"]["embeddings_mb"]}


def memory_of_one(size: int, threads: int) -> dict[str, Any]:
    """Two layers of all-MiniLM-L6-v2, texts of about ten tokens; the peak is the process's own."""
    count = 4096
    pairs = ParallelPairs(
        name="made", pair_ids=[str(i) for i in range(count)], clusters=[str(i) for i in range(count)],
        questions={"en": [f"what is the number {i} called?" for i in range(count)]},
        passages={"en": [f"it is called the number {i}." for i in range(count)]}, digest="made",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        whole = Encoder.load("minilm-l6")
        layers: Any = whole.model[0]
        del layers.model.encoder.layer[2:]
        layers.model.config.num_hidden_layers = 2
        whole.save(folder)
        del whole, layers
        encoder = Encoder.load(folder)
        config = TrainConfig(
            backbone=folder, data=("made",), mono_ratio=1.0, batch_size=size, steps=1, seed=1,
            chunk_size=None if size == 64 else 64, threads=threads,
        )  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        train(config, [pairs], encoder)
        seconds = time.perf_counter() - start
    return {
        "batch_size": size,
        "chunk_size": config.chunk_size,
        "before_training_mb": before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "embeddings_mb": 2 * size * encoder.dim * 4 / 2**20,
        "seconds_for_a_step": seconds,
    }


def matrix_rate(precision: str) -> float:
    """Best of ten: 10⁹ multiplications and additions a second of (2048, 384) by (384, 1536)."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2048, 384, dtype=dtype), torch.randn(384, 1536, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 384 * 1536 / best / 1e9


if __name__ == "__main__":
    main()
