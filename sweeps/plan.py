"""Arms × seeds, minus what the store already has. Reads little, writes nothing, never imports torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from hybrid.config import EvalConfig, TrainConfig, model_key, score_key, train_key, untouched_key
from hybrid.data.levels import is_pool, read_level
from hybrid.data.records import Precision
from hybrid.errors import BadInput
from hybrid.hardware import cpu_precision
from sweeps.arms import Arm, name_arms
from sweeps.digests import Digests
from sweeps.disjoint import refuse_shared, shared_notes, training_sets
from sweeps.estimate import seconds_left
from sweeps.plan_notes import mixed_precision, not_here, nothing_to_choose_on, other_lengths, same_training
from sweeps.spec import Group, Sweep
from sweeps.store import Store

__all__ = ["Arm", "Plan", "Trial", "digests_path", "make_plan", "prepare_sweep", "proposed_path"]


@dataclass(frozen=True)
class Trial:
    """One arm with one seed, resolved: what to train, what to measure, under which keys."""

    arm: Arm
    seed: int | None  # None: untouched
    train: TrainConfig | None  # None: untouched
    evaluate: EvalConfig
    backbone: str
    train_key: str | None  # None: unknown until digests are prepared
    scores: Mapping[str, str | None]  # task name -> score key
    cpus: float
    gpus: float
    trust_remote_code: bool = False
    pools: Mapping[str, str] = field(default_factory=dict)  # task at level pool -> what names its pool
    merges: str | None = None  # key of the training whose weights are merged; None: measured as trained
    digests: Mapping[str, str] = field(default_factory=dict)  # of its training sets and backbone

    @property
    def label(self) -> str:
        return self.arm.alias if self.seed is None else f"{self.arm.alias} s{self.seed}"

    @property
    def is_merged(self) -> bool:
        return self.train is not None and self.train.merge > 0


@dataclass(frozen=True)
class Plan:
    """Every trial of a sweep and what the store has of it."""

    sweep: Sweep
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    trained: frozenset[str]  # train keys whose model the store has
    scored: frozenset[tuple[str, str]]  # (train key, score key) the store has
    begun: frozenset[str]  # train keys with a checkpoint to go on from
    failures: Mapping[str, Mapping[str, Any]]  # train key -> what went wrong
    unknown: tuple[str, ...]  # why some keys are not known yet, one sentence each
    digests: Mapping[str, str] = field(default_factory=dict)  # that the keys are made of; a run records them
    seconds_left: float | None = None  # of trial time, one after another; None: nothing to go by
    notes: tuple[str, ...] = ()  # beside those of the sweep

    def lacks_training(self, trial: Trial) -> bool:
        return trial.train is not None and (trial.train_key is None or trial.train_key not in self.trained)

    def trains(self, trial: Trial) -> bool:
        """Whether it is this trial that trains; merged ones share the training of one that came before."""
        return id(trial) in self._training

    @cached_property
    def _training(self) -> frozenset[int]:
        first: dict[tuple[Any, ...], Trial] = {}
        for trial in sorted(self.todo, key=lambda one: one.is_merged):
            if self.lacks_training(trial) and (trial.merges is None or trial.merges not in self.trained):
                weights = tuple(item for item in trial.arm.axes.items() if item[0] != "merge")
                first.setdefault((trial.seed, *weights), trial)
        return frozenset(map(id, first.values()))

    def missing_tasks(self, trial: Trial) -> tuple[str, ...]:
        """Tasks the trial has no scores for."""
        return tuple(
            task
            for task, key in trial.scores.items()
            if key is None or trial.train_key is None or (trial.train_key, key) not in self.scored
        )

    @cached_property
    def todo(self) -> tuple[Trial, ...]:
        """Trials that lack a model or scores, failed ones included."""
        return tuple(t for t in self.trials if self.lacks_training(t) or self.missing_tasks(t))

    @cached_property
    def done(self) -> tuple[Trial, ...]:
        left = set(map(id, self.todo))
        return tuple(t for t in self.trials if id(t) not in left)

    @cached_property
    def failed(self) -> tuple[Trial, ...]:
        """Trials of `todo` that failed when last run; they run again with --retry-failed."""
        return tuple(t for t in self.todo if t.train_key in self.failures)

    @property
    def tasks(self) -> dict[str, tuple[Group, ...]]:
        """Every task once, with the groups it belongs to."""
        return self.sweep.evaluate.tasks

    def arm(self, alias: str) -> Arm:
        return next(arm for arm in self.arms if arm.alias == alias)

    def trials_of(self, arm: Arm) -> Sequence[Trial]:
        return tuple(trial for trial in self.trials if trial.arm.alias == arm.alias)


def proposed_path(sweep: Sweep) -> str:
    """Where the store keeps the arms that a search has proposed: {"points": [{axis: value}, …]}."""
    return f"sweeps/{sweep.name}/proposed.json"


def digests_path(sweep: Sweep) -> str:
    """Where the store keeps the digests that the last run of a sweep worked with."""
    return f"sweeps/{sweep.name}/digests.json"


def make_plan(
    sweep: Sweep,
    store: Store,
    data_root: Path | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
) -> Plan:
    """Every trial of a sweep with its keys, and what the store has of it.

    `points` are the arms to plan for, by default those of the sweep; for a search, those proposed so far. The
    reference of a proposed arm is planned with it. Raises BadInput if the store cannot be read.
    """
    try:
        if points is None:
            points = _proposed(sweep, store) if sweep.search else sweep.points
        digests = _digests(sweep, data_root, recorded=store.read_record(digests_path(sweep)))
        arms = name_arms(points, sweep.reference, _backbone(sweep))
        trials = [trial for arm in arms for trial in _trials(sweep, arm, digests)]
        if mistakes := same_training(trials) + mixed_precision(trials):
            raise BadInput(f"{sweep.path}: {mistake}" for mistake in mistakes)
        index = store.index()
        keyed = [trial for trial in trials if trial.train_key]
        keys = {key for t in keyed for key in (t.train_key, t.merges) if key}
        plan = Plan(
            sweep=sweep,
            arms=tuple(arms),
            trials=tuple(trials),
            trained=frozenset(filter(index.has_model, keys)),
            scored=frozenset(
                (t.train_key, key)
                for t in keyed
                for key in t.scores.values()
                if key and t.train_key and index.has_scores(t.train_key, key)
            ),
            begun=frozenset(filter(index.has_checkpoint, keys)),
            failures={
                t.train_key: store.failure(t.train_key) or {}
                for t in keyed
                if t.train_key and index.failed(t.train_key)
            },
            unknown=digests.unknown,
            digests=digests.known,
            notes=(
                *nothing_to_choose_on(sweep),
                *other_lengths(sweep, trials),
                *shared_notes(sweep, digests),
                *not_here(digests),
            ),
        )
        return replace(plan, seconds_left=seconds_left(plan, store))
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise BadInput(
            f"store {store}: cannot be read ({reason}); give another place with --store"
        ) from error


def prepare_sweep(
    sweep: Sweep,
    data_root: Path | None = None,
    store: Store | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Read all that a sweep needs, so that `make_plan` knows its keys, and compare training text with tasks.

    Then make what trials share: the pools of its tasks, also put into `store`. Raises BadInput with every
    mistake, text that is trained on and measured among them, unless the sweep allows it.
    """
    digests = _digests(sweep, data_root, cached_only=False)
    for backbone in _backbones(sweep):
        digests.backbone(backbone)
    for name, passage in training_sets(sweep):
        digests.pairs(name, passage)
    if sweep.train.get("stop_on") or "stop_on" in sweep.axes:
        for arm in name_arms(sweep.points, sweep.reference, _backbone(sweep)):
            _trials(sweep, arm, digests)  # asks for the digest of what early stopping looks at, too
    for task in sweep.evaluate.tasks:
        digests.task(read_level(task).task)
    if digests.unknown:
        raise BadInput(digests.unknown)
    refuse_shared(sweep, digests)
    from sweeps.pools import prepare_pools

    prepare_pools(sweep, digests, _backbones(sweep), data_root, store, say)


