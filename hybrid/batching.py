"""The mixture: which pairs a step trains on, and in which languages.

Every batch is a pure function of (seed, step). Three draws are kept apart, so that arms differ by
language choice alone:

- *pairs*: the same pairs in the same order for every mono_ratio;
- *kind*: wholly monolingual (X-X-mono) or wholly cross-lingual (X-Y), arXiv 2408.10536 §2.2;
- *languages*: of a step if it is monolingual, and of a step if it is cross-lingual.

Languages are drawn uniformly and in turn: every language (every ordered pair of different languages)
comes before one comes again, in an order drawn anew.
"""

from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from math import floor, gcd
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hybrid.config import TrainConfig
from hybrid.data.clusters import connected
from hybrid.data.records import ParallelPairs

BLOCK = 20
"""Steps of one block of the exact schedule: any multiple of 0.05 is met exactly in every block."""

_PAIRS, _KIND, _MONO_LANGUAGE, _CROSS_LANGUAGES = range(4)  # independent random streams of one seed

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


class Pool:
    """The pairs of all training sets in one row order, in the languages that all of them have.

    A pair that is missing in one of the languages is left out (`left_out` counts them), so that every
    row can be asked for in every language and the pairs of a step do not hang on the step's language.
    """

    def __init__(self, sets: Sequence[ParallelPairs], languages: Sequence[str] | None = None) -> None:
        shared = [lang for lang in sets[0].languages if all(lang in s.questions for s in sets)]
        self.languages: tuple[str, ...] = tuple(shared if languages is None else languages)
        self.rows: list[tuple[ParallelPairs, int]] = []
        self.left_out = 0
        names: list[str] = []
        for number, one in enumerate(sets):
            columns = [side[lang] for lang in self.languages for side in (one.questions, one.passages)]
            for row in range(len(one)):
                if all(column[row] is not None for column in columns):
                    self.rows.append((one, row))
                    names.append(f"{number}:{one.clusters[row]}")
                else:
                    self.left_out += 1
        self.clusters = _merge_equal_texts(names, self)

    def __len__(self) -> int:
        return len(self.rows)

    def question(self, row: int, language: str) -> str:
        pairs, index = self.rows[row]
        return pairs.questions[language][index] or ""

    def passage(self, row: int, language: str) -> str:
        pairs, index = self.rows[row]
        return pairs.passages[language][index] or ""


