"""The texts of batches as token ids, and cut into groups of like length that are encoded together."""

from collections.abc import Callable, Sequence
from typing import Literal

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


Column = Literal["questions", "passages", "hard negatives"]

OnTokens = Callable[[str, float], None]
"""Called while a column is tokenised, with what is being done and the share of it."""


class BatchTokens:
    """Token ids of the texts that batches use.

    An encoder that keeps tokens has every column of the training sets in this machine's cache, tokenised as
    a whole by whoever needs it first. One that does not tokenises each distinct text once, many steps ahead.
    """

    def __init__(
        self, config: TrainConfig, mixture: Mixture, encoder: Encoder, on_tokens: OnTokens | None = None
    ) -> None:
        self.config, self.mixture, self.encoder, self.on_tokens = config, mixture, encoder, on_tokens
        self.keeps = encoder.keeps_tokens and encoder.tokenizer_digest is not None
        self.columns: dict[tuple[int, Column, str], TokenRows] = {}
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
            return self.column(pairs, "questions", language, pairs.questions[language])[index]
        if which == _PASSAGE:
            return self.column(pairs, "passages", language, pairs.passages[language])[index]
        if (id(pairs), language) not in self.negatives:
            self.negatives[id(pairs), language] = laid_out(pairs.negatives[language])
        negatives = self.negatives[id(pairs), language]
        return self.column(pairs, "hard negatives", language, negatives)[negatives.place(index, which)]

    def column(
        self,
        pairs: ParallelPairs,
        column: Column,
        language: str,
        texts: Sequence[str | None] | HardNegatives,
    ) -> TokenRows:
        """The token ids of all texts of one kind, read or made when they are first asked for."""
        key = (id(pairs), column, language)
        if key not in self.columns:
            rows = column_tokens(self.encoder, self.config, pairs, column, language, texts, self.on_tokens)
            assert rows is not None  # of an encoder that keeps tokens
            self.columns[key] = rows
        return self.columns[key]


def column_tokens(
    encoder: Encoder,
    config: TrainConfig,
    pairs: ParallelPairs,
    column: Column,
    language: str,
    texts: Sequence[str | None] | HardNegatives,
    on_tokens: OnTokens | None = None,
) -> TokenRows | None:
    """The token ids of a column of a training set, as `Encoder.kept_tokens`.

    They are found by the digest of the pairs, where there is one: nothing of millions of texts is read.
    """
    kind: Kind = "query" if column == "questions" else "passage"
    length = config.max_query_length if kind == "query" else config.max_passage_length
    identity = [pairs.digest, column, language]
    if isinstance(texts, HardNegatives):  # of which the same lists can be laid out in several orders
        identity.append(texts.layout)
        texts = texts.texts

    def tell(share: float | None) -> None:
        if on_tokens is not None and share is None:
            on_tokens(f"waiting for another process that tokenises {column} {language}", 0.0)
        elif on_tokens is not None and share is not None:
            on_tokens(f"tokenising {column} {language}", share)

    return encoder.kept_tokens(
        texts,
        kind,
        max_length=length,
        identity=[*identity, len(texts)] if pairs.digest else None,
        told=tell,
    )


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
