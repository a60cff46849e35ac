"""What is known of what an encoder had read before: which tasks are zero-shot for fine-tuning alone."""

from collections.abc import Iterable

from hybrid.backbones import known
from hybrid.data.catalog import DATASETS


def origins(name: str) -> frozenset[str]:
    """The collections that a data set's text or queries come from, itself among them."""
    base = name.partition("@")[0].partition(":")[0]
    return DATASETS[base].provenance if base in DATASETS else frozenset((base,))


def knows_training(backbone: str) -> bool:
    """Whether anything is known of what a backbone was trained on."""
    row = known(backbone)
    return row is not None and row.seen is not None


def maybe_seen_by(task: str, backbones: Iterable[str]) -> list[str]:
    """Backbones whose training held text of the kind of a task's collection, without naming it."""
    return [
        name
        for name in dict.fromkeys(backbones)
        if (row := known(name)) is not None and origins(task) & set(row.may_have_seen)
    ]


def seen_by(task: str, backbones: Iterable[str]) -> list[str]:
    """Backbones that are known to have been trained on a task's collection; said where at second hand."""
    found = []
    for name in dict.fromkeys(backbones):
        row = known(name)
        shared = origins(task) & set(row.seen or ()) if row is not None else frozenset()
        if row is not None and shared:
            found.append(f"{name} (unconfirmed)" if shared <= set(row.unconfirmed) else name)
    return found
