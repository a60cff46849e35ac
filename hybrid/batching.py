"""The mixture: which pairs a step trains on, and in which languages.

Every batch is a pure function of (seed, step). Three draws are kept apart, so that arms differ by
language choice alone:

- *pairs*: the same pairs in the same order for every mono_ratio;
- *kind*: wholly monolingual (X-X-mono) or wholly cross-lingual (X-Y), arXiv 2408.10536 §2.2;
- *languages*: of a step if it is monolingual, and of a step if it is cross-lingual.

Languages are drawn uniformly and in turn: every language (every ordered pair of different languages)
comes before one comes again, in an order drawn anew. Other shares are met as evenly: a language's by a
low-discrepancy sequence over steps, a pair's to within one row of every batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor, gcd
from typing import Literal

import numpy as np
import numpy.typing as npt

from hybrid.config import TrainConfig
from hybrid.epoch_plan import plan_epoch
from hybrid.errors import BadInput
from hybrid.language_shares import pair_shares
from hybrid.pair_pool import Pool, conflicts

BLOCK = 20
"""Steps of one block of the exact schedule: any multiple of 0.05 is met exactly in every block."""

# Independent random streams of one seed.
_PAIRS, _KIND, _MONO_LANGUAGE, _CROSS_LANGUAGES, _NEGATIVES, _SET = range(6)
_GOLDEN = (5**0.5 - 1) / 2  # multiples of it fill the circle most evenly

Kind = Literal["mono", "cross"]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """One step's input: row i asks in `query_languages[i]` of a passage in `passage_languages[i]`."""

    step: int
    kind: Kind
    pairs: Ints  # (batch_size,) rows of the pool
    clusters: Ints  # (batch_size,) rows of one cluster are no negatives of each other
    query_languages: tuple[str, ...]
    passage_languages: tuple[str, ...]
    negatives: tuple[tuple[int, int], ...] = ()  # (row of the pool, number of its hard negative)
    negative_languages: tuple[str, ...] = ()  # of each, that of its row's passage
    negative_clusters: tuple[int, ...] = ()  # of each, as `clusters`

    @property
    def has_conflicts(self) -> bool:
        """Whether `masked` is True anywhere; quicker to find than that."""
        own = self.clusters.tolist()
        return len(set(own)) < len(own) or not set(own).isdisjoint(self.negative_clusters)

    def masked(self) -> npt.NDArray[np.bool_]:
        """(batch_size, batch_size + negatives) where a query must not count a candidate as a negative."""
        return conflicts(self.clusters, self.negative_clusters)


def mono_steps_before(step: int, mono_ratio: float) -> int:
    """Monolingual steps among 0 … step-1 at the end of a block of the exact schedule: α·step, rounded."""
    return floor(mono_ratio * step + 0.5)


