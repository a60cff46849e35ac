"""Exact search in bounded memory, with equal scores in trec_eval's order, on CPU or GPU.

A measure needs only the ranks of the relevant documents. The rank of a document is one more than the
number of candidates above it, so nothing is sorted: candidates are counted, group by group.

Shapes: Q queries, N candidates in G groups, W wanted documents of a query at most, k hits.

A score and its tie-break are one integer, the order key: the float32 score in the high half, mapped so
that integers order as floats do, and the place among equal scores in the low half. Keys are never equal.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

_TILE_QUERIES = 128
_TILE_CANDIDATES = 4096  # a tile of keys fits a processor's cache
_RESIDENT_KEYS = 2**23  # order keys kept at once, 8 bytes each
_FEW = 32  # wanted documents up to which counting for each is faster than one sorted look-up
_NEVER = torch.iinfo(torch.int64).min  # below every order key


class Vectors(Protocol):
    """Rows that can be sliced: an array, a memory-mapped array, `VectorFile`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]: ...


class VectorFile:
    """float32 vectors in a file, appended in order and read by slice, so that only the slice is in memory."""

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self.dim = dim
        path.write_bytes(b"")

    @property
    def shape(self) -> tuple[int, int]:
        return self.path.stat().st_size // (4 * self.dim), self.dim

    def append(self, vectors: NDArray[np.float32]) -> None:
        with self.path.open("ab") as file:
            vectors.tofile(file)

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        start, stop, _ = rows.indices(self.shape[0])
        count = max(0, stop - start)
        read = np.fromfile(self.path, dtype=np.float32, count=count * self.dim, offset=4 * start * self.dim)
        return read.reshape(count, self.dim)


@dataclass(frozen=True)
class Candidates:
    """The documents a query may find: groups lie one after another, one group per language."""

    vectors: Vectors  # (N, dim)
    tie_break: NDArray[np.int64]  # (N,) among equal scores the greatest stands first
    starts: tuple[int, ...]  # (G + 1,) first column of each group, and N

    @classmethod
    def of(
        cls, vectors: Vectors, ids: Sequence[str] | pa.ChunkedArray, sizes: Sequence[int] | None = None
    ) -> "Candidates":
        """Candidates with unique `ids` (N,), in groups of `sizes` (G,); None: one group.

        trec_eval orders equal scores by document id, the greatest first, comparing bytes.
        """
        sizes = [len(ids)] if sizes is None else sizes
        if vectors.shape[0] != len(ids) or sum(sizes) != len(ids):
            raise ValueError(f"{vectors.shape[0]} vectors, {len(ids)} ids and groups of {sum(sizes)} in all")
        order = pc.sort_indices(_as_bytes(ids)).to_numpy()  # (N,) columns by id
        tie_break = np.empty(len(ids), dtype=np.int64)
        tie_break[order] = np.arange(len(ids))
        return cls(vectors, tie_break, (0, *np.cumsum(sizes).tolist()))


