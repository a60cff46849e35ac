"""The training loop: from a configuration, pairs and an encoder to trained weights.

The same configuration on the same hardware gives bit-identical weights on CPU, cut off and resumed or not.

Shapes: B pairs of a batch, D embedding dimensions. A *piece* is a group of texts of like length that are
encoded together; it changes what padding costs and nothing else, for the loss sees all 2·B embeddings.
"""

import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils import deterministic

from hybrid.batching import Batch, Mixture, Pool, check, conflicts, realised
from hybrid.checkpoint import load_checkpoint, save_checkpoint
from hybrid.config import TrainConfig
from hybrid.data.records import ParallelPairs
from hybrid.encoder import Encoder, TokenIds, hardware_precision
from hybrid.errors import BadInput
from hybrid.layers import faster_layers
from hybrid.loss import cached_backward, info_nce, random_state, set_random_state
from hybrid.optimizer import Optimizer, learning_rate

__all__ = ["DivergenceError", "Progress", "Trained", "check", "train"]

CURVE = ("step", "loss", "learning_rate", "gradient_norm", "seconds")
"""Columns of the training curve, one row a step; `seconds` is training time up to and with that step."""

_PIECE_TOKENS = {"cpu": 1024, "cuda": 32768}  # padded tokens of a piece: enough to fill the matrix units
_TOKENISED_AHEAD = 100  # steps


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

    steps: int
    seconds: float  # training time, earlier attempts up to their checkpoint included
    curve: pa.Table  # columns CURVE
    mixture: dict[str, Any]  # hybrid.batching.realised
    resumed_from: int  # steps already done when this call began
    peak_rss_mb: float  # of the process, since it started
    events: list[dict[str, Any]]  # what did not go as planned: halved chunks, unreadable checkpoints


