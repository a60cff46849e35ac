"""The bias of a pool: exact where it is known, and covered as often as its interval says."""

import numpy as np
import pyarrow as pa
import pytest

from sweeps.pool_bias import QUERIES, SEEDS_AND_QUERIES, pool_biases

REFERENCES = {"tuned": "mono", "mono": "mono"}


def table(
    rng: np.random.Generator,
    *,
    bias: float = 0.0,
    seeds: int = 4,
    queries: int = 60,
    seed_sd: float = 0.0,
    noise: float = 0.1,
) -> pa.Table:
    """Scores of two arms on a task in full and on its pool; the pool adds `bias` to the tuned arm's."""
    rows = []
    difficulty = rng.uniform(0.2, 0.7, queries)
    for seed in range(seeds):
        shift = rng.normal(0, seed_sd)
        for arm in ("mono", "tuned"):
            full = difficulty + rng.normal(0, noise, queries)
            gain = (bias + shift + rng.normal(0, noise, queries)) * (arm == "tuned")
            for task, group, values in (("birds", "zero_shot", full), ("birds@pool", "levels", full + gain)):
                rows += [
                    {
                        "arm": arm, "seed": seed, "task": task, "group": group, "setting": "beir",
                        "query_lang": "en", "doc_lang": "en", "query_id": f"q{q}", "cluster_id": f"q{q}",
                        "measure": "ndcg_at_10", "value": float(value),
                    }
                    for q, value in enumerate(values)
                ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def test_the_bias_is_the_difference_of_the_paired_differences() -> None:
    scores = table(np.random.default_rng(0), bias=0.05)
    (found,) = pool_biases(scores, REFERENCES)

    def mean(task: str, arm: str) -> float:
        return float(
            np.mean([r["value"] for r in scores.to_pylist() if (r["task"], r["arm"]) == (task, arm)])
        )

    on_pool = mean("birds@pool", "tuned") - mean("birds@pool", "mono")
    in_full = mean("birds", "tuned") - mean("birds", "mono")
    assert (found.on_pool, found.in_full) == (pytest.approx(on_pool), pytest.approx(in_full))
    assert found.bias == pytest.approx(on_pool - in_full)
    assert (found.task, found.full, found.arm, found.reference) == ("birds@pool", "birds", "tuned", "mono")
    assert (found.seeds, found.queries, found.kind) == (4, 60, SEEDS_AND_QUERIES)
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower < found.bias < found.upper
    # what both have in common, the queries' difficulty and noise in full, is no part of its interval
    assert found.upper - found.lower < 0.5 * 4 * 0.1


def test_a_pool_of_everything_has_no_bias() -> None:
    scores = table(np.random.default_rng(1), noise=0.0)
    (found,) = pool_biases(scores, REFERENCES)
    assert found.bias == 0.0


def test_its_interval_covers_the_bias_as_often_as_it_says() -> None:
    """300 experiments at 95%: fewer than 272 hits has a probability below 0.001."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        scores = table(rng, bias=0.02, seeds=3, queries=25, seed_sd=0.03)
        (found,) = pool_biases(scores, {"tuned": "mono"})
        assert found.lower is not None
        assert found.upper is not None
        hits += found.lower <= 0.02 <= found.upper
    assert hits >= 272


def test_one_seed_gives_query_variation_alone_and_says_so() -> None:
    (found,) = pool_biases(table(np.random.default_rng(3), seeds=1, bias=0.1), REFERENCES)
    assert found.kind == QUERIES
    assert found.lower is not None


def test_seeds_that_one_level_lacks_are_left_out() -> None:
    scores = table(np.random.default_rng(4), seeds=3)
    rows = [r for r in scores.to_pylist() if (r["task"], r["seed"]) != ("birds@pool", 2)]
    (found,) = pool_biases(pa.Table.from_pylist(rows), REFERENCES)
    assert found.seeds == 2


def test_a_task_at_one_level_alone_has_no_bias_to_tell() -> None:
    scores = table(np.random.default_rng(5))
    for task in ("birds", "birds@pool"):
        rows = [row for row in scores.to_pylist() if row["task"] == task]
        assert pool_biases(pa.Table.from_pylist(rows), REFERENCES) == []


def test_nanobeir_is_not_taken_for_the_task_in_full() -> None:
    names = {"birds": "nano-scifact", "birds@pool": "scifact@pool"}
    rows = [{**row, "task": names[row["task"]]} for row in table(np.random.default_rng(8)).to_pylist()]
    assert pool_biases(pa.Table.from_pylist(rows), REFERENCES) == []


def test_verdicts_from_pools_carry_the_flag() -> None:
    from sweeps.degradation import compare

    scores = table(np.random.default_rng(6))
    rows = [r | {"group": "zero_shot"} for r in scores.to_pylist() if r["task"] == "birds@pool"]
    found = compare(pa.Table.from_pylist(rows), {"tuned": "mono"}, margin=0.01, measure="ndcg_at_10")
    assert {task.task for task in found.verdicts} == {"macro", "birds@pool"}
    assert all("pool" in one.flags and any("flatters" in n for n in one.notes) for one in found.verdicts)
    rows = [r for r in scores.to_pylist() if r["task"] == "birds"]
    found = compare(pa.Table.from_pylist(rows), {"tuned": "mono"}, margin=0.01, measure="ndcg_at_10")
    assert not any("pool" in one.flags for one in found.verdicts)
