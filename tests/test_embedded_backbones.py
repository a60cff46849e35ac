"""The embedded backbones: what they were pretrained on, their tokenizers, their files."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hybrid.embedded.pretraining_text import evaluation_texts, pretraining_text
from hybrid.embedded.vocabulary import best_segmentation, learn_pieces
from hybrid.embedded.words import LANGUAGES
from hybrid.embedded.world import write_world

EMBEDDED = Path(__file__).parents[1] / "hybrid" / "embedded"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _paragraphs(world: Path, language: str) -> list[dict[str, Any]]:
    data = json.loads((world / "embedded-qa" / f"{language}.json").read_text(encoding="utf-8"))["data"]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def _gold_sentence(paragraph: dict[str, Any], question: dict[str, Any]) -> str:
    start = question["answers"][0]["answer_start"]
    breaks = zip(paragraph["sentences"], paragraph["sentence_breaks"], strict=True)
    return next(sentence for sentence, (first, last) in breaks if first <= start < last)


def test_pretraining_text_holds_nothing_of_the_evaluation(world: Path) -> None:
    held_out = evaluation_texts()
    queries: set[str] = set()
    for name in ("embedded-science", "embedded-history"):
        held_out |= {row["text"] for row in _rows(world / name / "corpus.jsonl")}
        queries |= {row["text"] for row in _rows(world / name / "queries.jsonl")}
    for language in LANGUAGES:
        for paragraph in _paragraphs(world, language):
            queries |= {question["question"] for question in paragraph["qas"]}
            held_out |= set(paragraph["sentences"])
    text = pretraining_text()
    seen = {
        *text.lines,
        *(passage for group in text.passages for passage in group),
        *(sentence for row in text.translations for sentence in row.values()),
    }
    assert not seen & queries
    assert not set(text.lines) & held_out
    everything = "\n".join(text.lines)
    assert not [query for query in queries if query in everything]


def test_segmentation_is_the_most_probable_one() -> None:
    scores = {"a": -2.0, "b": -2.5, "ab": -3.0, "ba": -1.0, "aba": -4.0, "▁": -1.5}
    for length in range(1, 7):
        for letters in itertools.product("ab", repeat=length):
            word = "▁" + "".join(letters)
            splits = []
            for cuts in itertools.product((False, True), repeat=length):
                pieces = re.split(
                    "\0", "".join(c + "\0" * cut for c, cut in zip(word, (*cuts, False), strict=True))
                )
                if all(piece in scores for piece in pieces):
                    splits.append(sum(scores[piece] for piece in pieces))
            found = best_segmentation(word, scores)
            assert "".join(found) == word
            assert sum(scores[piece] for piece in found) == pytest.approx(max(splits))


def test_vocabulary_keeps_letters_and_has_its_size() -> None:
    counts = {"lower": 50, "lowest": 20, "newer": 30, "wide": 10, "low": 40, "x": 1}
    pieces = dict(learn_pieces(counts, 22))
    assert len(pieces) <= 22
    assert {"l", "o", "w", "e", "r", "s", "t", "n", "i", "d", "x", "▁"} <= pieces.keys()
    assert any(piece.startswith("▁low") for piece in pieces)


BACKBONES = {
    "xlmr-tiny": ("XLMRobertaModel", "XLMRobertaTokenizer", "mean"),
    "labse-tiny": ("BertModel", "BertTokenizer", "cls"),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_loads_as_its_kind(name: str) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    architecture, tokenizer, pooling = BACKBONES[name]
    assert type(AutoModel.from_pretrained(EMBEDDED / name)).__name__ == architecture
    assert type(AutoTokenizer.from_pretrained(EMBEDDED / name)).__name__.removesuffix("Fast") == tokenizer
    encoder = SentenceTransformer(str(EMBEDDED / name), device="cpu")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert encoder[1].pooling_mode in (pooling, (pooling,))
    kinds = [type(module).__name__ for module in encoder]
    assert kinds == ["Transformer", "Pooling"] + (["Dense", "Normalize"] if name == "labse-tiny" else [])
    assert (
        encoder.tokenizer.unk_token_id
        not in encoder.tokenizer("Кто написал роман «Чёрное море»?")["input_ids"]
    )


def test_backbones_are_small() -> None:
    files = [path for name in BACKBONES for path in (EMBEDDED / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000


@pytest.mark.parametrize("name", BACKBONES)
def test_log_shows_falling_losses(name: str) -> None:
    rows = [row for row in _rows(EMBEDDED / "pretrain.jsonl") if row["model"] == name]
    objectives: dict[str, list[float]] = {}
    for row in rows:
        objectives.setdefault(row["objective"], []).append(row["loss"])
    assert list(objectives) == ["masked", "pieces"] + ["translation ranking"] * (name == "labse-tiny")
    for losses in objectives.values():
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_is_better_than_chance(name: str, world: Path) -> None:
    """Untouched, each finds its way among the English sentences of 14 articles it has never seen."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(EMBEDDED / name), device="cpu")
    paragraphs = _paragraphs(world, "en")[-3 * 14 :]
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph["sentences"]]
    questions = [(q["question"], _gold_sentence(p, q)) for p in paragraphs for q in p["qas"]]
    candidates = encoder.encode(sentences, normalize_embeddings=True)
    asked = encoder.encode([question for question, _ in questions], normalize_embeddings=True)
    scores = asked @ candidates.T  # (questions, sentences)
    gold = np.array([sentences.index(sentence) for _, sentence in questions])
    ranks = 1 + (scores > scores[np.arange(len(gold)), gold][:, None]).sum(axis=1)
    chance = float(np.mean(1 / np.arange(1, len(sentences) + 1)))
    assert float(np.mean(1 / ranks)) > 3 * chance


@pytest.mark.parametrize("name", BACKBONES)
def test_tokenizer_is_what_the_script_learns(name: str) -> None:
    from hybrid.embedded.pretrain import unigram_tokenizer, wordpiece_tokenizer

    learn = unigram_tokenizer if name == "xlmr-tiny" else wordpiece_tokenizer
    learnt = json.loads(learn(pretraining_text().lines).backend_tokenizer.to_str())["model"]["vocab"]
    shipped = json.loads((EMBEDDED / name / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    if name == "labse-tiny":
        assert shipped == learnt
    else:
        assert [piece for piece, _ in shipped] == [piece for piece, _ in learnt]
