"""The variance model and the family's level against closed forms and SciPy."""

import numpy as np
import pytest
from scipy import stats

from sweeps.crossed import combine, estimate, from_rows, half_width
from sweeps.families import simultaneous_level

ONE_CELL = np.zeros(60, dtype=np.int64)


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
    assert [e.df_seed, e.df_query] == pytest.approx([n - 1, q - 1])


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
