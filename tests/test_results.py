"""Scores joined with arms, seeds and groups, and paired differences: against values known by construction."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_sweep import TASKS, make_sweep, paper_like, replan, score_table

from hybrid.errors import BadInput
from hybrid.score_table import macro
from sweeps.comparisons import judge
from sweeps.differences import paired_differences
from sweeps.results import RESULT_SCHEMA, load_results
from sweeps.series import blocks_of, differences_of, series_and_values, series_id


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("store"), shift=paper_like)


@pytest.fixture(scope="module")
def results(made):
    return load_results(*made)


def test_every_row_of_every_trial_is_there_under_its_arm_seed_and_group(made, results):
    plan, store = made
    assert results.scores.schema.names == RESULT_SCHEMA.names
    expected = sum(
        len(store.scores(trial.train_key, key)) * len(plan.tasks[task])
        for trial in plan.trials
        for task, key in trial.scores.items()
    )
    assert len(results.scores) == expected
    assert set(pc.unique(results.scores["group"]).to_pylist()) == set().union(*plan.tasks.values())
    untouched = results.scores.filter(pc.equal(results.scores["arm"], "untouched"))
    assert untouched["seed"].null_count == len(untouched) > 0
    assert [record.state for record in results.trials] == ["done"] * len(plan.trials)


def test_the_summary_is_the_macro_mean_that_evaluation_itself_gives(made, results):
    plan, store = made
    trial = plan.trials[2]
    wanted = macro(store.scores(trial.train_key, trial.scores["embedded-qa:test"]))
    found = {
        (row["task"], row["setting"], row["measure"]): row["value"]
        for row in results.rows("in_domain")
        if (row["arm"], row["seed"]) == (trial.arm.alias, trial.seed)
    }
    assert found == pytest.approx(wanted)


def test_what_is_missing_failed_or_damaged_is_named_and_not_filled_in(tmp_path):
    plan, store = make_sweep(tmp_path)
    done, lacking, failed, damaged = plan.trials[1:5]
    store.delete(f"scores/{lacking.train_key}/{lacking.scores['embedded-science']}.json")
    store.delete(f"models/{failed.train_key}")
    for key in failed.scores.values():
        store.delete(f"scores/{failed.train_key}/{key}.json")
    store.put_failure(failed.train_key, {"reason": "out of memory", "log": "…"})
    path = f"scores/{damaged.train_key}/{damaged.scores['embedded-history']}.parquet"
    store.put_bytes(path, b"not a table")
    results = load_results(replan(plan, store), store)
    states = {record.trial.label: record for record in results.trials}
    assert states[done.label].state == "done"
    assert states[lacking.label].state == "cut off"
    assert states[lacking.label].missing_tasks == ("embedded-science",)
    assert states[failed.label].state == "failed"
    assert states[failed.label].failure["reason"] == "out of memory"
    assert states[damaged.label].missing_tasks == ("embedded-history",)
    assert len(results.damaged) == 1
    assert path in results.damaged[0]


def test_a_store_without_anything_gives_empty_tables(tmp_path):
    plan, store = make_sweep(tmp_path)
    for folder in ("models", "scores"):
        store.delete(folder)
    results = load_results(replan(plan, store), store)
    assert len(results.scores) == len(results.summary) == 0
    assert {record.state for record in results.trials} == {"missing"}


def test_differences_are_those_put_in(results):
    """The shift is the same for every query, so the difference is known and its interval has no width."""
    found = paired_differences(results.scores, [("m0", "m1")], draws=200)
    checked = 0
    for one in found:
        if one.measure in ("map", "ndcg_at_10") and one.task != "macro":
            truth = paper_like(one.task, one.setting, 0.0) - paper_like(one.task, one.setting, 1.0)
            assert one.difference == pytest.approx(truth, abs=1e-9)
            assert (one.lower, one.upper) == pytest.approx((truth, truth), abs=1e-9)
            assert (one.seeds, one.queries, one.clusters) == (2, 40, 20)
            checked += 1
    assert checked == 2 * 3 * 2 + 3 * 2  # map and nDCG@10 of two parallel sets and three collections
    macro_row = next(o for o in found if o.task == "macro" and o.measure == "ndcg_at_10")
    assert macro_row.group == "zero_shot"
    assert macro_row.queries == 80


def test_the_interval_is_a_bootstrap_over_clusters():
    """Against a plain loop: clusters drawn with replacement, the mean of all their queries."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), generator.integers(1, 5, 30))
    base, other = generator.random(len(clusters)), generator.random(len(clusters))
    scores = pa.concat_tables([_flat("a", base, clusters), _flat("b", other, clusters)])
    [found] = paired_differences(scores, [("b", "a")], draws=20_000)
    means = []
    for _ in range(4000):
        drawn = generator.integers(0, 30, 30)
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in drawn])
        means.append((other[rows] - base[rows]).mean())
    assert found.difference == pytest.approx((other - base).mean())
    assert (found.lower, found.upper) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.006)


