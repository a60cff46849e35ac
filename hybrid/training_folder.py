"""One training run in a folder: what `hybrid train` writes, takes up again, and finds finished.

config.yaml      the configuration, every field written out
checkpoint       while it trains
curve.parquet, mixture.json, record.json
model/           sentence-transformers format; renamed into place last, so that it marks a finished run
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hybrid.backbones import added_pooling, backbone_digest, forbidden_code, resolve
from hybrid.config import TrainConfig, model_key, train_key
from hybrid.config_file import read_config, write_config
from hybrid.data.locate import Role, check_names
from hybrid.data.pairs import load_pairs
from hybrid.errors import BadInput
from hybrid.field_rules import contradictions


def train_in_folder(
    config: TrainConfig,
    provenance: dict[str, Any],
    folder: Path,
    data_root: Path | None,
    *,
    checkpoint_seconds: float = 60.0,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Train into `folder`, or go on where it was cut off, or find it finished; returns its record.

    Raises BadInput, with every mistake, before anything is written.
    """
    _check(config, folder, data_root, trust_remote_code)
    record_file = folder / "record.json"
    if (folder / "model").is_dir() and record_file.is_file():
        record: dict[str, Any] = json.loads(record_file.read_text(encoding="utf-8"))
        return {**record, "already_finished": True}

    from hybrid.adapter import adapter_is_missing
    from hybrid.batch_checks import check
    from hybrid.encoder import Encoder
    from hybrid.merging import average_with_untouched
    from hybrid.stopping import load_selection_set
    from hybrid.train import Progress, train

    pairs = [load_pairs(name, data_root, passage=config.passage) for name in config.data]
    mistakes = check(config, pairs) + adapter_is_missing(config)
    if mistakes:
        raise BadInput(mistakes)
    selection = load_selection_set(config, data_root)
    encoder = Encoder.load(
        config.backbone,
        max_query_length=config.max_query_length,
        max_passage_length=config.max_passage_length,
        device=config.device,
        trust_remote_code=trust_remote_code,
    )
    notes = added_pooling(resolve(config.backbone)) + [note for one in pairs for note in one.notes]
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.yaml", config, provenance)
    shown = 0.0

    def show(progress: Progress) -> None:
        nonlocal shown
        last = progress.step == progress.steps
        if last or time.monotonic() - shown > (1 if sys.stderr.isatty() else 30):
            shown = time.monotonic()
            end = "\n" if last or not sys.stderr.isatty() else "\r"
            print(f"{progress}  ", end=end, file=sys.stderr, flush=True)

    checkpoint = folder / "checkpoint"
    result = train(
        config,
        pairs,
        encoder,
        selection=selection,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        on_progress=show,
    )
    if config.merge:
        untouched = Encoder.load(config.backbone, device=config.device, trust_remote_code=trust_remote_code)
        average_with_untouched(encoder, untouched, config.merge)
    partial = folder / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    encoder.save(partial)
    pq.write_table(result.curve, folder / "curve.parquet", compression="zstd")
    _write_json(folder / "mixture.json", result.mixture)
    digests = {one.name: one.digest for one in pairs}
    if selection is not None:
        digests[f"stop_on {config.stop_on}"] = selection.digest
    trained = train_key(
        config, backbone_digest=backbone_digest(resolve(config.backbone)), data_digests=digests
    )
    record = {
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "resumed_from": result.resumed_from,
        "peak_rss_mb": round(result.peak_rss_mb, 1),
        "events": result.events,
        "early_stopping": result.stopping,
        "data_digests": digests,
        "train_key": trained,
        "model_key": model_key(trained, config.merge),
        "synthetic": any(one.synthetic for one in pairs),
        "notes": notes,
    }
    _write_json(record_file, record)
    partial.replace(folder / "model")
    checkpoint.unlink(missing_ok=True)
    return {**record, "already_finished": False}


def _check(config: TrainConfig, folder: Path, data_root: Path | None, trust_remote_code: bool) -> None:
    mistakes: list[str] = []
    try:
        mistakes += forbidden_code(resolve(config.backbone), trust_remote_code)
    except BadInput as error:
        mistakes += error.mistakes
    mistakes += [f"{field}: {sentence}." for field, sentence in contradictions([config.model_dump()])]
    mistakes += check_names(config.data, role="train", data_root=data_root)
    if config.stop_on is not None:
        role: Role = "train" if config.stop_measure == "loss" else "task"
        mistakes += check_names([config.stop_on], role=role, data_root=data_root)
    if folder.exists() and not folder.is_dir():
        mistakes.append(f"--out {folder}: is a file; give a folder.")
    elif not os.access(next(one for one in (folder, *folder.absolute().parents) if one.exists()), os.W_OK):
        mistakes.append(f"--out {folder}: cannot be written; give another folder.")
    elif (folder / "config.yaml").is_file():
        try:
            before, _ = read_config(folder / "config.yaml")
        except BadInput as error:
            mistakes += error.mistakes
        else:
            if before != config:
                named = ", ".join(k for k, v in config.model_dump().items() if v != getattr(before, k))
                mistakes.append(f"--out {folder}: holds a run with another {named}; give another folder.")
    elif folder.is_dir() and any(folder.iterdir()):
        mistakes.append(f"--out {folder}: holds other files; give a new or empty folder.")
    if mistakes:
        raise BadInput(mistakes)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
