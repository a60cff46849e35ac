"""The sections of a sweep file and their defaults; docs/sweep-file.md describes every field."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid.data.levels import fullest

Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]
Group = Literal["select_in_domain", "select_zero_shot", "in_domain", "zero_shot", "levels"]
GROUPS: tuple[Group, ...] = ("select_in_domain", "select_zero_shot", "in_domain", "zero_shot")
"""The groups that choose and report; `levels` holds tasks that another level of the same group stands for."""

SweepName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
]  # also a folder's name
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
Hold = Literal["examples", "updates"]


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
        """The tasks of each group, in the order written; of one task at several levels the fullest."""
        written: dict[Group, Names] = {
            "select_in_domain": self.select_on.in_domain,
            "select_zero_shot": self.select_on.zero_shot,
            "in_domain": self.in_domain,
            "zero_shot": self.zero_shot,
        }
        groups = {group: fullest(names) for group, names in written.items()}
        beside = [name for group, names in written.items() for name in names if name not in groups[group]]
        return groups | ({"levels": tuple(dict.fromkeys(beside))} if beside else {})

    @property
    def tasks(self) -> dict[str, tuple[Group, ...]]:
        """Every task once, with the groups it belongs to."""
        tasks: dict[str, tuple[Group, ...]] = {}
        for group, names in self.groups.items():
            for name in names:
                tasks[name] = (*tasks.get(name, ()), group)
        return tasks


class Guardrail(Section):
    """How far an arm may fall below its reference: one-sided, declared before the run."""

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
    wall_hours: float | None = Field(default=None, gt=0.0)  # of all runs
    trials: int | None = Field(default=None, ge=1)  # run to their end, done or failed, by all runs
    retries: int = Field(default=2, ge=0)  # of one trial, after its process died, it hung or it raised
    stalled_minutes: float = Field(default=60.0, gt=0.0)  # without progress: a trial that hangs is ended
    max_consecutive_failed: int = Field(default=5, ge=1)


class Tracking(Section):
    uri: Name | None = None  # null: SQLite in the store


class Range(Section):
    """A range in which an axis is searched; an axis of whole numbers takes whole numbers."""

    low: float
    high: float
    step: float | None = Field(default=None, gt=0.0)
    log: bool = False


class Optuna(Section):
    arms: int = Field(default=20, ge=1)  # proposed in all, those the store already has included
    seed: int = Field(default=0, ge=0)
    space: dict[str, Range] = Field(default_factory=dict)  # axis -> range; any other axis: its listed values


class Search(Section):
    """Two objectives on the selection sets: in-domain up, zero-shot up."""

    optuna: Optuna = Optuna()


class Assume(Section):
    """What a plan reckons with where nothing is measured yet; it is shown as assumed.

    Standard deviations are of paired differences of the guardrail's measure, as fractions.
    """

    sd_seed: float = Field(default=0.005, ge=0.0, lt=1.0)  # between the means of seeds
    sd_query: float = Field(default=0.15, ge=0.0, lt=1.0)  # between queries
    sd_within: float = Field(default=0.13, ge=0.0, lt=1.0)  # what is left of one seed and query
    hardware: Name | None = None  # what a trial runs on, in words
    tflops: float | None = Field(default=None, gt=0.0)  # that it reaches there, not its peak
    weights: dict[str, Annotated[float, Field(gt=0.0)]] = Field(default_factory=dict)
    """Backbone -> millions of weights beside the embeddings, which cost next to nothing."""
    document_tokens: int = Field(default=100, ge=1)  # of a document, on average
    documents: dict[str, Annotated[float, Field(gt=0.0)]] = Field(default_factory=dict)
    """Task -> millions of documents, where the catalog does not know them."""


class Export(Section):
    """The rule that chooses the winner, on the selection sets alone."""

    maximise: str = "map"  # measure, macro mean over the in-domain selection tasks
    setting: Literal["mono", "cross", "multi", "beir"] | None = (
        None  # null: mean over all that have the measure
    )
    guardrail: bool = True  # only arms that keep the guardrail
