"""A finished sweep made of invented scores, written through the real store: for tests of what reads it.

Scores are a query's own difficulty plus a shift that is known for each arm, so differences are known.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hybrid.config import EvalConfig, TrainConfig
from hybrid.scores import MEASURES_OF_SETTING, SCHEMA
from sweeps.arms import Arm, name_arms
from sweeps.plan import Plan, Trial
from sweeps.spec import Sweep
from sweeps.spec_sections import Evaluate, Export, Guardrail, Limits, ResourceRule, SelectOn, Tracking
from sweeps.store import Store

LANGUAGES = ("ar", "de", "en")
TASKS = {
    "embedded-qa:dev": "parallel",
    "embedded-qa:test": "parallel",
    "embedded-science:train": "beir",
    "embedded-science": "beir",
    "embedded-history": "beir",
}
Shift = Callable[[str, str, float], float]
"""(task, setting, mono_ratio) → what training adds to every query's value."""


def no_shift(_task: str, _setting: str, _mono_ratio: float) -> float:
    return 0.0


def paper_like(_task: str, setting: str, mono_ratio: float) -> float:
    """Cross-lingual settings gain and zero-shot loses as mono_ratio falls."""
    if setting == "beir":
        return 0.04 - 0.06 * (1 - mono_ratio) ** 2
    return {"mono": 0.06 - 0.02 * (1 - mono_ratio), "cross": 0.02, "multi": 0.03}[setting] + (
        0.05 * (1 - mono_ratio) if setting != "mono" else 0.0
    )


def make_sweep(
    folder: Path,
    *,
    mono_ratios: Sequence[float] = (1.0, 0.5, 0.0),
    backbones: Sequence[str] = ("embedded-xlmr",),
    batch_sizes: Sequence[int] = (16,),
    seeds: Sequence[int] = (1, 2),
    shift: Shift = no_shift,
    noise: float = 0.0,
    queries: int = 40,
    export: Export | None = None,
    name: str = "made",
    languages: Sequence[str] = LANGUAGES,
    salt: int = 0,
) -> tuple[Plan, Store]:
    """A sweep, its plan and a store that holds all of it. Another `salt` makes other keys and noise."""
    store = Store(folder)
    sweep = Sweep(
        name=name,
        axes={
            "mono_ratio": tuple(mono_ratios),
            "backbone": tuple(backbones),
            "batch_size": tuple(batch_sizes),
        },
        points=tuple(
            {"mono_ratio": ratio, "backbone": backbone, "batch_size": size}
            for backbone in backbones
            for size in batch_sizes
            for ratio in mono_ratios
        ),
        seeds=tuple(seeds),
        hold="examples",
        train={"data": ("embedded-qa:train",), "examples": 1600, "learning_rate": 3e-4},
        evaluate=Evaluate(
            select_on=SelectOn(in_domain=("embedded-qa:dev",), zero_shot=("embedded-science:train",)),
            in_domain=("embedded-qa:test",),
            zero_shot=("embedded-science", "embedded-history"),
        ),
        reference={"mono_ratio": 1.0},
        guardrail=Guardrail(),
        resources=(ResourceRule(),),
        limits=Limits(),
        tracking=Tracking(),
        search=None,
        export=export or Export(),
        path="made.yaml",
        text=f"name: {name}\n",
    )
    arms = name_arms(sweep.points, sweep.reference, backbones[0])
    arms = [arm for arm in arms if arm.untouched] + [arm for arm in arms if not arm.untouched]
    trials = tuple(_trial(arm, seed, salt) for arm in arms for seed in ([None] if arm.untouched else seeds))
    for at, trial in enumerate(trials, start=10_000 * salt):
        _fill(store, trial, at, shift, noise, queries, languages)
    return plan_of(sweep, arms, trials, store), store


def plan_of(sweep: Sweep, arms: Sequence[Arm], trials: Sequence[Trial], store: Store) -> Plan:
    index = store.index()
    return Plan(
        sweep=sweep,
        arms=tuple(arms),
        trials=tuple(trials),
        trained=frozenset(t.train_key for t in trials if t.train_key and index.has_model(t.train_key)),
        scored=frozenset(
            (t.train_key, key)
            for t in trials
            for key in t.scores.values()
            if t.train_key and key and index.has_scores(t.train_key, key)
        ),
        begun=frozenset(t.train_key for t in trials if t.train_key and index.has_checkpoint(t.train_key)),
        failures={
            t.train_key: store.failure(t.train_key) or {} for t in trials if index.failed(t.train_key or "")
        },
        unknown=(),
    )


def replan(plan: Plan, store: Store) -> Plan:
    """The same trials, after the store has changed."""
    return plan_of(plan.sweep, plan.arms, plan.trials, store)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:20]


def _trial(arm: Arm, seed: int | None, salt: int) -> Trial:
    train = None
    if not arm.untouched:
        train = TrainConfig(
            backbone=arm.backbone,
            data=("embedded-qa:train",),
            mono_ratio=arm.axes["mono_ratio"],
            batch_size=arm.axes["batch_size"],
            steps=1600 // arm.axes["batch_size"],
            seed=seed or 0,
        )
    train_key = _key(arm.backbone, sorted(arm.axes.items()), seed, *([salt] if salt else []))
    scores = {task: _key(task) for task in TASKS}
    return Trial(arm, seed, train, EvalConfig(), arm.backbone, train_key, scores, 1.0, 0.0)


