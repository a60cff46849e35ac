"""What another processor makes of a training: the weights, embeddings and mAP that other kernels lead to.

    python benchmarks/training_hardware.py --data-root DIR                    all-MiniLM-L6-v2 on XQuAD-R
    python benchmarks/training_hardware.py --embedded --steps 200             embedded-xlmr, embedded-qa

Trains it again and again, half of the batches cross-lingual, each time in a process of its own: with the
kernels that torch, oneDNN and MKL take on processors without AVX-512 or without AVX, with another number of
threads, through the gradient cache, and with another seed for comparison; with dropout of 0.1 and without.
All are measured alike afterwards. Writes benchmarks/results/training-hardware.json (or -embedded.json), or
adds to it what one --precision or --dropout gives.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training import RESULTS, machine

from hybrid.config import EvalConfig, TrainConfig
from hybrid.data.pairs import load_pairs
from hybrid.data.records import Task
from hybrid.data.tasks import load_task
from hybrid.encoder import Encoder, hardware_precision
from hybrid.evaluate import evaluate
from hybrid.score_table import macro
from hybrid.train import train

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
SIDES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "the same again": ({}, {}),
    "AVX2 kernels": (AVX2, {}),
    "SSE kernels": (SSE, {}),
    "one thread": ({}, {"threads": 1}),
    "cached, same pieces": ({}, {"chunk_size": 1000}),
    "cached, chunks of 4": ({}, {"chunk_size": 4}),
    "another seed": ({}, {"seed": 2}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HYBRID_DATA_ROOT"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["fp32", "bf16"])
    parser.add_argument("--dropout", type=float, choices=[0.1, 0.0])
    parser.add_argument("--embedded", action="store_true", help="the embedded world and backbone")
    parser.add_argument("--one", nargs=2, metavar=("CONFIG", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.data_root is None and not args.embedded:
        parser.error("give --data-root or HYBRID_DATA_ROOT, the folder that holds xquad-r")
    if args.one:
        train_one(TrainConfig.model_validate_json(args.one[0]), args.data_root, args.dropout, args.one[1])
        return
    out = RESULTS / f"training-hardware{'-embedded' * args.embedded}.json"
    part = args.precision is not None or args.dropout is not None
    found = json.loads(out.read_text()) if out.exists() and part else {"rows": []}
    found |= {"machine": machine(args.threads), "steps": args.steps, "batch_size": args.batch_size}
    there = ["fp32", "bf16"] if hardware_precision() == "bf16" else ["fp32"]
    for precision in there:
        for dropout in (0.1, 0.0):
            if args.precision in (None, precision) and args.dropout in (None, dropout):
                kept = [r for r in found["rows"] if (r["precision"], r["dropout"]) != (precision, dropout)]
                found["rows"] = kept + compare(args, precision, dropout)
                out.write_text(json.dumps(found, indent=1) + "\n")


def compare(args: argparse.Namespace, precision: str, dropout: float) -> list[dict[str, Any]]:
    """A row for each side: how far it is from the plain run, beside how far training moved that one."""
    base: dict[str, Any] = {
        "backbone": "embedded-xlmr" if args.embedded else "minilm-l6", "mono_ratio": 0.5, "seed": 1,
        "data": (f"{'embedded-qa' if args.embedded else 'xquad-r'}:train",),
        "batch_size": args.batch_size, "steps": args.steps, "threads": args.threads, "precision": precision,
    }  # fmt: skip
    encoder = Encoder.load(base["backbone"])
    task = in_two_languages(load_task(f"{'embedded-qa' if args.embedded else 'xquad-r'}:dev", args.data_root))
    texts = [text for one in task.queries.values() for text in one.texts[:100]]
    untouched = weights_of(encoder)

    def run(environment: dict[str, str], changes: dict[str, Any]) -> tuple[Any, Any, dict[str, float], str]:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/weights.npy"
            config = TrainConfig(**(base | changes))
            command = [sys.executable, __file__, "--data-root", str(args.data_root or folder)]
            done = subprocess.run(
                [*command, "--dropout", str(dropout), "--one", config.model_dump_json(), file],
                env={**os.environ, **environment}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            weights = np.load(file)
        torch.set_num_threads(args.threads)
        torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), encoder.parameters())
        means = macro(evaluate(encoder, task, EvalConfig()))
        measures = {setting: means[task.name, setting, "map"] for setting in ("mono", "cross")}
        return weights, encoder.encode(texts, "query"), measures, done.stdout.strip()

    weights, embeddings, measures, _ = run({}, {})
    moved = np.linalg.norm(weights - untouched)
    rows = []
    for name, (environment, changes) in SIDES.items():
        others, embedded, measured, capability = run(environment, changes)
        rows.append({
            "precision": precision, "dropout": dropout, "side": name, "torch_kernels": capability,
            "weights": float(np.linalg.norm(others - weights) / moved),
            "least_cosine": float((embedded * embeddings).sum(axis=1).min()),
            **{f"map_{setting}": measured[setting] - measures[setting] for setting in measures},
        })  # fmt: skip
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def in_two_languages(task: Task) -> Task:
    """The task in the first two of its languages, which is quicker to measure."""
    languages = sorted(task.queries)[:2]
    documents = {lang: task.documents[lang] for lang in languages}
    there = {doc_id for one in documents.values() for doc_id in one.ids}
    qrels = {
        lang: {
            asked: {d: n for d, n in told.items() if d in there} for asked, told in task.qrels[lang].items()
        }
        for lang in languages
    }
    queries = {lang: task.queries[lang] for lang in languages}
    return replace(task, queries=queries, documents=documents, qrels=qrels, settings=("mono", "cross"))


def weights_of(encoder: Encoder) -> Any:
    """(weights,) float32."""
    return torch.nn.utils.parameters_to_vector(encoder.parameters()).detach().numpy().copy()


def train_one(config: TrainConfig, data_root: Path, dropout: float, file: str) -> None:
    encoder = Encoder.load(config.backbone)
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    train(config, [load_pairs(config.data[0], data_root)], encoder)
    np.save(file, weights_of(encoder))
    print(torch.backends.cpu.get_cpu_capability())


if __name__ == "__main__":
    main()
