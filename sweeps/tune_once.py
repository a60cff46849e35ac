"""What Ray 2.60's Tune does for every trial, done once a run; deaths it does not know; other retries.

Without it a thousand trivial trials take twice as long (benchmarks/scheduling.py): the trainable is fetched
and unpickled twice a trial, and as a new class each time, so that its workers' class is exported again, too.
Every patch is of one run and taken back after it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ray.air._internal import usage
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import registry
from ray.tune.experiment import Trial


@contextmanager
def tune_once(again: Callable[[Any], bool]) -> Iterator[None]:
    """Around `Tuner.fit`, after its trainable is registered; `again(trial)`: is a failed one tried again?"""
    manager: Any = RayActorManager
    registered: Any = registry._global_registry
    usage_of: Any = usage
    trial: Any = Trial
    failed, tag, counted = manager._actor_task_failed, usage_of.tag_callbacks, trial.should_recover
    manager._actor_task_failed = _every_death_is_an_actors(failed)
    usage_of.tag_callbacks = lambda _: False  # it would import MLflow, W&B and Comet to count callbacks
    trial.should_recover = lambda failed: again(failed)  # a function, to become a method
    registered.get = lru_cache(maxsize=None)(registered.get)
    registered.contains = _remembering_true(registered.contains)
    try:
        yield
    finally:
        manager._actor_task_failed, usage_of.tag_callbacks, trial.should_recover = failed, tag, counted
        del registered.get, registered.contains


def _every_death_is_an_actors(known: Callable[..., None]) -> Callable[..., None]:
    """Tune would end the whole run on deaths it does not know, such as those by Ray's memory monitor."""

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        known(self, tracked_actor_task, exception)

    return failed


def _remembering_true(known: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
    seen: set[tuple[str, str]] = set()

    def contains(category: str, key: str) -> bool:
        if (category, key) not in seen and known(category, key):
            seen.add((category, key))
        return (category, key) in seen

    return contains
