"""What is asked before the first trial, lest it be found out after hours; what fails is one sentence."""

import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from hybrid.errors import BadInput
from sweeps.plan import Plan, Trial, digests_path, make_plan, proposed_path
from sweeps.secrets import redacted
from sweeps.spec import Sweep
from sweeps.status import command_line
from sweeps.store import Damaged, Store

_ANSWER_SECONDS = 10.0


def sound_plan(sweep: Sweep, store: Store, data_root: Path | None, say: Callable[[str], None]) -> Plan:
    """The plan, after every file it would rely on was read back; what is damaged is named and dropped."""
    plan = make_plan(sweep, store, data_root)
    if plan.unknown:
        raise BadInput(plan.unknown)
    damaged = [*_drop_damaged_files(store, (digests_path(sweep), proposed_path(sweep)))]
    damaged += [*store.drop_damaged_models(plan.trained), *store.drop_damaged_scores(plan.scored)]
    for sentence in damaged:
        say(sentence)
    return make_plan(sweep, store, data_root) if damaged else plan


def _drop_damaged_files(store: Store, paths: Sequence[str]) -> list[str]:
    """Forget what is no JSON in the sweep's record, a sentence for each; the run writes it again."""
    mistakes: list[str] = []
    for path in paths:
        try:
            store.get_json(path)
        except Damaged as damage:
            mistakes.extend(damage.mistakes)
            store.delete(path)
    return mistakes


def check_batches(trials: Sequence[Trial], data_root: Path | None) -> None:
    """Batches the data cannot give are found now and not by a failing trial."""
    from hybrid.adapter import adapter_is_missing
    from hybrid.batch_checks import check
    from hybrid.data.pairs import load_pairs

    seen: set[str] = set()
    mistakes: dict[str, None] = {}
    for trial in trials:
        if trial.train is not None:
            config = trial.train.model_copy(update={"seed": 0})
            if (text := config.model_dump_json()) not in seen:
                seen.add(text)
                pairs = [load_pairs(name, data_root, passage=config.passage) for name in config.data]
                mistakes |= dict.fromkeys(check(config, pairs) + adapter_is_missing(config))
    if mistakes:
        raise BadInput(mistakes)


def say_if_tracking_is_away(
    sweep: Sweep, store: Store, data_root: Path | None, say: Callable[[str], None]
) -> None:
    """A tracking server that does not answer is said at once; the sweep runs without it and loses nothing."""
    uri = sweep.tracking.uri
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS):
            pass
    except (OSError, ValueError) as error:
        later = command_line("sync", sweep, str(store), data_root)
        say(
            f"tracking server {redacted(uri)} does not answer ({redacted(str(error))}); trials run without "
            f"it, results are in the store, and `{later}` brings it up to date when it is back"
        )