def train(
    config: TrainConfig,
    pairs: Sequence[ParallelPairs],
    encoder: Encoder,
    *,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    checkpoint_now: Callable[[], bool] | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train `encoder` in place for `config.steps` steps; go on from the file `checkpoint` if it is there.

    Writes `checkpoint` (one safetensors file) every `checkpoint_seconds`, and when `checkpoint_now`, asked
    after each step, says so; then calls `on_checkpoint`.
    Raises BadInput for pairs that cannot give such batches or a checkpoint of another configuration,
    DivergenceError when the loss is no longer finite, torch.OutOfMemoryError when one text alone is too much.
    """
    mistakes = check(config, pairs)
    if config.precision == "bf16" and hardware_precision(config.device) != "bf16":
        mistakes.append(f"precision: this {config.device} does not compute bf16 in hardware; take fp32.")
    if mistakes:
        raise BadInput(mistakes)
    encoder.model.to(config.device).train()
    faster = faster_layers(encoder.model) if config.device == "cpu" else nullcontext()
    with _process_of(config), faster:
        run = _Run(config, Mixture(config, Pool(pairs, config.languages)), encoder)
        done = run.resume(checkpoint) if checkpoint is not None else 0
        started, earlier, saved = time.perf_counter(), run.seconds, time.perf_counter()
        for step in range(done, config.steps):
            loss, norm = run.step(step)
            now = time.perf_counter()
            run.seconds = earlier + now - started
            run.curve.append((step + 1, loss, learning_rate(config, step), norm, run.seconds))
            if not np.isfinite([loss, norm]).all():
                raise DivergenceError(
                    f"step {step + 1} of {config.steps}: loss {loss:g}, gradient norm {norm:g}; lower "
                    f"learning_rate ({config.learning_rate:g}) or raise temperature ({config.temperature:g})."
                )
            if on_progress is not None:
                rate = (step + 1 - done) / (now - started)  # steps per second
                left = (config.steps - step - 1) / rate
                on_progress(Progress(step + 1, config.steps, loss, rate * config.batch_size, left))
            due = now - saved >= checkpoint_seconds or (checkpoint_now is not None and checkpoint_now())
            if checkpoint is not None and step + 1 < config.steps and due:
                run.save(checkpoint, step + 1)
                saved = time.perf_counter()
                if on_checkpoint is not None:
                    on_checkpoint(checkpoint)
        encoder.model.eval()
        run.optimizer.zero_grad()
        columns = np.array(run.curve, dtype=np.float64).reshape(-1, len(CURVE)).T
        curve = pa.table(
            {name: column.astype(np.int64) if name == "step" else column
             for name, column in zip(CURVE, columns, strict=True)}
        )  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        mixture = realised(run.mixture, config.steps)
        return Trained(config.steps, run.seconds, curve, mixture, done, peak, run.events)


class _Run:
    """The state of one training run: what a checkpoint holds, and how one step changes it."""

    def __init__(self, config: TrainConfig, mixture: Mixture, encoder: Encoder) -> None:
        self.config, self.mixture, self.encoder = config, mixture, encoder
        self.optimizer = Optimizer(encoder.model.named_parameters(), config)
        self.tokens = _Tokens(config, mixture, encoder)
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
            pieces = _pieces(token_ids, _PIECE_TOKENS[self.config.device], self.chunk)
            try:
                self.optimizer.zero_grad()
                loss = self.backward(batch, token_ids, pieces)
                break
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                largest = max(len(piece) for piece in pieces)
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

    def backward(self, batch: Batch, token_ids: list[TokenIds], pieces: list[list[int]]) -> float:
        """Gradients of one batch into the parameters; the loss. Chunked if `self.chunk` is set."""
        config, size = self.config, len(batch.pairs)
        place = torch.from_numpy(np.argsort(np.concatenate(pieces)))  # (2·B,) text -> row among the pieces
        masked = torch.from_numpy(conflicts(batch.clusters)).to(config.device)  # (B, B)
        masked_or_none = masked if bool(masked.any()) else None

        def encode(piece: list[int]) -> Tensor:
            inputs = self.encoder.collate([token_ids[i] for i in piece])  # (texts, length) each
            with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
                return self.encoder.forward(*inputs)  # (texts, D)

        def loss_of(embeddings: Tensor) -> Tensor:
            queries, passages = torch.split(embeddings[place.to(config.device)], size)  # (B, D) each
            return info_nce(
                queries, passages,
                temperature=config.temperature, symmetric=config.symmetric, conflicts=masked_or_none,
            )  # fmt: skip

        if self.chunk is not None:
            return float(cached_backward([partial(encode, piece) for piece in pieces], loss_of, self.devices))
        loss = loss_of(torch.cat([encode(piece) for piece in pieces]))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def save(self, path: Path, done: int) -> None:
        """A checkpoint after `done` steps: weights, optimiser, random state, curve, events."""
        tensors = self.optimizer.tensors()
        tensors["curve"] = torch.tensor(self.curve, dtype=torch.float64)
        tensors |= {f"random.{i}": state for i, state in enumerate(random_state(self.devices))}
        state = {
            "config": _identity(self.config, self.mixture),
            "done": done,
            "seconds": self.seconds,
            "chunk": self.chunk,
            "events": self.events,
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
        if state["config"] != _identity(self.config, self.mixture):
            raise BadInput(f"{path}: is of another configuration; delete it to train from the start.")
        self.optimizer.load(tensors)
        set_random_state([tensors[f"random.{i}"] for i in range(1 + len(self.devices))], self.devices)
        self.curve = [tuple(row) for row in tensors["curve"].tolist()]
        self.events, self.chunk, self.seconds = state["events"], state["chunk"], state["seconds"]
        return int(state["done"])


class _Tokens:
    """Token ids of the texts that batches use, each distinct text tokenised once, many steps ahead."""

    def __init__(self, config: TrainConfig, mixture: Mixture, encoder: Encoder) -> None:
        self.config, self.mixture, self.encoder = config, mixture, encoder
        self.questions: dict[tuple[int, str], TokenIds] = {}
        self.passages: dict[tuple[int, str], TokenIds] = {}
        self.ready = range(0)  # steps whose texts are all tokenised

    def of(self, batch: Batch) -> list[TokenIds]:
        """The B questions, then their B passages."""
        if batch.step not in self.ready:
            self.ready = range(batch.step, min(batch.step + _TOKENISED_AHEAD, self.config.steps))
            ahead = [self.mixture.batch(step) for step in self.ready]
            asked = {key for b in ahead for key in zip(b.pairs.tolist(), b.query_languages, strict=True)}
            told = {key for b in ahead for key in zip(b.pairs.tolist(), b.passage_languages, strict=True)}
            self.tokenize(asked, told)
        rows = batch.pairs.tolist()
        questions = [self.questions[key] for key in zip(rows, batch.query_languages, strict=True)]
        return questions + [self.passages[key] for key in zip(rows, batch.passage_languages, strict=True)]

    def tokenize(self, asked: set[tuple[int, str]], told: set[tuple[int, str]]) -> None:
        pool, new = self.mixture.pool, sorted(asked - self.questions.keys())
        texts = [pool.question(*key) for key in new]
        token_ids = self.encoder.tokenize(texts, "query", max_length=self.config.max_query_length)
        self.questions.update(zip(new, token_ids, strict=True))
        new = sorted(told - self.passages.keys())
        texts = [pool.passage(*key) for key in new]
        token_ids = self.encoder.tokenize(texts, "passage", max_length=self.config.max_passage_length)
        self.passages.update(zip(new, token_ids, strict=True))


def _pieces(token_ids: list[TokenIds], tokens: int, rows: int | None) -> list[list[int]]:
    """Texts by falling length, cut so that a piece has at most `tokens` padded tokens and `rows` texts."""
    by_length = sorted(range(len(token_ids)), key=lambda i: -len(token_ids[i]))
    pieces: list[list[int]] = []
    for text in by_length:
        full = not pieces or (len(pieces[-1]) + 1) * len(token_ids[pieces[-1][0]]) > tokens
        if full or (rows is not None and len(pieces[-1]) == rows):
            pieces.append([])
        pieces[-1].append(text)
    return pieces


def _identity(config: TrainConfig, mixture: Mixture) -> str:
    """What a checkpoint must share with the run that goes on from it."""
    digests = sorted({one.digest for one, _ in mixture.pool.rows})
    return json.dumps({"config": config.model_dump(mode="json"), "data": digests}, sort_keys=True)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


@contextmanager
def _process_of(config: TrainConfig) -> Iterator[None]:
    """Threads, random state and determinism as `config` says, then as before: trials share processes."""
    devices = [torch.device("cuda", torch.cuda.current_device())] if config.device == "cuda" else []
    threads, random = torch.get_num_threads(), random_state(devices)
    only_deterministic = torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(config.device == "cpu")
        # It would cost time, and nothing here reads what it did not write.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        yield
    finally:
        torch.set_num_threads(threads)
        set_random_state(random, devices)
        torch.use_deterministic_algorithms(only_deterministic)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark
