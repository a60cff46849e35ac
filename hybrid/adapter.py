"""LoRA (2106.09685) through `peft`: small matrices beside the transformer's linear layers are trained alone.

They are added to those layers' weights at the end, so that what is measured and saved is a plain model.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hybrid.config import TrainConfig
from hybrid.errors import BadInput

if TYPE_CHECKING:
    from hybrid.encoder import Encoder

MISSING = "adapter: lora needs the package peft, which is not installed: pip install 'hybrid-sweeps[lora]'"


def adapter_is_missing(config: TrainConfig) -> list[str]:
    """The sentence to refuse a configuration with whose adapter cannot be had here."""
    wanted = config.adapter == "lora"
    return [MISSING] if wanted and importlib.util.find_spec("peft") is None else []


@contextmanager
def adapted(encoder: "Encoder", config: TrainConfig) -> Iterator[None]:
    """Inside, only the adapter's weights ask for a gradient; afterwards they are merged and all do again.

    Without an adapter nothing is changed. Draws the adapter's first weights from torch's generator. Raises
    BadInput where peft is missing.
    """
    if config.adapter == "none":
        yield
        return
    if adapter_is_missing(config):
        raise BadInput(MISSING)
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    transformer: Any = encoder.model[0]
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # a factor, not a count
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
    )
    for weight in encoder.parameters():
        weight.requires_grad_(False)
    adapter = LoraModel(transformer.model, {"default": lora}, "default")
    try:
        yield
        adapter.merge_and_unload()
    finally:
        for weight in encoder.parameters():
            weight.requires_grad_(True)
