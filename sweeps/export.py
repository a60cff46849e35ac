"""The chosen configuration as something to use: its settings, its model, the model's card, a certificate.

best.yaml  choice.json  certificate.json  model/README.md  model/…

Several winners stand in a folder each, named in winners.json.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from hybrid.errors import BadInput
from sweeps.card import model_card
from sweeps.certificate import certificate
from sweeps.choose import Choice, choose, choose_each, choose_front, chosen_trial
from sweeps.plan import Plan, Trial
from sweeps.results import Results, TrialRecord, load_results
from sweeps.retrain import TOLERANCE, Agreement, Retrained, measure_again, train_again
from sweeps.store import Store


@dataclass(frozen=True)
class Exported:
    """One winner, written. `checked`: the written model measured once more on its quickest task."""

    folder: Path
    choice: Choice
    checked: Agreement | None
    retrained: Retrained | None
    version: str | None  # of the registered MLflow model; None if not registered

    def as_json(self) -> dict[str, Any]:
        again = self.retrained
        return {
            "folder": str(self.folder),
            "version": self.version,
            "alias": self.choice.title,
            "choice": self.choice.as_json(),
            "checked": asdict(self.checked) if self.checked else None,
            "retrained": retrained_json(again) if again else None,
        }


def retrained_json(again: Retrained) -> dict[str, Any]:
    return {**asdict(again), "reproduces": again.reproduces, "sentence": again.sentence}


def export_winners(
    plan: Plan,
    store: Store,
    out: Path,
    *,
    each: str | None = None,
    front: bool = False,
    data_root: Path | None = None,
    uri: str | None = None,
    check: bool = True,
    retrain: bool = False,
    register: bool = True,
) -> list[Exported]:
    """Choose by the spec's rule, write the winner into `out`, register it with alias `champion`.

    With `each`, an axis, the winner among the arms of each of its values; with `front`, all arms on the
    Pareto front; each then has a folder of its own below `out`, and an alias of the same name. With `check`
    the written model is loaded and measured on its quickest task, and BadInput is raised if it does not give
    the recorded scores; with `retrain` the configuration is trained again as well and the comparison kept in
    the certificate. `out` is replaced as a whole once everything in it is there.
    """
    if each and front:
        raise BadInput("--each and --front are two ways to export several winners; give one")
    results = load_results(plan, store, every_measure=False)
    if each:
        choices = choose_each(plan, results, each)
    else:
        choices = choose_front(plan, results) if front else [choose(plan, results)]
    several = each is not None or front
    marks = ("choice.json", "winners.json")
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not any((out / m).exists() for m in marks))
    ):
        raise BadInput(f"{out}: holds files that are no earlier export; give an empty folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    written: list[tuple[Choice, Trial, Agreement | None, Retrained | None]] = []
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
        made = Path(temporary) / "export"
        for choice in choices:
            trial = chosen_trial(plan, choice)
            folder = made / choice.title if several else made
            folder.mkdir(parents=True)
            checked, again = _write(
                plan, store, results, choice, trial, folder, data_root, check=check, retrain=retrain
            )
            written.append((choice, trial, checked, again))
        if several:
            named = [{"folder": choice.title, "arm": choice.arm, "seed": choice.seed} for choice in choices]
            (made / "winners.json").write_text(_json(named), encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    folders = [out / choice.title if several else out for choice in choices]
    versions = _register(plan, store, uri, results, folders, written) if register else [None] * len(written)
    return [
        Exported(folder, choice, checked, again, version)
        for folder, (choice, _, checked, again), version in zip(folders, written, versions, strict=True)
    ]


def _write(
    plan: Plan,
    store: Store,
    results: Results,
    choice: Choice,
    trial: Trial,
    folder: Path,
    data_root: Path | None,
    *,
    check: bool,
    retrain: bool,
) -> tuple[Agreement | None, Retrained | None]:
    """One winner's files; what measuring and training again gave."""
    assert trial.train is not None  # untouched backbones are no candidates
    assert trial.train_key is not None
    record = next(r for r in results.trials if r.trial == trial)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".stored-") as stored:
        shutil.move(store.get_model(trial.train_key, Path(stored) / "trained"), folder / "model")
    checked = _check(trial, record, store, folder / "model", data_root) if check else None
    (folder / "best.yaml").write_text(best_yaml(plan, trial, record, choice, store), encoding="utf-8")
    (folder / "choice.json").write_text(_json(choice.as_json()), encoding="utf-8")
    document = certificate(plan, trial, record, choice, results, store, folder / "model")
    again = None
    if retrain:
        tasks = list(record.measured)
        again = train_again(folder / "best.yaml", folder / "model", trial, store, tasks, data_root)
        document["retrained"] = retrained_json(again)
    (folder / "certificate.json").write_text(_json(document), encoding="utf-8")
    card = model_card(plan, trial, record, choice, results, document)
    (folder / "model" / "README.md").write_text(card, encoding="utf-8")
    return checked, again


def _register(
    plan: Plan,
    store: Store,
    uri: str | None,
    results: Results,
    folders: Sequence[Path],
    written: Sequence[tuple[Choice, Trial, Agreement | None, Retrained | None]],
) -> list[str | None]:
    from sweeps.tracking import project, register_model

    project(plan, store, uri, results=results)
    return [
        register_model(
            plan, store, uri, folder / "model", str(trial.train_key), choice.statement, alias=choice.title
        )
        for folder, (choice, trial, _, _) in zip(folders, written, strict=True)
    ]


def best_yaml(plan: Plan, trial: Trial, record: TrialRecord, choice: Choice, store: Store) -> str:
    """The configuration for `hybrid train`, with where it comes from."""
    if trial.train is None:
        raise ValueError("an untouched backbone has no training configuration")
    stored = store.get_json(f"models/{trial.train_key}/config.json") or {}
    document = {
        "train": trial.train.model_dump(mode="json"),
        "provenance": {
            "sweep": plan.sweep.name,
            "arm": choice.arm,
            "seed": choice.seed,
            "train_key": trial.train_key,
            "rule": choice.rule,
            "statement": choice.statement,
            "data_digests": stored.get("data_digests", {}),
            "versions": dict(record.record.get("versions", {})),
            "hardware": dict(record.record.get("hardware", {})),
            "spec": plan.sweep.text,
        },
    }
    head = "# hybrid train best.yaml --out DIR\n#\n# Trains the chosen configuration again.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _check(trial: Trial, record: TrialRecord, store: Store, model: Path, data_root: Path | None) -> Agreement:
    """Measure the written model on its quickest task; BadInput if the scores are others."""
    task = min(record.measured, key=lambda name: record.measured[name].get("seconds") or 0.0)
    found = measure_again(model, trial, store, [task], data_root)
    if not found.largest_difference <= TOLERANCE:
        raise BadInput(
            f"the exported model scores differently on {task} than recorded (by "
            f"{found.largest_difference:.4f}); nothing was exported. Is the data the same? `sweeps plan` "
            "says what the store lacks."
        )
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
