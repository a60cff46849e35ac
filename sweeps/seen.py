"""What is known of what an encoder had read before: which tasks are zero-shot for fine-tuning alone."""

from collections.abc import Iterable

from hybrid.backbones import BACKBONES
from hybrid.data.catalog import DATASETS


def origins(name: str) -> frozenset[str]:
    """The collections that a data set's text or queries come from, itself among them."""
    base = name.partition("@")[0].partition(":")[0]
    return DATASETS[base].provenance if base in DATASETS else frozenset((base,))


def knows_training(backbone: str) -> bool:
    """Whether anything is known of what a backbone was trained on."""
    return backbone in BACKBONES and BACKBONES[backbone].seen is not None


def maybe_seen_by(task: str, backbones: Iterable[str]) -> list[str]:
    """Backbones whose training held text of the kind of a task's collection, without naming it."""
    return [
        name
        for name in dict.fromkeys(backbones)
        if name in BACKBONES and origins(task) & set(BACKBONES[name].may_have_seen)
    ]


def seen_by(task: str, backbones: Iterable[str]) -> list[str]:
    """Backbones that are known to have been trained on a task's collection; said where at second hand."""
    found = []
    for name in dict.fromkeys(backbones):
        shared = origins(task) & set(BACKBONES[name].seen or ()) if name in BACKBONES else frozenset()
        if shared:
            found.append(f"{name} (unconfirmed)" if shared <= set(BACKBONES[name].unconfirmed) else name)
    return found