def _fill(
    store: Store, trial: Trial, at: int, shift: Shift, noise: float, queries: int, languages: Sequence[str]
) -> None:
    assert trial.train_key is not None
    if trial.train is not None:
        folder = Path(store.root) / "tmp" / "made"
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "config.json").write_text("{}")
        (folder / "config.json").write_text(json.dumps({"train": trial.train.model_dump(mode="json")}))
        steps = trial.train.steps
        curve = {
            "step": list(range(0, steps, 10)),
            "loss": [2.0 / (1 + step) for step in range(0, steps, 10)],
        }
        pq.write_table(pa.table(curve), folder / "curve.parquet")
        mono = round(steps * trial.train.mono_ratio)
        mixture = {
            "steps": steps,
            "batch_size": trial.train.batch_size,
            "examples": steps * trial.train.batch_size,
            "batches": {"mono": mono, "cross": steps - mono},
            "mono_share": mono / steps,
            "pairs_by_language": {"ar-ar": mono, "ar-de": steps - mono},
            "languages": list(languages),
            "pool_pairs": 400,
            "pool_clusters": 120,
            "epochs": 4.0,
            "repeats_per_pair": {"min": 3, "mean": 4.0, "max": 5},
            "effective_negatives_per_query": trial.train.batch_size - 1.25,
        }
        (folder / "mixture.json").write_text(json.dumps(mixture))
        record = {
            "steps": steps,
            "seconds": 3.5 + at / 100,
            "attempts": 1,
            "peak_rss_mb": 812.5,
            "synthetic": True,
            "events": [],
            "hardware": {
                "host": "h",
                "machine": "x86_64",
                "processor": "Example CPU",
                "cpus": 2,
                "gpu": None,
            },
            "versions": {"python": "3.11.2", "torch": "2.13.0"},
            "commit": "4e1f00d",
        }
        (folder / "record.json").write_text(json.dumps(record))
        store.put_model(trial.train_key, folder)
    ratio = trial.train.mono_ratio if trial.train else None
    generator = np.random.default_rng(at)
    for task, kind in TASKS.items():

        def value(setting: str, base: np.ndarray, task: str = task) -> np.ndarray:
            moved = base + (shift(task, setting, ratio) if ratio is not None else 0.0)
            return moved + generator.normal(0.0, noise, len(base)) if noise else moved

        table = score_table(task, kind, value, queries, languages)
        record = {
            "task": task,
            "task_digest": _key("digest", task),
            "seconds": 0.5,
            "synthetic": True,
            "notes": [],
        }
        store.put_scores(trial.train_key, trial.scores[task] or "", table, record)


def score_table(
    task: str,
    kind: str,
    value: Callable[[str, np.ndarray], np.ndarray],
    queries: int = 40,
    languages: Sequence[str] = LANGUAGES,
) -> pa.Table:
    """A table as `hybrid.evaluate.evaluate` returns it: the same queries and difficulties every time."""
    columns, difficulty, settings, ranks = _queries(task, kind, queries, tuple(languages))
    found = np.empty(len(difficulty))
    for setting in np.unique(settings):
        found[settings == setting] = value(str(setting), difficulty[settings == setting])
    found[ranks] = 100 * (1 - found[ranks])
    return columns.append_column(SCHEMA.field("value"), pa.array(found))


@cache
def _queries(
    task: str, kind: str, queries: int, languages: tuple[str, ...]
) -> tuple[pa.Table, np.ndarray, np.ndarray, np.ndarray]:
    """All columns but the value; the difficulty and the setting of each row; rows that count ranks."""
    cells: list[tuple[str, str, str | None]] = [("beir", "en", "en")]
    if kind == "parallel":
        cells = [("mono", a, a) for a in languages]
        cells += [("cross", a, b) for a in languages for b in languages if a != b]
        cells += [("multi", a, None) for a in languages]
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names if name != "value"}
    difficulty = []
    for at, (setting, query_lang, doc_lang) in enumerate(cells):
        for measure in MEASURES_OF_SETTING[setting]:
            generator = np.random.default_rng([at, *task.encode(), *measure.encode()])
            difficulty.append(generator.uniform(0.2, 0.8, queries))
            columns["task"] += [task] * queries
            columns["setting"] += [setting] * queries
            columns["query_lang"] += [query_lang] * queries
            columns["doc_lang"] += [doc_lang] * queries
            columns["query_id"] += [f"q{query}" for query in range(queries)]
            columns["cluster_id"] += [f"c{query // 2}" for query in range(queries)]
            columns["measure"] += [measure] * queries
    ranks = np.array([measure == "rank_distance" for measure in columns["measure"]])
    table = pa.table(columns).cast(pa.schema([field for field in SCHEMA if field.name != "value"]))
    return table, np.concatenate(difficulty), np.array(columns["setting"]), ranks
