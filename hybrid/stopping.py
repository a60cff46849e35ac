"""Early stopping: how good the weights are on a selection set, and when to stop looking for better ones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hybrid.config import EvalConfig, TrainConfig
from hybrid.data.pairs import load_pairs
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.tasks import load_task
from hybrid.encoder import Encoder, Kind
from hybrid.epoch_plan import plan_epoch
from hybrid.errors import BadInput
from hybrid.evaluate import evaluate
from hybrid.loss import info_nce
from hybrid.pair_pool import Pool, conflicts
from hybrid.score_table import summarise

_QUERY: Kind = "query"
_PASSAGE: Kind = "passage"


@dataclass(frozen=True)
class SelectionSet:
    """What early stopping looks at: pairs for the loss, a task for a measure."""

    config: TrainConfig
    held: ParallelPairs | Task

    @property
    def digest(self) -> str:
        return self.held.digest

    @property
    def languages(self) -> tuple[str, ...]:
        """Of its queries, that count."""
        there = self.held.languages if isinstance(self.held, ParallelPairs) else tuple(self.held.queries)
        return there if self.config.stop_languages is None else self.config.stop_languages

    def mistakes(self) -> list[str]:
        """What it cannot give, one sentence each."""
        there = self.held.languages if isinstance(self.held, ParallelPairs) else tuple(self.held.queries)
        name = self.config.stop_on
        mistakes = [
            f"stop_languages: '{lang}' is not in {name}, which has {', '.join(there)}."
            for lang in self.languages
            if lang not in there
        ]
        if self.config.stop_languages == ():
            mistakes.append("stop_languages: is empty; leave it out for all languages of the set.")
        return mistakes

    def value(self, encoder: Encoder) -> float:
        """Of the encoder as it is; of `loss` the negative, so that more is better. Draws no random number."""
        if isinstance(self.held, ParallelPairs):
            return -float(np.mean([self._loss(encoder, self.held, lang) for lang in self.languages]))
        return self._measure(encoder, self.held)

    def _loss(self, encoder: Encoder, held: ParallelPairs, language: str) -> float:
        """Mean InfoNCE over fixed monolingual batches of the training's size, or of as many clusters."""
        config, pool = self.config, Pool([held], [language])
        size = min(config.batch_size, len(set(pool.clusters.tolist())))
        order = np.random.default_rng(0).permutation(len(pool))
        questions = [pool.question(row, language) for row in range(len(pool))]
        passages = [pool.passage(row, language) for row in range(len(pool))]
        asked, told = (
            torch.from_numpy(encoder.encode(texts, kind, precision=config.precision, max_length=length))
            for texts, kind, length in (
                (questions, _QUERY, config.max_query_length),
                (passages, _PASSAGE, config.max_passage_length),
            )
        )  # (pairs, D) each
        losses = [
            info_nce(
                asked[rows], told[rows],
                temperature=config.temperature, symmetric=config.symmetric,
                conflicts=torch.from_numpy(conflicts(pool.clusters[rows])),
            ).item()
            for rows in plan_epoch(order, pool.clusters, size)
        ]  # fmt: skip
        return float(np.mean(losses))

    def _measure(self, encoder: Encoder, task: Task) -> float:
        """Macro mean: over cells of a setting, then over the settings that have the measure."""
        config = self.config
        lengths = EvalConfig(
            max_query_length=config.max_query_length,
            max_document_length=config.max_passage_length,
            precision=config.precision,
        )
        settings: dict[str, list[float]] = {}
        for row in summarise(evaluate(encoder, task, lengths)).to_pylist():
            if row["measure"] == config.stop_measure and row["query_lang"] in self.languages:
                settings.setdefault(row["setting"], []).append(row["value"])
        if not settings:
            raise BadInput(f"stop_measure: {task.name} has no {config.stop_measure}; take another measure.")
        return float(np.mean([np.mean(values) for values in settings.values()]))


def load_selection_set(config: TrainConfig, data_root: Path | None) -> SelectionSet | None:
    """The set that `config` stops on; None if it does not stop early. BadInput if it cannot be used."""
    if config.stop_on is None:
        return None
    held: ParallelPairs | Task
    if config.stop_measure == "loss":
        held = load_pairs(config.stop_on, data_root, passage=config.passage)
    else:
        held = load_task(config.stop_on, data_root)
    found = SelectionSet(config, held)
    if mistakes := found.mistakes():
        raise BadInput(mistakes)
    return found


@dataclass
class Stopping:
    """The looks so far: what a checkpoint keeps beside the best weights."""

    every: int  # steps
    patience: int
    looks: list[tuple[int, float]] = field(default_factory=list)  # steps done, value

    def due(self, done: int, steps: int) -> bool:
        return done % self.every == 0 or done == steps

    def look(self, done: int, value: float) -> bool:
        """Remember a value; whether it is better than all before."""
        better = all(value > earlier for _, earlier in self.looks)
        self.looks.append((done, value))
        return better

    @property
    def best_step(self) -> int:
        """The first of the best."""
        return max(self.looks, key=lambda look: (look[1], -look[0]))[0]

    @property
    def enough(self) -> bool:
        return sum(step > self.best_step for step, _ in self.looks) >= self.patience

    def record(self, selection: SelectionSet) -> dict[str, Any]:
        """What was looked at and seen, as JSON; a loss as the loss it is."""
        config = selection.config
        sign = -1.0 if config.stop_measure == "loss" else 1.0
        return {
            "on": config.stop_on,
            "digest": selection.digest,
            "measure": config.stop_measure,
            "languages": list(selection.languages),
            "looks": [{"step": step, "value": sign * value} for step, value in self.looks],
            "best_step": self.best_step,
            "stopped_at": self.looks[-1][0],
        }
