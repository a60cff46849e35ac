"""Machines that a run found unfit for it: said once each, and kept from taking further trials.

A machine that lacks the data fails a trial within seconds, is the first that is free again, and would take
the next. Its slots are held by placeholders until the run ends: placement groups, which need no process.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from sweeps.budget import Budget

_TEND_SECONDS = 30.0


class UnfitNodes:
    """Those of one run, by Ray's id of the node."""

    def __init__(self, budget: Budget, say: Callable[[str], None]) -> None:
        self._budget, self._say = budget, say
        self._nodes: set[str] = set()
        self._held: dict[tuple[str, tuple[tuple[str, float], ...]], list[PlacementGroup]] = {}
        self._tended = time.monotonic()

    def found(self, unfit: Mapping[str, Any], bundle: Mapping[str, float]) -> None:
        """A worker on `unfit["node"]` says what that machine lacks; `bundle` is what its trial asks for.

        Ends the run where no other machine could take the trial.
        """
        node, mistakes = unfit["node"], unfit["mistakes"]
        if node not in self._nodes:
            self._nodes.add(node)
            self._say(f"{'; '.join(mistakes)}; it gets no more trials in this run")
        there = _alive()
        place = (node, tuple(sorted(bundle.items())))
        if place not in self._held:
            only = [{"ray.io/node-id": node}]
            slots = _slots(there.get(node, {}), bundle)
            self._held[place] = [
                placement_group([dict(bundle)], bundle_label_selector=only) for _ in range(slots)
            ]
        if not any(_slots(has, bundle) for other, has in there.items() if other not in self._nodes):
            self._budget.end(f"no machine is fit: {mistakes[0]}", "with that mended")

    def tend(self) -> None:
        """Give up the placeholders of machines that are gone: an autoscaler would start others for them."""
        if not self._held or time.monotonic() - self._tended < _TEND_SECONDS:
            return
        self._tended = time.monotonic()
        alive = _alive()
        for place in [place for place in self._held if place[0] not in alive]:
            for group in self._held.pop(place):
                remove_placement_group(group)


def _alive() -> dict[str, dict[str, float]]:
    """Machines of the cluster, and what each has."""
    every: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {one["NodeID"]: one["Resources"] for one in every if one["Alive"]}


def _slots(has: Mapping[str, float], bundle: Mapping[str, float]) -> int:
    """How many trials of this size a machine takes."""
    return int(min((has.get(name, 0.0) / amount for name, amount in bundle.items() if amount), default=0))
