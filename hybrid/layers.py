"""Three layers of a transformer computed on a CPU in less time, with the meaning they ship with.

- Dropout draws 16 random bits for a number, where torch draws a number in [0, 1).
- Attention with dropout is written out: torch's own takes a general path there that guards against rows
  without any key, which padding never makes.
- An embedding's gradient is added to the rows that were looked up, where torch makes a matrix of the
  vocabulary's size for every piece of a batch.

Shapes: B texts, H heads, L tokens, K size of a head, D hidden size, V vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_ATTENTION = "hybrid_cpu"
_STEPS = 2**16  # of a drop probability
_WORTH_IT = 2**20  # numbers in an embedding matrix


@contextmanager
def faster_layers(model: nn.Module) -> Iterator[None]:
    """Inside, `model` computes with these layers; its weights and their names stay as they are."""
    undo: list[Callable[[], None]] = []
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    try:
        for module in model.modules():
            if type(module) is nn.Dropout:
                module.__dict__["forward"] = partial(_dropout_of, module)
                undo.append(partial(delattr, module, "forward"))
            elif type(module) is nn.Embedding and _is_plain(module):
                module.__dict__["forward"] = _Lookup(module)
                undo.append(partial(delattr, module, "forward"))
            elif isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa":
                module.set_attn_implementation(_ATTENTION)
                undo.append(partial(module.set_attn_implementation, "sdpa"))
        yield
    finally:
        for back in undo:
            back()


def _dropout_of(module: nn.Dropout, x: Tensor) -> Tensor:
    return dropout(x, module.p) if module.training else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Each number 0 with probability p, rounded to 1/65536, else divided by 1 − that probability."""
    dropped = round(p * _STEPS)
    if dropped == 0:
        return x
    if dropped >= _STEPS:
        return x * 0.0
    # From torch's generator, so that a repeated random state repeats the draw.
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    sixteen = words.view(torch.int16)[: x.numel()].view(x.shape)
    # A comparison written in the dtype of x, and a product, run vectorised; torch.where and booleans do not.
    factors = torch.ge(sixteen, dropped - _STEPS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return x * factors.mul_(_STEPS / (_STEPS - dropped))


def _attention(
    module: nn.Module,
    query: Tensor,  # (B, H, L, K)
    key: Tensor,  # (B, H, L, K)
    value: Tensor,  # (B, H, L, K)
    attention_mask: Tensor | None,  # (B, 1, L, L), True where a token may look
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of an encoder with dropout; anything else is left to torch. Returns (B, L, H, K)."""
    causal = others.get("is_causal", getattr(module, "is_causal", False)) and attention_mask is None
    special = any(others.get(name) is not None for name in ("softcap", "position_bias", "cache"))
    masked = attention_mask is None or attention_mask.dtype == torch.bool
    if not dropout or causal or special or not masked or query.shape[1] != key.shape[1]:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query * scale) @ key.transpose(2, 3)  # (B, H, L, L)
    if attention_mask is not None:
        hidden = torch.zeros(attention_mask.shape, dtype=scores.dtype)
        scores.add_(hidden.masked_fill_(~attention_mask, -torch.inf))
    weights = _dropout(scores.softmax(dim=-1), dropout)  # (B, H, L, L)
    return (weights @ value).transpose(1, 2), None  # (B, L, H, K)


_dropout = dropout  # under a name that `_attention`, whose argument transformers names, can reach


def _is_plain(module: nn.Embedding) -> bool:
    plain = module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
    return plain and module.weight.requires_grad and module.weight.numel() >= _WORTH_IT


class _Lookup:
    """In place of the `forward` of an nn.Embedding; owns its gradient, of which few rows are written."""

    def __init__(self, module: nn.Embedding) -> None:
        self.weight = module.weight  # (V, D)
        self.padding = module.padding_idx
        self.buffer: Tensor | None = None  # (V, D)
        self.written: list[Tensor] = []

    def __call__(self, ids: Tensor) -> Tensor:
        rows: Tensor = _Rows.apply(self.weight, ids, self)  # type: ignore[no-untyped-call]
        return rows  # (…, D)

    def add(self, ids: Tensor, gradient: Tensor) -> None:
        """Adds the gradient of looked-up rows to `weight.grad`, a fresh one if the optimiser took it away."""
        if self.weight.grad is None:
            if self.buffer is None:
                self.buffer = torch.zeros_like(self.weight)
            for rows in self.written:
                self.buffer[rows] = 0.0
            self.written = []
            self.weight.grad = self.buffer
        rows, place = torch.unique(ids, return_inverse=True)  # (rows,), the shape of ids
        summed = torch.zeros(len(rows), gradient.shape[-1], dtype=gradient.dtype)  # (rows, D)
        summed.index_add_(0, place.reshape(-1), gradient.reshape(-1, gradient.shape[-1]))
        if self.padding is not None:
            summed[rows == self.padding] = 0.0
        self.weight.grad.index_add_(0, rows, summed)
        self.written.append(rows)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, lookup: _Lookup) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.lookup = lookup
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        ctx.lookup.add(ids, gradient)
        return None, None, None
