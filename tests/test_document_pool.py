"""Pools: BM25 by an oracle, what is in a pool, and what measures on it can and cannot say."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_evaluate import TableEncoder, texts_of

from hybrid.bm25 import K1, B, bm25, words
from hybrid.config import EvalConfig
from hybrid.data.digests import task_digest
from hybrid.data.document_pools import Pool, cut, pool_digest, read_pool, write_pool
from hybrid.data.records import Task
from hybrid.document_pool import build_pool
from hybrid.errors import BadInput
from hybrid.evaluate import evaluate

VOCABULARY = ["river", "bank", "money", "loan", "water", "boat", "fish", "court", "judge", "law", "tree"]


def bm25_by_definition(query: str, documents: list[str]) -> list[float]:
    """Robertson's sum, term by term, with Lucene's idf."""
    counted = [Counter(words(text)) for text in documents]
    mean = sum(sum(count.values()) for count in counted) / len(counted)
    scores = []
    for count in counted:
        score = 0.0
        for word in words(query):
            having = sum(word in other for other in counted)
            idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            norm = K1 * (1 - B + B * sum(count.values()) / mean)
            score += idf * count[word] * (K1 + 1) / (count[word] + norm) if count[word] else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize("block", [7, 1000])
def test_bm25_is_the_sum_of_its_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("hybrid.bm25._BLOCK", block)
    rng = np.random.default_rng(1)
    documents = [" ".join(rng.choice(VOCABULARY, rng.integers(0, 12))) for _ in range(60)]
    queries = [" ".join(rng.choice(VOCABULARY, 4)) for _ in range(9)] + ["nowhere", ""]
    found = bm25(queries, iter(documents), 10, tmp_path)
    for query, rows in zip(queries, found, strict=True):
        scores = bm25_by_definition(query, documents)
        best = sorted((score for score in scores if score > 0), reverse=True)[:10]
        there = [row for row in rows.tolist() if row >= 0]
        assert len(set(there)) == len(there)
        assert [scores[row] for row in there] == pytest.approx(best, rel=1e-5)


def test_words_of_scripts_without_blanks_are_pairs_of_characters() -> None:
    assert words("Straße, ＡＢＣ 12!") == ["strasse", "abc", "12"]
    assert words("東京都 x木") == ["東京", "京都", "x", "木"]
    assert words("мир") == ["мир"]


def world(documents: int = 300, queries: int = 20) -> tuple[TableEncoder, Task]:
    rng = np.random.default_rng(4)
    ids = [f"d{number}" for number in rng.permutation(documents)]
    texts = texts_of(*ids)
    asked = texts_of(*(f"q{number}" for number in range(queries)))
    gains = {
        query: {str(d): int(rng.integers(0, 3)) for d in rng.choice([*ids, "absent"], 6, replace=False)}
        for query in asked.ids
    }
    task = Task("birds", ("beir",), {"en": asked}, {"en": texts}, {"en": gains}, "")
    table = {text: rng.standard_normal(6).tolist() for text in (*texts.texts, *asked.texts)}
    return TableEncoder(table), task


def pool_of(encoder: TableEncoder, task: Task, depth: int) -> Pool:
    return build_pool(task, depth, {"one": lambda: encoder}, EvalConfig(), name="birds@pool")  # type: ignore[dict-item, return-value]


def test_all_judged_documents_are_in_it_and_the_hardest_unjudged_of_every_ranking() -> None:
    encoder, task = world()
    pool = pool_of(encoder, task, depth=3)
    chosen = set(pool.documents)
    ids = list(task.documents["en"].ids)
    judged = {d for gains in task.qrels["en"].values() for d in gains} - {"absent"}
    assert judged <= chosen
    assert pool.judged == len(judged)
    vectors = np.array([encoder.table[text] for text in task.documents["en"].texts])
    hardest = set()
    for query, text in zip(task.queries["en"].ids, task.queries["en"].texts, strict=True):
        ranked = [ids[row] for row in np.argsort(-(vectors @ encoder.table[text]))]
        hardest |= set([name for name in ranked if name not in task.qrels["en"][query]][:3])
    assert hardest <= chosen
    # "text of q3" shares two words with every document, so BM25 adds three ties of its own a query at most
    assert len(chosen) <= len(judged | hardest) + 3 * 20
    assert (pool.of, pool.depth, pool.rankings) == (300, 3, ("BM25", "one"))


def test_measures_that_look_no_deeper_are_those_of_the_whole_for_whoever_ranked_it() -> None:
    encoder, task = world()
    on_pool = cut(task, pool_of(encoder, task, depth=10), "birds@pool")
    assert len(on_pool.documents["en"]) < len(task.documents["en"])
    whole, cut_down = (evaluate(encoder, one, EvalConfig()).to_pylist() for one in (task, on_pool))
    for measure in ("ndcg_at_10", "mrr_at_10"):
        values = [[row["value"] for row in rows if row["measure"] == measure] for rows in (whole, cut_down)]
        assert values[0] == values[1]
    deeper = [sum(r["value"] for r in rows if r["measure"] == "map") for rows in (whole, cut_down)]
    assert deeper[1] > deeper[0]  # looks at all ranks, and the pool has fewer documents to lose to


def test_its_digest_is_that_of_the_cut_task_and_follows_the_documents() -> None:
    encoder, task = world()
    pools = [pool_of(encoder, task, depth) for depth in (1, 5, 300)]
    tasks = [cut(task, pool, "birds@pool") for pool in pools]
    assert [one.digest for one in tasks] == [task_digest(one) for one in tasks]
    assert len({pool.digest for pool in pools}) == 3
    assert pools[2].digest == task_digest(task)  # a pool of everything is the task in full
    assert list(tasks[0].documents["en"].ids) == [
        name for name in task.documents["en"].ids if name in set(pools[0].documents)
    ]
    assert "flatters tuned arms" in tasks[0].notes[-1]
    assert build_pool(task, 5, {}, EvalConfig(), name="birds@pool").rankings == ("BM25",)


def test_it_comes_back_from_its_file_and_a_spoilt_one_is_refused(tmp_path: Path) -> None:
    encoder, task = world(40, 5)
    pool, path = pool_of(encoder, task, depth=2), tmp_path / "pools" / "a.parquet"
    assert read_pool(path) is None
    assert pool_digest(path) is None
    write_pool(path, pool)
    assert read_pool(path) == pool
    assert pool_digest(path) == pool.digest
    assert [p.name for p in path.parent.iterdir()] == ["a.parquet"]
    path.write_bytes(path.read_bytes()[:100])
    for reader in (read_pool, pool_digest):
        with pytest.raises(BadInput, match=r"a\.parquet: is no whole pool"):
            reader(path)


def test_a_pool_of_other_data_is_refused() -> None:
    _, task = world(40, 5)
    pool = Pool("birds", ("d1", "gone"), 1, 40, 2, ("BM25",))
    with pytest.raises(BadInput, match="birds@pool: 1 documents of its pool are not in the collection"):
        cut(task, pool, "birds@pool")
