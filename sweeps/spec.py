"""What a sweep file says: the sections, and the sweep they make once everything in them holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]
Group = Literal["select_in_domain", "select_zero_shot", "in_domain", "zero_shot"]
GROUPS: tuple[Group, ...] = ("select_in_domain", "select_zero_shot", "in_domain", "zero_shot")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SelectOn(Section):
    """Tasks that choosing, pruning, the guardrail and the search see; never reported as results."""

    in_domain: Names = ()
    zero_shot: Names = ()


class Lengths(Section):
    """Tokens kept when measuring; null: as the model ships them."""

    query: int | None = Field(default=None, ge=4)
    document: int | None = Field(default=None, ge=4)


class Evaluate(Section):
    select_on: SelectOn = SelectOn()
    in_domain: Names = ()
    zero_shot: Names = ()
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    lengths: Lengths = Lengths()
    allow_overlap: bool = False  # selection and reporting, or training and measuring, may share data

    @property
    def groups(self) -> dict[Group, Names]:
        """The tasks of each group, in the order written."""
        return {
            "select_in_domain": self.select_on.in_domain,
            "select_zero_shot": self.select_on.zero_shot,
            "in_domain": self.in_domain,
            "zero_shot": self.zero_shot,
        }

    @property
    def tasks(self) -> dict[str, tuple[Group, ...]]:
        """Every task once, with the groups it belongs to."""
        tasks: dict[str, tuple[Group, ...]] = {}
        for group, names in self.groups.items():
            for name in names:
                tasks[name] = (*tasks.get(name, ()), group)
        return tasks


class Guardrail(Section):
    """How much the reference may be undercut: one-sided, declared before the run."""

    group: Literal["zero_shot", "in_domain"] = "zero_shot"
    measure: str = "ndcg_at_10"
    margin: float = Field(default=0.01, gt=0.0, lt=1.0)  # a fraction: 0.01 is one point
    level: float = Field(default=0.05, gt=0.0, lt=0.5)


class ResourceRule(Section):
    """What a trial takes; the first rule whose `when` agrees with the trial counts."""

    when: dict[str, Any] = Field(default_factory=dict)
    cpu: float = Field(default=1.0, gt=0.0)
    gpu: float = Field(default=0.0, ge=0.0)


class Limits(Section):
    """Where a run stops starting trials; null: no limit."""

    gpu_hours: float | None = Field(default=None, gt=0.0)
    wall_hours: float | None = Field(default=None, gt=0.0)
    trials: int | None = Field(default=None, ge=1)  # started by one run
    retries: int = Field(default=2, ge=0)  # of one trial, after its process died or it raised
    max_consecutive_failed: int = Field(default=5, ge=1)


class Tracking(Section):
    uri: str | None = None  # null: SQLite in the store


class Range(Section):
    """A range an axis is searched in; a whole-numbered axis takes whole numbers."""

    low: float
    high: float
    step: float | None = Field(default=None, gt=0.0)
    log: bool = False


class Optuna(Section):
    arms: int = Field(default=20, ge=1)  # proposed in all, those the store already has included
    seed: int = Field(default=0, ge=0)
    space: dict[str, Range | tuple[Any, ...]] = Field(default_factory=dict)  # by axis; an axis not named: its listed values


class Search(Section):
    """Two objectives on the selection sets: in-domain up, zero-shot up."""

    optuna: Optuna = Optuna()


class Export(Section):
    """The rule that chooses the winner, on the selection sets alone."""

    maximise: str = "map"  # measure, macro mean over the in-domain selection tasks
    setting: Literal["mono", "cross", "multi"] | None = None  # null: mean over all that have the measure
    guardrail: bool = True  # only arms that keep the guardrail


@dataclass(frozen=True)
class Sweep:
    """A sweep file that holds: names known, types right, axes expanded to arms."""

    name: str
    axes: Mapping[str, tuple[Any, ...]]  # axis -> its values in the order met; any TrainConfig field, examples or updates
    points: tuple[Mapping[str, Any], ...]  # one arm each: a value for every axis
    seeds: tuple[int, ...]
    hold: Literal["examples", "updates"]
    train: Mapping[str, Any]  # what is no axis: TrainConfig fields, `precision` possibly "auto", `examples` or `updates`
    evaluate: Evaluate
    reference: Mapping[str, Any]  # axis -> value; an arm's reference has these and is otherwise like the arm
    guardrail: Guardrail = Guardrail()
    resources: tuple[ResourceRule, ...] = (ResourceRule(),)
    limits: Limits = Limits()
    tracking: Tracking = Tracking()
    search: Optuna | None = None
    export: Export = Export()
    notes: tuple[str, ...] = ()  # what a reader should know: defaults taken, overlaps allowed
    path: str = ""  # of the sweep file
    text: str = field(default="", repr=False)  # the file as written, with the overrides as comments