def _as_bytes(ids: Sequence[str] | pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as bytes, without a Python string for each where they are an Arrow column already."""
    column = ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([pa.array(ids, pa.large_string())])
    return column.cast(pa.large_string()).cast(pa.large_binary())


@dataclass(frozen=True)
class Found:
    """What a search found."""

    above: NDArray[np.int64]  # (Q, W, G) candidates of each group that stand above the wanted document
    top: NDArray[np.int64]  # (Q, k) columns of the best candidates, best first; -1 beyond the last
    top_scores: NDArray[np.float32]  # (Q, k) their scores; -inf beyond the last


def search(
    queries: NDArray[np.float32],
    candidates: Candidates,
    *,
    wanted: NDArray[np.int64] | None = None,
    top: int = 0,
    excluded: NDArray[np.int64] | None = None,
    device: str | torch.device = "cpu",
) -> Found:
    """Score every query against every candidate and say where the wanted ones stand.

    `queries` (Q, dim); `wanted` (Q, W) columns, -1 where a query wants fewer than W; `top` best
    candidates to return; `excluded` (Q,) a column that is no candidate for that query, or -1.
    Scores are float32 inner products. Raises FloatingPointError if a vector is not finite.
    """
    if wanted is None:
        wanted = np.empty((len(queries), 0), dtype=np.int64)
    if not np.isfinite(queries).all():
        raise FloatingPointError("an embedding of a query is not finite")
    above = torch.zeros(
        (*wanted.shape, len(candidates.starts) - 1), dtype=torch.int64, device=device
    )  # (Q, W, G)
    best = torch.full((len(queries), top), _NEVER, dtype=torch.int64, device=device)  # (Q, k)
    resident = _TILE_QUERIES * candidates.vectors.shape[0] <= _RESIDENT_KEYS
    tiles = _Tiles(queries, candidates, excluded, torch.device(device))
    # Few candidates: all keys of some queries are kept. Many: they are streamed, twice where documents
    # are wanted, first to learn the keys of those, then to count.
    for start in range(0, len(queries), _TILE_QUERIES if resident else max(1, len(queries))):
        block = slice(start, min(len(queries), start + (_TILE_QUERIES if resident else len(queries))))
        kept = list(tiles.of(block)) if resident else None
        thresholds = torch.full(wanted.shape, _NEVER, dtype=torch.int64, device=device)
        if wanted.shape[1]:
            for tile in kept or tiles.of(block, holding=wanted):
                tile.read_wanted(wanted, thresholds)
        for tile in kept or tiles.of(block):
            if wanted.shape[1]:
                above[tile.rows, :, tile.group] += _count_above(tile.keys, thresholds[tile.rows])
            if top:
                of_tile = tile.keys.topk(min(top, tile.keys.shape[1]), dim=1).values  # (rows, k or fewer)
                best[tile.rows] = torch.cat([best[tile.rows], of_tile], dim=1).topk(top, dim=1).values
    columns, scores = _decode(best.cpu().numpy(), candidates.tie_break)
    return Found(above.cpu().numpy(), columns, scores)


@dataclass(frozen=True)
class _Tile:
    """The order keys of some queries and some candidates of one group."""

    rows: slice
    group: int
    first_column: int
    keys: Tensor  # (rows, columns)

    def read_wanted(self, wanted: NDArray[np.int64], thresholds: Tensor) -> None:
        """Write the keys of the wanted documents that stand in this tile."""
        place = torch.from_numpy(wanted[self.rows] - self.first_column).to(self.keys.device)  # (rows, W)
        here = (place >= 0) & (place < self.keys.shape[1])  # (rows, W)
        found = self.keys.gather(1, place.clamp(0, self.keys.shape[1] - 1))  # (rows, W)
        thresholds[self.rows] = torch.where(here, found, thresholds[self.rows])


class _Tiles:
    def __init__(
        self,
        queries: NDArray[np.float32],
        candidates: Candidates,
        excluded: NDArray[np.int64] | None,
        device: torch.device,
    ) -> None:
        self.queries = torch.from_numpy(np.ascontiguousarray(queries)).to(device)  # (Q, dim)
        self.candidates = candidates
        self.excluded = None if excluded is None else torch.from_numpy(excluded).to(device)  # (Q,)
        self.device = device

    def of(self, block: slice, holding: NDArray[np.int64] | None = None) -> Iterator[_Tile]:
        """The tiles of some queries; with `holding` (Q, W), only those that hold one of these columns."""
        starts = self.candidates.starts
        for group, (group_start, group_stop) in enumerate(itertools.pairwise(starts)):
            for first in range(group_start, group_stop, _TILE_CANDIDATES):
                last = min(group_stop, first + _TILE_CANDIDATES)
                if holding is not None and not ((holding >= first) & (holding < last)).any():
                    continue
                vectors = np.asarray(self.candidates.vectors[first:last])  # (columns, dim)
                if not np.isfinite(vectors).all():
                    raise FloatingPointError("an embedding of a document is not finite")
                chunk = torch.from_numpy(vectors).to(self.device)  # (columns, dim)
                tie_break = torch.from_numpy(self.candidates.tie_break[first:last]).to(
                    self.device
                )  # (columns,)
                for row in range(block.start, block.stop, _TILE_QUERIES):
                    rows = slice(row, min(block.stop, row + _TILE_QUERIES))
                    keys = _order_keys(self.queries[rows] @ chunk.T, tie_break)  # (rows, columns)
                    if self.excluded is not None:
                        self._exclude(keys, rows, first)
                    yield _Tile(rows, group, first, keys)

    def _exclude(self, keys: Tensor, rows: slice, first_column: int) -> None:
        assert self.excluded is not None
        place = self.excluded[rows] - first_column  # (rows,)
        here = (place >= 0) & (place < keys.shape[1])
        keys[here.nonzero()[:, 0], place[here]] = _NEVER


def _order_keys(scores: Tensor, tie_break: Tensor) -> Tensor:
    """Order keys, int64, of float32 `scores` (rows, columns) with `tie_break` (columns,)."""
    bits = scores.add_(0.0).view(torch.int32)  # adding makes -0.0 the 0.0 it equals
    bits ^= (bits >> 31).bitwise_and_(0x7FFFFFFF)  # negative floats order backwards
    return bits.to(torch.int64).bitwise_left_shift_(32).add_(tie_break)


def _count_above(keys: Tensor, thresholds: Tensor) -> Tensor:
    """How many of `keys` (rows, columns) are greater than each of `thresholds` (rows, W): (rows, W)."""
    if thresholds.shape[1] <= _FEW:
        counts = [(keys > one.unsqueeze(1)).sum(dim=1) for one in thresholds.unbind(1)]  # W of (rows,)
        return torch.stack(counts, dim=1)
    ascending, order = thresholds.sort(dim=1)
    passed = torch.searchsorted(ascending, keys)  # (rows, columns) thresholds below each key
    held = torch.zeros(len(keys), thresholds.shape[1] + 1, dtype=torch.int64, device=keys.device)
    held.scatter_add_(1, passed, torch.ones_like(passed))  # (rows, W + 1) keys by thresholds passed
    at_least = held.flip(1).cumsum(dim=1).flip(1)[:, 1:]  # (rows, W) keys that passed threshold j
    return torch.empty_like(thresholds).scatter_(1, order, at_least)


def _decode(
    keys: NDArray[np.int64], tie_break: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns (-1 for none) and scores of order keys."""
    none = keys == _NEVER
    column_of = np.full(len(tie_break) + 1, -1)  # one more, for keys of nothing
    column_of[tie_break] = np.arange(len(tie_break))
    columns = column_of[np.where(none, len(tie_break), keys & 0x7FFFFFFF)]
    bits = (keys >> 32).astype(np.int32)
    scores = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
    return columns, np.where(none, np.float32("-inf"), scores)