def test_clusters_and_not_queries_are_what_is_resampled():
    """Ten copies of each query in one cluster add nothing: the interval stays as wide."""
    generator = np.random.default_rng(1)
    delta = generator.normal(0, 0.1, 40)

    def width(copies: int) -> float:
        ids = np.repeat(np.arange(40), copies)
        scores = pa.concat_tables(
            [_flat("a", np.full(len(ids), 0.5), ids), _flat("b", 0.5 + delta[ids], ids)]
        )
        [found] = paired_differences(scores, [("b", "a")])
        return found.upper - found.lower

    assert width(10) == pytest.approx(width(1))


def test_only_common_seeds_are_paired():
    clusters = np.arange(20)
    low, high = np.full(20, 0.2), np.full(20, 0.9)
    scores = pa.concat_tables(
        [
            _flat("a", low, clusters, seed=1),
            _flat("a", high, clusters, seed=2),  # the other arm has no seed 2
            _flat("b", low, clusters, seed=1),
        ]
    )
    [found] = paired_differences(scores, [("b", "a")])
    assert (found.difference, found.seeds) == (0.0, 1)


def test_arms_measured_on_other_queries_are_not_compared():
    scores = pa.concat_tables(
        [_flat("a", np.ones(20), np.arange(20)), _flat("b", np.ones(19), np.arange(19))]
    )
    with pytest.raises(BadInput, match="same queries"):
        paired_differences(scores, [("b", "a")])


def test_untouched_backbone_is_set_against_every_seed(made, results):
    plan, _ = made
    rows = differences_of(judge(plan, results), blocks_of(plan))
    one = next(
        row
        for row in rows
        if row["arm"] == "untouched"
        and row["series"] == series_id("in_domain", "embedded-qa:test", "mono", "map")
    )
    assert one["difference"] == pytest.approx(-paper_like("embedded-qa:test", "mono", 1.0), abs=1e-9)
    assert one["seeds"] == 2


def test_a_mean_over_sets_is_given_only_where_all_sets_are_there(tmp_path):
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1,))
    trial = plan.trials[1]
    store.delete(f"scores/{trial.train_key}/{trial.scores['embedded-science']}.json")
    _, values = series_and_values(load_results(replan(plan, store), store))
    arms = {value["arm"] for value in values if value["series"] == "zero_shot/macro/beir/ndcg_at_10"}
    assert arms == {"untouched"}


def test_blocks_hold_arms_that_differ_in_the_reference_axes_alone(tmp_path):
    plan, _ = make_sweep(tmp_path, backbones=("embedded-xlmr", "embedded-labse"), batch_sizes=(16, 32))
    blocks = blocks_of(plan)
    assert [block["title"] for block in blocks] == [
        "backbone embedded-xlmr, batch_size 16",
        "backbone embedded-xlmr, batch_size 32",
        "backbone embedded-labse, batch_size 16",
        "backbone embedded-labse, batch_size 32",
    ]
    assert blocks[3]["arms"] == ["m1 labse b32", "m0.5 labse b32", "m0 labse b32"]
    assert blocks[3]["untouched"] == ["untouched labse"]


@pytest.mark.long
def test_forty_trials_of_fifty_thousand_rows_are_read_and_compared_as_one_table(tmp_path):
    languages = [f"l{number}" for number in range(11)]
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0, 0.0), seeds=(1,), queries=100, languages=languages)
    assert set(TASKS) == set(plan.trials[0].scores)
    plan = replace(plan, trials=tuple(plan.trials[1 + at % 2] for at in range(40)))
    assert len(load_results(plan, store).scores) > 40 * 50_000


def _flat(arm: str, values: np.ndarray, clusters: np.ndarray, seed: int = 1) -> pa.Table:
    rows = len(values)
    return pa.table(
        {
            "arm": [arm] * rows,
            "seed": pa.array([seed] * rows, pa.int64()),
            "task": ["set"] * rows,
            "group": ["zero_shot"] * rows,
            "setting": ["beir"] * rows,
            "query_lang": ["en"] * rows,
            "doc_lang": ["en"] * rows,
            "query_id": [f"q{row}" for row in range(rows)],
            "cluster_id": [f"c{cluster}" for cluster in clusters],
            "measure": ["ndcg_at_10"] * rows,
            "value": values,
        }
    )


def test_made_tables_are_the_same_queries_every_time():
    first, second = (score_table("t", "parallel", lambda _, base: base) for _ in range(2))
    assert first.equals(second)


def test_fewer_rows_in_memory_change_no_number(made):
    """What the report, tracking and export read is enough for all they show."""
    from sweeps.report_numbers import report_numbers

    plan, store = made
    whole, headline = load_results(plan, store), load_results(plan, store, every_measure=False)
    assert len(headline.scores) < len(whole.scores) / 2
    assert report_numbers(plan, headline) == report_numbers(plan, whole)
