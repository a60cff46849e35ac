"""Token ids on disk: the same rows, tokenised once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hybrid.data.tokens import Ids, tokens_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))


class Letters:
    """Tokenises into letters, and counts the texts."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        self.seen += len(texts)
        return [np.array([ord(letter) for letter in text], np.int32) for text in texts]


def test_rows_come_back_as_they_were_and_are_tokenised_once() -> None:
    texts = [str(i) * (i % 5) for i in range(25_000)]
    tokenizer = Letters()
    rows = tokens_of(texts, tokenizer, key=["tokenizer", "texts", "query", 64])
    assert len(rows) == len(texts)
    for i in (0, 1, 5, 9_999, 10_000, 24_999, -1):
        assert rows[i].tolist() == [ord(letter) for letter in texts[i]]
    assert [row.tolist() for row in rows[3:5]] == [[51, 51, 51], [52, 52, 52, 52]]
    assert rows.lengths.tolist() == [len(text) for text in texts]
    again = tokens_of(texts, tokenizer, key=["tokenizer", "texts", "query", 64])
    assert np.array_equal(again.ids, rows.ids)
    assert tokenizer.seen == len(texts)
    tokens_of(texts, tokenizer, key=["tokenizer", "texts", "query", 32])
    assert tokenizer.seen == 2 * len(texts)
    with pytest.raises(IndexError):
        rows[25_000]


def test_no_texts_and_texts_without_tokens() -> None:
    assert len(tokens_of([], Letters(), key=["none"])) == 0
    assert tokens_of([""], Letters(), key=["empty"])[0].tolist() == []
