"""How fast training is, against sentence-transformers' own trainer measured in the same run.

    python benchmarks/training.py --data-root DIR [--steps 6] [--rounds 2] [--threads 2] [--out FILE.json]

Model: all-MiniLM-L6-v2. Pairs: XQuAD-R in all languages, half of the batches cross-lingual. Both sides get
the same pairs in the same batches, the same lengths (128 tokens), threads, learning rate and loss (InfoNCE
over the batch, temperature 0.05); each brings its own tokenising, padding, optimiser and loop. Their turns
alternate, the first step of every turn is left out, and medians over steps are compared. CPU seconds are
given beside wall seconds, because they suffer less from what else the machine does.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from hybrid.batching import Mixture
from hybrid.config import TrainConfig
from hybrid.data.pairs import load_pairs
from hybrid.data.records import ParallelPairs
from hybrid.encoder import Encoder, hardware_precision
from hybrid.optimizer import Optimizer
from hybrid.pair_pool import Pool
from hybrid.train import Progress, train

LENGTH = 128  # tokens of questions and of passages


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HYBRID_DATA_ROOT"))
    parser.add_argument("--steps", type=int, default=6, help="timed steps of a turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="one alone; by default all there are")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.data_root is None:
        parser.error("give --data-root or HYBRID_DATA_ROOT, the folder that holds xquad-r")
    torch.set_num_threads(args.threads)
    pairs = load_pairs("xquad-r", Path(args.data_root))
    precisions = ["fp32"] + (["bf16"] if hardware_precision() == "bf16" else [])
    precisions = [name for name in precisions if args.precision in (None, name)]
    found: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": args.threads,
                    "load_before": os.getloadavg()[0], "torch": torch.__version__},
        "gflops_of_a_matrix_product": {name: matrix_rate(name) for name in precisions},
    }  # fmt: skip
    for precision in precisions:
        config = TrainConfig(
            backbone="minilm-l6", data=("xquad-r",), mono_ratio=0.5, batch_size=args.batch_size,
            steps=args.steps + 1, seed=1, max_query_length=LENGTH, max_passage_length=LENGTH,
            precision=precision, threads=args.threads,
        )  # fmt: skip
        found[precision] = compare(config, pairs, args.rounds)
        print(json.dumps({precision: found[precision]}, indent=1), flush=True)
    if "fp32" in found:
        slowest = found["fp32"]["sentence_transformers"]["seconds"]
        for precision in precisions:
            found[precision]["times_faster_than_their_fp32"] = slowest / found[precision]["ours"]["seconds"]
    found["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(found, indent=1))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


def compare(config: TrainConfig, pairs: ParallelPairs, rounds: int) -> dict[str, Any]:
    """Median wall and CPU seconds of a step of each side, their ratio, and where our time goes."""
    sides: dict[str, list[tuple[float, float, float]]] = {"sentence_transformers": [], "ours": []}
    shares: dict[str, float] = {}
    for _ in range(rounds):
        sides["sentence_transformers"] += theirs(config, pairs)
        steps, shares = ours(config, pairs)
        sides["ours"] += steps
    medians = {
        name: {
            "seconds": statistics.median(s[0] for s in steps),
            "cpu_seconds": statistics.median(s[1] for s in steps),
            "fastest_seconds": min(s[0] for s in steps),
            "mean_loss": statistics.mean(s[2] for s in steps),
        }
        for name, steps in sides.items()
    }
    return {
        **medians,
        "times_faster": medians["sentence_transformers"]["seconds"] / medians["ours"]["seconds"],
        "times_less_cpu": medians["sentence_transformers"]["cpu_seconds"] / medians["ours"]["cpu_seconds"],
        "share_of_our_time": shares,
    }


def ours(
    config: TrainConfig, pairs: ParallelPairs
) -> tuple[list[tuple[float, float, float]], dict[str, float]]:
    """(wall seconds, CPU seconds, loss) per step but the first; share of the time by part."""
    encoder = Encoder.load(config.backbone)
    times: list[tuple[float, float, float]] = [(time.perf_counter(), time.process_time(), 0.0)]
    spent: dict[str, float] = {}

    def tell(progress: Progress) -> None:
        times.append((time.perf_counter(), time.process_time(), progress.loss))

    with (
        timed(Encoder, "tokenize", spent),
        timed(Encoder, "collate", spent),
        timed(Encoder, "forward", spent),
        timed(torch.Tensor, "backward", spent),
        timed(Optimizer, "step", spent),
    ):
        train(config, [pairs], encoder, on_progress=tell)
    whole = times[-1][0] - times[0][0]
    shares = {name: seconds / whole for name, seconds in spent.items()}
    shares["else"] = 1 - sum(shares.values())
    return differences(times), shares


@contextmanager
def timed(owner: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Counts the seconds of calls of a method."""
    method = getattr(owner, name)
    label = "optimiser" if owner is Optimizer else name

    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            spent[label] = spent.get(label, 0.0) + time.perf_counter() - start

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, method)


def theirs(config: TrainConfig, pairs: ParallelPairs) -> list[tuple[float, float, float]]:
    """The same of SentenceTransformerTrainer with MultipleNegativesRankingLoss."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from torch.utils.data import BatchSampler, SequentialSampler
    from transformers import TrainerCallback

    mixture = Mixture(config, Pool([pairs]))
    rows: dict[str, list[str]] = {"anchor": [], "positive": []}
    for step in range(config.steps):
        batch = mixture.batch(step)
        for row, asked, told in zip(
            batch.pairs.tolist(), batch.query_languages, batch.passage_languages, strict=True
        ):
            rows["anchor"].append(mixture.pool.question(row, asked))
            rows["positive"].append(mixture.pool.passage(row, told))
    model = Encoder.load(config.backbone).model
    model.max_seq_length = LENGTH
    losses: list[float] = []
    times: list[tuple[float, float, float]] = []

    class Loss(MultipleNegativesRankingLoss):  # type: ignore[misc]
        def forward(self, *arguments: Any, **named: Any) -> torch.Tensor:
            loss: torch.Tensor = super().forward(*arguments, **named)
            losses.append(float(loss.detach()))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times.append((time.perf_counter(), time.process_time(), 0.0))

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append((time.perf_counter(), time.process_time(), losses[-1]))

    def in_order(dataset: Dataset, batch_size: int, drop_last: bool, **_: Any) -> BatchSampler:
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, max_steps=config.steps, per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate, warmup_steps=config.warmup, weight_decay=config.weight_decay,
            bf16=config.precision == "bf16", use_cpu=True, report_to="none", save_strategy="no",
            logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, batch_sampler=in_order,
        )  # fmt: skip
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict(rows),
            loss=Loss(model, scale=1 / config.temperature), callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    return differences(times)


def differences(times: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Per step but the first: wall seconds, CPU seconds, loss."""
    between = pairwise(times[1:])
    return [(b[0] - a[0], b[1] - a[1], b[2]) for a, b in between]


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
