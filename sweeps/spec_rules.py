"""Rules between sections: the reference is in the grid, resources can be given, ranges can be searched."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.secrets import has_password, redacted
from sweeps.spec_axes import Axes
from sweeps.spec_fields import TRAIN_FIELDS, as_written, check_train_field, did_you_mean
from sweeps.spec_sections import Assume, Evaluate, ResourceRule, Search
from sweeps.spec_source import Source


def read_reference(
    source: Source, axes: Axes, points: Sequence[Mapping[str, Any]], notes: list[str]
) -> dict[str, Any]:
    """The axis values that make an arm the one that others are compared with."""
    written = source.value.get("reference")
    reference: dict[str, Any] = {}
    if isinstance(written, dict) and written:
        for axis, value in written.items():
            path = ("reference", axis)
            if axis not in axes.values:
                source.mistake(
                    path, f"is no axis of this sweep{did_you_mean(axis, axes.values or ['mono_ratio'])}"
                )
                continue
            reference[axis], wrong = check_train_field(axis, value)
            for below, sentence in wrong:
                source.mistake((*path, *below), sentence)
            if not wrong and reference[axis] not in axes.values[axis]:
                listed = ", ".join(as_written(met) for met in axes.values[axis])
                source.mistake(
                    path,
                    f"{as_written(value)} is not in the grid; take one of {listed}, or add it to the axis",
                )
                wrong = [((), "")]
            if wrong:
                del reference[axis]
        if len(reference) < len(written):
            return reference
    elif written is not None:
        if isinstance(written, dict):  # other types are reported already
            example = "name the arm to compare with, for example {mono_ratio: 1.0}"
            source.mistake(("reference",), f"is empty; {example}")
        return reference
    elif "mono_ratio" in axes.values:
        reference = {"mono_ratio": 1.0}
        if 1.0 not in axes.values["mono_ratio"]:
            source.mistake(
                ("axes",),
                "the reference arm mono_ratio 1.0 is not in the grid; add it, or name another `reference`",
            )
            return reference
    elif axes.values:
        axis = next(iter(axes.values))
        reference = {axis: axes.values[axis][0]}
        notes.append(f"reference is not given: {axis} {as_written(reference[axis])} is taken")
    if not axes.sound:
        return reference
    known = {tuple(point.values()) for point in points}
    lonely = [p for p in points if tuple({**p, **reference}.values()) not in known]
    if lonely:
        shown = ", ".join(f"{axis} {as_written(value)}" for axis, value in {**lonely[0], **reference}.items())
        source.mistake(
            ("reference",) if written else ("axes",),
            f"{len(lonely)} of {len(points)} arms have no reference arm; add {shown} to `include`",
        )
    return reference


def check_resources(source: Source, rules: Sequence[ResourceRule]) -> None:
    """Whether Ray can give what the rules ask for, and every rule can count."""
    for i, rule in enumerate(rules):
        path: tuple[str | int, ...] = ("resources", i)
        if rule.gpu > 1 and rule.gpu != int(rule.gpu):
            source.mistake((*path, "gpu"), f"must be a fraction up to 1 or a whole number, not {rule.gpu:g}")
        if rule.cpu > 1 and rule.cpu != int(rule.cpu):
            source.mistake((*path, "cpu"), f"must be a fraction up to 1 or a whole number, not {rule.cpu:g}")
        if not rule.when and i + 1 < len(rules):
            source.mistake(path, "has no `when` and so hides the rules after it; put it last")
        for name, value in rule.when.items():
            if name not in TRAIN_FIELDS:
                source.mistake((*path, "when", name), f"unknown field{did_you_mean(name, TRAIN_FIELDS)}")
                continue
            for below, sentence in check_train_field(name, value)[1]:
                source.mistake((*path, "when", name, *below), sentence)


def check_tracking(source: Source, uri: str | None) -> None:
    """Whether MLflow can track there; its file store it refuses itself."""
    if uri is not None and not re.match(r"(https?|sqlite|postgresql|mysql|mssql)(\+\w+)?://|databricks", uri):
        example = "a server's http://host:port, or a database such as sqlite:////folder/mlflow.db"
        shown = redacted(uri)
        source.mistake(("tracking", "uri"), f"{shown!r} is no address MLflow tracks to; give {example}")
    elif uri is not None and has_password(uri):
        source.mistake(
            ("tracking", "uri"),
            "names a user or password, which would be kept in the store; leave it out and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database: its own, PGPASSWORD say)",
        )


def check_assume(source: Source, assume: Assume, backbones: Sequence[str], tasks: Sequence[str]) -> None:
    """Whether what is assumed is of this sweep, and enough to reckon with."""
    for name, valid in (("weights", backbones), ("documents", tasks)):
        for key in getattr(assume, name):
            if key not in valid:
                source.mistake(("assume", name, key), f"is none of this sweep{did_you_mean(key, valid)}")
    if assume.tflops is not None and assume.hardware is None:
        source.mistake(("assume", "hardware"), "is missing beside tflops; name what reaches that many")


def check_search(source: Source, search: Search | None, evaluate: Evaluate | None, axes: Axes) -> None:
    """Whether the search has objectives to search by, and ranges that hold."""
    if search is None:
        return
    if evaluate and not (evaluate.select_on.in_domain and evaluate.select_on.zero_shot):
        source.mistake(
            ("search",), "needs tasks under evaluate.select_on.in_domain and .zero_shot to search by"
        )
    for axis, span in search.optuna.space.items():
        path = ("search", "optuna", "space", axis)
        if axis not in axes.values:
            source.mistake(path, f"is no axis of this sweep{did_you_mean(axis, axes.values or TRAIN_FIELDS)}")
            continue
        if not all(isinstance(value, int | float) for value in axes.values[axis]):
            source.mistake(path, "has no range, its values are not numbers; list them under `axes.grid`")
            continue
        if span.low >= span.high:
            source.mistake(path, f"low must be less than high, not {span.low:g} and {span.high:g}")
        if span.log and (span.low <= 0 or span.step):
            source.mistake(path, "a log range starts above 0 and has no step")
        whole = all(isinstance(value, int) for value in axes.values[axis])
        for end in ("low", "high"):
            value = getattr(span, end)
            for _, sentence in check_train_field(
                axis, int(value) if whole and value == int(value) else value
            )[1]:
                source.mistake((*path, end), sentence)
