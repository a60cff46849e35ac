"""A sweep file, read strictly: every mistake at once, each with its line, its field and the fix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from hybrid.errors import BadInput
from sweeps.spec_axes import Axes, default
from sweeps.spec_checks import check_meaning
from sweeps.spec_fields import (
    DEFAULTS,
    FOLLOWS,
    TRAIN_FIELDS,
    as_written,
    check,
    check_train_field,
    did_you_mean,
)
from sweeps.spec_levels import read_levels
from sweeps.spec_rules import (
    check_assume,
    check_resources,
    check_search,
    check_tracking,
    read_reference,
)
from sweeps.spec_sections import (
    GROUPS,
    Assume,
    Evaluate,
    Export,
    Group,
    Guardrail,
    Hold,
    Limits,
    Optuna,
    Range,
    ResourceRule,
    Search,
    Seeds,
    SweepName,
    Tracking,
)
from sweeps.spec_source import Source, apply_overrides, read_source
from sweeps.spec_training import check_training

__all__ = [
    "GROUPS",
    "SHIPPED",
    "Assume",
    "Evaluate",
    "Export",
    "Group",
    "Guardrail",
    "Limits",
    "NotHere",
    "Optuna",
    "Range",
    "ResourceRule",
    "Sweep",
    "Tracking",
    "read_spec",
    "shipped_names",
]

SHIPPED = Path(__file__).parent / "specs"

SECTIONS: dict[str, tuple[Any, Any]] = {
    "name": (SweepName, None),
    "axes": (None, None),  # read by Axes
    "seeds": (Seeds, (1, 2, 3)),
    "hold": (Hold, None),
    "train": (None, {}),  # field by field
    "evaluate": (Evaluate, None),
    "reference": (dict[str, Any], None),
    "guardrail": (Guardrail, Guardrail()),
    "resources": (tuple[ResourceRule, ...], ()),
    "limits": (Limits, Limits()),
    "tracking": (Tracking, Tracking()),
    "search": (Search, None),
    "export": (Export, Export()),
    "assume": (Assume, Assume()),
    "trust_remote_code": (bool, False),
}
"""Section → type, default. Only `name`, `axes` and `evaluate` must be there."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file that holds: names known, types right, axes expanded to arms."""

    name: str
    axes: Mapping[str, tuple[Any, ...]]  # axis -> its values in the order met
    points: tuple[Mapping[str, Any], ...]  # one arm each: a value for every axis
    seeds: tuple[int, ...]
    hold: Hold  # what stays equal when batch_size changes
    train: Mapping[
        str, Any
    ]  # every field that is no axis; `precision` may be "auto"; `examples` or `updates`
    evaluate: Evaluate
    reference: Mapping[str, Any]  # axis -> value; an arm's reference has these and is otherwise like the arm
    guardrail: Guardrail
    resources: tuple[ResourceRule, ...]
    limits: Limits
    tracking: Tracking
    search: Optuna | None
    export: Export
    assume: Assume = field(default_factory=Assume)
    trust_remote_code: bool = False  # a backbone may run Python code from its repository
    notes: tuple[str, ...] = ()  # what a reader should know: defaults taken, overlaps allowed
    path: str = ""  # of the sweep file
    overrides: tuple[str, ...] = ()  # FIELD=VALUE as given
    text: str = field(default="", repr=False)  # the file as written, overrides as comments at its end


class NotHere(BadInput):
    """A sweep with nothing against it but data sets or backbones that this machine does not know."""

    def __init__(self, mistakes: Sequence[str], name: str) -> None:
        super().__init__(mistakes)
        self.name = name  # of the sweep


def shipped_names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_spec(
    path_or_name: str,
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
    *,
    files_later: bool = False,
) -> Sweep:
    """The sweep in a file or shipped under a name, `key=value` overrides applied.

    Raises BadInput with every mistake at once, NotHere if all are names unknown here. Data files are only
    looked for, not read; with `files_later` those of known data sets may be absent.
    """
    source = _read(path_or_name)
    apply_overrides(source, overrides)
    read_levels(source)
    sections = _sections(source)
    notes = check_meaning(source, data_root, files_later=files_later)
    axes = Axes(source, source.value.get("axes"))
    train = _train(source, axes, notes)
    hold = _hold(source, train, axes, notes)
    points = axes.points(train)
    check_training(source, train, points, data_root, files_later=files_later)
    reference = read_reference(source, axes, points, notes)
    check_resources(source, sections["resources"])
    check_tracking(source, sections["tracking"].uri)
    check_search(source, sections["search"], sections["evaluate"], axes)
    backbones = axes.values.get("backbone") or [train.get("backbone", "")]
    tasks = list(sections["evaluate"].tasks) if sections["evaluate"] else []
    check_assume(source, sections["assume"], backbones, tasks)
    if source.mistakes:
        mistakes = _in_order(source)
        raise NotHere(mistakes, sections["name"]) if source.not_here >= {*mistakes} else BadInput(mistakes)
    return Sweep(
        name=sections["name"],
        axes={axis: tuple(values) for axis, values in axes.values.items()},
        points=tuple(points),
        seeds=sections["seeds"],
        hold=hold,
        train=train,
        evaluate=sections["evaluate"],
        reference=reference,
        guardrail=sections["guardrail"],
        resources=(*sections["resources"], ResourceRule()),
        limits=sections["limits"],
        tracking=sections["tracking"],
        search=sections["search"].optuna if sections["search"] else None,
        export=sections["export"],
        assume=sections["assume"],
        trust_remote_code=sections["trust_remote_code"],
        notes=tuple(notes),
        path=source.file,
        overrides=tuple(overrides),
        text=source.text + "".join(f"# --set {override}\n" for override in overrides),
    )


