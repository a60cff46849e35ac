"""Token ids on disk: tokenised once on a machine, memory-mapped by every trial.

Arrow files with one row of token ids a text, keyed by what decides them: the tokenizer, the prompt, the
greatest length, and the texts themselves in their order, or what their order and content were digested to.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hybrid.data.arrow import ROWS, open_table
from hybrid.data.cache import build_once, cache_folder

Ids = npt.NDArray[np.int32]

Told = Callable[[float | None], None]
"""Called with the share of the texts that are tokenised; with None while another process tokenises them."""

_VERSION = 2  # of the files
_SCHEMA = pa.schema([pa.field("ids", pa.list_(pa.int32()))])


class TokenRows(Sequence[Ids]):
    """Token ids of many texts, memory-mapped: only the rows asked for are read."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        # Every chunk but the last has ROWS rows, as `_write` made them.
        self._parts = [(chunk.values.to_numpy(), chunk.offsets.to_numpy()) for chunk in column.chunks]
        self._length = len(column)

    def __len__(self) -> int:
        return self._length

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every text, (texts,)."""
        return np.concatenate([np.empty(0, np.int64), *(np.diff(offsets) for _, offsets in self._parts)])

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
        part, place = divmod(row, ROWS)
        values, offsets = self._parts[part]
        ids: Ids = values[offsets[place] : offsets[place + 1]]
        return ids


def tokens_of(
    texts: Sequence[str | None],
    tokenize: Callable[[Sequence[str]], Sequence[Ids]],
    *,
    key: Sequence[str | int],
    identity: Sequence[str | int] | None = None,
    told: Told | None = None,
) -> TokenRows:
    """The token ids of `texts`, from the cache or by `tokenize`, called with some thousand texts at a time.

    `key` names what decides them beside the texts: the tokenizer's digest, the prompt, the greatest length.
    `identity` names the texts in their order; without one they are read and hashed.
    A text that is None counts as empty. Two processes that ask at once tokenise once.
    """
    named = [_digest(texts)] if identity is None else ["known", *identity]
    name = hashlib.sha256(json.dumps(["tokens", _VERSION, *key, *named]).encode()).hexdigest()[:20]
    tell: Told = told or (lambda _: None)
    folder = build_once(
        cache_folder() / "tokens" / name,
        lambda unfinished: _write(texts, tokenize, unfinished, tell),
        waiting=lambda: tell(None),
    )
    return TokenRows(open_table(folder / "ids.arrow")["ids"])


def _digest(texts: Sequence[str | None]) -> str:
    """Of the texts in their order: 32 hexadecimal digits."""
    whole = hashlib.blake2b(digest_size=16)
    for block in _blocks(texts):
        encoded = [text.encode("utf-8", "surrogatepass") for text in block]
        whole.update(b"".join(b"%d:%s" % (len(raw), raw) for raw in encoded))
    return whole.hexdigest()


def _write(
    texts: Sequence[str | None],
    tokenize: Callable[[Sequence[str]], Sequence[Ids]],
    folder: Path,
    tell: Told,
) -> None:
    done = 0
    with pa.OSFile(str(folder / "ids.arrow"), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for block in _blocks(texts):
            rows = tokenize(block)
            offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
            values = np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32)
            column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
            writer.write_batch(pa.record_batch([column], schema=_SCHEMA))
            done += len(block)
            tell(done / len(texts))


def _blocks(texts: Sequence[str | None]) -> Iterator[list[str]]:
    rest = iter(texts)
    while block := [text or "" for text in islice(rest, ROWS)]:
        yield block
