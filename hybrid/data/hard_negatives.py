"""Hard negatives of pairs: every distinct text once, and which of them a pair has."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt

from hybrid.data.arrow import ArrowStrings

Ints = npt.NDArray[np.int64]

_PAIRS = 1024  # whose negatives are read together when all are walked


class HardNegatives(Sequence[Sequence[str]]):
    """The hard negatives of every pair in one language, as a sequence of lists of texts.

    Those of pair i are the texts at `rows[starts[i] : starts[i + 1]]`. A text that is a negative of many
    pairs, as in collections, is held and tokenised once.
    """

    def __init__(self, texts: Sequence[str], starts: Ints, rows: Ints) -> None:
        self.texts, self.starts, self.rows = texts, starts, rows

    def place(self, pair: int, number: int) -> int:
        """Where among `texts` a pair's negative of that number is."""
        return int(self.rows[self.starts[pair] + number])

    @property
    def layout(self) -> str:
        """32 hexadecimal digits of which text each negative is; with the lists, it decides `texts`."""
        return hashlib.blake2b(self.rows.astype("<i8").tobytes(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> list[str]: ...
    @overload
    def __getitem__(self, index: slice) -> "list[list[str]]": ...
    def __getitem__(self, index: int | slice) -> "list[str] | list[list[str]]":
        if isinstance(index, slice):
            return [self[pair] for pair in range(*index.indices(len(self)))]
        pair = index + len(self) if index < 0 else index
        if not 0 <= pair < len(self):
            raise IndexError(f"{index} is outside {len(self)} pairs")
        return [self.texts[row] for row in self.rows[self.starts[pair] : self.starts[pair + 1]].tolist()]

    def __iter__(self) -> Iterator[list[str]]:
        for first in range(0, len(self), _PAIRS):
            starts = self.starts[first : first + _PAIRS + 1].tolist()
            needed, place = np.unique(self.rows[starts[0] : starts[-1]], return_inverse=True)
            if isinstance(self.texts, ArrowStrings):  # chunk by chunk: much faster than one by one
                texts = list(self.texts.taken(needed))
            else:
                texts = [self.texts[row] for row in needed.tolist()]
            found = [texts[i] for i in place.tolist()]
            for begin, end in pairwise(starts):
                yield found[begin - starts[0] : end - starts[0]]


def laid_out(negatives: Sequence[Sequence[str]]) -> HardNegatives:
    """Lists of texts as HardNegatives, the distinct texts in the order in which they first stand."""
    if isinstance(negatives, HardNegatives):
        return negatives
    place: dict[str, int] = {}
    rows = [place.setdefault(text, len(place)) for texts in negatives for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(texts) for texts in negatives])])
    return HardNegatives(list(place), starts.astype(np.int64), np.array(rows, dtype=np.int64))