def _read(path_or_name: str) -> Source:
    path = Path(path_or_name)
    if not path.is_file():
        shipped = SHIPPED / f"{path_or_name}.yaml"
        if path_or_name not in shipped_names():
            what = "is a folder" if path.is_dir() else "there is no such file"
            raise BadInput(
                f"{path_or_name}: {what}, nor a shipped sweep{did_you_mean(path_or_name, shipped_names())}"
            )
        path = shipped
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (at byte {error.start}); save the file as UTF-8") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    return read_source(text, path.name if path.parent == SHIPPED else str(path))


def _sections(source: Source) -> dict[str, Any]:
    """Every section by its type; a section with a mistake, or not there, has its default."""
    sections = {name: standard for name, (_, standard) in SECTIONS.items()}
    for name in source.value:
        if name not in SECTIONS:
            hint = (
                f"; put it under `train`: train: {{{name}: …}}"
                if name in TRAIN_FIELDS
                else did_you_mean(name, SECTIONS)
            )
            source.mistake((name,), f"unknown field{hint}")
    for name in ("name", "axes", "evaluate"):
        if source.value.get(name) is None:
            source.mistake((), f"`{name}` is missing; add `{name}:`, see docs/sweep-file.md")
    for name, (kind, _) in SECTIONS.items():
        written = source.value.get(name)
        if kind is None or written is None:
            continue
        value, wrong = check(kind, written)
        for path, sentence in wrong:
            source.mistake((name, *path), sentence)
        if not wrong:
            sections[name] = value
        seeds = written if name == "seeds" and isinstance(written, list) else []
        for i, seed in enumerate(seeds):
            if seed in seeds[:i]:
                source.mistake((name, i), f"{seed} is listed twice; a seed is one replicate, list each once")
    return sections


def _train(source: Source, axes: Axes, notes: list[str]) -> dict[str, Any]:
    """Every training field that is no axis, as written or by default."""
    written = source.value.get("train") or {}
    if not isinstance(written, dict):
        source.mistake(("train",), "must be a mapping of training fields, for example {learning_rate: 5e-5}")
        written = {}
    train: dict[str, Any] = {}
    for name, value in written.items():
        path = ("train", name)
        if name in FOLLOWS:
            source.mistake(path, f"cannot be set: {FOLLOWS[name]}")
        elif name not in TRAIN_FIELDS:
            source.mistake(path, f"unknown field{did_you_mean(name, TRAIN_FIELDS)}")
        elif name in axes.swept:
            source.mistake(path, "is an axis too; keep it under `axes` or under `train`, not both")
        else:
            train[name], wrong = check_train_field(name, value)
            for below, sentence in wrong:
                source.mistake((*path, *below), sentence)
    fields = [
        name for name in TRAIN_FIELDS if name not in (*train, *axes.swept, "examples", "updates", "threads")
    ]
    for name in fields:
        train[name] = default(name)
        if name in DEFAULTS:
            notes.append(f"train.{name} is not given: {as_written(train[name])} is taken")
    return train


def _hold(source: Source, train: dict[str, Any], axes: Axes, notes: list[str]) -> Hold:
    """What is held when the batch size changes: what the length of training is given in."""
    given: list[Hold] = [name for name in get_args(Hold) if name in train or name in axes.values]
    hold = source.value.get("hold")
    if len(given) == 2:
        source.mistake(
            ("train",), "has `examples` and `updates`; keep the one that stays equal when batch_size changes"
        )
    elif given and hold in get_args(Hold) and hold != given[0]:
        source.mistake(
            ("hold",), f"holds {hold}, but the length is given in {given[0]}; give train.{hold} instead"
        )
    elif not given and hold == "updates":
        source.mistake(("hold",), "holds updates, but there are none; add train.updates, for example 200")
    elif not given:
        train["examples"] = DEFAULTS["examples"]
        notes.append(f"train.examples is not given: {DEFAULTS['examples']} is taken")
    return given[0] if given else "examples"


def _in_order(source: Source) -> list[str]:
    """Each mistake once, by line."""

    def line(mistake: str) -> int:
        number = mistake.removeprefix(source.file).partition(":")[2].partition(":")[0]
        return int(number) if number.isdigit() else 0

    return sorted(dict.fromkeys(source.mistakes), key=line)
