"""Does the exported configuration give the recorded scores? The model measured again, and trained again."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hybrid.errors import BadInput
from hybrid.scores import SCHEMA
from sweeps.plan import Trial
from sweeps.pools import read_task
from sweeps.store import Store

if TYPE_CHECKING:
    from hybrid.evaluate import Corpora

TOLERANCE = 1e-3
"""Largest change of a macro mean, as a fraction, that measuring on other hardware may cause."""


@dataclass(frozen=True)
class Agreement:
    """Scores made again beside those recorded. `largest_difference` is of a macro mean, a fraction of it
    where ranks are counted; `largest_of` names which."""

    tasks: tuple[str, ...]
    scores: int  # rows compared: a query, setting and measure each
    scores_that_differ: int
    largest_difference: float
    largest_of: str

    @property
    def sentence(self) -> str:
        on = ", ".join(self.tasks)
        if not self.scores_that_differ:
            return f"all {self.scores} scores on {on} are identical"
        return (
            f"{self.scores_that_differ} of {self.scores} scores on {on} differ; "
            f"largest difference of a mean {self.largest_difference:.2g} ({self.largest_of})"
        )


@dataclass(frozen=True)
class Retrained:
    """A configuration trained again."""

    agreement: Agreement
    weights_identical: bool
    seconds: float  # of the training

    @property
    def reproduces(self) -> bool:
        return self.agreement.largest_difference <= TOLERANCE

    @property
    def sentence(self) -> str:
        weights = "the same weights" if self.weights_identical else "other weights"
        word = "reproduces" if self.reproduces else "DOES NOT REPRODUCE"
        return f"training again {word} the scores: {weights}; {self.agreement.sentence}"


def measure_again(
    model: Path, trial: Trial, store: Store, tasks: Sequence[str], data_root: Path | None
) -> Agreement:
    """Load a model and measure it on tasks as the trial was measured, beside what the store has."""
    import torch

    from hybrid.encoder import Encoder, hardware_precision
    from hybrid.evaluate import evaluate

    on_gpu = trial.train is not None and trial.train.device == "cuda" and torch.cuda.is_available()
    if trial.evaluate.precision == "bf16" and hardware_precision("cuda" if on_gpu else "cpu") == "fp32":
        raise BadInput(
            "it was measured in bf16, which this machine does not compute; check it on another, or leave the "
            "check out with --no-check"
        )
    encoder = Encoder.load(
        str(model),
        max_query_length=trial.evaluate.max_query_length,
        max_passage_length=trial.evaluate.max_document_length,
        device="cuda" if on_gpu else "cpu",
        trust_remote_code=trial.trust_remote_code,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(trial.cpus)))  # as when it was measured
    corpora: Corpora = {}
    try:
        again = {
            task: evaluate(encoder, read_task(trial, task, store, data_root), trial.evaluate, corpora=corpora)
            for task in tasks
        }
    finally:
        torch.set_num_threads(threads)
    before = {
        task: store.scores(trial.train_key or "", trial.scores[task] or "").select(SCHEMA.names)
        for task in tasks
    }
    return agreement(before, again)


def agreement(before: Mapping[str, pa.Table], again: Mapping[str, pa.Table]) -> Agreement:
    """Compare two sets of score tables, task → rows of `hybrid.scores.SCHEMA`."""
    from hybrid.score_table import macro

    largest, largest_of = 0.0, ""
    for task, table in before.items():
        new = macro(again[task])
        for key, value in macro(table).items():
            change = abs(new.get(key, np.inf) - value)
            change = float(change / (max(value, 1.0) if key[2] == "rank_distance" else 1.0))
            if not change <= largest:  # a value that is not a number counts as the largest
                largest, largest_of = change, ", ".join((task, *key[1:]))
    return Agreement(
        tuple(before),
        sum(len(table) for table in before.values()),
        sum(_rows_that_differ(table, again[task]) for task, table in before.items()),
        largest,
        largest_of,
    )


def train_again(
    config_file: Path, model: Path, trial: Trial, store: Store, tasks: Sequence[str], data_root: Path | None
) -> Retrained:
    """Train the configuration in `config_file` as `hybrid train` does, in a folder that is removed again, and
    compare weights with those of `model` and scores with those recorded.

    Raises BadInput where it cannot be trained here.
    """
    import torch

    from hybrid.config_file import read_config
    from hybrid.training_folder import train_in_folder

    config, provenance = read_config(config_file)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            f"{config_file}: trains on a GPU, and this machine has none; check it where there is one"
        )
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(dir=config_file.parent, prefix=".retrain-") as folder:
        start = time.perf_counter()
        try:
            train_in_folder(
                config,
                provenance,
                Path(folder) / "run",
                data_root,
                trust_remote_code=trial.trust_remote_code,
            )
        finally:
            torch.set_num_threads(threads)
        seconds = time.perf_counter() - start
        made = Path(folder) / "run" / "model"
        found = measure_again(made, trial, store, tasks, data_root)
        return Retrained(found, _same_weights(model, made), seconds)


def _same_weights(one: Path, other: Path) -> bool:
    names = [{p.relative_to(folder) for p in folder.rglob("*.safetensors")} for folder in (one, other)]
    return names[0] == names[1] and all((one / p).read_bytes() == (other / p).read_bytes() for p in names[0])


def _rows_that_differ(before: pa.Table, again: pa.Table) -> int:
    keys = [name for name in SCHEMA.names if name != "value"]
    plain = [
        pa.table(
            {name: table[name].cast(pa.string()) if name != "value" else table[name] for name in SCHEMA.names}
        ).sort_by([(name, "ascending") for name in keys])
        for table in (before, again)
    ]
    if len(plain[0]) != len(plain[1]):
        return max(len(plain[0]), len(plain[1]))
    return int(np.sum(plain[0]["value"].to_numpy() != plain[1]["value"].to_numpy()))