def steps_of(fields: Mapping[str, Any]) -> int:
    """Optimiser steps of a trial: `updates`, or the whole number of batches nearest to `examples`."""
    if fields.get("updates") is not None:
        return int(fields["updates"])
    return max(1, int(fields["examples"] / fields["batch_size"] + 0.5))


def _trials(sweep: Sweep, arm: Arm, digests: Digests) -> list[Trial]:
    fields = {**sweep.train, **arm.axes}
    rule = next(rule for rule in sweep.resources if _agrees(rule.when, arm.axes if arm.untouched else fields))
    on_gpu = rule.gpu > 0

    def precision(wanted: str) -> Precision:
        if wanted == "auto":
            return "bf16" if on_gpu else cpu_precision()
        return "bf16" if wanted == "bf16" else "fp32"

    lengths = sweep.evaluate.lengths
    evaluate = EvalConfig(
        max_query_length=lengths.query,
        max_document_length=lengths.document,
        precision=precision(sweep.evaluate.precision),
    )
    scores: dict[str, str | None] = {}
    pools = {task: digests.pool_key(task) for task in sweep.evaluate.tasks if is_pool(task)}
    for task in sweep.evaluate.tasks:
        digest = digests.task(task)
        scores[task] = score_key(evaluate, task=task, task_digest=digest) if digest else None
    backbone = digests.backbone(arm.backbone)
    known: dict[str, str] = {}  # of the training sets

    def trial(
        seed: int | None, config: TrainConfig | None, key: str | None, merges: str | None = None
    ) -> Trial:
        return Trial(
            arm,
            seed,
            config,
            evaluate,
            arm.backbone,
            key,
            scores,
            rule.cpu,
            rule.gpu,
            sweep.trust_remote_code,
            {task: key for task, key in pools.items() if key is not None},
            merges,
            {**known, arm.backbone: backbone} if backbone else known,
        )

    if arm.untouched:
        return [trial(None, None, untouched_key(backbone) if backbone else None)]
    resolved = {name: value for name, value in fields.items() if name not in ("examples", "updates")}
    resolved["precision"] = precision(fields["precision"])
    resolved.setdefault("threads", max(1, int(rule.cpu)))
    base = TrainConfig(**resolved, steps=steps_of(fields), seed=0, device="cuda" if on_gpu else "cpu")
    data = {name: digests.pairs(name, base.passage) for name in base.data}
    if base.stop_on is not None:
        data[f"stop_on {base.stop_on}"] = _selection_digest(base.stop_on, base, digests)
    known |= {name: digest for name, digest in data.items() if digest is not None}
    trials = []
    for seed in sweep.seeds:
        config = base.model_copy(update={"seed": seed})
        if not backbone or len(known) < len(data):
            trials.append(trial(seed, config, None))
            continue
        key = train_key(config, backbone_digest=backbone, data_digests=known)
        merged = model_key(key, config.merge)
        trials.append(trial(seed, config, merged, key if merged != key else None))
    return trials


