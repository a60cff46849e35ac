"""The training loop: from a configuration, pairs and an encoder to trained weights.

The same configuration on the same hardware gives bit-identical weights on CPU, cut off and resumed or not.

Shapes: B pairs of a batch, C candidate passages (the B positives, then hard negatives), D embedding
dimensions. A *piece* is a group of texts of like length that are encoded together; it changes what padding
costs and nothing else, for the loss sees all B + C embeddings.
"""

import json
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hybrid.adapter import adapted, adapter_is_missing
from hybrid.batch_checks import check
from hybrid.batch_tokens import BatchTokens, OnTokens, pieces
from hybrid.batching import Batch, Mixture
from hybrid.checkpoint import load_checkpoint, save_checkpoint
from hybrid.config import TrainConfig
from hybrid.data.records import ParallelPairs
from hybrid.encoder import Encoder, TokenIds, hardware_precision
from hybrid.errors import BadInput
from hybrid.layers import faster_layers
from hybrid.loss import cached_backward, info_nce, random_state, set_random_state
from hybrid.mixture_record import realised
from hybrid.optimizer import Optimizer, learning_rate
from hybrid.pair_pool import Pool
from hybrid.process_state import is_out_of_memory, process_of
from hybrid.stopping import SelectionSet, Stopping

CURVE = ("step", "loss", "learning_rate", "gradient_norm", "seconds")
"""Columns of the training curve, one row a step; `seconds` is training time up to and with that step."""

_PIECE_TOKENS = {"cpu": 1024, "cuda": 32768}  # padded tokens of a piece: enough to fill the matrix units


class DivergenceError(FloatingPointError):
    """The loss or the gradient is no longer a finite number."""


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step."""

    step: int  # steps done
    steps: int
    loss: float
    pairs_per_second: float  # of this process, over the steps since it started or resumed
    seconds_left: float

    def __str__(self) -> str:
        return (
            f"step {self.step}/{self.steps}  loss {self.loss:.4f}  "
            f"{self.pairs_per_second:.1f} pairs/s  {self.seconds_left:.0f} s left"
        )


@dataclass(frozen=True)
class Trained:
    """What training gives beside the encoder's new weights."""

    steps: int  # that the weights have seen: all, or those up to the best look
    seconds: float  # training time, earlier attempts up to their checkpoint included
    curve: pa.Table  # columns CURVE; every step done
    mixture: dict[str, Any]  # hybrid.mixture_record.realised, of `steps`
    resumed_from: int  # steps already done when this call began
    peak_rss_mb: float  # of the process, since it started
    events: list[dict[str, Any]]  # what did not go as planned: halved chunks, unreadable checkpoints
    stopping: dict[str, Any] | None  # looks at the selection set, the best of them; None: none was asked for


