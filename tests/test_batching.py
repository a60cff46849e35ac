"""The mixture: exact counts, the same pairs in every arm, no known false negatives."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pairs import LANGUAGES, make_pairs

from hybrid.batch_checks import check
from hybrid.batching import BLOCK, Mixture
from hybrid.config import TrainConfig
from hybrid.epoch_plan import plan_epoch
from hybrid.mixture_record import realised
from hybrid.pair_pool import Pool, conflicts


def config_of(**changes: Any) -> TrainConfig:
    fields = {"backbone": "b", "data": ("made",), "mono_ratio": 0.5, "batch_size": 8, "steps": 100, "seed": 3}
    return TrainConfig(**(fields | changes))


def mixture_of(**changes: Any) -> Mixture:
    config = config_of(**changes)
    return Mixture(config, Pool([make_pairs()], config.languages))


@pytest.mark.parametrize("seed", [0, 7])
def test_a_batch_needs_none_of_those_before_it(seed):
    forwards = mixture_of(seed=seed)
    batches = [forwards.batch(step) for step in range(40)]
    for step in (39, 0, 17):
        alone = mixture_of(seed=seed).batch(step)
        assert (alone.pairs == batches[step].pairs).all()
        assert replace(alone, pairs=None, clusters=None) == replace(batches[step], pairs=None, clusters=None)


def test_pairs_and_their_order_are_those_of_every_mono_ratio():
    plans = [
        [mixture_of(mono_ratio=ratio, schedule=schedule).batch(step).pairs.tolist() for step in range(30)]
        for ratio in (0.0, 0.25, 1.0)
        for schedule in ("exact", "bernoulli")
    ]
    assert all(plan == plans[0] for plan in plans)
    assert [mixture_of(seed=4).batch(step).pairs.tolist() for step in range(30)] != plans[0]


@pytest.mark.parametrize("ratio", [i / 20 for i in range(21)])
def test_kinds_are_exact_in_every_block(ratio):
    mixture = mixture_of(mono_ratio=ratio)
    kinds = [mixture.kind(step) for step in range(100)]
    for start in range(0, 100, BLOCK):
        assert kinds[start : start + BLOCK].count("mono") == round(ratio * BLOCK)


@given(ratio=st.floats(0, 1), steps=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_kinds_are_exact_over_the_run_whatever_the_ratio_and_the_steps(ratio, steps):
    mixture = mixture_of(mono_ratio=ratio, steps=steps)
    assert abs([mixture.kind(step) for step in range(steps)].count("mono") - ratio * steps) <= 0.5


def test_the_order_of_kinds_is_drawn():
    blocks = {tuple(mixture_of(seed=seed).kind(step) for step in range(BLOCK)) for seed in range(10)}
    assert len(blocks) == 10


@pytest.mark.parametrize("schedule", ["exact", "bernoulli"])
def test_arms_share_the_batches_that_are_of_one_kind_in_both(schedule):
    few, many = (mixture_of(mono_ratio=ratio, schedule=schedule) for ratio in (0.25, 0.75))
    for step in range(100):
        one, other = few.batch(step), many.batch(step)
        assert (one.kind, other.kind) != ("mono", "cross")
        if one.kind == other.kind:
            assert one.query_languages == other.query_languages
            assert one.passage_languages == other.passage_languages


def test_bernoulli_draws_each_step_by_itself():
    steps = 4000
    mixture = mixture_of(mono_ratio=0.3, schedule="bernoulli", steps=steps)
    kinds = np.array([mixture.kind(step) == "mono" for step in range(steps)])
    assert abs(kinds.mean() - 0.3) < 4 * (0.3 * 0.7 / steps) ** 0.5
    per_block = kinds.reshape(-1, BLOCK).sum(axis=1)
    assert 0.7 < per_block.var() / (BLOCK * 0.3 * 0.7) < 1.3  # binomial; 0 if it were exact


def test_a_mono_batch_has_one_language_and_a_cross_batch_two_in_every_row():
    mixture = mixture_of()
    for step in range(60):
        batch = mixture.batch(step)
        if batch.kind == "mono":
            assert len({*batch.query_languages, *batch.passage_languages}) == 1
        else:
            assert all(q != p for q, p in zip(batch.query_languages, batch.passage_languages, strict=True))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 1.0])
def test_languages_come_equally_often_in_every_arm(ratio):
    steps = BLOCK * len(LANGUAGES)
    mixture = mixture_of(mono_ratio=ratio, steps=steps)
    batches = [mixture.batch(step) for step in range(steps)]
    mono = Counter(b.query_languages[0] for b in batches if b.kind == "mono")
    assert set(mono.values()) == {ratio * steps / len(LANGUAGES)}
    crossed = [b for b in batches if b.kind == "cross"]
    ordered = Counter(
        pair for b in crossed for pair in zip(b.query_languages, b.passage_languages, strict=True)
    )
    if ratio < 1.0:
        expected = len(crossed) * 8 / 12
        assert len(ordered) == 12
        assert all(abs(count - expected) <= steps / BLOCK for count in ordered.values())


def test_languages_are_uniform_over_seeds_at_every_step():
    seeds = 1500
    for step in (0, 13):
        drawn = Counter(mixture_of(seed=seed).mono_language(step) for seed in range(seeds))
        assert all(abs(drawn[lang] / seeds - 0.25) < 0.05 for lang in LANGUAGES)
    first = Counter(mixture_of(seed=seed).cross_languages(5)[0] for seed in range(seeds))
    assert len(first) == 12
    assert all(abs(count / seeds - 1 / 12) < 0.033 for count in first.values())


@given(
    clusters=st.lists(st.integers(0, 15), min_size=1, max_size=50),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_an_epoch_uses_no_pair_twice_and_conflicts_only_where_it_must(clusters, batch_size, seed):
    batch_size = min(batch_size, len(clusters))
    numbers = np.array(clusters, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(clusters))
    plan = plan_epoch(order, numbers, batch_size)
    batches = len(clusters) // batch_size
    assert plan.shape == (batches, batch_size)
    assert len(set(plan.ravel().tolist())) == plan.size
    # Hall's condition: a plan without conflicts exists if and only if Σ min(n_c, batches) fills all places.
    possible = np.minimum(np.bincount(numbers), batches).sum() >= plan.size
    assert possible == (not any(conflicts(numbers[row]).any() for row in plan))


def test_without_conflicts_an_epoch_is_the_drawn_order():
    order = np.random.default_rng(0).permutation(40)
    assert plan_epoch(order, np.arange(40), 8).ravel().tolist() == order.tolist()


def test_conflicts_are_one_clusters_pairs_but_not_a_pair_with_itself():
    assert conflicts(np.array([5, 7, 5])).tolist() == [
        [False, False, True],
        [False] * 3,
        [True, False, False],
    ]


def test_equal_texts_in_any_language_make_one_cluster():
    made = make_pairs(count=6, per_cluster=1)
    passages = {lang: list(texts) for lang, texts in made.passages.items()}
    questions = {lang: list(texts) for lang, texts in made.questions.items()}
    passages["th"][4] = passages["th"][0]
    questions["ar"][5] = questions["ar"][1]
    clusters = Pool([replace(made, passages=passages, questions=questions)]).clusters.tolist()
    assert clusters == [0, 1, 2, 3, 0, 1]
    # The same text as question and as passage, or in two languages, says nothing of relevance.
    passages["en"][2] = questions["en"][3]
    assert len(set(Pool([replace(made, passages=passages)]).clusters.tolist())) == 5


def test_pairs_missing_in_a_language_are_left_out_and_counted():
    made = make_pairs(count=60)
    passages = {lang: list(texts) for lang, texts in made.passages.items()}
    passages["de"][:9] = [None] * 9
    holed = replace(made, passages=passages)
    assert (len(Pool([holed])), Pool([holed]).left_out) == (51, 9)
    assert len(Pool([holed], ["en", "th"])) == 60
    mixture = realised(Mixture(config_of(), Pool([holed])), 100)
    assert (mixture["pool_pairs"], mixture["pairs_left_out"]) == (51, 9)


def test_several_sets_are_pooled_in_the_languages_they_share():
    one, other = make_pairs(count=30), make_pairs(count=12, languages=("th", "en", "fr"))
    pool = Pool(
        [one, replace(other, questions={k: [f"q {t}" for t in v] for k, v in other.questions.items()})]
    )
    assert pool.languages == ("en", "th")
    assert len(pool) == 42
    assert pool.question(30, "th").startswith("q th what is 0")


def test_the_realised_mixture_counts_what_the_batches_hold():
    mixture = mixture_of(steps=50, mono_ratio=0.4)
    found = realised(mixture, 50)
    assert found["batches"] == {"mono": 20, "cross": 30}
    assert sum(found["pairs_by_language"].values()) == found["examples"] == 400
    assert sum(n for name, n in found["pairs_by_language"].items() if len(set(name.split("-"))) == 1) == 160
    assert found["effective_negatives_per_query"] == 7.0
    assert found["repeats_per_pair"]["mean"] == pytest.approx(400 / 60)
    assert found["repeats_per_pair"]["max"] - found["repeats_per_pair"]["min"] <= 4


def test_masked_pairs_lower_the_effective_negatives():
    pairs = make_pairs(count=20, per_cluster=5)  # 4 clusters, 5 batches of 4 need every cluster in each
    uneven = replace(pairs, clusters=["big"] * 14 + ["a", "b", "c", "d", "e", "f"])
    config = config_of(batch_size=4, steps=5)
    assert check(config, [uneven]) == []
    found = realised(Mixture(config, Pool([uneven])), 5)
    assert found["candidates_left_out"] > 0
    assert found["effective_negatives_per_query"] == pytest.approx(3 - found["candidates_left_out"] / 20)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"batch_size": 21},
            "batch_size: 21 needs as many pairs of different clusters, but made has 60 pairs in 20",
        ),
        (
            {"languages": ("en",)},
            "mono_ratio: 0.5 asks for cross-lingual batches but en is the only language",
        ),
        ({"languages": ("en", "xx")}, "languages: 'xx' is not in made, which has en, de, th, ar."),
        ({"languages": ("en", "en")}, "names a language twice"),
        ({"languages": ()}, "is empty"),
    ],
)
def test_what_pairs_cannot_give_is_refused_with_the_arithmetic(changes, part):
    (mistake,) = check(config_of(**changes), [make_pairs()])
    assert part in mistake


def test_english_alone_is_monolingual_training():
    config = config_of(languages=("en",), mono_ratio=1.0)
    assert check(config, [make_pairs()]) == []
    mixture = Mixture(config, Pool([make_pairs()], ("en",)))
    assert realised(mixture, 40)["pairs_by_language"] == {"en-en": 320}