class Mixture:
    """All batches of one training run; `batch(step)` needs none of the batches before it."""

    def __init__(self, config: TrainConfig, pool: Pool) -> None:
        self.config = config
        self.pool = pool
        self.batches_per_epoch = len(pool) // config.batch_size
        langs = pool.languages
        self._ordered_pairs = [(a, b) for a in langs for b in langs if a != b]
        self._pair_shares: dict[tuple[str, str], float] | None = None
        if config.language_pairs is not None and config.mono_ratio < 1.0:
            self._pair_shares, mistakes = pair_shares(config.language_pairs, langs)
            if mistakes:
                raise BadInput(mistakes)
        self._epoch = lru_cache(maxsize=2)(self._plan_epoch)
        self._usable_negatives = lru_cache(maxsize=None)(pool.hard_negatives)

    def _random(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, stream, *index])

    def batch(self, step: int) -> Batch:
        """The batch of `step` (0-based); its pairs are the same whatever the mono_ratio."""
        epoch, place = divmod(step, self.batches_per_epoch)
        pairs = self._epoch(epoch)[place]  # (batch_size,)
        kind = self.kind(step)
        if kind == "mono":
            spoken = [(self.mono_language(step),) * 2] * len(pairs)
        else:
            spoken = self.cross_languages(step)
        queries, passages = zip(*spoken, strict=True)
        hard = self._hard_negatives(step, pairs)
        return Batch(
            step, kind, pairs, self.pool.clusters[pairs], queries, passages,
            negatives=tuple((int(pairs[place]), number) for place, number, _ in hard),
            negative_languages=tuple(passages[place] for place, _, _ in hard),
            negative_clusters=tuple(cluster for _, _, cluster in hard),
        )  # fmt: skip

    def kind(self, step: int) -> Kind:
        """exact: a block's counts are α times its steps, the order seeded. bernoulli: α is a step's chance.

        In both, a step that is monolingual at one mono_ratio is so at every higher one (exact: up to the
        rounding of a count that is not whole), so that arms share as many batches as they can.
        """
        ratio = self.config.mono_ratio
        block, place, draws = self._block(step)
        if self.config.schedule == "bernoulli":
            return "mono" if draws[place] < ratio else "cross"
        start = block * BLOCK
        count = mono_steps_before(start + len(draws), ratio) - mono_steps_before(start, ratio)
        return "mono" if _rank(draws, place) < count else "cross"

    def mono_language(self, step: int) -> str:
        """The language of `step` if it is monolingual.

        In a block, steps take the languages in turn, in the order in which a growing mono_ratio turns them
        monolingual; blocks start at places spread over the languages. So an arm has the languages as
        equally often as it can, whatever its mono_ratio.
        """
        languages = self.pool.languages
        block, place, draws = self._block(step)
        if self.config.mono_languages == "size":
            shares = np.array([self.pool.pairs_in[lang] for lang in languages], dtype=np.float64)
            turns = _rank(draws, place) + block * BLOCK
            point = (self._random(_MONO_LANGUAGE).random() + turns * _GOLDEN) % 1.0
            return languages[int(_drawn(shares, np.array([point]))[0])]
        order = self._random(_MONO_LANGUAGE, block // len(languages)).permutation(len(languages))
        turn = _rank(draws, place) + block * _spread(len(languages))
        return languages[int(order[turn % len(languages)])]

    def cross_languages(self, step: int) -> list[tuple[str, str]]:
        """The languages of query and passage per row of `step` if it is cross-lingual; in turn likewise."""
        size, pairs = self.config.batch_size, self._ordered_pairs
        if self._pair_shares is not None:
            return self._cross_languages_by_share(step)
        block, place, draws = self._block(step)
        turn = (len(draws) - 1 - _rank(draws, place)) * size
        drawn: list[tuple[str, str]] = []
        while len(drawn) < size:
            cycle, start = divmod(turn + len(drawn), len(pairs))
            order = self._random(_CROSS_LANGUAGES, block, cycle).permutation(len(pairs))[start:]
            drawn += [pairs[i] for i in order[: size - len(drawn)]]
        return drawn

    def _cross_languages_by_share(self, step: int) -> list[tuple[str, str]]:
        """Systematic sampling: every pair has its share of the rows, rounded up or down without bias."""
        assert self._pair_shares is not None
        random = self._random(_CROSS_LANGUAGES, step)
        pairs = list(self._pair_shares)
        order = random.permutation(len(pairs))
        shares = np.array([self._pair_shares[pairs[i]] for i in order])
        size = self.config.batch_size
        chosen = order[_drawn(shares, (random.random() + np.arange(size)) / size)]
        return [pairs[i] for i in random.permutation(chosen)]

    def _hard_negatives(self, step: int, pairs: Ints) -> list[tuple[int, int, int]]:
        """(row of the batch, number, cluster): of each row as many as are asked for and it has, drawn."""
        wanted, drawn = self.config.hard_negatives, []
        if wanted:
            random = self._random(_NEGATIVES, step)
            for place, row in enumerate(pairs.tolist()):
                usable = self._usable_negatives(row)
                chosen = np.sort(random.permutation(len(usable))[:wanted])
                drawn += [(place, *usable[i]) for i in chosen]
        return drawn

    def _block(self, step: int) -> tuple[int, int, Floats]:
        """The block of a step, its place in it, and a uniform draw for each of the block's steps."""
        block, place = divmod(step, BLOCK)
        draws = self._random(_KIND, block).random(BLOCK)
        return block, place, draws[: self.config.steps - block * BLOCK]

    def _plan_epoch(self, epoch: int) -> Ints:
        size = self.config.batch_size
        rows: Ints | int = len(self.pool)
        if self.config.weights is not None:
            counts = apportion(self.config.weights, self.batches_per_epoch * size)
            rows = np.concatenate([self._rows_of_set(i, count, epoch) for i, count in enumerate(counts)])
        order = self._random(_PAIRS, epoch).permutation(rows)
        return plan_epoch(order, self.pool.clusters, size)

    def _rows_of_set(self, number: int, count: int, epoch: int) -> Ints:
        """(count,) rows of one set for an epoch: all of them in drawn order before one comes again."""
        members = np.flatnonzero(self.pool.sets == number)
        start, taken = epoch * count, [members[:0]]
        while start < (epoch + 1) * count:
            cycle, place = divmod(start, len(members))
            order = self._random(_SET, number, cycle).permutation(len(members))
            taken.append(members[order[place : place + (epoch + 1) * count - start]])
            start += len(taken[-1])
        return np.concatenate(taken)


def _rank(draws: Floats, place: int) -> int:
    return int((draws < draws[place]).sum())


def _drawn(shares: Floats, points: Floats) -> Ints:
    """Index whose part of [0, 1), cut in proportion to `shares`, holds each point."""
    ends = np.cumsum(shares)
    found = np.searchsorted(ends, points * ends[-1], side="right")
    held: Ints = np.minimum(found, len(shares) - 1).astype(np.int64)
    return held


def apportion(weights: Sequence[float], count: int) -> list[int]:
    """`count` divided in proportion to `weights`, whole numbers by largest remainder."""
    exact = np.array(weights) / sum(weights) * count
    whole = np.floor(exact).astype(np.int64)
    rest = count - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:rest]] += 1
    return [int(number) for number in whole]


def _spread(count: int) -> int:
    """A step width coprime to `count` near its golden section: multiples of it fill the circle evenly."""
    width = max(1, round(0.618 * count))
    while gcd(width, count) > 1:
        width += 1
    return width
