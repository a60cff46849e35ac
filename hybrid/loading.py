"""Reading a backbone's files into a sentence-transformers model, and what may be wrong with it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn
from transformers.utils import logging as transformers_logging

from hybrid.backbones import Backbone, absent, backbone_path, code_is_forbidden
from hybrid.errors import BadInput


def load_model(backbone: Backbone, device: str, trust_remote_code: bool) -> SentenceTransformer:
    """The model of a backbone, from this machine or the hub. Raises BadInput if it cannot be had or read."""
    path = backbone_path(backbone)
    if isinstance(path, str):
        _check_hub(backbone)
    try:
        with no_progress_bars():
            model = SentenceTransformer(
                str(path),
                device=device,
                trust_remote_code=trust_remote_code,
                revision=backbone.revision if isinstance(path, str) else None,
                local_files_only=isinstance(path, Path),
            )
    except Exception as error:  # a spoilt file fails in as many ways as there are formats
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise BadInput(code_is_forbidden(backbone)) from error
        if isinstance(path, str):
            raise BadInput(f"{absent(backbone)} ({_first_line(error)})") from error
        raise BadInput(f"{path}: no sentence-transformers model can be read: {_first_line(error)}") from error
    return model.float()  # some ship in half precision, in which small updates of a weight would be lost


def check_model(
    name: str, model: SentenceTransformer, max_query_length: int | None, max_passage_length: int | None
) -> list[str]:
    """What stands against using `model` with these lengths (tokens; None: its own), one sentence each."""
    if not isinstance(model[0], Transformer) or model.tokenizer is None:
        return [f"backbone {name!r}: its first module is {type(model[0]).__name__}, not a transformer."]
    mistakes = check_lengths(name, model, max_query_length, max_passage_length)
    skips_prompt = any(getattr(module, "include_prompt", True) is False for module in model)
    if skips_prompt and any(model.prompts.values()):
        mistakes.append(f"backbone {name!r}: it leaves its prompt out of pooling, which is not supported.")
    return mistakes


def check_lengths(
    name: str, model: SentenceTransformer, max_query_length: int | None, max_passage_length: int | None
) -> list[str]:
    """The sentences for lengths, in tokens, that `model` has no positions for."""
    positions = positions_of(model)
    lengths = (("max_query_length", max_query_length), ("max_passage_length", max_passage_length))
    return [
        f"{what} {length}: {name!r} has positions for {positions} tokens at most."
        for what, length in lengths
        if length is not None and positions is not None and length > positions
    ]


def positions_of(model: SentenceTransformer) -> int | None:
    """The longest text, in tokens, that the transformer has positions for; None: any."""
    transformer: Any = model[0]
    positions: int | None = getattr(transformer.model.config, "max_position_embeddings", None)
    for module in transformer.model.modules():
        padding, table = getattr(module, "padding_idx", None), getattr(module, "position_embeddings", None)
        if positions and isinstance(padding, int) and isinstance(table, nn.Embedding):
            return positions - padding - 1  # as of RoBERTa: its first position stands after the padding's
    return positions or None


def prompt(own: str | None, model: SentenceTransformer, names: Sequence[str]) -> str:
    """The row's prompt; otherwise the first of `names` the model's files fill; otherwise its default."""
    if own is not None:
        return own
    filled = [model.prompts[name] for name in names if model.prompts.get(name)]
    default = model.prompts.get(model.default_prompt_name or "", "")
    return str(filled[0] if filled else default)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars for reading and writing weights."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_hub(backbone: Backbone) -> None:
    """One request, so that a missing network is known at once and not after a minute of retries."""
    try:
        HfApi().model_info(backbone.source, revision=backbone.revision, timeout=10.0)
    except Exception as error:  # which classes these are depends on the hub client's version
        raise BadInput(f"{absent(backbone)} ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