def _merge_equal_texts(names: Sequence[str], pool: Pool) -> Ints:
    """(pairs,) cluster numbers; clusters that share a question or passage text in any language are one.

    Two pairs with the same passage are relevant to each other's question, and so are two with the same
    question; merging in all languages at once keeps the relation the same in every arm.
    """
    edges: list[tuple[Hashable, Hashable]] = []
    for row, name in enumerate(names):
        edges.append((row, ("cluster", name)))
        for language in pool.languages:
            edges.append((row, ("question", language, pool.question(row, language))))
            edges.append((row, ("passage", language, pool.passage(row, language))))
    first = connected(edges)
    numbers: dict[Hashable, int] = {}
    merged = [numbers.setdefault(first[row], len(numbers)) for row in range(len(names))]
    return np.array(merged, dtype=np.int64)


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
        self._epoch = lru_cache(maxsize=2)(self._plan_epoch)

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
        return Batch(step, kind, pairs, self.pool.clusters[pairs], queries, passages)

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
        order = self._random(_MONO_LANGUAGE, block // len(languages)).permutation(len(languages))
        turn = _rank(draws, place) + block * _spread(len(languages))
        return languages[int(order[turn % len(languages)])]

    def cross_languages(self, step: int) -> list[tuple[str, str]]:
        """The languages of query and passage per row of `step` if it is cross-lingual; in turn likewise."""
        size, pairs = self.config.batch_size, self._ordered_pairs
        block, place, draws = self._block(step)
        turn = (len(draws) - 1 - _rank(draws, place)) * size
        drawn: list[tuple[str, str]] = []
        while len(drawn) < size:
            cycle, start = divmod(turn + len(drawn), len(pairs))
            order = self._random(_CROSS_LANGUAGES, block, cycle).permutation(len(pairs))[start:]
            drawn += [pairs[i] for i in order[: size - len(drawn)]]
        return drawn

    def _block(self, step: int) -> tuple[int, int, Floats]:
        """The block of a step, its place in it, and a uniform draw for each of the block's steps."""
        block, place = divmod(step, BLOCK)
        draws = self._random(_KIND, block).random(BLOCK)
        return block, place, draws[: self.config.steps - block * BLOCK]

    def _plan_epoch(self, epoch: int) -> Ints:
        order = self._random(_PAIRS, epoch).permutation(len(self.pool))
        return plan_epoch(order, self.pool.clusters, self.config.batch_size)


def _rank(draws: Floats, place: int) -> int:
    return int((draws < draws[place]).sum())


def _spread(count: int) -> int:
    """A step width coprime to `count` near its golden section: multiples of it fill the circle evenly."""
    width = max(1, round(0.618 * count))
    while gcd(width, count) > 1:
        width += 1
    return width


def plan_epoch(order: Ints, clusters: Ints, batch_size: int) -> Ints:
    """Rows (batches, batch_size): `order` cut into batches, none with two rows of one cluster if avoidable.

    A row whose cluster is already in the batch is deferred to the next one. With n_c rows left of cluster
    c and r batches left, a conflict-free rest exists if Σ_c min(n_c, r) ≥ r·batch_size. A batch lowers
    that sum least when it serves every cluster with n_c ≥ r, so these urgent ones come first; once urgent,
    a cluster stays so. Where fewer clusters are left than places, rows that conflict fill the batch and
    the loss masks them. Rows beyond the last full batch wait for the next epoch, which draws its own order.
    """
    batches = len(order) // batch_size
    queues: dict[int, deque[int]] = {}  # cluster -> places in `order` of its rows not yet used
    for place, cluster in enumerate(clusters[order].tolist()):
        queues.setdefault(cluster, deque()).append(place)
    waiting = [(queue[0], cluster) for cluster, queue in queues.items()]  # a heap of the clusters not urgent
    by_count: dict[int, set[int]] = {}  # rows left -> clusters not urgent
    for cluster, queue in queues.items():
        by_count.setdefault(min(len(queue), batches), set()).add(cluster)
    urgent: list[int] = []
    plan = np.empty((batches, batch_size), dtype=np.int64)
    for number in range(batches):
        newly_urgent = by_count.pop(batches - number, set())
        urgent = [cluster for cluster in [*urgent, *sorted(newly_urgent)] if queues[cluster]]
        urgent.sort(key=lambda cluster: queues[cluster][0])
        chosen = [queues[cluster].popleft() for cluster in urgent[:batch_size]]
        served: list[int] = []
        while len(chosen) < batch_size and waiting:
            place, cluster = heappop(waiting)
            if cluster in by_count.get(len(queues[cluster]), ()):  # else it is urgent and was served above
                by_count[len(queues[cluster])].discard(cluster)
                chosen.append(queues[cluster].popleft())
                served.append(cluster)
        for cluster in served:
            if queues[cluster]:
                by_count.setdefault(len(queues[cluster]), set()).add(cluster)
                heappush(waiting, (queues[cluster][0], cluster))
        if len(chosen) < batch_size:
            rest = sorted(place for queue in queues.values() for place in queue)[: batch_size - len(chosen)]
            for place in rest:
                queues[int(clusters[order[place]])].remove(place)
            chosen += rest
        plan[number] = order[np.sort(chosen)]
    return plan


def conflicts(clusters: Ints) -> npt.NDArray[np.bool_]:
    """(batch, batch) where query i must not count passage j as a negative: one cluster, i ≠ j."""
    same: npt.NDArray[np.bool_] = clusters[:, None] == clusters[None, :]
    np.fill_diagonal(same, False)
    return same


def realised(mixture: Mixture, steps: int) -> dict[str, Any]:
    """What steps 0 … steps-1 really hold, as JSON: part of the result, since batch size changes it."""
    kinds: Counter[str] = Counter()
    by_language: Counter[str] = Counter()
    repeats = np.zeros(len(mixture.pool), dtype=np.int64)
    masked = 0
    for step in range(steps):
        batch = mixture.batch(step)
        kinds[batch.kind] += 1
        by_language.update(
            f"{q}-{p}" for q, p in zip(batch.query_languages, batch.passage_languages, strict=True)
        )
        np.add.at(repeats, batch.pairs, 1)
        masked += int(conflicts(batch.clusters).sum())
    size = mixture.config.batch_size
    return {
        "steps": steps,
        "batch_size": size,
        "examples": steps * size,
        "batches": {"mono": kinds["mono"], "cross": kinds["cross"]},
        "mono_share": kinds["mono"] / steps,
        "pairs_by_language": dict(sorted(by_language.items())),
        "languages": list(mixture.pool.languages),
        "pool_pairs": len(mixture.pool),
        "pool_clusters": int(mixture.pool.clusters.max()) + 1,
        "pairs_left_out": mixture.pool.left_out,
        "epochs": steps / mixture.batches_per_epoch,
        "repeats_per_pair": {
            "min": int(repeats.min()), "mean": float(repeats.mean()), "max": int(repeats.max())
        },
        "pairs_of_one_cluster_in_a_batch": masked // 2,
        "effective_negatives_per_query": size - 1 - masked / (steps * size),
    }  # fmt: skip


def check(config: TrainConfig, pairs: Sequence[ParallelPairs]) -> list[str]:
    """Why these pairs cannot give such batches, one sentence each; empty if they can."""
    where = " + ".join(p.name for p in pairs)
    if not pairs:
        return ["data: names no training set; give at least one, for example data: [xquad-r:train]."]
    if config.languages is not None:
        mistakes = [
            f"languages: '{lang}' is not in {one.name}, which has {', '.join(one.languages)}."
            for one in pairs
            for lang in config.languages
            if lang not in one.questions
        ]
        if len(set(config.languages)) != len(config.languages):
            mistakes.append(f"languages: {', '.join(config.languages)} names a language twice.")
        if not config.languages:
            mistakes.append("languages: is empty; leave it out for all languages of the data.")
        if mistakes:
            return mistakes
    pool = Pool(pairs, config.languages)
    if not pool.languages:
        return [f"data: {where} share no language; a batch draws its pairs from all of them."]
    mistakes = []
    if len(pool.languages) == 1 and config.mono_ratio < 1.0:
        mistakes.append(
            f"mono_ratio: {config.mono_ratio:g} asks for cross-lingual batches but {pool.languages[0]} is "
            f"the only language; set mono_ratio: 1.0 or give at least two languages."
        )
    clusters = len(set(pool.clusters.tolist()))
    if config.batch_size > clusters:
        spoken = ", ".join(pool.languages)
        missing = f" ({pool.left_out} more are missing in one of {spoken})" if pool.left_out else ""
        mistakes.append(
            f"batch_size: {config.batch_size} needs as many pairs of different clusters, but {where} has "
            f"{len(pool)} pairs in {clusters} clusters{missing}; "
            f"set batch_size to at most {clusters} or add data."
        )
    return mistakes