def _selection_digest(name: str, config: TrainConfig, digests: Digests) -> str | None:
    """Of the set that early stopping looks at: its pairs for the loss, the task for a measure."""
    return digests.pairs(name, config.passage) if config.stop_measure == "loss" else digests.task(name)


def _proposed(sweep: Sweep, store: Store) -> list[Mapping[str, Any]]:
    """The arms a search has proposed so far, each after its reference."""
    written = store.read_record(proposed_path(sweep)) or {}
    points: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for proposal in written.get("points", ()):
        if isinstance(proposal, dict) and set(proposal) == set(sweep.axes):
            point = {axis: tuple(v) if isinstance(v, list) else v for axis, v in proposal.items()}
            for one in ({**point, **sweep.reference}, point):
                ordered = {axis: one[axis] for axis in sweep.axes}
                points.setdefault(tuple(ordered.values()), ordered)
    return list(points.values())


def _agrees(when: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(
        name in fields and fields[name] == (tuple(value) if isinstance(value, list) else value)
        for name, value in when.items()
    )


def _digests(
    sweep: Sweep,
    data_root: Path | None,
    *,
    cached_only: bool = True,
    recorded: Mapping[str, str] | None = None,
) -> Digests:
    lengths = sweep.evaluate.lengths
    return Digests(
        data_root,
        cached_only=cached_only,
        recorded=recorded,
        pooled_by=_backbones(sweep),
        lengths=(lengths.query, lengths.document),
    )


def _backbones(sweep: Sweep) -> tuple[str, ...]:
    """Every backbone of the sweep: each is measured untouched, too."""
    return tuple(sweep.axes.get("backbone") or (_backbone(sweep),))


def _backbone(sweep: Sweep) -> str:
    return str(sweep.train.get("backbone") or sweep.axes["backbone"][0])
