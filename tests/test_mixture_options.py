"""Weights of training sets, shares of languages and of their pairs, hard negatives."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_pairs import LANGUAGES, make_pairs

from hybrid.batch_checks import check
from hybrid.batching import Mixture, apportion
from hybrid.config import TrainConfig
from hybrid.data.records import ParallelPairs
from hybrid.language_shares import pair_shares
from hybrid.mixture_record import realised
from hybrid.pair_pool import UNKNOWN, Pool


def config_of(**changes: Any) -> TrainConfig:
    fields = {"backbone": "b", "data": ("made",), "mono_ratio": 0.5, "batch_size": 8, "steps": 100, "seed": 3}
    return TrainConfig(**(fields | changes))


def other_pairs(count: int, **changes: Any) -> ParallelPairs:
    made = make_pairs(count, **changes)
    questions = {lang: [f"other {text}" for text in texts] for lang, texts in made.questions.items()}
    passages = {lang: [f"other {text}" for text in texts] for lang, texts in made.passages.items()}
    return replace(made, name="other", questions=questions, passages=passages)


def test_counts_in_proportion_to_weights_are_whole_and_complete():
    assert apportion([1, 1, 1], 10) == [4, 3, 3]
    assert apportion([0.7, 0.2, 0.1], 100) == [70, 20, 10]
    assert apportion([5], 7) == [7]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.1, 0.9)])
def test_sets_have_their_weight_in_every_epoch_whatever_their_size(weights):
    config = config_of(data=("made", "other"), weights=weights)
    mixture = Mixture(config, Pool([make_pairs(60), other_pairs(36, per_cluster=1)]))
    share = weights[0] / sum(weights)
    for epoch in range(4):
        first = epoch * mixture.batches_per_epoch
        steps = range(first, first + mixture.batches_per_epoch)
        rows = np.concatenate([mixture.batch(step).pairs for step in steps])
        assert (mixture.pool.sets[rows] == 0).sum() == round(share * 96)
    found = realised(mixture, 2 * mixture.batches_per_epoch)
    assert found["pairs_by_data"] == {"made": 2 * round(share * 96), "other": 192 - 2 * round(share * 96)}


def test_every_pair_of_a_set_comes_before_one_comes_again():
    config = config_of(data=("made", "other"), weights=(1.0, 1.0), steps=48)
    mixture = Mixture(config, Pool([make_pairs(60), other_pairs(36, per_cluster=1)]))
    rows = np.concatenate([mixture.batch(step).pairs for step in range(48)])  # 4 epochs of 96, half of each
    times = np.bincount(rows, minlength=96)
    assert set(times[:60].tolist()) <= {3, 4}  # 192 draws of 60
    assert set(times[60:].tolist()) <= {5, 6}  # 192 draws of 36


def test_weights_keep_a_batch_a_function_of_its_step_and_the_same_in_every_arm():
    def batch(ratio: float, step: int) -> list[int]:
        config = config_of(data=("made", "other"), weights=(2.0, 1.0), mono_ratio=ratio)
        mixture = Mixture(config, Pool([make_pairs(60), other_pairs(36)]))
        return mixture.batch(step).pairs.tolist()

    assert batch(0.0, 31) == batch(1.0, 31)
    assert batch(0.5, 31) != batch(0.5, 30)


@pytest.mark.parametrize(
    ("changes", "sets", "part"),
    [
        ({"weights": (1.0, 2.0)}, 1, "weights: gives 2 numbers for 1 sets of `data`"),
        (
            {"data": ("made", "other"), "weights": (1.0, 9.0), "batch_size": 16},
            2,
            "weights: 9 of 10 is 14 of a batch's 16 pairs, but other has 12 clusters",
        ),
        ({"language_pairs": ("en-de",)}, 1, "language_pairs: 'en-de' is no pair; write QUERY->PASSAGE"),
        ({"language_pairs": ("en->fr",)}, 1, "'fr' in 'en->fr' is no language of this training"),
        ({"language_pairs": ("en->en",)}, 1, "'en->en' is no pair of two languages"),
        ({"language_pairs": ("en->de=0",)}, 1, "gives no pair a share above 0"),
        ({"hard_negatives": 2}, 1, "hard_negatives: 2 of a query are asked for but made has none"),
    ],
)
def test_what_cannot_be_is_refused(changes, sets, part):
    (mistake,) = check(config_of(**changes), [make_pairs(), other_pairs(36)][:sets])
    assert part in mistake


def test_entries_name_pairs_and_the_last_one_counts():
    shares, mistakes = pair_shares(["any->any", "en->any=3"], ["en", "de", "th"])
    assert mistakes == []
    assert shares[("en", "de")] == shares[("en", "th")] == pytest.approx(3 / 10)
    assert shares[("de", "en")] == shares[("th", "de")] == pytest.approx(1 / 10)
    assert sum(shares.values()) == pytest.approx(1.0)
    only, _ = pair_shares(["any->en", "zh-Hans->en=2"], ["en", "zh-Hans"])
    assert only == {("zh-Hans", "en"): 1.0}


def test_pairs_of_languages_have_their_share_to_within_a_row_of_every_batch():
    config = config_of(mono_ratio=0.0, batch_size=10, language_pairs=("en->any=2", "th->en"), steps=400)
    mixture = Mixture(config, Pool([make_pairs()]))
    shares = {("en", "de"): 2 / 7, ("en", "th"): 2 / 7, ("en", "ar"): 2 / 7, ("th", "en"): 1 / 7}
    total: Counter[tuple[str, str]] = Counter()
    for step in range(400):
        batch = mixture.batch(step)
        counts = Counter(zip(batch.query_languages, batch.passage_languages, strict=True))
        assert set(counts) <= set(shares)
        assert all(abs(counts[pair] - 10 * share) < 1 for pair, share in shares.items())
        total += counts
    assert all(abs(total[pair] / 4000 - share) < 0.01 for pair, share in shares.items())
    again = Mixture(config.model_copy(update={"mono_ratio": 0.4}), Pool([make_pairs()]))
    cross = next(step for step in range(10, 60) if again.kind(step) == "cross")
    assert again.batch(cross).query_languages == mixture.batch(cross).query_languages


def test_monolingual_batches_follow_the_size_of_the_languages():
    made = make_pairs(60)
    missing = {"de": 30, "th": 45, "ar": 30}  # pairs of 60 that a language lacks
    passages = {
        lang: [None if i < missing.get(lang, 0) else text for i, text in enumerate(texts)]
        for lang, texts in made.passages.items()
    }
    pool = Pool([replace(made, passages=passages)])
    assert pool.pairs_in == {"en": 60, "de": 30, "th": 15, "ar": 30}
    for ratio in (0.25, 1.0):
        config = config_of(mono_ratio=ratio, mono_languages="size", batch_size=4, steps=2000)
        mixture = Mixture(config, pool)
        drawn = Counter(mixture.mono_language(step) for step in range(2000) if mixture.kind(step) == "mono")
        for lang, size in pool.pairs_in.items():
            assert drawn[lang] / sum(drawn.values()) == pytest.approx(size / 135, abs=0.02)


def with_negatives(made: ParallelPairs, numbers: dict[int, list[str]]) -> ParallelPairs:
    rows = [numbers.get(i, []) for i in range(len(made))]
    return replace(
        made, negatives={lang: [[f"{lang} {t}" for t in row] for row in rows] for lang in LANGUAGES}
    )


def test_known_positives_are_no_hard_negatives():
    made = make_pairs(30, per_cluster=3)
    passages = {lang: list(texts) for lang, texts in made.passages.items()}
    passages["th"][7] = "th of seven"  # pair 7 is of another cluster than 0
    passages["de"][1] = "de of one"  # pair 1 is of the cluster of pair 0
    pool = Pool([with_negatives(replace(made, passages=passages), {0: ["nowhere", "of seven", "of one"]})])
    assert pool.hard_negatives(0) == [(0, UNKNOWN), (1, int(pool.clusters[7]))]
    assert pool.hard_negatives(5) == []


def test_hard_negatives_are_drawn_by_step_and_masked_for_queries_they_answer():
    made = make_pairs(30, per_cluster=1)
    passages = {lang: [f"{lang} passage {i}" for i in range(30)] for lang in LANGUAGES}
    numbers = {i: [f"hard {i} {k}" for k in range(3)] + [f"passage {(i + 1) % 30}"] for i in range(30)}
    pool = Pool([with_negatives(replace(made, passages=passages), numbers)])
    config = config_of(hard_negatives=2, batch_size=6, mono_ratio=0.5)
    mixture = Mixture(config, pool)
    masked = 0
    for step in range(40):
        batch = mixture.batch(step)
        rows = batch.pairs.tolist()
        assert [row for row, _ in batch.negatives] == [row for row in rows for _ in range(2)]
        by_row = dict(zip(rows, batch.passage_languages, strict=True))
        assert batch.negative_languages == tuple(by_row[row] for row, _ in batch.negatives)
        mask = batch.masked()
        assert mask.shape == (6, 18)
        assert mask.any() == batch.has_conflicts
        for place, row in enumerate(rows):
            for number, ((of, k), _) in enumerate(
                zip(batch.negatives, batch.negative_languages, strict=True)
            ):
                answers = k == 3 and (of + 1) % 30 == row
                assert mask[place, 6 + number] == answers
                masked += answers
        other = Mixture(config.model_copy(update={"mono_ratio": 0.0}), pool).batch(step)
        assert other.negatives == batch.negatives
    assert masked > 0
    found = realised(mixture, 40)
    assert found["hard_negatives_per_query"] == 2.0
    assert found["effective_negatives_per_query"] == pytest.approx(5 + 12 - masked / 240)
    assert len({mixture.batch(step).negatives for step in range(40)}) == 40