def train(
    config: TrainConfig,
    pairs: Sequence[ParallelPairs],
    encoder: Encoder,
    *,
    selection: SelectionSet | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    checkpoint_now: Callable[[], bool] | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_tokens: OnTokens | None = None,
) -> Trained:
    """Train `encoder` in place for `config.steps` steps; go on from the file `checkpoint` if it is there.

    With `selection` (`load_selection_set`, given if and only if `config.stop_on` is) it may stop earlier, and
    the weights of the best look at that set are kept.
    Writes `checkpoint` (one safetensors file) every `checkpoint_seconds`, and when `checkpoint_now`, asked
    after each step, says so; then calls `on_checkpoint`. `on_tokens` is told how far whole training sets are
    tokenised, which an encoder that keeps tokens does before their first batch.
    Raises BadInput for pairs that cannot give such batches or a checkpoint of another configuration,
    DivergenceError when the loss is no longer finite, torch.OutOfMemoryError when one text alone is too much.
    """
    mistakes = check(config, pairs) + adapter_is_missing(config)
    if config.precision == "bf16" and hardware_precision(config.device) != "bf16":
        mistakes.append(f"precision: this {config.device} does not compute bf16 in hardware; take fp32.")
    if mistakes:
        raise BadInput(mistakes)
    if (selection is None) != (config.stop_on is None):
        raise ValueError("a selection set is given if and only if the configuration names one")
    encoder.model.to(config.device).train()
    with process_of(config), adapted(encoder, config), _faster(encoder, config):
        run = _Run(config, Mixture(config, Pool(pairs, config.languages)), encoder, selection, on_tokens)
        done = begun = run.resume(checkpoint) if checkpoint is not None else 0
        started, earlier, saved = time.perf_counter(), run.seconds, time.perf_counter()
        while done < config.steps and not run.stopping.enough:
            loss, norm = run.step(done)
            done += 1
            if not np.isfinite([loss, norm]).all():
                raise DivergenceError(
                    f"step {done} of {config.steps}: loss {loss:g}, gradient norm {norm:g}; lower "
                    f"learning_rate ({config.learning_rate:g}) or raise temperature ({config.temperature:g})."
                )
            run.look(done)
            now = time.perf_counter()
            run.seconds = earlier + now - started
            run.curve.append((done, loss, learning_rate(config, done - 1), norm, run.seconds))
            if on_progress is not None:
                rate = (done - begun) / (now - started)  # steps per second
                left = (config.steps - done) / rate
                on_progress(Progress(done, config.steps, loss, rate * config.batch_size, left))
            due = now - saved >= checkpoint_seconds or (checkpoint_now is not None and checkpoint_now())
            if checkpoint is not None and done < config.steps and due:
                run.save(checkpoint, done)
                saved = time.perf_counter()
                if on_checkpoint is not None:
                    on_checkpoint(checkpoint)
        seen = run.keep_best(done)
        encoder.model.eval()
        run.optimizer.zero_grad()
    columns = np.array(run.curve, dtype=np.float64).reshape(-1, len(CURVE)).T
    curve = pa.table(
        {name: column.astype(np.int64) if name == "step" else column
         for name, column in zip(CURVE, columns, strict=True)}
    )  # fmt: skip
    return Trained(
        steps=seen,
        seconds=run.seconds,
        curve=curve,
        mixture=realised(run.mixture, seen),
        resumed_from=begun,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        events=run.events,
        stopping=run.stopping.record(selection) if selection is not None else None,
    )


def _faster(encoder: Encoder, config: TrainConfig) -> AbstractContextManager[None]:
    return faster_layers(encoder.model) if config.device == "cpu" else nullcontext()


