"""Which attempts count, what ended each of them, and whether another follows.

For the trials of a sweep and the arms of a search. Tune counts every error and every death. Here the loss of
a machine is nobody's fault and does not count, unless one trial loses machine after machine and gets nowhere,
and an error that would come again is not tried again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweeps.failures import LOST_NODE, PREEMPTED, death, preempted, stalled, unfit
from sweeps.spec_sections import Limits
from sweeps.stalled import Silence, end_process

_LOSSES = 5  # of machines in a row with nothing stored in between: then it may be the trial that ends them


class Retries:
    """The attempts at the trials of one Tune run; its callbacks tell what happens, and `again` is asked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._silence = Silence()
        self._counted: dict[str, int] = {}  # Tune's id of a trial -> failed attempts that count
        self._lost: dict[str, int] = {}  # machines lost since the trial last stored something
        self._said: dict[str, dict[str, Any]] = {}  # what its worker, or its silence, says of the attempt
        self._ended: dict[str, dict[str, Any]] = {}  # how the last attempt ended

    def started(self, trial: Any) -> None:
        self._silence.heard(trial.trial_id)

    def heard(self, trial: Any, result: dict[str, Any]) -> None:
        self._silence.heard(trial.trial_id)
        if result.get("saved"):
            self._lost.pop(trial.trial_id, None)
        if "error" in result:
            self._said[trial.trial_id] = {**result["error"], "hopeless": result["hopeless"]}
        if "left" in result:
            self._said[trial.trial_id] = {**preempted(), "orderly": True}
        if "unfit" in result:
            self._said[trial.trial_id] = {**unfit(result["unfit"]["mistakes"]), "orderly": True}

    def ended(self, trial: Any) -> None:
        """It finished, or was stopped."""
        self._silence.ended(trial.trial_id)

    def end_silent(self, trials: Sequence[Any], doing: Callable[[Any], str]) -> None:
        """End every trial that has shown no progress for `limits.stalled_minutes`."""
        minutes = self._limits.stalled_minutes
        for trial_id in self._silence.longer_than(minutes * 60):
            self._silence.ended(trial_id)  # it is heard again when it is tried again
            running = next(trial for trial in trials if trial.trial_id == trial_id)
            threads = end_process(running.temporary_state.ray_actor)
            self._said[trial_id] = stalled(minutes, doing(running), threads)

    def again(self, trial: Any) -> bool:
        """Whether a trial whose attempt just failed is tried again; Tune asks once after each."""
        self._silence.ended(trial.trial_id)
        failure = self._said.pop(trial.trial_id, None) or death(Path(trial.error_file))
        hopeless, orderly = failure.pop("hopeless", False), failure.pop("orderly", False)
        self._ended[trial.trial_id] = failure
        if orderly:
            return True
        if failure["kind"] in (LOST_NODE, PREEMPTED):
            self._lost[trial.trial_id] = lost = self._lost.get(trial.trial_id, 0) + 1
            if lost >= _LOSSES:
                failure["reason"] = (
                    f"{lost} machines in a row were lost while they ran it, nothing was stored in between: "
                    "it may be what ends them, by the memory it takes for one"
                )
            return lost < _LOSSES
        self._counted[trial.trial_id] = self._counted.get(trial.trial_id, 0) + 1
        return not hopeless and self._counted[trial.trial_id] <= self._limits.retries

    def failure(self, trial: Any) -> dict[str, Any]:
        """The failure record of the attempt that ended, with the number of those that counted."""
        if trial.trial_id not in self._ended:  # Tune gave it up without asking
            self.again(trial)
        return {**self._ended.pop(trial.trial_id), "attempts": self._counted.get(trial.trial_id, 0)}
