"""The chosen configuration as something to use: best.yaml, a sentence-transformers model, its card.

best.yaml  choice.json  model/README.md  model/…
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from jinja2 import Environment, StrictUndefined

from hybrid.backbones import resolve
from hybrid.errors import BadInput
from hybrid.scores import MEASURES, SCHEMA
from sweeps.choose import Choice, choose, chosen_trial
from sweeps.plan import Plan, Trial
from sweeps.pools import read_task
from sweeps.results import Results, TrialRecord, load_results
from sweeps.series import SETTING_WORDS, series_and_values
from sweeps.store import Store
from sweeps.tables import number

TOLERANCE = 1e-3
"""Largest change of a macro mean, as a fraction, that measuring on other hardware may cause."""


@dataclass(frozen=True)
class Checked:
    """The exported model measured once more on one task."""

    task: str
    queries_that_differ: int  # of all rows; 0 on the machine that measured it first
    largest_difference: float  # of a macro mean


@dataclass(frozen=True)
class Exported:
    folder: Path
    choice: Choice
    checked: Checked | None
    version: str | None  # of the registered MLflow model; None if not registered


def export_best(
    plan: Plan,
    store: Store,
    out: Path,
    *,
    data_root: Path | None = None,
    uri: str | None = None,
    check: bool = True,
    register: bool = True,
) -> Exported:
    """Choose by the spec's rule, write the winner into the folder `out`, register it with alias `champion`.

    With `check` the written model is loaded and measured on its quickest task, and BadInput is raised if it
    does not give the recorded scores. `out` is replaced as a whole once everything in it is there.
    """
    results = load_results(plan, store, every_measure=False)
    choice = choose(plan, results)
    trial = chosen_trial(plan, choice)
    if trial.train is None or trial.train_key is None:
        raise BadInput(f"{plan.sweep.name}: the chosen arm {choice.arm} has no trained model to export")
    record = next(r for r in results.trials if r.trial == trial)
    if out.exists() and not (out / "choice.json").exists() and any(out.iterdir()):
        raise BadInput(f"{out}: holds files that are no earlier export; give an empty folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
        made = Path(temporary) / "export"
        made.mkdir()
        model = store.get_model(trial.train_key, Path(temporary) / "stored")
        shutil.move(model, made / "model")
        checked = _check(trial, record, store, made / "model", data_root) if check else None
        (made / "best.yaml").write_text(best_yaml(plan, trial, record, choice, store), encoding="utf-8")
        (made / "choice.json").write_text(_json(choice.as_json()), encoding="utf-8")
        (made / "model" / "README.md").write_text(
            model_card(plan, trial, record, choice, results), encoding="utf-8"
        )
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    version = None
    if register:
        from sweeps.tracking import project, register_model

        project(plan, store, uri, results=results)
        version = register_model(plan, store, uri, out / "model", trial.train_key, choice.statement)
    return Exported(out, choice, checked, version)


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


def model_card(plan: Plan, trial: Trial, record: TrialRecord, choice: Choice, results: Results) -> str:
    """README.md in the format of the Hugging Face Hub: YAML front matter, then text."""
    if trial.train is None:
        raise ValueError("an untouched backbone gets no card")
    synthetic = bool(record.record.get("synthetic")) or any(
        m.get("synthetic") for m in record.measured.values()
    )
    rows, metrics = _card_rows(plan, choice, results)
    name = f"{plan.sweep.name}: {choice.arm}"
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("sweeps") / "templates" / "card.md.j2").read_text("utf-8"))
    return template.render(
        front=yaml.safe_dump(
            _front_matter(trial, record, name, metrics), sort_keys=False, allow_unicode=True
        ),
        name=name,
        sweep=plan.sweep.name,
        synthetic=synthetic,
        train=trial.train.model_dump(mode="json"),
        lengths={"query": trial.evaluate.max_query_length, "document": trial.evaluate.max_document_length},
        choice=choice,
        rows=rows,
        versions=dict(record.record.get("versions", {})),
    )


def _front_matter(
    trial: Trial, record: TrialRecord, name: str, metrics: list[dict[str, Any]]
) -> dict[str, Any]:
    backbone = resolve(trial.backbone)
    languages = record.mixture.get("languages")
    known = backbone.licence != "unknown"
    front: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "license": backbone.licence if known else "other",
        "tags": ["sentence-transformers", "feature-extraction", "sentence-similarity", "retrieval"],
    }
    if languages:
        front["language"] = list(languages)
    if "/" in backbone.source and not Path(backbone.source).is_absolute():
        front["base_model"] = backbone.source
    front["model-index"] = [{"name": name, "results": metrics}]
    return front


def _card_rows(
    plan: Plan, choice: Choice, results: Results
) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """The headline results as table rows, and in the Hub's `model-index` form (fractions)."""
    series, values = series_and_values(results)
    by = {(value["series"], value["arm"]): value for value in values}
    arm = plan.arm(choice.arm)
    untouched = next((a.alias for a in plan.arms if a.untouched and a.backbone == arm.backbone), "")
    rows: list[dict[str, str]] = []
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    for one in series:
        own = by.get((one["id"], arm.alias))
        if not one["headline"] or own is None or str(choice.seed) not in own["seeds"]:
            continue
        scale = 100 if one["points"] else 1

        def show(value: Mapping[str, Any] | None, key: str = "mean", scale: int = scale) -> str:
            return "–" if value is None else number(value[key] * scale, 1)

        score = own["seeds"][str(choice.seed)]
        rows.append(
            {
                "task": "mean of sets" if one["task"] == "macro" else one["task"],
                "setting": SETTING_WORDS[one["setting"]] or "zero-shot",
                "measure": MEASURES[one["measure"]],
                "own": number(score * scale, 1),
                "mean": show(own),
                "reference": show(by.get((one["id"], arm.reference or ""))),
                "untouched": show(by.get((one["id"], untouched))),
            }
        )
        if one["task"] != "macro":
            dataset, _, split = one["task"].partition(":")
            name = f"{SETTING_WORDS[one['setting']]} retrieval".strip().capitalize()
            dataset, _, split = one["task"].partition(":")
            result = metrics.setdefault(
                (one["task"], name),
                {
                    "task": {"type": "retrieval", "name": name},
                    "dataset": {"name": one["task"], "type": dataset, **({"split": split} if split else {})},
                    "metrics": [],
                },
            )
            result["metrics"].append(
                {"type": one["measure"], "value": round(score, 6), "name": MEASURES[one["measure"]]}
            )
    return rows, list(metrics.values())


