"""What every Tune run here is watched for: its limits, silent trials, machines that are unfit.

The base of the callbacks that show trials of a sweep and arms of a search; each adds what a person sees.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from sweeps.budget import Budget
from sweeps.retries import Retries
from sweeps.unfit_nodes import UnfitNodes


class Attended(Callback):
    """Tune's callbacks as far as trials and arms need the same of them."""

    def __init__(self, budget: Budget, say: Callable[[str], None]) -> None:
        self.retries = Retries(budget.limits)
        self._budget, self._say = budget, say
        self._unfit = UnfitNodes(budget, say)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it would restore a run from; nothing is restored from that

    @abstractmethod
    def doing(self, trial: Any) -> str:
        """What a running trial said last that it does."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._budget.keep()
        self._unfit.tend()
        self.retries.end_silent(trials, self.doing)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        self.retries.heard(trial, result)
        if "unfit" in result:
            self._unfit.found(result["unfit"], trial.placement_group_factory.bundles[0])
