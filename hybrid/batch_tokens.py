"""The texts of batches as token ids, and cut into groups of like length that are encoded together."""

from hybrid.batching import Batch, Mixture
from hybrid.config import TrainConfig
from hybrid.data.tokens import TokenRows
from hybrid.encoder import Encoder, TokenIds

_TOKENISED_AHEAD = 100  # steps
MOST_KEPT = 200_000  # pairs of a set; of a larger one a run sees too little to tokenise it whole
_QUESTION, _PASSAGE = -2, -1

Text = tuple[int, int, str]
"""Which of a row's texts (_QUESTION, _PASSAGE, or the number of a hard negative), the row, the language."""


class BatchTokens:
    """Token ids of the texts that batches use, each distinct text tokenised once, many steps ahead."""

    def __init__(self, config: TrainConfig, mixture: Mixture, encoder: Encoder) -> None:
        self.config, self.mixture, self.encoder = config, mixture, encoder
        self.known: dict[Text, TokenIds] = {}
        self.columns: dict[tuple[int, int, str], TokenRows | None] = {}
        self.ready = range(0)  # steps whose texts are all tokenised

    def of(self, batch: Batch) -> list[TokenIds]:
        """The B questions, then their B passages, then the hard negatives."""
        if batch.step not in self.ready:
            self.ready = range(batch.step, min(batch.step + _TOKENISED_AHEAD, self.config.steps))
            ahead = [self.mixture.batch(step) for step in self.ready]
            self.tokenize({text for one in ahead for text in _texts(one)} - self.known.keys())
        return [self.known[text] for text in _texts(batch)]

    def tokenize(self, new: set[Text]) -> None:
        pool, config = self.mixture.pool, self.config
        if self.encoder.keeps_tokens:
            self.known.update({text: kept for text in new if (kept := self.kept(text)) is not None})
            new = new - self.known.keys()
        asked = sorted(text for text in new if text[0] == _QUESTION)
        questions = [pool.question(row, language) for _, row, language in asked]
        ids = self.encoder.tokenize(questions, "query", max_length=config.max_query_length)
        self.known.update(zip(asked, ids, strict=True))
        told = sorted(text for text in new if text[0] != _QUESTION)
        passages = [
            pool.passage(row, language) if which == _PASSAGE else pool.negative(row, which, language)
            for which, row, language in told
        ]
        ids = self.encoder.tokenize(passages, "passage", max_length=config.max_passage_length)
        self.known.update(zip(told, ids, strict=True))

    def kept(self, text: Text) -> TokenIds | None:
        """From this machine's cache, which holds the texts of a language as a whole; None: not held there."""
        which, row, language = text
        pairs, index = self.mixture.pool.rows[row]
        if which not in (_QUESTION, _PASSAGE) or len(pairs) > MOST_KEPT:
            return None
        column = (id(pairs), which, language)
        if column not in self.columns:
            asked, config = which == _QUESTION, self.config
            self.columns[column] = self.encoder.kept_tokens(
                (pairs.questions if asked else pairs.passages)[language],
                "query" if asked else "passage",
                max_length=config.max_query_length if asked else config.max_passage_length,
            )
        rows = self.columns[column]
        return None if rows is None else rows[index]


def _texts(batch: Batch) -> list[Text]:
    rows = batch.pairs.tolist()
    texts = [(_QUESTION, row, lang) for row, lang in zip(rows, batch.query_languages, strict=True)]
    texts += [(_PASSAGE, row, lang) for row, lang in zip(rows, batch.passage_languages, strict=True)]
    hard = zip(batch.negatives, batch.negative_languages, strict=True)
    return texts + [(number, row, lang) for (row, number), lang in hard]


def pieces(token_ids: list[TokenIds], tokens: int, rows: int | None) -> list[list[int]]:
    """Texts by falling length, cut so that a piece has at most `tokens` padded tokens and `rows` texts."""
    by_length = sorted(range(len(token_ids)), key=lambda i: -len(token_ids[i]))
    found: list[list[int]] = []
    for text in by_length:
        full = not found or (len(found[-1]) + 1) * len(token_ids[found[-1][0]]) > tokens
        if full or (rows is not None and len(found[-1]) == rows):
            found.append([])
        found[-1].append(text)
    return found
