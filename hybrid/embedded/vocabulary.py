"""Subword vocabularies that come out the same on every run.

The trainers of `tokenizers` break ties by hash order, so two runs give two vocabularies. This is the Unigram
model of SentencePiece (Kudo 2018) with the hard form of EM: segment every word by its most probable pieces,
count the pieces used, drop the rarest, repeat.
"""

from collections import Counter
from collections.abc import Mapping
from math import log

MARK = "▁"  # stands before the first letter of a word
_LONGEST = 14  # characters of a piece
_SEEDS = 30_000


def learn_pieces(counts: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """The `size` pieces that segment the words best, with log probabilities, most frequent first.

    `counts` says how often each word occurs, without MARK. Every single character is kept, so that no word of
    the text is unknown.
    """
    words = [(MARK + word, count) for word, count in sorted(counts.items())]
    found: Counter[str] = Counter()
    for word, count in words:
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + _LONGEST) + 1):
                found[word[start:end]] += count
    letters = {piece for piece in found if len(piece) == 1}
    ranked = sorted(found, key=lambda piece: (-found[piece] * len(piece), piece))
    used = {piece: found[piece] for piece in [*ranked[:_SEEDS], *sorted(letters)]}
    while True:
        total = sum(used.values())
        scores = {piece: log(count / total) for piece, count in used.items()}
        if len(scores) <= size:
            return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
        new: Counter[str] = Counter()
        for word, count in words:
            for piece in best_segmentation(word, scores):
                new[piece] += count
        # Letters stay whatever they are used for; of the rest, the least used quarter goes each round.
        rest = sorted((p for p in new if p not in letters), key=lambda piece: (-new[piece], piece))
        kept = max(size - len(letters), min(len(rest), len(scores) * 3 // 4 - len(letters)))
        used = {piece: max(new[piece], 1) for piece in [*rest[:kept], *sorted(letters)]}


def best_segmentation(word: str, scores: Mapping[str, float]) -> list[str]:
    """The most probable split of `word` into known pieces (Viterbi); earlier splits win ties."""
    best: list[tuple[float, int]] = [(0.0, 0)]  # for each prefix: its score, where its last piece starts
    for end in range(1, len(word) + 1):
        options = (
            (best[start][0] + scores[word[start:end]], start)
            for start in range(max(0, end - _LONGEST), end)
            if word[start:end] in scores
        )
        best.append(max(options))
    pieces, end = [], len(word)
    while end > 0:
        start = best[end][1]
        pieces.append(word[start:end])
        end = start
    return pieces[::-1]
