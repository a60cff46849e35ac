"""Measures against trec_eval's own files, pytrec_eval and ir_measures, with rankings made by `search`."""

import os
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid.metrics import MEASURES, average_precision, ndcg_at, recall_at, reciprocal_rank_at
from hybrid.search import Candidates, search

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


def ranks_and_gains(run: Run, qrels: Qrels) -> tuple[np.ndarray, np.ndarray]:
    """Ranks by `search`: one query at a time, each document a vector of length 1 that is its score."""
    width = max(sum(gain > 0 for gain in qrels[query].values()) for query in run)
    ranks, gains = np.zeros((len(run), width), dtype=np.int64), np.zeros((len(run), width), dtype=np.int64)
    for row, (query, scores) in enumerate(run.items()):
        if not scores:  # no ranking: none of its documents is in it
            of_query = [gain for gain in qrels[query].values() if gain > 0]
            gains[row, : len(of_query)] = of_query
            continue
        ids = list(scores)
        vectors = np.array([[scores[name]] for name in ids], dtype=np.float32)
        relevant = [name for name, gain in qrels[query].items() if gain > 0]
        wanted = np.array([[ids.index(name) if name in scores else -1 for name in relevant]], dtype=np.int64)
        found = search(np.ones((1, 1), dtype=np.float32), Candidates.of(vectors, ids), wanted=wanted)
        gains[row, : len(relevant)] = [qrels[query][name] for name in relevant]
        ranks[row, : len(relevant)] = np.where(wanted[0] >= 0, 1 + found.above[0, :, 0], 0)
    return ranks, gains


