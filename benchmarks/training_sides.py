"""The two sides of benchmarks/training.py: this trainer and sentence-transformers' own, same batches."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from hybrid.batching import Mixture
from hybrid.config import TrainConfig
from hybrid.data.records import ParallelPairs
from hybrid.encoder import Encoder
from hybrid.optimizer import Optimizer
from hybrid.pair_pool import Pool
from hybrid.train import train

LENGTH = 128  # tokens of questions and of passages

Moment = tuple[float, float, float]
"""Wall seconds, CPU seconds, loss."""


@dataclass
class Side:
    """One training: wall seconds, CPU seconds and loss of every step but the first; the trained encoder."""

    steps: list[Moment]
    encoder: Encoder
    shares: dict[str, float] = field(default_factory=dict)  # of the time, by part; ours alone
    events: list[dict[str, Any]] = field(default_factory=list)


def ours(config: TrainConfig, pairs: ParallelPairs) -> Side:
    encoder = Encoder.load(config.backbone)
    times: list[Moment] = [(time.perf_counter(), time.process_time(), 0.0)]
    spent: dict[str, float] = {}

    def tell(progress: Any) -> None:
        times.append((time.perf_counter(), time.process_time(), progress.loss))

    with (
        timed(Encoder, "tokenize", spent),
        timed(Encoder, "collate", spent),
        timed(Encoder, "forward", spent),
        timed(torch.Tensor, "backward", spent),
        timed(Optimizer, "step", spent),
    ):
        result = train(config, [pairs], encoder, on_progress=tell)
    whole = times[-1][0] - times[0][0]
    shares = {name: seconds / whole for name, seconds in spent.items()}
    shares["else"] = 1 - sum(shares.values())
    return Side(_steps(times), encoder, shares, result.events)


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


def theirs(config: TrainConfig, pairs: ParallelPairs) -> Side:
    """SentenceTransformerTrainer with MultipleNegativesRankingLoss."""
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
    encoder = Encoder.load(config.backbone)
    encoder.model.max_seq_length = LENGTH
    losses: list[float] = []
    times: list[Moment] = []

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
            seed=config.seed, bf16=config.precision == "bf16", use_cpu=True, report_to="none",
            save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
            batch_sampler=in_order,
        )  # fmt: skip
        trainer = SentenceTransformerTrainer(
            model=encoder.model, args=arguments, train_dataset=Dataset.from_dict(rows),
            loss=Loss(encoder.model, scale=1 / config.temperature), callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    encoder.model.eval()
    return Side(_steps(times), encoder)


def _steps(times: list[Moment]) -> list[Moment]:
    """Per step but the first: wall seconds, CPU seconds, loss."""
    return [(b[0] - a[0], b[1] - a[1], b[2]) for a, b in pairwise(times[1:])]
