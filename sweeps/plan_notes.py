"""What a reader of a plan should know beside what the sweep file says, and what no plan can mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybrid.config import TrainConfig
from sweeps.digests import Digests
from sweeps.spec import Sweep

if TYPE_CHECKING:
    from sweeps.plan import Trial


def not_here(digests: Digests) -> list[str]:
    """Digests taken on trust from an earlier run."""
    names = ", ".join(digests.taken)
    return [f"not on this machine, taken to be as the last run had it: {names}"] if names else []


def nothing_to_choose_on(sweep: Sweep) -> list[str]:
    """A sweep can be run and reported without sets that choose; exporting a winner needs them."""
    chosen_by = sweep.evaluate.select_on
    missing = [
        f"in_domain (maximised: {sweep.export.maximise})" * (not chosen_by.in_domain),
        f"{sweep.guardrail.group} (the guardrail)" * (not getattr(chosen_by, sweep.guardrail.group)),
    ]
    names = ", ".join(dict.fromkeys(filter(None, missing)))
    return (
        [f"`sweeps export` will have nothing to choose on: evaluate.select_on lacks {names}"] if names else []
    )


def other_lengths(sweep: Sweep, trials: "Sequence[Trial]") -> list[str]:
    """Where the examples held are no whole number of batches: what is really seen."""
    held = sweep.train.get("examples")
    seen = sorted({t.train.steps * t.train.batch_size for t in trials if t.train is not None})
    if not isinstance(held, int) or all(count == held for count in seen):
        return []
    return [f"{held} examples are held; in whole batches that is {', '.join(map(str, seen))}"]


def same_training(trials: "Sequence[Trial]") -> list[str]:
    """Arms that differ in name alone: the same training twice, at the same time, into the same place."""
    met: dict[TrainConfig, Trial] = {}
    mistakes = {}
    for trial in trials:
        if trial.train is None:
            continue
        other = met.setdefault(trial.train, trial)
        if other.arm != trial.arm:
            mistakes[other.arm.alias, trial.arm.alias] = (
                f"arms {other.arm.alias} and {trial.arm.alias} are one training of {trial.train.steps} steps "
                f"({dict(other.arm.axes)} and {dict(trial.arm.axes)}); leave one of them out"
            )
    return list(mistakes.values())


def mixed_precision(trials: "Sequence[Trial]") -> list[str]:
    """Arms measured in different precision, whose differences would be partly those of rounding."""
    first: dict[str, str] = {}
    for trial in trials:
        first.setdefault(trial.evaluate.precision, trial.arm.alias)
    if len(first) < 2:
        return []
    arms = ", ".join(f"{arm} in {precision}" for precision, arm in first.items())
    return [f"evaluate.precision: auto measures {arms}; say fp32 or bf16 for all"]
