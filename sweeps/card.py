"""The card of an exported model: README.md in the format of the Hugging Face Hub."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from hybrid.backbones import resolve
from hybrid.scores import MEASURES
from sweeps.choose import Choice
from sweeps.plan import Plan, Trial
from sweeps.report_verdicts import WORDS
from sweeps.results import Results, TrialRecord
from sweeps.series import SETTING_WORDS, series_and_values
from sweeps.tables import number


def model_card(
    plan: Plan,
    trial: Trial,
    record: TrialRecord,
    choice: Choice,
    results: Results,
    certificate: Mapping[str, Any],
) -> str:
    """YAML front matter, then text: use, verdict, how it was chosen, results, training.

    Format: https://huggingface.co/docs/hub/model-cards
    """
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
        overlap=plan.sweep.evaluate.allow_overlap,
        split=any(":" in row["task"] for row in rows),
        verdict=certificate["verdict"],
        words=WORDS,
        hardware=certificate["hardware"],
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
        **({} if known else {"license_name": "unknown"}),
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
