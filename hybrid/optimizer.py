"""AdamW with warm-up, decay and clipping, on float32 weights."""

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor

from hybrid.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Of step 0 … steps-1: linear up to its peak over the share `warmup`, then linear to 0 or constant."""
    warm = ceil(config.warmup * config.steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    if config.decay == "constant":
        return config.learning_rate
    return config.learning_rate * (config.steps - step) / (config.steps - warm)


class Optimizer:
    """AdamW (1711.05101); biases and normalisation weights, the vectors, do not decay."""

    def __init__(self, parameters: Iterable[tuple[str, torch.nn.Parameter]], config: TrainConfig) -> None:
        self.config = config
        self.weights = {name: weight for name, weight in parameters if weight.requires_grad}
        matrices = [weight for weight in self.weights.values() if weight.ndim >= 2]
        vectors = [weight for weight in self.weights.values() if weight.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)

    def zero_grad(self) -> None:
        self.adamw.zero_grad(set_to_none=True)

    def step(self, step: int) -> float:
        """Updates the weights from their `.grad`; returns the gradient's norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip_norm)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate(self.config, step)
        self.adamw.step()
        return float(norm)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and moments by name: what a checkpoint holds."""
        named = {f"weight.{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for moment, value in self.adamw.state.get(weight, {}).items():
                named[f"{moment}.{name}"] = value
        return named

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts the `tensors()` of an earlier moment back."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"weight.{name}"])
                self.adamw.state[weight] = {
                    moment: tensors[f"{moment}.{name}"].to(weight.device)
                    for moment in ("step", "exp_avg", "exp_avg_sq")
                    if f"{moment}.{name}" in tensors
                }
