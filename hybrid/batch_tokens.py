"""The texts of batches as token ids, and cut into groups of like length that are encoded together."""

from collections.abc import Sequence

from hybrid.batching import Batch, Mixture
from hybrid.config import TrainConfig
from hybrid.data.hard_negatives import HardNegatives, laid_out
from hybrid.data.records import ParallelPairs
from hybrid.data.tokens import TokenRows
from hybrid.encoder import Encoder, Kind, TokenIds

_TOKENISED_AHEAD = 100  # steps
_QUESTION, _PASSAGE, _NEGATIVE = -2, -1, 0

Text = tuple[int, int, str]
"""Which of a row's texts (_QUESTION, _PASSAGE, or the number of a hard negative), the row, the language."""


class BatchTokens:
    """Token ids of the texts that batches use.

    An encoder that keeps tokens has every column of the training sets in this machine's cache, tokenised as
    a whole by whoever needs it first. One that does not tokenises each distinct text once, many steps ahead.
    """

    def __init__(self, config: TrainConfig, mixture: Mixture, encoder: Encoder) -> None:
        self.config, self.mixture, self.encoder = config, mixture, encoder
        self.keeps = encoder.keeps_tokens and encoder.tokenizer_digest is not None
        self.columns: dict[tuple[int, int, str], TokenRows] = {}
        self.negatives: dict[tuple[int, str], HardNegatives] = {}
        self.known: dict[Text, TokenIds] = {}
        self.ready = range(0)  # steps whose texts are all tokenised

    def of(self, batch: Batch) -> list[TokenIds]:
        """The B questions, then their B passages, then the hard negatives."""
        if self.keeps:
            return [self.kept(text) for text in _texts(batch)]
        if batch.step not in self.ready:
            self.ready = range(batch.step, min(batch.step + _TOKENISED_AHEAD, self.config.steps))
            ahead = [self.mixture.batch(step) for step in self.ready]
            self.tokenize({text for one in ahead for text in _texts(one)} - self.known.keys())
        return [self.known[text] for text in _texts(batch)]

    def tokenize(self, new: set[Text]) -> None:
        pool, config = self.mixture.pool, self.config
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

    def kept(self, text: Text) -> TokenIds:
        """From this machine's cache, which holds the texts of a language as a whole."""
        which, row, language = text
        pairs, index = self.mixture.pool.rows[row]
        if which == _QUESTION:
            return self.column(pairs, which, language, pairs.questions[language])[index]
        if which == _PASSAGE:
            return self.column(pairs, which, language, pairs.passages[language])[index]
        if (id(pairs), language) not in self.negatives:
            self.negatives[id(pairs), language] = laid_out(pairs.negatives[language])
        negatives = self.negatives[id(pairs), language]
        return self.column(pairs, _NEGATIVE, language, negatives.texts)[negatives.place(index, which)]

    def column(
        self, pairs: ParallelPairs, which: int, language: str, texts: Sequence[str | None]
    ) -> TokenRows:
        """The token ids of all texts of one kind, read or made when they are first asked for."""
        key = (id(pairs), which, language)
        if key not in self.columns:
            kind: Kind = "query" if which == _QUESTION else "passage"
            length = self.config.max_query_length if kind == "query" else self.config.max_passage_length
            rows = self.encoder.kept_tokens(texts, kind, max_length=length)
            assert rows is not None  # of an encoder that keeps tokens
            self.columns[key] = rows
        return self.columns[key]


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