class _Run:
    """The state of one training run: what a checkpoint holds, and how one step changes it."""

    def __init__(
        self,
        config: TrainConfig,
        mixture: Mixture,
        encoder: Encoder,
        selection: SelectionSet | None = None,
        on_tokens: OnTokens | None = None,
    ) -> None:
        self.config, self.mixture, self.encoder, self.selection = config, mixture, encoder, selection
        self.optimizer = Optimizer(encoder.model.named_parameters(), config)
        self.tokens = BatchTokens(config, mixture, encoder, on_tokens)
        self.stopping = Stopping(config.stop_every, config.patience)
        self.best: dict[str, Tensor] = {}  # weights of the best look
        self.chunk: int | None = config.chunk_size
        self.curve: list[tuple[float, ...]] = []
        self.events: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.devices = [torch.device("cuda", torch.cuda.current_device())] if config.device == "cuda" else []

    def step(self, step: int) -> tuple[float, float]:
        """One update; loss and gradient norm. Out of memory, the chunk halves and the step begins again."""
        batch = self.mixture.batch(step)
        token_ids = self.tokens.of(batch)
        before = random_state(self.devices)
        while True:
            groups = pieces(token_ids, _PIECE_TOKENS[self.config.device], self.chunk)
            try:
                self.optimizer.zero_grad()
                loss = self.backward(batch, token_ids, groups)
                break
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                largest = max(map(len, groups))
                if largest == 1:
                    raise
            # Outside the handler, so that the traceback no longer holds the activations.
            self.chunk = largest if self.chunk is None else largest // 2
            self.events.append({"event": "out of memory", "step": step + 1, "chunk_size": self.chunk})
            self.optimizer.zero_grad()
            set_random_state(before, self.devices)
            if self.devices:
                torch.cuda.empty_cache()
        return loss, self.optimizer.step(step)

    def backward(self, batch: Batch, token_ids: list[TokenIds], groups: list[list[int]]) -> float:
        """Gradients of one batch into the parameters; the loss. Chunked if `self.chunk` is set."""
        config, size = self.config, len(batch.pairs)
        masked = torch.from_numpy(batch.masked()).to(config.device) if batch.has_conflicts else None  # (B, C)

        def autocast() -> torch.autocast:
            return torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16")

        def encode(piece: list[int]) -> Tensor:
            inputs = self.encoder.collate([token_ids[i] for i in piece])  # (texts, length) each
            with autocast():
                return self.encoder.forward(*inputs)  # (texts, D)

        def loss_of(embeddings: Tensor) -> Tensor:
            queries, passages = torch.split(embeddings, [size, len(embeddings) - size])  # (B, D), (C, D)
            return info_nce(
                queries, passages,
                temperature=config.temperature, symmetric=config.symmetric, conflicts=masked,
            )  # fmt: skip

        if self.chunk is not None:
            encoders = [partial(encode, piece) for piece in groups]
            # Inside one autocast, weights are converted once for all pieces. With a graph that would add up
            # their gradients in bfloat16, so it is for the pass without one alone.
            return float(cached_backward(encoders, groups, loss_of, self.devices, first_pass=autocast()))
        place = torch.from_numpy(np.argsort(np.concatenate(groups)))  # (B + C,) text -> row among the pieces
        loss = loss_of(torch.cat([encode(piece) for piece in groups])[place.to(config.device)])
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def look(self, done: int) -> None:
        """After `done` steps, where a look is due: how good the weights are, kept if the best so far."""
        if self.selection is None or not self.stopping.due(done, self.config.steps):
            return
        value = self.selection.value(self.encoder)
        if not np.isfinite(value):
            raise DivergenceError(
                f"step {done}: the {self.config.stop_measure} on {self.config.stop_on} is {value:g}"
            )
        if self.stopping.look(done, value):
            self.best = {name: weight.detach().clone() for name, weight in self.optimizer.weights.items()}

    def keep_best(self, done: int) -> int:
        """Put the weights of the best look back; the steps that the weights have seen."""
        if self.selection is None:
            return done
        with torch.no_grad():
            for name, weight in self.optimizer.weights.items():
                weight.copy_(self.best[name])
        return self.stopping.best_step

    def save(self, path: Path, done: int) -> None:
        """A checkpoint after `done` steps: weights, optimiser, random state, curve, events, the best look."""
        tensors = self.optimizer.tensors() | {f"best.{name}": weight for name, weight in self.best.items()}
        tensors["curve"] = torch.tensor(self.curve, dtype=torch.float64)
        tensors |= {f"random.{i}": state for i, state in enumerate(random_state(self.devices))}
        state = {
            "config": self.identity(),
            "done": done,
            "seconds": self.seconds,
            "chunk": self.chunk,
            "events": self.events,
            "looks": self.stopping.looks,
        }
        save_checkpoint(path, tensors, state)

    def resume(self, path: Path) -> int:
        """Puts a checkpoint's state back; the steps it holds, 0 if there is none."""
        loaded = load_checkpoint(path)
        if loaded is None:
            if path.exists():
                self.events.append({"event": "unreadable checkpoint, started again", "path": path.name})
            return 0
        tensors, state = loaded
        if state["config"] != self.identity():
            raise BadInput(f"{path}: is of another configuration; delete it to train from the start.")
        self.optimizer.load(tensors)
        set_random_state([tensors[f"random.{i}"] for i in range(1 + len(self.devices))], self.devices)
        self.curve = [tuple(row) for row in tensors["curve"].tolist()]
        self.events, self.chunk, self.seconds = state["events"], state["chunk"], state["seconds"]
        self.stopping.looks = [(int(step), float(value)) for step, value in state["looks"]]
        best = {name: f"best.{name}" for name in self.optimizer.weights}
        self.best = {
            name: tensors[key].to(self.config.device) for name, key in best.items() if key in tensors
        }
        return int(state["done"])

    def identity(self) -> str:
        """What a checkpoint must share with the run that goes on from it."""
        digests = sorted({one.digest for one, _ in self.mixture.pool.rows})
        config = self.config.model_dump(mode="json", exclude={"merge"})
        selection = None if self.selection is None else self.selection.digest
        return json.dumps({"config": config, "data": digests, "selection": selection}, sort_keys=True)
