"""The public files themselves, found through HYBRID_DATA_ROOT: the counts that are published."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.data.article_splits import XQUAD_R, choose
from hybrid.data.cache import content_hash
from hybrid.data.catalog import DATASETS
from hybrid.data.lines import json_file
from hybrid.data.pairs import data_digest, load_pairs
from hybrid.data.tasks import load_task

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not os.environ.get("HYBRID_DATA_ROOT"), reason="HYBRID_DATA_ROOT is not set"),
]

SENTENCES = {
    "ar": 1222, "de": 1276, "el": 1234, "en": 1180, "es": 1215, "hi": 1244,
    "ru": 1219, "th": 852, "tr": 1167, "vi": 1209, "zh": 1196,
}  # fmt: skip


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(os.environ["HYBRID_DATA_ROOT"])


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_xquad_r_has_the_published_counts(root: Path) -> None:
    task = load_task("xquad-r", root)
    assert {lang: len(texts) for lang, texts in task.documents.items()} == SENTENCES
    assert all(len(texts) == 1190 for texts in task.queries.values())
    assert len(set(task.queries["en"].clusters or ())) == 240
    for language in SENTENCES:
        assert all(len(documents) == 11 for documents in task.qrels[language].values())
    assert len({name for texts in task.documents.values() for name in texts.ids}) == 13_014
    assert len(task.notes) == 1  # answers over a sentence break; nothing but what is published


def test_xquad_r_s_lists_are_those_the_rule_chooses(root: Path) -> None:
    questions = {
        article["title"]: sum(len(paragraph["qas"]) for paragraph in article["paragraphs"])
        for article in json_file(root / "xquad-r" / "en.json")["data"]
    }
    assert choose(questions) == XQUAD_R
    counts = {split: len(load_task(f"xquad-r:{split}", root).queries["th"]) for split in XQUAD_R}
    assert counts == {"train": 744, "dev": 149, "test": 297}


def test_xquad_r_s_pairs(root: Path) -> None:
    pairs = load_pairs("xquad-r", root)
    assert (len(pairs), len(set(pairs.clusters))) == (1190, 240)
    assert {lang: len(set(pairs.passages[lang])) for lang in ("en", "th")} == {"en": 787, "th": 603}
    assert pairs.notes[0].endswith("ar 10, de 8, el 13, en 3, es 12, hi 11, ru 2, th 9, tr 20, vi 13, zh 11")


def test_scifact_has_the_published_counts(root: Path) -> None:
    test, train = load_task("scifact", root), load_task("scifact:train", root)
    assert (len(test.queries["en"]), len(train.queries["en"]), len(test.documents["en"])) == (300, 809, 5183)
    assert sum(map(len, test.qrels["en"].values())) == 339
    assert sum(map(len, train.qrels["en"].values())) == 919
    assert test.notes == train.notes == ()


def test_the_climate_fever_pool_has_its_counts(root: Path) -> None:
    task = load_task("climate-fever-pool", root)
    assert (len(task.queries["en"]), len(task.documents["en"])) == (1061, 5240)
    assert sum(map(len, task.qrels["en"].values())) == 2745
    assert len(load_task("climate-fever-pool:all_graded", root).queries["en"]) == 1535


@pytest.mark.parametrize("name", ["xquad-r", "scifact"])
def test_the_checksums_of_the_catalog_are_those_of_the_files(root: Path, name: str) -> None:
    for path, digest in DATASETS[name].sha256.items():
        assert content_hash(root / name / path) == digest


def test_equal_to_the_loader_of_beir(root: Path) -> None:
    from beir.datasets.data_loader import GenericDataLoader

    corpus, queries, qrels = GenericDataLoader(str(root / "scifact")).load(split="test")
    task = load_task("scifact", root)
    documents = dict(zip(task.documents["en"].ids, task.documents["en"].texts, strict=True))
    assert documents == {name: f"{doc['title']} {doc['text']}".strip() for name, doc in corpus.items()}
    assert dict(zip(task.queries["en"].ids, task.queries["en"].texts, strict=True)) == queries
    assert task.qrels["en"] == qrels


@pytest.mark.parametrize("name", ["xquad-r", "scifact"])
def test_loading_again_gives_the_same_digest(root: Path, name: str) -> None:
    digest = load_task(name, root).digest
    assert load_task(name, root).digest == digest
    assert data_digest(name, root, kind="task", cached_only=True) == digest
