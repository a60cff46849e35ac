"""One trial: train unless the store has the model, then measure each task the store has no scores for.

The same function runs in this process and in Ray's workers, one trial after another in one process:
heavy imports, tasks and training pairs are read once, and nothing else outlives a trial.
"""

import gc
import json
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid.config import TrainConfig
from hybrid.freed_memory import free_memory
from sweeps.attempts import Attempts
from sweeps.merged import refuse_failed_training, store_merged
from sweeps.plan import Trial
from sweeps.pools import read_task
from sweeps.provenance import commit, made_on, peak_rss_mb
from sweeps.same_data import refuse_other_task, refuse_other_training
from sweeps.store import Damaged, Store

if TYPE_CHECKING:
    from hybrid.data.records import ParallelPairs
    from hybrid.encoder import Encoder
    from hybrid.evaluate import Corpora

CHECKPOINT_SECONDS = 60.0
_PAIRS_KEPT = 4  # per process
_import_seconds: float | None = None  # of this process; set by the first trial in it


@dataclass(frozen=True)
class Outcome:
    """What a trial did and what it cost."""

    trained: bool
    train_seconds: float  # 0 if the store had the model
    evaluate_seconds: Mapping[str, float]  # task -> seconds, of the tasks measured now
    import_seconds: float  # 0 unless this was the first trial of its process
    seconds: float  # all of it
    resumed_from: int  # steps a checkpoint saved

    @property
    def overhead_seconds(self) -> float:
        """What was neither training nor evaluation, imports included."""
        return self.seconds - self.train_seconds - sum(self.evaluate_seconds.values())


class Left(Exception):  # noqa: N818  not an error
    """The trial was left because its machine is going away; what it had is in the store."""


@dataclass(frozen=True)
class Progress:
    """How far a trial is, for whoever watches."""

    doing: str  # "loading", "tokenising …", "training" or the name of the task being measured
    share: float  # of the doing, 0 to 1
    loss: float | None = None  # of the last step; None unless training
    pairs_per_second: float | None = None
    saved: bool = False  # something new is in the store: another attempt goes on from there


