"""BM25 over a collection that is walked once, in bounded memory: the lexical ranking of a pool.

Libraries hold an index of all words in memory; here the queries are known beforehand, so only their words
are counted, block by block, and the counts wait in files for the collection's statistics.
Robertson and Zaragoza 2009, with Lucene's idf, ln(1 + (N - n + 0.5) / (n + 0.5)), and Anserini's k1 = 0.9 and
b = 0.4. Words are runs of letters and digits, case folded, not stemmed; Chinese, Japanese and Thai, which
put no blanks between words, are cut into overlapping pairs of characters.

Shapes: Q queries, V different words in them, D documents of a block, k hits.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

K1, B = 0.9, 0.4

_BLOCK = 20_000  # documents
_QUERIES = 256  # scored against a block at once: 20 MB
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def words(text: str) -> list[str]:
    """The words that are compared."""
    found: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        start = 0
        for run in _UNSPACED.finditer(word):
            found += [word[start : run.start()]] if run.start() > start else []
            signs = run[0]
            found += [signs[i : i + 2] for i in range(max(1, len(signs) - 1))]
            start = run.end()
        found += [word[start:]] if start < len(word) else []
    return found


def bm25(queries: Sequence[str], documents: Iterable[str], top: int, folder: Path) -> NDArray[np.int64]:
    """Rows of the `top` documents of every query that share a word with it, best first, -1 beyond: (Q, top).

    `folder` takes one file for each 20,000 documents, of some bytes for each word of a query in a document.
    """
    counts = [Counter(words(text)) for text in queries]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(w for c in counts for w in c))}
    lengths, having = _count(documents, vocabulary, folder)
    mean = max(float(np.mean(lengths)) if len(lengths) else 1.0, 1e-9)
    idf = np.log1p((len(lengths) - having + 0.5) / (having + 0.5))  # (V,)
    rows = np.repeat(np.arange(len(queries)), [len(count) for count in counts])
    columns = np.array([vocabulary[word] for count in counts for word in count], dtype=np.int64)
    times = np.array([n for count in counts for n in count.values()], dtype=np.float32)
    weights = sparse.csr_array(
        (times * idf[columns].astype(np.float32), (rows, columns)), shape=(len(queries), len(vocabulary))
    )  # (Q, V)
    best = np.full((len(queries), top), -1, dtype=np.int64)
    best_scores = np.zeros((len(queries), top), dtype=np.float32)
    for number, start in enumerate(range(0, len(lengths), _BLOCK)):
        norm = K1 * (1 - B + B * lengths[start : start + _BLOCK] / mean)  # (D,)
        with np.load(folder / f"{number}.npz") as counted:
            times, of, ends = (counted[name] for name in ("times", "words", "ends"))
        saturated = times * (K1 + 1) / (times + np.repeat(norm, np.diff(ends)))
        of_words = sparse.csr_array((saturated, of, ends), shape=(len(norm), len(vocabulary))).T  # (V, D)
        for first in range(0, len(queries), _QUERIES):
            some = slice(first, first + _QUERIES)
            scores = (weights[some] @ of_words).toarray()  # (some, D)
            both = np.concatenate([best_scores[some], scores], axis=1)  # (some, top + D)
            keep = np.argpartition(-both, top - 1, axis=1)[:, :top]  # (some, top)
            new = keep - top + start  # rows of those that are of this block
            best[some] = np.where(keep < top, np.take_along_axis(best[some], keep % top, axis=1), new)
            best_scores[some] = np.take_along_axis(both, keep, axis=1)
    order = np.lexsort((best, -best_scores), axis=1)  # (Q, top)
    best = np.where(best_scores > 0, best, -1)
    return np.take_along_axis(best, order, axis=1)


def _count(
    documents: Iterable[str], vocabulary: dict[str, int], folder: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Write how often each document has each word of the vocabulary; (documents,) lengths in words, and (V,)
    how many documents have a word."""
    lengths: list[NDArray[np.float32]] = []
    having = np.zeros(len(vocabulary), dtype=np.int64)
    for number, block in enumerate(_blocks(documents)):
        rows, columns, of_block = [], [], np.zeros(len(block), dtype=np.float32)
        for row, text in enumerate(block):
            found = words(text)
            of_block[row] = len(found)
            known = [vocabulary[word] for word in found if word in vocabulary]
            columns += known
            rows += [row] * len(known)
        shape = (len(block), len(vocabulary))
        counted = sparse.coo_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape).tocsr()
        having += np.bincount(counted.indices, minlength=len(vocabulary))
        times = counted.data.astype(np.float32)
        np.savez(folder / f"{number}.npz", times=times, words=counted.indices, ends=counted.indptr)
        lengths.append(of_block)
    return np.concatenate(lengths) if lengths else np.zeros(0, np.float32), having


def _blocks(documents: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(documents)
    while block := list(islice(rest, _BLOCK)):
        yield block
