"""Sets that must keep apart by what they hold, whatever their names: trained on, chosen by, reported."""

from hybrid.data.levels import read_level
from hybrid.data.locate import Role
from hybrid.data.pairs import Passage
from hybrid.data.shared_queries import SharedQueries, shared_queries
from hybrid.errors import BadInput
from sweeps.digests import Digests
from sweeps.spec import Sweep

Choosing = tuple[str, Role, Passage]
"""A set that chooses, as a task or as pairs, and what a passage of its pairs is."""


def training_sets(sweep: Sweep) -> list[tuple[str, Passage]]:
    """Every training set with every kind of passage that some arm takes from it."""
    names = dict.fromkeys(name for data in sweep.axes.get("data") or (sweep.train["data"],) for name in data)
    return [
        (name, passage)
        for name in names
        for passage in sweep.axes.get("passage") or (sweep.train["passage"],)
    ]


def refuse_shared(sweep: Sweep, digests: Digests) -> None:
    """Raise BadInput for text trained on and measured, and for a set that chooses and reports at once.

    The sweep may allow both; what early stopping looks at is never a reporting set.
    """
    allowed = sweep.evaluate.allow_overlap
    remedy = "use other sets, or say evaluate: {allow_overlap: true}"
    trained = [one for one in digests.overlaps(training_sets(sweep), sweep.evaluate.tasks) if one.whole_texts]
    chosen = [one for one in chosen_by(sweep, digests, _selecting(sweep)) if one.same]
    stopped = [one for one in chosen_by(sweep, digests, _stopping(sweep)) if one.same]
    mistakes = [f"{found}; {remedy}" for found in (*trained, *chosen)] if not allowed else []
    mistakes += [f"{found}; stop by another set (stop_on)" for found in stopped]
    if mistakes:
        raise BadInput(f"{sweep.path}: {mistake}" for mistake in dict.fromkeys(mistakes))


def shared_notes(sweep: Sweep, digests: Digests) -> list[str]:
    """What is known to be shared, one sentence each."""
    choosing = [*_selecting(sweep), *_stopping(sweep)]
    return [
        *map(str, digests.overlaps(training_sets(sweep), sweep.evaluate.tasks)),
        *dict.fromkeys(map(str, chosen_by(sweep, digests, choosing))),
    ]


def chosen_by(sweep: Sweep, digests: Digests, choosing: list[Choosing]) -> list[SharedQueries]:
    """The queries that each set that chooses shares with each that reports, where that is known and any."""
    reporting = [read_level(name).task for name in (*sweep.evaluate.in_domain, *sweep.evaluate.zero_shot)]
    found = [
        shared_queries(
            name, other, digests.data_root, role=role, passage=passage, cached_only=digests.cached_only
        )
        for name, role, passage in dict.fromkeys(choosing)
        for other in dict.fromkeys(reporting)
        if name != other and digests.task(other)
        if (digests.task(name) if role == "task" else digests.pairs(name, passage))
    ]
    return [one for one in found if one is not None and one.shared]


def _selecting(sweep: Sweep) -> list[Choosing]:
    select_on = sweep.evaluate.select_on
    return [
        (read_level(name).task, "task", "sentence") for name in (*select_on.in_domain, *select_on.zero_shot)
    ]


def _stopping(sweep: Sweep) -> list[Choosing]:
    arms = [{**sweep.train, **point} for point in sweep.points]
    return [
        (arm["stop_on"], "train" if arm["stop_measure"] == "loss" else "task", arm["passage"])
        for arm in arms
        if arm.get("stop_on")
    ]
