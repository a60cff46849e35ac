"""Trained weights averaged with the untouched backbone's: the cheap remedy for lost generality.

WiSE-FT (2109.01903, its α is 1 − share here) and LM-Cocktail (2311.13534).
"""

import torch

from hybrid.encoder import Encoder


def average_with_untouched(trained: Encoder, untouched: Encoder, share: float) -> None:
    """Weights of `trained` ← (1 − share) · trained + share · untouched, each in its own dtype.

    0.0 leaves them as they are, 1.0 makes them the untouched ones, both to the last bit. Whole numbers,
    such as positions, stay. Raises ValueError if the two are not of one architecture.
    """
    own, other = trained.model.state_dict(), untouched.model.state_dict()
    if own.keys() != other.keys() or any(own[name].shape != other[name].shape for name in own):
        raise ValueError("the trained model and the backbone differ in architecture: nothing to average")
    with torch.no_grad():
        for name, weight in own.items():
            if weight.is_floating_point():
                weight.copy_(torch.lerp(weight, other[name].to(weight), share))
