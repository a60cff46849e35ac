"""What `sweeps prepare` does last: every text of a sweep is tokenised, once for each tokenizer."""

from collections.abc import Callable
from pathlib import Path

from hybrid.data.pairs import load_pairs
from sweeps.plan import Plan
from sweeps.pools import read_task
from sweeps.store import Store


def prepare_tokens(plan: Plan, store: Store, data_root: Path | None, say: Callable[[str], None]) -> None:
    """Keep the tokens that the trials left to do will ask for; nothing is embedded."""
    from hybrid.encoder import Encoder
    from hybrid.token_warming import warm_pairs, warm_task

    backbones = dict.fromkeys((trial.backbone, trial.trust_remote_code) for trial in plan.todo)
    for backbone, trusted in backbones:
        say(f"{backbone}: tokens")
        encoder = Encoder.load(backbone, trust_remote_code=trusted, keeps_tokens=True)
        mine = [trial for trial in plan.todo if trial.backbone == backbone]
        measured = {(name, trial.evaluate): trial for trial in mine for name in plan.missing_tasks(trial)}
        for (name, config), trial in measured.items():
            warm_task(encoder, read_task(trial, name, store, data_root), config)
        configs = [trial.train for trial in mine if trial.train is not None and plan.lacks_training(trial)]
        for trained in {one.model_copy(update={"seed": 0, "mono_ratio": 0.0, "steps": 1}) for one in configs}:
            for name in trained.data:
                warm_pairs(encoder, load_pairs(name, data_root, passage=trained.passage), trained)