def _check(trial: Trial, record: TrialRecord, store: Store, model: Path, data_root: Path | None) -> Checked:
    """Load the written model and measure it on its quickest task; BadInput if the scores are others."""
    import torch

    from hybrid.encoder import Encoder
    from hybrid.evaluate import evaluate
    from hybrid.score_table import macro

    task_name = min(record.measured, key=lambda name: record.measured[name].get("seconds") or 0.0)
    lengths = trial.evaluate.max_query_length, trial.evaluate.max_document_length
    encoder = Encoder.load(
        str(model),
        max_query_length=lengths[0],
        max_passage_length=lengths[1],
        trust_remote_code=trial.trust_remote_code,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(trial.cpus)))  # as when it was measured
    try:
        again = evaluate(encoder, read_task(trial, task_name, store, data_root), trial.evaluate)
    finally:
        torch.set_num_threads(threads)
    before = store.scores(trial.train_key or "", trial.scores[task_name] or "").select(SCHEMA.names)
    old, new = macro(before), macro(again)
    largest = max(
        abs(new.get(key, np.inf) - value) / (1.0 if key[2] != "rank_distance" else max(value, 1.0))
        for key, value in old.items()
    )
    if not largest <= TOLERANCE:
        raise BadInput(
            f"the exported model scores differently on {task_name} than recorded (by {largest:.4f}); "
            "nothing was exported. Is the data the same? `sweeps plan` says what the store lacks."
        )
    return Checked(task_name, _rows_that_differ(before, again), float(largest))


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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
