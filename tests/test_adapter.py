"""LoRA: what is trained, that it is merged into a plain model, and what is said where peft is missing."""

import importlib.util

import numpy as np
import pytest
import torch
from made_pairs import make_pairs
from sentence_transformers import SentenceTransformer
from test_train import config_of, digest_of, trained

from hybrid import adapter
from hybrid.adapter import adapted
from hybrid.config import TrainConfig
from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from hybrid.train import train

pytest.importorskip("peft")
NAMES = ["embedded-xlmr", "embedded-labse"]
TEXTS = ["what is it?", "wo war es und warum"]


def lora_config(backbone: str, **changes) -> TrainConfig:
    return config_of(backbone, adapter="lora", lora_rank=4, lora_alpha=8.0, lora_dropout=0.1, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_adapter_is_trained_and_it_starts_as_the_backbone(name):
    encoder = Encoder.load(name)
    before = encoder.encode(TEXTS, "query")
    weights = sum(weight.numel() for weight in encoder.parameters())
    with adapted(encoder, lora_config(name)):
        asked = {n: w for n, w in encoder.model.named_parameters() if w.requires_grad}
        assert asked
        assert all("lora_" in n for n in asked)
        assert sum(weight.numel() for weight in asked.values()) < weights / 5
        assert np.array_equal(encoder.encode(TEXTS, "query"), before)
    assert np.allclose(encoder.encode(TEXTS, "query"), before, atol=1e-6)
    assert all(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_a_plain_model_with_the_adapter_in_its_weights(name, tmp_path):
    encoder, untouched = Encoder.load(name), Encoder.load(name)
    result = train(lora_config(name, steps=4), [make_pairs()], encoder)
    assert result.steps == 4
    assert [n for n, _ in encoder.model.named_parameters()] == [
        n for n, _ in untouched.model.named_parameters()
    ]
    moved = {
        n
        for (n, w), (_, u) in zip(
            encoder.model.named_parameters(), untouched.model.named_parameters(), strict=True
        )
        if not torch.equal(w, u)
    }
    assert moved
    assert all("embeddings" not in n and n.endswith("weight") for n in moved)
    encoder.save(tmp_path / "model")
    plain = SentenceTransformer(str(tmp_path / "model"))
    assert np.allclose(
        plain.encode(TEXTS, prompt=encoder.query_prompt, normalize_embeddings=True),
        encoder.encode(TEXTS, "query"),
        atol=1e-5,
    )


def test_merged_weights_embed_as_the_adapter_did():
    encoder = Encoder.load("embedded-xlmr")
    with adapted(encoder, lora_config("embedded-xlmr")):
        torch.manual_seed(0)
        with torch.no_grad():
            for name, weight in encoder.model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.05)
        apart = encoder.encode(TEXTS, "query")
    assert np.allclose(encoder.encode(TEXTS, "query"), apart, atol=1e-5)
    assert not np.allclose(Encoder.load("embedded-xlmr").encode(TEXTS, "query"), apart, atol=1e-2)


def test_the_same_configuration_gives_the_same_weights_and_the_gradient_cache_too():
    config = lora_config("embedded-xlmr", chunk_size=16, steps=3)
    (_, one), (_, other) = trained(config), trained(config)
    (_, whole) = trained(config.model_copy(update={"chunk_size": None}))
    assert digest_of(one) == digest_of(other) == digest_of(whole)
    (_, of_other_rank) = trained(config.model_copy(update={"lora_rank": 2}))
    assert digest_of(of_other_rank) != digest_of(one)


def test_a_missing_peft_is_one_sentence(monkeypatch):
    monkeypatch.setattr(
        adapter.importlib.util, "find_spec", lambda name, *_: None if name == "peft" else importlib.util
    )
    with pytest.raises(BadInput, match="needs the package peft, which is not installed: pip install"):
        trained(lora_config("embedded-xlmr"))
    trained(config_of("embedded-xlmr", steps=1))  # without an adapter nothing is missing
