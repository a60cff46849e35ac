"""How far another processor's kernels take a training: no further than docs/training.md says."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_pairs import make_pairs
from test_train import PRECISIONS, config_of

from hybrid.encoder import Encoder
from hybrid.train import train

OLD_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
TOLERANCE = {"fp32": (1e-3, 0.99999), "bf16": (0.1, 0.9999)}
"""Of how far training moved the weights; least cosine of an embedding to the other training's."""
TEXTS = [f"{language} what is {i} so" for language in ("en", "de") for i in range(12)]

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="kernels can be chosen on x86 alone"
)

ELSEWHERE = """
import sys
from pathlib import Path
from test_hardware_tolerance import train_here
train_here(Path(sys.argv[1]))
"""


def train_here(folder: Path) -> str:
    """Weights and embeddings after the same training in each precision; the kernels it was computed with."""
    for precision in PRECISIONS:
        encoder = Encoder.load("embedded-xlmr")
        for module in encoder.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1  # it ships without
        train(config_of("embedded-xlmr", precision=precision, steps=4), [make_pairs()], encoder)
        np.savez(folder / precision, weights=flat(encoder), embeddings=encoder.encode(TEXTS, "query"))
    kernels = torch.backends.cpu.get_cpu_capability()
    print(kernels)
    return kernels


def flat(encoder: Encoder) -> Any:
    return torch.nn.utils.parameters_to_vector(encoder.parameters()).detach().numpy()


def test_training_with_other_kernels_stays_within_the_tolerance(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    kernels = train_here(here)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(there)], cwd=Path(__file__).parent,
        env={**os.environ, **OLD_PROCESSOR}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["DEFAULT"]
    untouched = flat(Encoder.load("embedded-xlmr"))
    for precision in PRECISIONS:
        one, other = np.load(here / f"{precision}.npz"), np.load(there / f"{precision}.npz")
        moved = np.linalg.norm(one["weights"] - untouched)
        apart = np.linalg.norm(other["weights"] - one["weights"])
        share, cosine = TOLERANCE[precision]
        assert apart <= share * moved, precision
        assert (one["embeddings"] * other["embeddings"]).sum(axis=1).min() >= cosine, precision
        if kernels != "DEFAULT":
            assert apart > 0, precision  # other kernels, else nothing is shown
