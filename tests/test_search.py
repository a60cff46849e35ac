"""Search against a plain sort, on scores full of ties."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hybrid.search
from hybrid.search import Candidates, VectorFile, search

IDS = st.lists(st.text("abZ09:_é", min_size=1, max_size=4), min_size=1, max_size=40, unique=True)


def sorted_columns(scores: np.ndarray, ids: list[str]) -> list[int]:
    """trec_eval's order by a plain sort: greatest score first, then greatest id in bytes."""
    return sorted(range(len(ids)), key=lambda column: (scores[column], ids[column].encode()), reverse=True)


def tied_vectors(rng: np.random.Generator, count: int, dim: int = 3) -> np.ndarray:
    """Whole numbers, so that inner products are exact and many are equal, zero and negative."""
    return rng.integers(-1, 2, size=(count, dim)).astype(np.float32)


def check(queries, vectors, ids, sizes, wanted, excluded, found):
    """Compare what was found with a plain sort of every query's scores."""
    scores = queries @ vectors.T
    starts = [0, *itertools.accumulate(sizes)]
    for query in range(len(queries)):
        order = [column for column in sorted_columns(scores[query], ids) if column != excluded[query]]
        top = order[: found.top.shape[1]]
        assert found.top[query].tolist() == top + [-1] * (found.top.shape[1] - len(top))
        assert found.top_scores[query][: len(top)].tolist() == scores[query][top].tolist()
        for place, column in enumerate(wanted[query]):
            if column in (-1, excluded[query]):
                continue
            higher = order[: order.index(column)]
            for group, (start, stop) in enumerate(itertools.pairwise(starts)):
                assert found.above[query, place, group] == sum(start <= other < stop for other in higher)


@settings(max_examples=60, deadline=None)
@given(
    ids=IDS,
    seed=st.integers(0, 2**32 - 1),
    tile=st.sampled_from([2, 5, 64]),
    resident=st.sampled_from([0, 2**20]),
)
def test_equals_a_plain_sort(ids, seed, tile, resident):
    rng = np.random.default_rng(seed)
    queries, vectors = tied_vectors(rng, 7), tied_vectors(rng, len(ids))
    cut = int(rng.integers(0, len(ids) + 1))
    sizes = [cut, len(ids) - cut]
    wanted = rng.integers(-1, len(ids), size=(7, int(rng.integers(1, 4))))
    excluded = rng.integers(-1, len(ids), size=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hybrid.search, "_TILE_QUERIES", tile)
        patch.setattr(hybrid.search, "_TILE_CANDIDATES", tile)
        patch.setattr(hybrid.search, "_RESIDENT_KEYS", resident)
        found = search(queries, Candidates.of(vectors, ids, sizes), wanted=wanted, top=6, excluded=excluded)
    check(queries, vectors, ids, sizes, wanted, excluded, found)


def test_many_wanted_documents_are_counted_as_few_are():
    rng = np.random.default_rng(1)
    queries, vectors = tied_vectors(rng, 9), tied_vectors(rng, 300)
    ids = [f"d{number}" for number in rng.permutation(300)]
    wanted = np.stack([rng.permutation(300)[:60] for _ in range(9)])
    found = search(queries, Candidates.of(vectors, ids, [100, 200]), wanted=wanted, top=5)
    check(queries, vectors, ids, [100, 200], wanted, np.full(9, -1), found)


def test_scores_are_those_of_the_product_in_any_tiling(monkeypatch):
    rng = np.random.default_rng(2)
    queries = rng.standard_normal((300, 384), dtype=np.float32)
    vectors = rng.standard_normal((5000, 384), dtype=np.float32)
    candidates = Candidates.of(vectors, [f"{number:05}" for number in range(5000)])
    wanted = rng.integers(0, 5000, size=(300, 3))
    kept = search(queries, candidates, wanted=wanted, top=10)
    monkeypatch.setattr(hybrid.search, "_RESIDENT_KEYS", 0)
    monkeypatch.setattr(hybrid.search, "_TILE_CANDIDATES", 700)
    streamed = search(queries, candidates, wanted=wanted, top=10)
    assert (streamed.above == kept.above).all()
    assert (streamed.top == kept.top).all()
    np.testing.assert_allclose(kept.top_scores, np.sort(queries @ vectors.T)[:, :-11:-1], rtol=1e-4)


def test_equal_vectors_have_equal_scores_wherever_they_stand():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((1237, 384), dtype=np.float32)
    copies = rng.permutation(1237)[:400]
    vectors[copies] = vectors[copies[0]]
    ids = [f"{number:04}" for number in range(1237)]
    wanted = np.tile(np.sort(copies)[::-1], (5, 1))
    found = search(
        rng.standard_normal((5, 384), dtype=np.float32), Candidates.of(vectors, ids), wanted=wanted
    )
    ranks = found.above[:, :, 0]
    assert (np.diff(ranks, axis=1) == 1).all()  # neighbours in rank, greatest id first


def test_minus_zero_ties_with_zero():
    vectors = np.array([[0.0], [-0.0], [0.0]], dtype=np.float32)
    found = search(np.array([[1.0]], dtype=np.float32), Candidates.of(vectors, ["a", "c", "b"]), top=3)
    assert found.top.tolist() == [[1, 2, 0]]


def test_vectors_in_a_file_are_found_as_in_memory(tmp_path: Path):
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((1000, 16), dtype=np.float32)
    stored = VectorFile(tmp_path / "vectors.f32", 16)
    stored.append(vectors[:300])
    stored.append(vectors[300:])
    assert stored.shape == (1000, 16)
    assert (stored[290:310] == vectors[290:310]).all()
    ids = [str(number) for number in range(1000)]
    queries = rng.standard_normal((20, 16), dtype=np.float32)
    in_memory = search(queries, Candidates.of(vectors, ids), top=7)
    from_file = search(queries, Candidates.of(stored, ids), top=7)
    assert (in_memory.top == from_file.top).all()


def test_fewer_candidates_than_asked_for_and_none():
    query = np.ones((1, 2), dtype=np.float32)
    found = search(query, Candidates.of(np.ones((1, 2), dtype=np.float32), ["a"]), top=3)
    assert found.top.tolist() == [[0, -1, -1]]
    assert found.top_scores.tolist() == [[2.0, -np.inf, -np.inf]]
    nothing = search(query, Candidates.of(np.ones((0, 2), dtype=np.float32), []), top=2)
    assert nothing.top.tolist() == [[-1, -1]]


@pytest.mark.parametrize("spoilt", ["query", "document"])
def test_an_embedding_that_is_not_finite_is_an_error(spoilt):
    queries, vectors = np.ones((2, 2), dtype=np.float32), np.ones((3, 2), dtype=np.float32)
    (queries if spoilt == "query" else vectors)[1, 1] = np.nan
    with pytest.raises(FloatingPointError, match=spoilt):
        search(queries, Candidates.of(vectors, ["a", "b", "c"]), top=1)
