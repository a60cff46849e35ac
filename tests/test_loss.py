"""The loss against its formula, and gradients through the cache against plain ones."""

import math

import pytest
import torch
from torch import nn

from hybrid import loss as loss_module
from hybrid.loss import cached_backward, info_nce, random_state


def unit(rows: int, columns: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    vectors = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return nn.functional.normalize(vectors, dim=1)


def by_formula(queries, passages, temperature, masked=frozenset()):
    """−1/B Σ_i log( exp(q_i·p_i/τ) / Σ_j exp(q_i·p_j/τ) ), j over passages not masked for i."""
    total = 0.0
    for i in range(len(queries)):
        terms = [
            math.exp(float(queries[i] @ passages[j]) / temperature)
            for j in range(len(passages))
            if (i, j) not in masked
        ]
        total -= math.log(math.exp(float(queries[i] @ passages[i]) / temperature) / sum(terms))
    return total / len(queries)


@pytest.mark.parametrize("candidates", [5, 9])
def test_loss_is_its_formula(candidates):
    queries, passages = unit(5, 4, 0), unit(candidates, 4, 1)
    assert info_nce(queries, passages, temperature=0.1).item() == pytest.approx(
        by_formula(queries, passages, 0.1)
    )


def test_symmetric_loss_averages_both_directions():
    queries, passages = unit(5, 4, 0), unit(5, 4, 1)
    expected = (by_formula(queries, passages, 0.2) + by_formula(passages, queries, 0.2)) / 2
    assert info_nce(queries, passages, temperature=0.2, symmetric=True).item() == pytest.approx(expected)


def test_a_conflict_leaves_the_denominator_and_has_no_gradient():
    queries, passages = unit(4, 3, 0).requires_grad_(), unit(4, 3, 1).requires_grad_()
    conflicts = torch.zeros(4, 4, dtype=torch.bool)
    conflicts[0, 1:] = True
    loss = info_nce(queries, passages, temperature=0.1, conflicts=conflicts)
    masked = frozenset({(0, 1), (0, 2), (0, 3)})
    assert loss.item() == pytest.approx(by_formula(queries.detach(), passages.detach(), 0.1, masked))
    loss.backward()
    assert queries.grad[0].abs().max() == 0.0  # its positive is its only candidate left
    assert queries.grad[1].abs().max() > 0.0


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_of_scores_give_the_loss_and_gradients_of_all_at_once(monkeypatch, symmetric, masked):
    conflicts = torch.rand(11, 15, generator=torch.Generator().manual_seed(2)) < 0.3 if masked else None
    if conflicts is not None:
        conflicts[torch.arange(11), torch.arange(11)] = False
    found = []
    for scores in (10**6, 60, 1):
        monkeypatch.setattr(loss_module, "_SCORES", scores)
        queries, passages = unit(11, 4, 0).requires_grad_(), unit(15, 4, 1).requires_grad_()
        loss = info_nce(queries, passages, temperature=0.1, symmetric=symmetric, conflicts=conflicts)
        loss.backward()
        found.append((loss.detach(), queries.grad, passages.grad))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-10, atol=1e-12)


def encoder(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.3), nn.GELU(), nn.Linear(32, 8)).to(dtype).train()


@pytest.mark.parametrize("chunk", [1, 3, 8, 20])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_cached_gradients_are_plain_gradients_dropout_included(dtype, relative, chunk):
    texts = torch.randn(20, 6, dtype=dtype)
    chunks = texts.split(chunk)

    def loss_of(embeddings):
        queries, passages = nn.functional.normalize(embeddings, dim=1).split(10)
        return info_nce(queries, passages, temperature=0.05, symmetric=True)

    plain, cached = encoder(dtype), encoder(dtype)
    torch.manual_seed(5)
    plain_loss = loss_of(torch.cat([plain(part) for part in chunks]))
    plain_loss.backward()
    after_plain = random_state()
    torch.manual_seed(5)
    rows = [part.tolist() for part in torch.arange(20).split(chunk)]
    cached_loss = cached_backward([lambda part=part: cached(part) for part in chunks], rows, loss_of)
    assert cached_loss.item() == pytest.approx(plain_loss.item(), rel=relative)
    assert torch.equal(after_plain[0], random_state()[0])  # the next step draws the same numbers
    for one, other in zip(plain.parameters(), cached.parameters(), strict=True):
        assert torch.linalg.norm(one.grad - other.grad) <= relative * torch.linalg.norm(one.grad)


def test_another_draw_of_dropout_would_have_been_noticed():
    texts = torch.randn(8, 6, dtype=torch.float64)
    gradients = []
    for seed in (1, 2):
        model = encoder(torch.float64)
        torch.manual_seed(seed)
        cached_backward([lambda model=model: model(texts)], [range(8)], lambda e: (e**2).sum())
        gradients.append(model[0].weight.grad)
    assert torch.linalg.norm(gradients[0] - gradients[1]) > 1e-3 * torch.linalg.norm(gradients[0])
