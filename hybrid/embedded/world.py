"""The embedded world on disk: what a data root would hold, generated."""

import json
from pathlib import Path

from hybrid.embedded.articles import as_xquad_r, make_articles
from hybrid.embedded.history import make_history
from hybrid.embedded.science import make_science
from hybrid.embedded.words import LANGUAGES

WORLD_VERSION = "2"
"""Raised when the generated text changes; part of the cache path."""

ARTICLES = 63
SEED = "evaluation"
"""What is trained and measured on. Pretraining uses other seeds and the other half of the names."""


def write_world(root: Path) -> None:
    """Write embedded-qa/<lang>.json, embedded-science/ and embedded-history/ under `root`.

    The same bytes on every machine; a second or less, without torch.
    """
    articles = make_articles(ARTICLES, part=0, seed=SEED)
    folder = root / "embedded-qa"
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        text = json.dumps(as_xquad_r(articles, language), ensure_ascii=False)
        (folder / f"{language}.json").write_bytes(text.encode())
    make_science(SEED).write(root / "embedded-science")
    make_history(SEED).write(root / "embedded-history")
