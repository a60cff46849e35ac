"""Averaging trained weights with the untouched backbone's."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from small_sweep import write_small_backbone

from hybrid.config import TrainConfig, model_key, train_key
from hybrid.encoder import Encoder
from hybrid.merging import average_with_untouched


def moved(encoder: Encoder) -> Encoder:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.01)
    return encoder


@pytest.mark.parametrize("name", ["embedded-xlmr", "embedded-labse"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_weights_are_averaged_and_its_ends_are_exact(name, share, tmp_path):
    merged, trained, untouched = moved(Encoder.load(name)), moved(Encoder.load(name)), Encoder.load(name)
    average_with_untouched(merged, untouched, share)
    for found, one, other in zip(
        merged.parameters(), trained.parameters(), untouched.parameters(), strict=True
    ):
        if share in (0.0, 1.0):
            assert torch.equal(found, other if share else one)
        expected = (1 - share) * one.double() + share * other.double()
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
    merged.save(tmp_path / "model")
    assert np.allclose(
        SentenceTransformer(str(tmp_path / "model")).encode(["a b"], normalize_embeddings=True),
        merged.encode(["a b"], "query"),
        atol=1e-5,
    )


def test_other_architectures_are_not_averaged(tmp_path):
    small = Encoder.load(str(write_small_backbone(tmp_path / "model")))
    with pytest.raises(ValueError, match="differ in architecture"):
        average_with_untouched(small, Encoder.load("embedded-labse"), 0.5)


def test_merging_is_in_the_models_key_and_not_in_the_trainings():
    fields = {"backbone": "b", "data": ("d",), "mono_ratio": 1.0, "batch_size": 8, "steps": 9, "seed": 1}
    keys = {
        merge: train_key(TrainConfig(**fields, merge=merge), backbone_digest="x", data_digests={"d": "y"})
        for merge in (0.0, 0.5, 1.0)
    }
    assert len(set(keys.values())) == 1
    assert model_key(keys[0.0], 0.0) == keys[0.0]
    assert len({model_key(keys[0.0], merge) for merge in keys}) == 3