@st.composite
def runs(draw: st.DrawFn) -> tuple[Run, Qrels]:
    """Few distinct scores, so ties abound; short rankings; graded judgements, zeros; absent documents."""
    pool = [f"d{number}" for number in range(draw(st.integers(1, 160)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distinct = draw(st.sampled_from([1, 2, 5, 1000]))
    run: Run = {}
    qrels: Qrels = {}
    for query in map(str, range(draw(st.integers(1, 6)))):
        shown = rng.permutation(pool)[: int(rng.integers(1, len(pool) + 1))]
        run[query] = {str(name): float(np.float32(rng.integers(-distinct, distinct) / 7)) for name in shown}
        judged = rng.permutation([*pool, "absent"])[: int(rng.integers(1, len(pool) + 2))]
        qrels[query] = {str(name): int(rng.integers(0, 4)) for name in judged}
    return run, qrels


@settings(max_examples=80, deadline=None)
@given(runs())
def test_equal_to_pytrec_eval(case):
    run, qrels = case
    names = {
        "map": "map",
        "ndcg_at_10": "ndcg_cut_10",
        "recall_at_1": "recall_1",
        "recall_at_10": "recall_10",
    }
    names["recall_at_100"] = "recall_100"
    wanted = {"map", "ndcg_cut.10", "recall.1,10,100"}
    expected = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    ranks, gains = ranks_and_gains(run, qrels)
    for ours, theirs in names.items():
        values = MEASURES[ours](ranks, gains)
        assert values.tolist() == pytest.approx([expected[query][theirs] for query in run], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(runs())
def test_equal_to_ir_measures(case):
    run, qrels = case
    measures = {
        "map": ir_measures.AP,
        "ndcg_at_10": ir_measures.nDCG @ 10,
        "recall_at_100": ir_measures.R @ 100,
        "recall_at_10": ir_measures.R @ 10,
        "recall_at_1": ir_measures.R @ 1,
        "mrr_at_10": ir_measures.RR,  # uncut: the provider of its RR@10 breaks ties in another way
    }
    assert measures.keys() == MEASURES.keys()
    expected = {
        (m.query_id, m.measure): m.value for m in ir_measures.iter_calc(list(measures.values()), qrels, run)
    }
    ranks, gains = ranks_and_gains(run, qrels)
    for name, measure in measures.items():
        values = MEASURES[name](ranks, gains)
        wanted = [expected[query, measure] for query in run]
        if name == "mrr_at_10":
            wanted = [value if value > 1 / 10.5 else 0.0 for value in wanted]
        assert values.tolist() == pytest.approx(wanted, abs=1e-6), name


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("printed_in", "run_in", "judged_in", "deepest", "relevant_from"),
    [
        ("out.test.aq", "results.test", "qrels.test", None, 1),
        ("out.test.aqc", "results.trunc", "qrels.test", None, 1),  # a query without a ranking counts, as 0
        ("out.test.aqcM", "results.trunc", "qrels.test", 100, 1),  # only the first 100 documents of a query
        ("out.test.aql", "results.test", "qrels.rel_level", None, 2),  # graded and negative judgements
    ],
)
def test_equal_to_trec_eval_on_its_own_reference_files(
    printed_in: str, run_in: str, judged_in: str, deepest: int | None, relevant_from: int
) -> None:
    """Every query and the mean over queries, as trec_eval itself printed them, to its four decimals."""
    root = os.environ.get("HYBRID_DATA_ROOT")
    if not root or not (Path(root) / "trec-eval-reference").is_dir():
        pytest.skip("HYBRID_DATA_ROOT has no folder trec-eval-reference")
    folder = Path(root) / "trec-eval-reference"
    qrels: Qrels = {}
    for line in (folder / judged_in).read_text().splitlines():
        query, _, document, gain = line.split()
        qrels.setdefault(query, {})[document] = int(gain)
    run: Run = {query: {} for query in qrels}
    for line in (folder / run_in).read_text().splitlines():
        query, _, document, _, score, *_ = line.split()
        run[query][document] = float(score)
    names = {"map", "recip_rank", "ndcg_cut_10", *(f"recall_{k}" for k in (5, 10, 100))}
    printed: dict[str, dict[str, float]] = {}
    for line in (folder / printed_in).read_text().splitlines():
        measure, query, value = line.split()
        if measure in names:
            printed.setdefault(measure, {})[query] = float(value)
    ranks, graded = ranks_and_gains(run, qrels)
    if deepest is not None:
        ranks = np.where(ranks <= deepest, ranks, 0)
    gains = np.where(graded >= relevant_from, graded, 0)
    computed = {
        "map": average_precision(ranks, gains),
        "recip_rank": reciprocal_rank_at(10**6, ranks, gains),
        "ndcg_cut_10": ndcg_at(10, ranks, graded),  # for which every gain above 0 counts, at any level
        **{f"recall_{k}": recall_at(k, ranks, gains) for k in (5, 10, 100)},
    }
    assert printed.keys() == computed.keys() == names
    for measure, values in computed.items():
        found = {**dict(zip(run, values, strict=True)), "all": values.mean()}
        assert {query: round(float(v), 4) for query, v in found.items()} == pytest.approx(
            printed[measure], abs=1e-9
        ), measure
    if deepest is None and relevant_from == 1:
        ranked = {query: scores for query, scores in run.items() if scores}
        exact = pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut.10"}).evaluate(ranked)
        for measure in ("map", "ndcg_cut_10"):
            values = [exact[query][measure] if query in exact else 0.0 for query in run]
            assert computed[measure].tolist() == pytest.approx(values, abs=1e-6)


def test_values_by_hand():
    ranks = np.array([[1, 4, 0], [11, 0, 0], [2, 3, 0]])
    gains = np.array([[1, 1, 0], [1, 0, 0], [3, 1, 2]])  # the third query's last document is not ranked
    assert average_precision(ranks, gains).tolist() == pytest.approx(
        [(1 + 2 / 4) / 2, 1 / 11, (1 / 2 + 2 / 3) / 3]
    )
    assert reciprocal_rank_at(10, ranks, gains).tolist() == [1.0, 0.0, 0.5]
    assert recall_at(1, ranks, gains).tolist() == [0.5, 0.0, 0.0]
    best = 3 + 2 / np.log2(3) + 1 / 2
    assert ndcg_at(10, ranks, gains)[2] == pytest.approx((3 / np.log2(3) + 1 / 2) / best)


def test_a_query_without_relevant_documents_gets_zero():
    nothing = np.zeros((2, 3), dtype=np.int64)
    for measure in MEASURES.values():
        assert measure(nothing, nothing).tolist() == [0.0, 0.0]
        assert measure(nothing[:, :0], nothing[:, :0]).tolist() == [0.0, 0.0]
