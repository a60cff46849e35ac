"""A merged arm's model: trained once, averaged with the untouched backbone, kept under a key of its own."""

import json
import shutil
import time
from pathlib import Path

from hybrid.errors import BadInput
from sweeps.plan import Trial
from sweeps.store import Store


def refuse_failed_training(trial: Trial, store: Store) -> None:
    """Raises BadInput where the training whose weights a trial merges has failed for good."""
    failure = store.failure(trial.merges) if trial.merges else None
    if failure is not None:
        raise BadInput(f"{trial.label}: the training it merges failed: {failure.get('reason', 'unknown')}")


def store_merged(trial: Trial, store: Store, folder: Path) -> None:
    """Store the model of a merged trial, made from the stored training `trial.merges`; of another, nothing.

    Curve, mixture and configuration are those of that training. Raises Damaged if it cannot be read back.
    """
    if trial.train is None or trial.merges is None or trial.train_key is None:
        return
    from hybrid.encoder import Encoder
    from hybrid.merging import average_with_untouched

    start = time.perf_counter()
    made = folder / "merged"
    model = store.get_model(trial.merges, made)
    trained = Encoder.load(str(model), trust_remote_code=trial.trust_remote_code)
    untouched = Encoder.load(trial.backbone, trust_remote_code=trial.trust_remote_code)
    average_with_untouched(trained, untouched, trial.train.merge)
    shutil.rmtree(model)
    trained.save(model)
    config = json.loads((made / "config.json").read_text(encoding="utf-8"))
    config["train"]["merge"] = trial.train.merge
    (made / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")
    record = json.loads((made / "record.json").read_text(encoding="utf-8"))
    record |= {
        "merge": trial.train.merge,
        "merges": trial.merges,
        "training_seconds": record.get("seconds"),  # of the training it shares
        "seconds": time.perf_counter() - start,
    }
    (made / "record.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    store.put_model(trial.train_key, made)
