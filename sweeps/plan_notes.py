"""What a reader of a plan should know beside what the sweep file says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.digests import Digests
from sweeps.spec import Sweep

if TYPE_CHECKING:
    from sweeps.plan import Trial


def not_here(digests: Digests) -> list[str]:
    """Digests taken on trust from an earlier run."""
    names = ", ".join(digests.taken)
    return [f"not on this machine, taken to be as the last run had it: {names}"] if names else []


def other_lengths(sweep: Sweep, trials: "Sequence[Trial]") -> list[str]:
    """Where the examples held are no whole number of batches: what is really seen."""
    held = sweep.train.get("examples")
    seen = sorted({t.train.steps * t.train.batch_size for t in trials if t.train is not None})
    if not isinstance(held, int) or all(count == held for count in seen):
        return []
    return [f"{held} examples are held; in whole batches that is {', '.join(map(str, seen))}"]
