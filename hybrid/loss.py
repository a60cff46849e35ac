"""InfoNCE with in-batch negatives, plain and gradient-cached.

Shapes: B pairs of a batch, D embedding dimensions, C ≥ B candidate passages, the B positives first.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_SCORES = 2**19
"""Held at once: a batch of 4,096 has 16 million, and the loss would hold them several times over."""


def info_nce(
    queries: Tensor,
    passages: Tensor,
    *,
    temperature: float,
    symmetric: bool = False,
    conflicts: Tensor | None = None,
) -> Tensor:
    """Mean over queries of −log softmax of the positive's score among the candidates (1807.03748, eq. 4).

    queries (B, D) and passages (C, D) are L2-normalised, so that scores are cosines divided by
    `temperature`; passage i is the positive of query i. `conflicts` (B, C), True where a passage must not
    count as a negative, is left out of the denominator. `symmetric` averages with the same loss from each
    of the B passages to the B queries. Returns a scalar in the dtype of the embeddings.
    """
    if len(queries) * len(passages) > _SCORES:
        return _in_blocks(queries, passages, temperature, symmetric, conflicts)
    scores = queries @ passages.T / temperature  # (B, C)
    if conflicts is not None:
        scores = scores.masked_fill(conflicts, -torch.inf)
    positives = torch.arange(len(queries), device=queries.device)  # (B,)
    loss = torch.nn.functional.cross_entropy(scores, positives)
    if not symmetric:
        return loss
    from_passages = scores[:, : len(queries)].T  # (B, B)
    return (loss + torch.nn.functional.cross_entropy(from_passages, positives)) / 2


def _in_blocks(
    queries: Tensor, passages: Tensor, temperature: float, symmetric: bool, conflicts: Tensor | None
) -> Tensor:
    """The same with the scores of some rows in memory, which are computed again on the way back."""

    def direction(rows: Tensor, candidates: Tensor, masked: Tensor | None) -> Tensor:
        total, start = rows.new_zeros(()), 0
        for block in torch.split(rows, max(1, _SCORES // len(candidates))):  # (rows of a block, D)
            hidden = None if masked is None else masked[start : start + len(block)]
            total = total + checkpoint(
                _sum_of_block, block, candidates, start, temperature, hidden,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
            start += len(block)
        return total / len(rows)

    loss = direction(queries, passages, conflicts)
    if not symmetric:
        return loss
    size = len(queries)
    transposed = None if conflicts is None else conflicts[:, :size].T
    return (loss + direction(passages[:size], queries, transposed)) / 2


def _sum_of_block(
    rows: Tensor, candidates: Tensor, start: int, temperature: float, masked: Tensor | None
) -> Tensor:
    scores = rows @ candidates.T / temperature  # (rows, C)
    if masked is not None:
        scores = scores.masked_fill(masked, -torch.inf)
    positives = torch.arange(start, start + len(rows), device=rows.device)  # (rows,)
    return torch.nn.functional.cross_entropy(scores, positives, reduction="sum")


def cached_backward(
    encoders: Sequence[Callable[[], Tensor]],
    rows: Sequence[Sequence[int]],
    loss_of: Callable[[Tensor], Tensor],
    devices: Sequence[torch.device] = (),
    first_pass: AbstractContextManager[Any] | None = None,
) -> Tensor:
    """Gradients of `loss_of(all embeddings)` with one chunk's activations in memory (GradCache, 2101.06983).

    Each of `encoders` returns one chunk's embeddings (n, D), which are the `rows` of all embeddings that
    stand beside it. First every chunk is encoded without a graph, its random state kept; then the loss gives
    each embedding's gradient; then every chunk is encoded again from its random state, so that dropout
    repeats, and that gradient is sent back through it. Adds to the parameters' `.grad` what plain backward
    would, and returns the detached loss. `devices` are the CUDA devices whose random state counts beside
    the CPU's. `first_pass` is entered for the chunks encoded without a graph.
    """
    states: list[list[Tensor]] = []
    places = [torch.tensor(of_chunk) for of_chunk in rows]
    embeddings = torch.empty(0)
    with torch.no_grad(), first_pass or nullcontext():
        for encode, place in zip(encoders, places, strict=True):
            states.append(random_state(devices))
            chunk = encode()  # (n, D)
            if not len(embeddings):
                embeddings = chunk.new_empty(sum(map(len, rows)), chunk.shape[1])  # (all, D)
            embeddings[place.to(chunk.device)] = chunk
    after = random_state(devices)

    loss = loss_of(embeddings.requires_grad_())
    (gradient,) = torch.autograd.grad(loss, embeddings)  # (all, D)
    for encode, state, place in zip(encoders, states, places, strict=True):
        set_random_state(state, devices)
        encode().backward(gradient[place.to(gradient.device)])  # type: ignore[no-untyped-call]
    set_random_state(after, devices)
    return loss.detach()


def random_state(devices: Sequence[torch.device] = ()) -> list[Tensor]:
    """The state of torch's CPU generator, then of each CUDA device's."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def set_random_state(states: Sequence[Tensor], devices: Sequence[torch.device] = ()) -> None:
    torch.set_rng_state(states[0])
    for state, device in zip(states[1:], devices, strict=True):
        torch.cuda.set_rng_state(state, device)
