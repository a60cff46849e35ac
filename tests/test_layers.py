"""The faster layers against the ones they stand in for."""

import pytest
import torch
from small_sweep import write_small_backbone
from torch import nn

from hybrid import layers
from hybrid.encoder import Encoder
from hybrid.layers import dropout, faster_layers

TEXTS = ["one", "two words", "three or more words, and a comma", "x " * 30]


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Encoder:
    monkeypatch.setattr(layers, "_WORTH_IT", 1)  # also the small model's embeddings
    return Encoder.load(str(write_small_backbone(tmp_path / "model")))


def gradients(encoder: Encoder, pieces: list[list[str]]) -> dict[str, torch.Tensor]:
    for parameter in encoder.parameters():
        parameter.grad = None
    for piece in pieces:
        embeddings = encoder.forward(*encoder.collate(encoder.tokenize(piece, "query")))
        (embeddings[:, :3].sum() ** 2).backward()
    return {n: p.grad.clone() for n, p in encoder.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, (333, 7)), (torch.bfloat16, (40, 3, 21))])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype, size, seed):
    torch.manual_seed(seed)
    x = torch.full(size, 3.0, dtype=dtype, requires_grad=True)
    y = dropout(x, 0.1)
    dropped = y == 0
    assert abs(dropped.double().mean().item() - 0.1) < 4 * (0.1 * 0.9 / x.numel()) ** 0.5
    assert y[~dropped].float().unique().tolist() == pytest.approx([3 / 0.9], rel=0.005)
    y.sum().backward()
    assert torch.equal(x.grad == 0, dropped)
    torch.manual_seed(seed)
    assert torch.equal(dropout(x, 0.1), y)


@pytest.mark.parametrize("p", [0.02, 0.5, 0.97])
def test_dropout_draws_neighbours_and_lanes_apart(p):
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400_000), p) != 0).double()
    for lane in range(4):  # of a 64-bit word
        assert kept[lane::4].mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 100_000) ** 0.5)
    for distance in (1, 2, 3, 4):
        correlation = torch.corrcoef(torch.stack([kept[:-distance], kept[distance:]]))[0, 1]
        assert abs(correlation.item()) < 5 / 400_000**0.5


def test_dropout_at_its_ends():
    x = torch.ones(10)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1.0), torch.zeros(10))


def test_without_dropout_embeddings_and_gradients_are_the_models_own(encoder):
    for module in encoder.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 1e-9  # takes the path of dropout, drops nothing
    encoder.model.train()
    pieces = [TEXTS[:2], TEXTS[2:], [*TEXTS, "two words"]]
    torch.manual_seed(0)
    expected = gradients(encoder, pieces)
    with faster_layers(encoder.model):
        for _ in range(2):  # the second time, the lookup starts from the rows it wrote
            found = gradients(encoder, pieces)
            assert found.keys() == expected.keys()
            for name, gradient in expected.items():
                torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_an_optimiser_step_clears_rows_that_the_next_batch_does_not_use(encoder):
    with faster_layers(encoder.model):
        gradients(encoder, [["a b c"]])
        found = gradients(encoder, [["d"]])
    name = next(name for name in found if name.endswith("word_embeddings.weight"))
    expected = gradients(encoder, [["d"]])
    torch.testing.assert_close(found[name], expected[name])


def test_attention_attends_as_torch_does(encoder):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 6, 8, generator=generator) for _ in range(3))
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[1, :, :, 4:] = False
    for given in (mask, None):
        expected = nn.functional.scaled_dot_product_attention(query, key, value, given, scale=0.3)
        found, _ = layers._attention(
            encoder.model, query, key, value, given, dropout=1e-9, scaling=0.3, is_causal=False
        )
        torch.testing.assert_close(found, expected.transpose(1, 2))


def test_the_model_is_given_back_as_it_was(encoder):
    transformer = encoder.model[0].model
    modules = [m for m in encoder.model.modules() if isinstance(m, nn.Dropout | nn.Embedding)]
    with faster_layers(encoder.model):
        assert transformer.config._attn_implementation == "hybrid_cpu"
        assert all("forward" in vars(module) for module in modules)
    assert transformer.config._attn_implementation == "sdpa"
    assert not any("forward" in vars(module) for module in modules)
