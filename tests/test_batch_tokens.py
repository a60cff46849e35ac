"""Token ids of training text: the same from the cache as without, every text tokenised once on a machine."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_pairs import LANGUAGES, make_pairs
from small_sweep import write_small_backbone

from hybrid.batch_tokens import BatchTokens
from hybrid.batching import Mixture
from hybrid.config import TrainConfig
from hybrid.data.arrow import ArrowStrings
from hybrid.data.digests import pairs_digest
from hybrid.data.hard_negatives import HardNegatives, laid_out
from hybrid.data.records import ParallelPairs
from hybrid.encoder import Encoder
from hybrid.pair_pool import Pool
from hybrid.token_warming import warm_pairs


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_small_backbone(tmp_path_factory.mktemp("backbone") / "model"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that any encoder tokenises, in order."""
    texts: list[str] = []
    tokenize = Encoder.tokenize

    def counted(self: Encoder, given: Sequence[str], *rest: Any, **named: Any) -> Any:
        texts.extend(given)
        return tokenize(self, given, *rest, **named)

    monkeypatch.setattr(Encoder, "tokenize", counted)
    return texts


def config_of(backbone: str, **changes: Any) -> TrainConfig:
    fields = {"backbone": backbone, "data": ("made",), "mono_ratio": 0.5, "batch_size": 6, "steps": 12}
    return TrainConfig(**(fields | {"seed": 3, "max_query_length": 9, "max_passage_length": 14} | changes))


def with_negatives(made: ParallelPairs) -> ParallelPairs:
    """Pair i has i mod 4 of them; some are negatives of several pairs."""
    rows = [[f"not {(i + n) % 11}" for n in range(i % 4)] for i in range(len(made))]
    return replace(
        made, negatives={lang: [[f"{lang} {t}" for t in row] for row in rows] for lang in LANGUAGES}
    )


def ids_of(config: TrainConfig, pairs: ParallelPairs, *, keeps: bool) -> list[list[int]]:
    """The token ids of all texts of a run, one after the other."""
    mixture = Mixture(config, Pool([pairs]))
    tokens = BatchTokens(config, mixture, Encoder.load(config.backbone, keeps_tokens=keeps))
    return [ids.tolist() for step in range(config.steps) for ids in tokens.of(mixture.batch(step))]


def test_every_text_of_a_batch_has_the_same_ids_from_the_cache(
    backbone: str, own_cache: Path, tokenised: list[str]
) -> None:
    config, pairs = config_of(backbone, hard_negatives=2), with_negatives(make_pairs(40))
    expected = ids_of(config, pairs, keeps=False)
    assert not (own_cache / "tokens").exists()
    assert len(expected) > 12 * 6 * 2, "hard negatives are among them"
    tokenised.clear()
    assert ids_of(config, pairs, keeps=True) == expected
    columns = [*pairs.questions.values(), *pairs.passages.values()]
    distinct = [{text for row in lists for text in row} for lists in pairs.negatives.values()]
    assert sorted(tokenised) == sorted(text for column in (*columns, *distinct) for text in column)
    tokenised.clear()
    other = config.model_copy(update={"seed": 4, "mono_ratio": 0.0, "batch_size": 9, "hard_negatives": 1})
    found = ids_of(other, pairs, keeps=True)
    assert tokenised == [], "the second trial tokenises nothing"
    assert found == ids_of(other, pairs, keeps=False)


def test_texts_of_pairs_with_a_digest_are_not_read_to_find_their_tokens(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = with_negatives(make_pairs(40))
    pairs, config = replace(made, digest=pairs_digest(made)), config_of(backbone, hard_negatives=2)
    expected = ids_of(config, pairs, keeps=False)
    monkeypatch.setattr("hybrid.data.tokens._digest", None)
    assert ids_of(config, pairs, keeps=True) == expected
    reordered = {lang: in_another_order(lists) for lang, lists in pairs.negatives.items()}
    same = replace(pairs, negatives=reordered)
    assert pairs_digest(same) == pairs.digest
    assert ids_of(config, same, keeps=True) == expected, "the same lists, their texts in another order"
    longer = replace(make_pairs(41), digest="another", negatives=with_negatives(make_pairs(41)).negatives)
    assert ids_of(config, longer, keeps=True) == ids_of(config, longer, keeps=False) != expected


def in_another_order(lists: Sequence[Sequence[str]]) -> HardNegatives:
    laid = laid_out(lists)
    return HardNegatives(list(laid.texts)[::-1], laid.starts, len(laid.texts) - 1 - laid.rows)


def test_how_far_tokenising_is_is_told_while_it_lasts(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid.data.tokens.ROWS", 16)
    config, pairs = config_of(backbone, languages=("en",), mono_ratio=1.0), make_pairs(40)
    mixture = Mixture(config, Pool([pairs], ["en"]))
    told: list[tuple[str, float]] = []
    for _ in range(2):
        encoder = Encoder.load(backbone, keeps_tokens=True)
        BatchTokens(config, mixture, encoder, lambda *one: told.append(one)).of(mixture.batch(0))
        assert told == [
            (f"tokenising {column} en", share)
            for column in ("questions", "passages")
            for share in (16 / 40, 32 / 40, 1.0)
        ], "a second time there is nothing to tell"


def test_what_was_warmed_is_not_tokenised_by_any_trial(backbone: str, tokenised: list[str]) -> None:
    config, pairs = config_of(backbone, hard_negatives=2), with_negatives(make_pairs(40))
    warm_pairs(Encoder.load(backbone, keeps_tokens=True), pairs, config)
    assert tokenised
    tokenised.clear()
    ids_of(config, pairs, keeps=True)
    assert tokenised == []


def test_hard_negatives_nobody_uses_are_not_tokenised(backbone: str, tokenised: list[str]) -> None:
    pairs = with_negatives(make_pairs(40))
    warm_pairs(Encoder.load(backbone, keeps_tokens=True), pairs, config_of(backbone))
    ids_of(config_of(backbone), pairs, keeps=True)
    assert not [text for text in tokenised if " not " in text]


def test_hard_negatives_are_the_lists_they_were_made_of_and_have_their_digest() -> None:
    lists = [["a", "b"], [], ["b", "c", "b"], ["a"]]
    laid = laid_out(lists)
    assert laid.texts == ["a", "b", "c"]
    assert laid_out(laid) is laid
    mapped = HardNegatives(
        ArrowStrings(pa.chunked_array([["x", "a"], ["b", "c"]]), np.array([1, 2, 3])), laid.starts, laid.rows
    )
    for one in (laid, mapped):
        assert list(one) == [one[i] for i in range(4)] == one[:] == lists
        assert one[-1] == ["a"]
        assert [one.place(2, number) for number in range(3)] == [1, 2, 1]
        with pytest.raises(IndexError):
            one[4]
    made = make_pairs(4)
    digests = {pairs_digest(replace(made, negatives={"en": one})) for one in (lists, laid, mapped)}
    assert len(digests) == 1
    assert pairs_digest(replace(made, negatives={"en": lists[::-1]})) not in digests


def test_many_pairs_are_walked_in_blocks() -> None:
    lists = [[f"{(i * 7 + n) % 900}" for n in range(i % 3)] for i in range(2500)]
    assert list(laid_out(lists)) == lists