def run_trial(
    trial: Trial,
    store: Store,
    data_root: Path | None,
    *,
    scratch: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    leaving: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Bring the store to hold everything `trial` is to give; what it already has is not made again.

    `scratch` is a folder for files being made, by default one of the system's. When `leaving`, asked
    between steps, says so, a checkpoint is stored and Left is raised. Raises whatever training or
    evaluation raise; the store then holds what was finished before.
    """
    start = time.perf_counter()
    import_seconds = _import_once()
    train_key = _known(trial.train_key)
    on_progress(Progress("loading", 0.0))
    _reset_process(trial)
    attempts = Attempts(store, trial)
    with tempfile.TemporaryDirectory(prefix="trial-", dir=scratch, ignore_cleanup_errors=True) as folder:
        config, train_seconds, resumed_from = trial.train, 0.0, 0
        model = _stored_model(trial, store, Path(folder)) if config is not None else None
        lacks_model = config is not None and model is None
        trained = lacks_model and not (trial.merges and store.has_model(trial.merges))
        if config is not None and trained:
            refuse_failed_training(trial, store)
            train_seconds, resumed_from = _train(
                trial,
                config.model_copy(update={"merge": 0.0}),
                trial.merges or train_key,
                store,
                data_root,
                Path(folder),
                attempts,
                on_progress,
                leaving,
            )
            on_progress(Progress("training", 1.0, saved=True))
            free_memory()
        if lacks_model:
            store_merged(trial, store, Path(folder))
            model = _stored_model(trial, store, Path(folder))
            if model is None:  # never measure the untouched backbone in its place
                raise RuntimeError(
                    f"{store}: the model just stored is gone or damaged; does another run write it?"
                )
        evaluate_seconds: dict[str, float] = {}
        if missing := _missing(trial, store):
            encoder = _load(trial, model)
            corpora: Corpora = {}  # splits of one set share their documents
            for task in missing:
                evaluate_seconds[task] = _evaluate(
                    trial, encoder, task, corpora, store, data_root, on_progress, leaving
                )
            del encoder, corpora
    seconds = time.perf_counter() - start
    attempts.write("done")
    store.clear_failure(train_key)  # of an earlier attempt, perhaps at a task that is no longer asked for
    return Outcome(trained, train_seconds, evaluate_seconds, import_seconds, seconds, resumed_from)


def _train(
    trial: Trial,
    config: TrainConfig,
    train_key: str,
    store: Store,
    data_root: Path | None,
    folder: Path,
    attempts: Attempts,
    on_progress: Callable[[Progress], None],
    leaving: Callable[[], bool],
) -> tuple[float, int]:
    """Train and store the model; returns seconds of training and steps a checkpoint saved."""
    import pyarrow.parquet as pq

    from hybrid.stopping import load_selection_set
    from hybrid.train import Progress as Step
    from hybrid.train import train
    from sweeps.warm_backbone import warm_encoder

    pairs = [_pairs(name, data_root, config.passage) for name in config.data]
    refuse_other_training(trial, pairs)
    selection = load_selection_set(config, data_root)
    encoder = warm_encoder(
        config.backbone,
        max_query_length=config.max_query_length,
        max_passage_length=config.max_passage_length,
        device=config.device,
        trust_remote_code=trial.trust_remote_code,
    )
    checkpoint = folder / "checkpoint"
    store.get_checkpoint(train_key, checkpoint)

    left, last = False, Progress("training", 0.0)

    def leave() -> bool:
        nonlocal left
        left = leaving()
        return left

    def keep(path: Path) -> None:
        store.put_checkpoint(train_key, path)
        attempts.write("cut off")
        on_progress(replace(last, saved=True))
        if left:
            raise Left

    def tell(step: Step) -> None:
        nonlocal last
        last = Progress("training", step.step / config.steps, step.loss, step.pairs_per_second)
        on_progress(last)

    def tell_tokens(doing: str, share: float) -> None:
        on_progress(Progress(doing, share))

    start, made_by = time.perf_counter(), commit()  # before it: the files may change meanwhile
    result = train(
        config,
        pairs,
        encoder,
        selection=selection,
        checkpoint=checkpoint,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        checkpoint_now=leave,
        on_checkpoint=keep,
        on_progress=tell,
        on_tokens=tell_tokens,
    )
    seconds = time.perf_counter() - start
    trained = folder / "trained"
    encoder.save(trained / "model")
    pq.write_table(result.curve, trained / "curve.parquet", compression="zstd")
    made_from = {"train": config.model_dump(mode="json"), "data_digests": {p.name: p.digest for p in pairs}}
    _write_json(trained / "config.json", made_from)
    _write_json(trained / "mixture.json", result.mixture)
    record = {
        "steps": result.steps,
        "seconds": result.seconds,  # earlier attempts up to their checkpoint included
        "resumed_from": result.resumed_from,
        "attempts": attempts.count,
        "events": result.events,
        "early_stopping": result.stopping,
        "peak_rss_mb": result.peak_rss_mb,
        "synthetic": any(one.synthetic for one in pairs),
        "notes": [note for one in pairs for note in one.notes],
        "precision": config.precision,
        "threads": config.threads,
        **made_on(config.device),
        "commit": made_by,
    }
    _write_json(trained / "record.json", record)
    store.put_model(train_key, trained)
    return seconds, result.resumed_from


def _missing(trial: Trial, store: Store) -> list[str]:
    """Tasks the store has no scores of this trial for."""
    train_key = _known(trial.train_key)
    return [task for task, key in trial.scores.items() if not store.has_scores(train_key, _known(key))]


def _stored_model(trial: Trial, store: Store, folder: Path) -> Path | None:
    """The trained model from the store, checked, as a folder to load; None if it is to be trained.

    Nothing is fetched where nothing is to be measured. A damaged model is forgotten, to be trained again.
    """
    train_key = _known(trial.train_key)
    if not store.has_model(train_key):
        return None
    if not _missing(trial, store):
        return folder
    try:
        return store.get_model(train_key, folder / "stored")
    except Damaged:
        store.drop_model(train_key)
        return None


def _load(trial: Trial, model: Path | None) -> "Encoder":
    """The encoder to measure: as stored, also right after training, so that scores are those of its bytes."""
    from hybrid.encoder import Encoder
    from sweeps.warm_backbone import warm_encoder

    options: dict[str, Any] = {
        "max_query_length": trial.evaluate.max_query_length,
        "max_passage_length": trial.evaluate.max_document_length,
        "device": trial.train.device if trial.train is not None else "cuda" if trial.gpus else "cpu",
        "trust_remote_code": trial.trust_remote_code,
    }
    if model is None:
        return warm_encoder(trial.backbone, **options)
    return Encoder.load(str(model), keeps_tokens=True, **options)


def _evaluate(
    trial: Trial,
    encoder: "Encoder",
    task_name: str,
    corpora: "Corpora",
    store: Store,
    data_root: Path | None,
    on_progress: Callable[[Progress], None],
    leaving: Callable[[], bool],
) -> float:
    """Measure one task and store its scores; returns the seconds it took."""
    from hybrid.coverage import known_coverage
    from hybrid.evaluate import evaluate

    task = read_task(trial, task_name, store, data_root)
    refuse_other_task(trial, task_name, task)
    on_progress(Progress(task_name, 0.0))
    start = time.perf_counter()

    def tell(done: int, texts: int) -> None:
        on_progress(Progress(task_name, done / texts))
        if leaving():
            raise Left

    table = evaluate(encoder, task, trial.evaluate, corpora=corpora, progress=tell)
    seconds = time.perf_counter() - start
    record = {
        "task": task_name,
        "task_digest": task.digest,
        "seconds": seconds,
        "documents": sum(len(texts) for texts in task.documents.values()),
        "coverage": [asdict(one) for one in known_coverage(encoder, task, trial.evaluate)],
        "synthetic": task.synthetic,
        "notes": list(task.notes),
        "evaluate": trial.evaluate.model_dump(mode="json"),
        "threads": max(1, int(trial.cpus)),
        "peak_rss_mb": peak_rss_mb(),
        "host": socket.gethostname(),
    }
    store.put_scores(_known(trial.train_key), _known(trial.scores[task_name]), table, record)
    on_progress(Progress(task_name, 1.0, saved=True))
    return seconds


def _import_once() -> float:
    """Import what is slow to import; returns the seconds it took, 0 in later trials of this process."""
    global _import_seconds
    if _import_seconds is not None:
        return 0.0
    start = time.perf_counter()
    import hybrid.encoder
    import hybrid.evaluate
    import hybrid.train  # noqa: F401

    gc.collect()
    gc.freeze()  # what the imports made stays: collecting after each trial need not look at it again
    _import_seconds = time.perf_counter() - start
    return _import_seconds


def _reset_process(trial: Trial) -> None:
    """Leave nothing of the trial before: threads and random state are this trial's own."""
    import torch

    free_memory()
    torch.manual_seed(trial.seed or 0)
    torch.set_num_threads(max(1, int(trial.cpus)))


@lru_cache(maxsize=_PAIRS_KEPT)
def _pairs(name: str, data_root: Path | None, passage: Any) -> "ParallelPairs":
    from hybrid.data.pairs import load_pairs

    return load_pairs(name, data_root, passage=passage)


def _known(key: str | None) -> str:
    if key is None:
        raise ValueError("the trial's keys are not known: its data have to be prepared first")
    return key


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
