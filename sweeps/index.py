"""A snapshot of what a store holds: answers about any number of trials without asking it again."""

from collections.abc import Iterable


class Index:
    """Made from the paths of all files below `models` and `scores`; see `sweeps.store` for their layout."""

    def __init__(self, model_files: Iterable[str], score_files: Iterable[str]) -> None:
        self._models: set[str] = set()
        self._failed: set[str] = set()
        self._begun: set[str] = set()
        self._attempted: set[str] = set()
        for path in model_files:
            train_key, _, rest = path.removeprefix("models/").partition("/")
            if rest == "DONE":
                self._models.add(train_key)
            elif rest == "FAILED.json":
                self._failed.add(train_key)
            elif rest == "attempts.json":
                self._attempted.add(train_key)
            elif rest.startswith("checkpoints/") and rest.endswith("/DONE"):
                self._begun.add(train_key)
        markers = (path.removeprefix("scores/") for path in score_files if path.endswith(".json"))
        self._scores = {path.removesuffix(".json") for path in markers}

    def has_model(self, train_key: str) -> bool:
        return train_key in self._models

    def has_scores(self, train_key: str, score_key: str) -> bool:
        return f"{train_key}/{score_key}" in self._scores

    def has_checkpoint(self, train_key: str) -> bool:
        return train_key in self._begun

    def attempted(self, train_key: str) -> bool:
        return train_key in self._attempted

    def failed(self, train_key: str) -> bool:
        return train_key in self._failed
