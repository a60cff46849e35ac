"""Planning, curves, trade-offs and robustness on tables whose answer is known."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_scores import score_table, where
from scipy import stats

from hybrid.errors import BadInput
from sweeps.crossed import combine, estimate, from_rows
from sweeps.degradation import compare
from sweeps.dose import dose_response, exchange_rate, in_fixed_order, interactions
from sweeps.macro import Aim, contrast
from sweeps.pairing import read_scores
from sweeps.pareto import pareto_front
from sweeps.power import components, needed, smallest_detectable
from sweeps.robustness import best_arm, failure_balance, leave_one_set_out

ONE_CELL = np.zeros(60, dtype=np.int64)


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


def test_a_pilot_gives_back_its_components() -> None:
    rng = np.random.default_rng(8)
    d = rng.normal(0, 0.05, (40, 1)) + rng.normal(0, 0.1, 3000) + rng.normal(0, 0.2, (40, 3000))
    e = estimate(from_rows(d, np.zeros(3000, dtype=np.int64), np.arange(3000)))
    assert components(e) == pytest.approx((0.05, 0.1, 0.2), rel=0.3)


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
    assert "together" not in limited.advice
    both_vary = queries_vary + rng.normal(0, 0.006, (3, 1))
    e_both = estimate(from_rows(both_vary, ONE_CELL, np.arange(60)))
    together = needed(e_both, 0.02, 0.05)
    assert together.seeds is None
    assert "at least" in together.advice
    assert "together with more seeds" in together.advice
    assert "as many with these seeds" in together.advice
    only_seeds = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 1e-5, (3, 60))
    e_seeds = estimate(from_rows(only_seeds, ONE_CELL, np.arange(60)))
    assert needed(e_seeds, 4e-4, 0.05).advice == "more than 200 seeds would be needed to settle it"
    assert needed(e, 0.0, 0.05).seeds is None


# Curves, trade-offs, robustness


def sweep_table(**options: float) -> pa.Table:
    shifts = {"mono": 0.0, "m0.75": 0.0, "m0.5": -0.005, "m0.25": -0.06, "m0.0": -0.12}
    return score_table(shifts, seeds=5, sd_seed=0.001, sd_residual=0.01, **options)  # type: ignore[arg-type]


RATIOS = {1.0: "mono", 0.75: "m0.75", 0.5: "m0.5", 0.25: "m0.25", 0.0: "m0.0"}


def test_the_safe_range_stops_at_the_first_arm_that_fails() -> None:
    curve = dose_response(read_scores(sweep_table()), RATIOS, Aim(), margin=0.02)
    assert curve.safe_to == 0.5
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
    assert curve.safe_to == 1.0
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
    assert two.p == pytest.approx(stats.fisher_exact(np.array([[3, 0], [2, 5]])).pvalue)


def test_after_the_first_arm_not_shown_to_be_safe_none_is_reached() -> None:
    good, bad = "no_degradation", "inconclusive"
    assert in_fixed_order([good, bad, good]) == [good, bad, "not reached"]
    assert in_fixed_order([bad, good, bad]) == [bad, "not reached", "not reached"]
    assert in_fixed_order([good, good]) == [good, good]
    assert in_fixed_order([]) == []
