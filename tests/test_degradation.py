"""The statistics against closed forms, SciPy, tables whose answer is known, and irregular tables."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_scores import change, score_table, where
from scipy import stats

from hybrid.errors import BadInput
from sweeps.crossed import combine, estimate, from_rows, half_width
from sweeps.degradation import Comparison, compare
from sweeps.dose import dose_response, exchange_rate, interactions
from sweeps.families import simultaneous_level
from sweeps.macro import Aim
from sweeps.pairing import read_scores
from sweeps.pareto import pareto_front
from sweeps.power import needed, smallest_detectable
from sweeps.robustness import best_arm, failure_balance, leave_one_set_out

ONE_CELL = np.zeros(60, dtype=np.int64)


def judged(table: pa.Table, **options: object) -> Comparison:
    arms = list(dict.fromkeys(table["arm"].to_pylist()))
    settings = {"margin": 0.02, "resamples": 2000, **options}
    return compare(table, dict.fromkeys(arms, "mono"), **settings)  # type: ignore[arg-type]


# The variance model


def test_components_are_those_of_the_two_way_analysis_of_variance() -> None:
    d = np.random.default_rng(0).normal(0, 1, (4, 60)) + np.arange(4)[:, None]
    e = estimate(from_rows(d, ONE_CELL, np.arange(60)))
    n, q = d.shape
    rows, columns, mean = d.mean(1, keepdims=True), d.mean(0, keepdims=True), d.mean()
    ms_seed = q * ((rows - mean) ** 2).sum() / (n - 1)
    ms_query = n * ((columns - mean) ** 2).sum() / (q - 1)
    ms_residual = ((d - rows - columns + mean) ** 2).sum() / ((n - 1) * (q - 1))
    assert [e.var_seed, e.var_between, e.var_residual] == pytest.approx(
        np.array([ms_seed, ms_query, ms_residual]) / (n * q)
    )
    assert (e.df_seed, e.df_query) == (n - 1, pytest.approx(q - 1))


def test_two_fixed_models_give_scipys_paired_t() -> None:
    d = np.random.default_rng(1).normal(0.02, 0.1, (1, 60))
    e = estimate(from_rows(d, ONE_CELL, np.arange(60), replicated=False))
    interval = stats.ttest_1samp(d[0], 0).confidence_interval(0.9)
    assert e.mean - e.half_width(0.05) == pytest.approx(interval.low)
    assert e.mean + e.half_width(0.05) == pytest.approx(interval.high)


def test_effects_of_seeds_alone_give_scipys_t_over_seeds() -> None:
    effects = np.array([0.01, 0.03, -0.01, 0.02])
    e = estimate(from_rows(np.repeat(effects[:, None], 60, axis=1), ONE_CELL, np.arange(60)))
    interval = stats.ttest_1samp(effects, 0).confidence_interval(0.95)
    assert e.mean - e.half_width(0.025) == pytest.approx(interval.low)


def test_more_seeds_do_not_lower_what_queries_cause() -> None:
    per_query = np.random.default_rng(2).normal(0, 0.1, 60)
    two, many = (
        estimate(from_rows(np.tile(per_query, (n, 1)), ONE_CELL, np.arange(60))).half_width(0.05)
        for n in (2, 50)
    )
    assert two == pytest.approx(many)
    assert two == pytest.approx(stats.t.isf(0.05, 59) * per_query.std(ddof=1) / 60**0.5)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_covers_whatever_the_ratio_of_the_parts(seeds: int, ratio: float) -> None:
    u = (np.arange(20_000) + 0.5) / 20_000
    seed_part = ratio * stats.chi2.ppf(u, seeds - 1) / (seeds - 1)
    width = half_width(seed_part, 1.0, seeds - 1, 1e9, 0.025)
    coverage = float(np.mean(1 - 2 * stats.norm.sf(width / np.sqrt(1 + ratio))))
    assert 0.949 < coverage < (0.984 if seeds == 2 else 0.97)


def test_unequal_clusters_give_the_linearised_variance_of_a_ratio() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    d = rng.normal(0, 1, (1, len(clusters))) + rng.normal(0, 1, 20)[clusters]
    e = estimate(from_rows(d, np.zeros_like(clusters), clusters, replicated=False))
    sizes, totals = np.bincount(clusters), np.bincount(clusters, weights=d[0])
    residual = totals - sizes * d.mean()
    assert e.var_between == pytest.approx(20 / 19 * (residual**2).sum() / len(clusters) ** 2)
    assert e.df_query == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum() - 1)


def test_the_macro_adds_variances_of_separate_sets_and_seeds_covary() -> None:
    rng = np.random.default_rng(4)
    d = [rng.normal(0, 0.1, (5, 60)) + rng.normal(0, 0.05, (5, 1)) for _ in range(2)]
    parts = [from_rows(x, ONE_CELL, np.arange(60) + 60 * i) for i, x in enumerate(d)]
    macro, one, two = (estimate(p) for p in (combine(parts, [0.5, 0.5]), *parts))
    assert macro.var_between == pytest.approx((one.var_between + two.var_between) / 4)
    per_seed = (d[0].mean(1) + d[1].mean(1)) / 2
    assert macro.var_seed == pytest.approx(per_seed.var(ddof=1) / 5)


def test_the_same_queries_under_two_names_are_not_more_queries() -> None:
    d = np.random.default_rng(5).normal(0, 0.1, (5, 60))
    part = from_rows(d, ONE_CELL, np.arange(60))
    one, twice = estimate(part), estimate(combine([part, part], [0.5, 0.5]))
    for name in ("mean", "var_seed", "var_between", "var_residual", "df_query", "clusters"):
        assert getattr(twice, name) == pytest.approx(getattr(one, name)), name


# Families


def test_one_level_for_a_family_lies_between_bonferroni_and_the_level() -> None:
    rng = np.random.default_rng(6)
    shared = rng.normal(0, 0.1, 60)
    alike = [from_rows((shared + rng.normal(0, 1e-6, 60))[None], ONE_CELL, np.arange(60), replicated=False)
             for _ in range(4)]  # fmt: skip
    apart = [from_rows(rng.normal(0, 0.1, (1, 60)), ONE_CELL, np.arange(60) + 60 * i, replicated=False)
             for i in range(4)]  # fmt: skip
    level = [simultaneous_level(p, [estimate(x) for x in p], 0.05, 20_000) for p in (alike, apart, alike[:1])]
    assert level[0] == pytest.approx(0.05, rel=0.1)
    assert level[1] == pytest.approx(1 - 0.95**0.25, rel=0.1)
    assert level[2] == 0.05


def test_errors_at_the_boundary_stay_at_the_level() -> None:
    wrong = {"no_degradation": 0, "degradation": 0}
    for i in range(100):
        table = score_table(
            {"mono": 0.0, "a": -0.02, "b": -0.02, "c": -0.02}, seeds=3, sets={"scifact": 40}, seed=i
        )
        found = {v.verdict for v in judged(table, resamples=500).primary}
        for name in wrong:
            wrong[name] += name in found
    for name, count in wrong.items():  # P(≥ 11 of 100 at 5%) = 1.1%
        assert count < 11, name


# Verdicts whose answer is known


def test_large_small_and_open_differences() -> None:
    table = score_table(
        {"mono": 0.0, "same": 0.0, "worse": -0.06, "slightly": -0.01}, seeds=6, sd_residual=0.02
    )
    comparison = judged(table)
    assert comparison.of("same").verdict == "no_degradation"
    worse = comparison.of("worse")
    assert worse.verdict == "degradation"
    assert worse.upper is not None
    assert worse.upper < -0.02
    assert worse.difference == pytest.approx(-0.06, abs=0.01)
    assert comparison.of("worse", "fiqa").family.startswith("exploratory")
    assert {v.task for v in comparison.primary} == {"macro"}
    few = judged(score_table({"mono": 0.0, "same": 0.0}, seeds=2, sd_seed=0.01), margin=0.01).of("same")
    assert few.verdict == "inconclusive"
    assert few.needed is not None
    assert few.needed.seeds is not None
    assert "two_seeds" in few.flags


def test_lower_but_within_the_margin_is_no_degradation_with_a_flag() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.02}, seeds=6, sd_query=0.01, sd_residual=0.01, sd_seed=0.001)
    v = judged(table, margin=0.05).of("m0.5")
    assert (v.verdict, v.flags) == ("no_degradation", ("lower_within_margin",))


def test_a_measure_that_is_better_when_lower_is_read_so() -> None:
    table = score_table(
        {"mono": 0.0, "more": 9.0, "less": -9.0}, measure="rank_distance", sd_query=5.0, seeds=6
    )
    comparison = judged(table, margin=3.0, measure="rank_distance")
    assert comparison.of("more").verdict == "degradation"
    assert comparison.of("less").verdict == "no_degradation"
    undeclared = judged(table, margin={"ndcg_at_10": 0.02}).of("more")
    assert (undeclared.verdict, undeclared.flags[-1]) == ("refused", "no_margin")
    assert undeclared.lower is not None


def test_the_order_of_rows_and_the_types_of_columns_change_nothing() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.01}, seeds=3)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    for name in ("arm", "task", "query_id", "cluster_id", "measure"):
        shuffled = change(shuffled, name, shuffled[name].combine_chunks().dictionary_encode())
    shuffled = change(shuffled, "seed", np.array(shuffled["seed"].to_pylist(), dtype=float))
    one, other = judged(table).of("m0.5"), judged(shuffled).of("m0.5")
    assert (other.lower, other.upper) == pytest.approx((one.lower, one.upper))


def test_languages_are_averaged_within_a_query_and_do_not_add_queries() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.01}, seeds=3, sets={"xquad-r:test": 60})
    value = np.array(table["value"].to_pylist())
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 0.1, table.num_rows)
    both = pa.concat_tables([change(table, "value", value + spread), change(table, "value", value - spread)])
    languages = pa.array(["de"] * table.num_rows + ["th"] * table.num_rows)
    plain, doubled = judged(table).of("m0.5"), judged(both).of("m0.5")
    cells = judged(both.append_column("query_lang", languages), languages=True)
    for other in (doubled, cells.of("m0.5")):
        assert other.n_queries == 60
        assert (other.lower, other.upper) == pytest.approx((plain.lower, plain.upper))
    assert cells.of("m0.5", "xquad-r:test/th").family.startswith("exploratory language")


def test_splits_of_a_set_count_by_their_queries_and_sets_equally() -> None:
    sets = {"scifact:train": 200, "scifact:test": 100, "fiqa": 50}
    comparison = judged(score_table({"mono": 0.0, "m0.5": 0.0}, sets=sets))
    train, test, fiqa = (comparison.of("m0.5", task).difference for task in sets)
    assert train is not None
    assert test is not None
    assert fiqa is not None
    assert comparison.of("m0.5").difference == pytest.approx(((2 * train + test) / 3 + fiqa) / 2)


def test_in_domain_is_apart_from_the_primary_family_and_settings_get_a_suffix() -> None:
    zero_shot = score_table({"mono": 0.0, "m0.5": 0.0})
    inside = score_table({"mono": 0.0, "m0.5": 0.05}, sets={"xquad-r:test": 80}, group="in_domain")
    table = pa.concat_tables(
        [zero_shot.append_column("setting", pa.array(["beir"] * zero_shot.num_rows)),
         inside.append_column("setting", pa.array(["cross"] * inside.num_rows))]
    )  # fmt: skip
    comparison = judged(table)
    assert {v.task for v in comparison.verdicts} == {
        "macro", "scifact", "fiqa", "xquad-r:test/cross", "macro/in_domain/cross"
    }  # fmt: skip
    assert {v.group for v in comparison.primary} == {"zero_shot"}


def test_an_untouched_model_is_set_against_every_seed() -> None:
    table = score_table({"mono": 0.0, "untouched": 0.05}, seeds=4)
    keep = ~where(table, arm="untouched") | where(table, seed=1)
    table = table.filter(pa.array(keep))
    seeds = [
        None if arm == "untouched" else s
        for arm, s in zip(table["arm"].to_pylist(), table["seed"].to_pylist(), strict=True)
    ]
    v = judged(change(table, "seed", pa.array(seeds))).of("untouched")
    assert (v.n_seeds, v.verdict) == (4, "no_degradation")
    fixed = change(table.filter(pa.array(where(table, seed=1))), "seed", pa.nulls(1200))
    v = judged(fixed).of("untouched")
    assert v.n_seeds == 0
    assert "fixed_models" in v.flags


# Irregular tables: a specific statement, never a number that pretends


def irregular() -> pa.Table:
    return score_table({"mono": 0.0, "m0.5": 0.0}, seeds=4)


def test_one_seed_gets_no_verdict() -> None:
    table = irregular()
    v = judged(table.filter(pa.array(where(table, seed=1)))).of("m0.5")
    assert (v.verdict, v.flags, v.lower, v.upper) == ("refused", ("one_seed",), None, None)
    assert v.query_only is not None
    assert v.difference is not None


def test_unequal_seeds_use_the_common_ones_and_say_so() -> None:
    table = irregular()
    v = judged(table.filter(pa.array(~(where(table, arm="m0.5") & where(table, seed=4))))).of("m0.5")
    assert (v.n_seeds, v.flags[0]) == (3, "unequal_seeds")
    assert "seeds 4 are not in every arm" in v.notes[0]
    apart = change(table, "seed", np.where(where(table, arm="m0.5"), 10, 0) + np.array(table["seed"]))
    assert judged(apart).of("m0.5").flags == ("no_common_seeds",)


def test_missing_queries_are_left_out_of_all_or_refused() -> None:
    table = irregular()
    one = where(table, arm="m0.5", query_id="fiqa-7") & where(table, seed=2)
    v = judged(table.filter(pa.array(~one))).of("m0.5", "fiqa")
    assert (v.n_queries, v.flags[0]) == (299, "missing_queries")
    many = where(table, arm="m0.5", task="fiqa") & (np.arange(table.num_rows) % 10 == 0)
    assert judged(table.filter(pa.array(~many))).of("m0.5").flags == ("missing_queries",)
    assert judged(table.filter(pa.array(~many))).of("m0.5").verdict == "refused"
    no_set = table.filter(pa.array(~where(table, arm="m0.5", task="fiqa")))
    assert judged(no_set).of("m0.5").flags == ("missing_scores",)
    assert judged(no_set).of("m0.5", "scifact").verdict == "no_degradation"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_no_number_refuses_what_needs_it_and_names_its_row(value: float | None) -> None:
    table = score_table({"mono": 0.0, "m0.5": 0.0, "m0.0": 0.0})
    values = table["value"].to_pylist()
    row = int(np.flatnonzero(where(table, arm="m0.5", task="fiqa"))[3])
    values[row] = value
    comparison = judged(change(table, "value", pa.array(values)))
    for task in ("fiqa", "macro"):
        v = comparison.of("m0.5", task)
        assert (v.verdict, v.flags, v.difference) == ("refused", ("not_a_number",), None)
        assert f"row {row + 1} " in v.notes[0]
        assert comparison.of("m0.0", task).verdict != "refused"
    assert comparison.of("m0.5", "scifact").verdict != "refused"


def test_repeated_rows_are_refused() -> None:
    table = irregular()
    twice = pa.concat_tables([table, table.slice(table.num_rows - 5)])
    assert judged(twice).of("m0.5", "fiqa").flags == ("duplicate_rows",)
    named = twice.append_column("query_lang", pa.array(["en"] * twice.num_rows))
    v = judged(named).of("m0.5", "fiqa")
    assert v.flags == ("duplicate_rows",)
    assert "repeats another row" in v.notes[0]


def test_a_handful_of_queries_gets_no_verdict_but_counts_in_the_macro() -> None:
    comparison = judged(score_table({"mono": 0.0, "m0.5": 0.0}, sets={"scifact": 300, "tiny": 4}))
    assert comparison.of("m0.5", "tiny").flags == ("handful_of_queries",)
    assert "few_queries" in comparison.of("m0.5").flags
    assert comparison.of("m0.5").lower is not None


def test_constant_scores_are_refused() -> None:
    table = irregular()
    flat = change(
        table, "value", np.where(where(table, task="fiqa"), 0.0, np.array(table["value"].to_pylist()))
    )
    comparison = judged(flat)
    assert comparison.of("m0.5", "fiqa").flags == ("constant_scores",)
    assert comparison.of("m0.5").verdict == "refused"
    assert comparison.of("m0.5", "scifact").verdict == "no_degradation"
    dead = change(
        table, "value", np.where(where(table, arm="m0.5"), 0.0, np.array(table["value"].to_pylist()))
    )
    v = judged(dead).of("m0.5")
    assert v.verdict == "degradation"
    assert "constant_scores" in v.flags


def test_equal_arms_are_bounded_by_the_rule_of_three() -> None:
    table = irregular()
    values = np.array(table["value"].to_pylist())
    values[where(table, arm="m0.5")] = values[where(table, arm="mono")]
    v = judged(change(table, "value", values)).of("m0.5", "fiqa")
    assert (v.difference, "no_variation" in v.flags) == (0.0, True)
    assert v.lower == pytest.approx(np.log(v.adjusted_level or 0) / 300)
    assert judged(change(table, "value", values)).of("m0.5").verdict == "no_degradation"


def test_copies_of_one_seed_are_called_copies() -> None:
    table = irregular()
    first = table.filter(pa.array(where(table, seed=1)))
    copies = pa.concat_tables([change(first, "seed", np.full(first.num_rows, s)) for s in (1, 2, 3)])
    assert "identical_seeds" in judged(copies).of("m0.5").flags


def test_a_missing_reference_is_said() -> None:
    v = compare(irregular(), {"m0.5": "mono b32"}, margin=0.02).of("m0.5")
    assert (v.verdict, v.flags) == ("refused", ("missing_reference",))


def test_all_mistakes_of_a_table_are_named_at_once() -> None:
    table = irregular().drop_columns(["cluster_id"]).rename_columns(
        ["arm", "seed", "tasks", "group", "query_id", "measure", "value"]
    )  # fmt: skip
    table = change(table, "value", table["value"].cast(pa.string()))
    with pytest.raises(BadInput) as caught:
        read_scores(table)
    text = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 3
    assert "'task' is missing (is it 'tasks'?)" in text
    assert "'cluster_id' is missing" in text
    assert "'value' is string, not a number" in text
    clusters = [*irregular()["cluster_id"].to_pylist()[:-1], "elsewhere"]
    with pytest.raises(BadInput, match="several cluster_ids"):
        read_scores(change(irregular(), "cluster_id", clusters))


# Planning


def test_the_smallest_detectable_difference_is_that_of_the_literature() -> None:
    plan = smallest_detectable(1000, {"scifact": 300}, sd_seed=0.0, sd_query=0.20)
    assert plan.macro == pytest.approx(0.029, abs=0.0005)
    assert plan.macro_equivalence == pytest.approx(0.034, abs=0.0005)
    three = smallest_detectable(
        3, {"scifact": 300, "fiqa": 648}, sd_seed=0.005, sd_query=0.1, sd_residual=0.1
    )
    ten = smallest_detectable(10, {"scifact": 300, "fiqa": 648}, sd_seed=0.005, sd_query=0.1, sd_residual=0.1)
    assert three.macro > ten.macro > three.limit
    assert three.tasks["scifact"] > three.tasks["fiqa"]
    with pytest.raises(BadInput, match="at least 2"):
        smallest_detectable(1, {"scifact": 300}, 0.0, 0.2)


def test_needed_seeds_settle_and_queries_limit() -> None:
    rng = np.random.default_rng(7)
    seeds_vary = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.01, (3, 60))
    e = estimate(from_rows(seeds_vary, ONE_CELL, np.arange(60)))
    open_ = needed(e, 0.02, 0.05)
    assert open_.seeds is not None
    assert open_.seeds > 3
    queries_vary = rng.normal(0, 0.1, 60) + rng.normal(0, 0.001, (3, 60))
    limited = needed(estimate(from_rows(queries_vary, ONE_CELL, np.arange(60))), 0.02, 0.05)
    assert limited.seeds is None
    assert limited.queries is not None
    assert "no number of seeds" in limited.advice
    assert needed(e, 0.0, 0.05).seeds is None


# Curves, trade-offs, robustness


def sweep_table(**options: float) -> pa.Table:
    shifts = {"mono": 0.0, "m0.75": 0.0, "m0.5": -0.005, "m0.25": -0.06, "m0.0": -0.12}
    return score_table(shifts, seeds=5, sd_seed=0.001, sd_residual=0.01, **options)  # type: ignore[arg-type]


RATIOS = {1.0: "mono", 0.75: "m0.75", 0.5: "m0.5", 0.25: "m0.25", 0.0: "m0.0"}


def test_the_safe_range_stops_at_the_first_arm_that_fails() -> None:
    curve = dose_response(read_scores(sweep_table()), RATIOS, Aim(), margin=0.02)
    assert curve.safe_down_to == 0.5
    assert [p.tested for p in curve.points] == [
        "reference", "no_degradation", "no_degradation", "degradation", "not reached"
    ]  # fmt: skip
    estimate_, high, low = curve.crossing
    assert estimate_ == pytest.approx(0.43, abs=0.05)
    assert low is not None
    assert high is not None
    assert low < estimate_ < high  # type: ignore[operator]
    strict = dose_response(read_scores(sweep_table()), RATIOS, Aim(), margin=0.02, sequences=4)
    assert strict.level == 0.05 / 4


def test_a_gap_in_the_sequence_ends_it() -> None:
    table = sweep_table()
    gap = table.filter(pa.array(~where(table, arm="m0.75")))
    curve = dose_response(read_scores(gap), RATIOS, Aim(), margin=0.02)
    assert curve.safe_down_to == 1.0
    assert "m0.75" in curve.stopped


def test_interactions_are_differences_of_differences() -> None:
    table = score_table(
        {"a": 0.0, "b": -0.02, "c": 0.01, "d": -0.05}, seeds=5, sd_seed=0.001, sd_query=0.01, sd_residual=0.01
    )
    arms = {(1.0, 32.0): "a", (0.5, 32.0): "b", (1.0, 128.0): "c", (0.5, 128.0): "d"}
    (one,) = interactions(read_scores(table), arms, Aim())
    assert (one.x, one.z) == (0.5, 128.0)
    assert one.lower < -0.04 < one.upper
    assert one.difference == pytest.approx(-0.04, abs=0.005)


def test_the_exchange_rate_needs_a_loss() -> None:
    inside = score_table(
        {"mono": 0.0, "m0.5": 0.0, "m0.0": 0.06}, sets={"xquad-r": 100}, group="in_domain", seeds=5,
        sd_seed=0.001, sd_query=0.02, sd_residual=0.01,
    )  # fmt: skip
    outside = score_table({"mono": 0.0, "m0.5": 0.0, "m0.0": -0.03}, seeds=5, sd_seed=0.001, sd_query=0.02,
                          sd_residual=0.01)  # fmt: skip
    scores = read_scores(pa.concat_tables([inside, outside]))
    gain, cost = Aim("in_domain"), Aim("zero_shot")
    rate = exchange_rate(scores, "m0.0", "mono", gain=gain, cost=cost)
    assert rate.rate == pytest.approx(2.0, abs=0.3)
    assert rate.lower is not None
    assert rate.upper is not None
    assert rate.lower < 2.0 < rate.upper
    # Fieller's ends are where the contrast gain + rate·loss just touches zero.
    weights = [1.0, rate.upper]
    from sweeps.macro import contrast

    parts = [contrast(scores, {"m0.0": 1.0, "mono": -1.0}, aim).part for aim in (gain, cost)]
    e = estimate(combine(parts, weights))
    assert abs(e.mean) == pytest.approx(e.half_width(0.05), rel=1e-6)
    none = exchange_rate(scores, "m0.5", "mono", gain=gain, cost=cost)
    assert (none.rate, none.note) == (None, "the loss cannot be told from zero")


def test_pareto_membership() -> None:
    inside = score_table({"a": 0.3, "b": 0.0, "c": -0.1, "d": 0.0}, group="in_domain", sd_seed=0.001)
    outside = score_table({"a": 0.0, "b": 0.3, "c": -0.1, "d": 0.3}, group="zero_shot", sd_seed=0.001)
    scores = read_scores(pa.concat_tables([inside, outside]))
    front = pareto_front(scores, ["a", "b", "c", "d"], [Aim("in_domain"), Aim("zero_shot")], resamples=2000)
    probability = {p.arm: p.probability for p in front}
    assert probability["a"] == 1.0
    assert probability["c"] == 0.0
    assert 0.1 < (probability["b"] or 0) < 0.9
    assert [p.on_front for p in front if p.arm in "ac"] == [True, False]
    alone = scores.__class__(tuple(t for t in scores.trials), scores.blocks)
    assert pareto_front(alone, ["nobody"], [Aim()]) == ()


def test_leaving_a_set_out_and_the_best_arm_on_other_seeds() -> None:
    scores = read_scores(score_table({"mono": 0.0, "good": 0.1, "m0.5": 0.0}, seeds=5))
    left = leave_one_set_out(scores, "m0.5", "mono", Aim(), level=0.05)
    whole = compare(scores, {"m0.5": "mono"}, margin=0.02)
    assert [x.without for x in left] == ["scifact", "fiqa"]
    assert left[0].difference == pytest.approx(whole.of("m0.5", "fiqa").difference)
    best = best_arm(scores, ["mono", "good", "m0.5"], Aim())
    assert best is not None
    assert (best.arm, best.chosen, best.rounds) == ("good", 5, 5)
    assert best.reestimated == pytest.approx(best.mean)
    worst = best_arm(scores, ["mono", "good"], replace(Aim(), without="scifact"))
    assert worst is not None
    assert worst.arm == "good"


def test_failures_that_gather_in_one_arm_are_seen() -> None:
    even = failure_balance({"a": 1, "b": 1, "c": 1}, {"a": 10, "b": 10, "c": 10})
    gathered = failure_balance({"a": 8}, {"a": 10, "b": 10, "c": 10})
    assert even.p is not None
    assert gathered.p is not None
    assert even.p > 0.5
    assert gathered.p < 0.01
    assert failure_balance({}, {"a": 10, "b": 10}).p is None
    two = failure_balance({"a": 3}, {"a": 5, "b": 5})
    assert two.p == pytest.approx(stats.fisher_exact([[3, 0], [2, 5]]).pvalue)
