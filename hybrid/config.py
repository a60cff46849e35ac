"""The configuration of one trial: frozen, strict, complete; and its keys.

A key is a hash of everything that can change a result, resolved: no "auto", no default left to a
library. Two trials with one key are the same trial, whichever sweep asked for them.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

KEY_VERSION = 1
"""Raised when training itself changes, so that old results are never mistaken for new ones."""

MEASURE_VERSION = 1
"""Raised when a measure's definition changes."""


StopMeasure = Literal[
    "loss", "map", "ndcg_at_10", "recall_at_1", "recall_at_10", "recall_at_100", "mrr_at_10"
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrainConfig(_Strict):
    """Everything that decides the weights, but for the bytes of the data and of the backbone."""

    backbone: str
    data: tuple[str, ...]
    mono_ratio: float = Field(ge=0.0, le=1.0)  # α of the paper: 1.0 = X-X-mono, 0.0 = X-Y, 0.5 = hybrid
    batch_size: int = Field(ge=2)
    steps: int = Field(ge=1)  # resolved from `examples` or `updates` by the plan
    seed: int = Field(ge=0)
    weights: tuple[PositiveFloat, ...] | None = None  # of the sets of `data`; None: each by its size
    languages: tuple[str, ...] | None = None  # None: all languages of the data
    mono_languages: Literal["uniform", "size"] = "uniform"  # how a monolingual batch's language is drawn
    language_pairs: tuple[str, ...] | None = None  # "en->de=2", "any->en"; None: all ordered pairs alike
    hard_negatives: int = Field(default=0, ge=0)  # of a query, beside the passages of the batch
    schedule: Literal["exact", "bernoulli"] = "exact"
    passage: Literal["sentence", "paragraph"] = "sentence"
    learning_rate: float = Field(default=5e-5, gt=0.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)  # share of the steps
    decay: Literal["linear", "constant"] = "linear"
    clip_norm: float = Field(default=1.0, gt=0.0)
    temperature: float = Field(default=0.05, gt=0.0)
    symmetric: bool = False
    max_query_length: int = Field(default=64, ge=4)  # tokens
    max_passage_length: int = Field(default=128, ge=4)  # tokens
    adapter: Literal["none", "lora"] = "none"  # none: all weights are trained
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: float = Field(default=32.0, gt=0.0)
    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    stop_on: str | None = None  # selection set of early stopping; None: train to the last step
    stop_measure: StopMeasure = "loss"
    stop_languages: tuple[str, ...] | None = None  # of its queries; None: all
    stop_every: int = Field(default=50, ge=1)  # steps
    patience: int = Field(default=3, ge=1)  # looks without a better value before training stops
    chunk_size: int | None = Field(default=None, ge=1)  # gradient cache; None: whole batch at once
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(default=1, ge=1)  # changes the order of floating-point sums
    device: Literal["cpu", "cuda"] = "cpu"
    merge: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the untouched backbone's weights in what is measured and exported; no part of training."""


class EvalConfig(_Strict):
    """Everything beside the weights and the task's bytes that decides scores.

    Lengths are in tokens; None: as the model ships them.
    """

    max_query_length: int | None = Field(default=None, ge=4)
    max_document_length: int | None = Field(default=None, ge=4)
    precision: Literal["fp32", "bf16"] = "fp32"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def train_key(config: TrainConfig, *, backbone_digest: str, data_digests: dict[str, str]) -> str:
    """20 hexadecimal digits naming the weights that training with `config` gives."""
    return _digest(
        {
            "version": KEY_VERSION,
            "config": config.model_dump(mode="json", exclude={"merge"}),
            "backbone": backbone_digest,
            "data": data_digests,
        }
    )


def model_key(train_key: str, merge: float) -> str:
    """20 hexadecimal digits naming trained weights averaged with the backbone's; not merged: `train_key`."""
    return _digest({"version": KEY_VERSION, "trained": train_key, "merge": merge}) if merge else train_key


def untouched_key(backbone_digest: str) -> str:
    """20 hexadecimal digits naming the backbone as it came, trained on nothing."""
    return _digest({"version": KEY_VERSION, "untouched": backbone_digest})


def score_key(config: EvalConfig, *, task: str, task_digest: str) -> str:
    """20 hexadecimal digits naming the measurement of any model on one task."""
    return _digest(
        {
            "version": MEASURE_VERSION,
            "config": config.model_dump(mode="json"),
            "task": task,
            "digest": task_digest,
        }
    )
