"""The backbone that a worker holds: read from its files once, handed out as fresh copies, trial after trial.

One is held, in main memory. A copy cannot be told from what reading the files again would give.
"""

import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from hybrid.loading import check_lengths

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CACHE_LINE = 64  # bytes; matrix products may differ in their last bit by where in one a matrix starts


@dataclass(frozen=True)
class _Held:
    name: str
    trusted: bool
    encoder: Encoder
    truncation: Any  # of its tokenizer, as its files have it; each call sets another
    padding: Any


_held: _Held | None = None


def warm_encoder(
    name: str,
    *,
    max_query_length: int | None,
    max_passage_length: int | None,
    device: str,
    trust_remote_code: bool,
) -> Encoder:
    """What `Encoder.load(…, keeps_tokens=True)` gives, read from files only if another was asked for before.

    Raises BadInput as that does.
    """
    global _held
    if device.startswith("cuda") and not torch.cuda.is_available():
        Encoder.load(name, device=device, trust_remote_code=trust_remote_code)  # which says so
    options: dict[str, Any] = {
        "max_query_length": max_query_length,
        "max_passage_length": max_passage_length,
        "keeps_tokens": True,
    }
    if _held is None or (_held.name, _held.trusted) != (name, trust_remote_code):
        _held = None  # never two at once
        random_before = torch.get_rng_state()
        loaded = Encoder.load(name, trust_remote_code=trust_remote_code, **options)
        if not _all_from_files(loaded, name, trust_remote_code, random_before):
            return Encoder(loaded.model.to(device), loaded.backbone, **options)
        backend = getattr(loaded.model.tokenizer, "backend_tokenizer", None)
        lengths = (getattr(backend, "truncation", None), getattr(backend, "padding", None))
        _held = _Held(name, trust_remote_code, loaded, *lengths)
    held = _held.encoder
    # All else was asked when it was read, of the prompts in its files, which an Encoder replaces.
    if mistakes := check_lengths(name, held.model, max_query_length, max_passage_length):
        raise BadInput(mistakes)
    return Encoder(_fresh(held.model, _held.truncation, _held.padding).to(device), held.backbone, **options)


def _all_from_files(loaded: Encoder, name: str, trusted: bool, random_before: Tensor) -> bool:
    """Whether no weight was drawn at random for want of a file; reads once more if anything was drawn."""
    if torch.equal(random_before, torch.get_rng_state()):
        return True
    again = Encoder.load(name, trust_remote_code=trusted).model.state_dict()
    return all(torch.equal(tensor, again[key]) for key, tensor in loaded.model.state_dict().items())


def _fresh(model: "SentenceTransformer", truncation: Any, padding: Any) -> "SentenceTransformer":
    """A copy with weights of its own. The tokenizer is shared, its lengths set as its files have them."""
    copies: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        same = _placed_alike(tensor.detach())
        copies[id(tensor)] = (
            nn.Parameter(same, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else same
        )
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()
        backend.enable_padding(**padding) if padding else backend.no_padding()
        copies[id(model.tokenizer)] = model.tokenizer
    return copy.deepcopy(model, copies)


def _placed_alike(tensor: Tensor) -> Tensor:
    """A copy that starts at the same place in a cache line: weights read from a file may start at any."""
    room = np.empty(tensor.nbytes + _CACHE_LINE, dtype=np.uint8)
    start = (tensor.data_ptr() - room.ctypes.data) % _CACHE_LINE
    same = torch.from_numpy(room[start : start + tensor.nbytes])  # a storage of just that size
    return same.view(tensor.dtype).view(tensor.shape).copy_(tensor)
