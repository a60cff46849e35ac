"""Token ids on disk: tokenised once per tokenizer, texts, kind and length, memory-mapped by every trial."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from hybrid.data.cache import build_once, cache_folder

Ids = npt.NDArray[np.int32]

_TEXTS_AT_ONCE = 10_000


class TokenRows(Sequence[Ids]):
    """Token ids of many texts, end to end in one memory-mapped array."""

    def __init__(self, ids: Ids, ends: npt.NDArray[np.int64]) -> None:
        self.ids = ids  # (all tokens,)
        self.ends = ends  # (texts + 1,) the first is 0

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every text, (texts,)."""
        return np.diff(self.ends)

    @overload
    def __getitem__(self, index: int) -> Ids: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Ids]": ...
    def __getitem__(self, index: int | slice) -> "Ids | list[Ids]":
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"{index} is outside {len(self)} texts")
        return self.ids[self.ends[row] : self.ends[row + 1]]


def tokens_of(
    texts: Sequence[str], tokenize: Callable[[Sequence[str]], Sequence[Ids]], *, key: Sequence[str | int]
) -> TokenRows:
    """The token ids of `texts`, from the cache or by `tokenize`, called with some thousand texts at a time.

    `key` names everything that decides them: the tokenizer's digest, the digest and language of the texts,
    query or passage, prompt, greatest length. Two processes that ask at once tokenise once.
    """
    name = hashlib.sha256(json.dumps(["tokens", 1, *key]).encode()).hexdigest()[:20]
    folder = build_once(
        cache_folder() / "tokens" / name, lambda unfinished: _write(texts, tokenize, unfinished)
    )
    ids = (
        np.memmap(folder / "ids.i32", np.int32, "r")
        if (folder / "ids.i32").stat().st_size
        else np.empty(0, np.int32)
    )
    return TokenRows(ids, np.load(folder / "ends.npy"))


def _write(texts: Sequence[str], tokenize: Callable[[Sequence[str]], Sequence[Ids]], folder: Path) -> None:
    lengths = [0]
    with (folder / "ids.i32").open("wb") as file:
        for block in _blocks(texts):
            for row in tokenize(block):
                lengths.append(len(row))
                file.write(np.asarray(row, np.int32).tobytes())
    np.save(folder / "ends.npy", np.cumsum(lengths, dtype=np.int64))


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while block := list(islice(rest, _TEXTS_AT_ONCE)):
        yield block
