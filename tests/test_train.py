"""Training: the same to the last bit, cut off or not; sentence-transformers' loss; failures that say why."""

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_pairs import make_pairs
from small_sweep import write_small_backbone

from hybrid import train as training
from hybrid.batch_tokens import pieces
from hybrid.batching import Mixture
from hybrid.config import TrainConfig
from hybrid.encoder import Encoder, hardware_precision
from hybrid.errors import BadInput
from hybrid.optimizer import learning_rate
from hybrid.pair_pool import Pool
from hybrid.stopping import SelectionSet
from hybrid.train import CURVE, DivergenceError, Progress, train

PRECISIONS = ["fp32", *(["bf16"] if hardware_precision() == "bf16" else [])]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return str(write_small_backbone(tmp_path_factory.mktemp("backbone") / "model"))


def config_of(backbone: str, **changes: Any) -> TrainConfig:
    fields = {
        "backbone": backbone,
        "data": ("made",),
        "mono_ratio": 0.5,
        "batch_size": 8,
        "steps": 8,
        "seed": 3,
    }
    return TrainConfig(**(fields | {"learning_rate": 1e-3} | changes))


def digest_of(encoder: Encoder) -> str:
    weights = b"".join(weight.detach().numpy().tobytes() for weight in encoder.parameters())
    return hashlib.sha256(weights).hexdigest()


def trained(config: TrainConfig, **options: Any) -> tuple[training.Trained, Encoder]:
    encoder = Encoder.load(config.backbone)
    return train(config, [make_pairs()], encoder, **options), encoder


def test_tokens_kept_on_disk_change_no_bit(backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path))
    config = config_of(backbone)
    expected = digest_of(trained(config)[1])
    for _ in range(2):  # made, then found
        keeping = Encoder.load(backbone, keeps_tokens=True)
        train(config, [make_pairs()], keeping)
        assert digest_of(keeping) == expected
    assert list((tmp_path / "tokens").glob("*/ids.arrow"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_configuration_gives_the_same_weights(backbone, precision):
    config = config_of(backbone, precision=precision)
    (one, first), (other, second) = trained(config), trained(config)
    assert digest_of(first) == digest_of(second) != digest_of(Encoder.load(backbone))
    assert one.curve.drop_columns("seconds").equals(other.curve.drop_columns("seconds"))
    assert one.curve.column_names == list(CURVE)
    assert one.curve["step"].to_pylist() == list(range(1, 9))
    assert (one.steps, one.resumed_from, one.events) == (8, 0, [])
    assert one.mixture["batches"] == {"mono": 4, "cross": 4}
    json.dumps(one.mixture)


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"mono_ratio": 0.0}, {"symmetric": True}, {"temperature": 0.1}]
)
def test_what_is_in_the_key_changes_the_weights(backbone, changes):
    assert digest_of(trained(config_of(backbone, **changes))[1]) != digest_of(trained(config_of(backbone))[1])


def test_training_learns_what_belongs_together(backbone):
    result, _ = trained(config_of(backbone, mono_ratio=1.0, steps=60))
    losses = result.curve["loss"].to_numpy()
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()


def test_the_gradient_cache_with_the_same_pieces_gives_the_same_weights(backbone):
    whole = 16  # texts of a batch
    assert digest_of(trained(config_of(backbone, chunk_size=whole))[1]) == digest_of(
        trained(config_of(backbone))[1]
    )


def test_pieces_change_neither_loss_nor_gradient(backbone, monkeypatch):
    config = config_of(backbone)
    gradients = []
    for tokens, chunk in ((10**9, None), (60, None), (60, 3), (10**9, 7)):
        monkeypatch.setitem(training._PIECE_TOKENS, "cpu", tokens)
        encoder = Encoder.load(backbone)
        encoder.model.eval()  # no dropout
        run = training._Run(
            config.model_copy(update={"chunk_size": chunk}), Mixture(config, Pool([make_pairs()])), encoder
        )
        batch = run.mixture.batch(0)
        token_ids = run.tokens.of(batch)
        groups = pieces(token_ids, tokens, chunk)
        assert sorted(i for piece in groups for i in piece) == list(range(16))
        loss = run.backward(batch, token_ids, groups)
        found = [w.grad.flatten() for w in encoder.parameters() if w.grad is not None]
        gradients.append(torch.cat([torch.tensor([loss]), *found]))
    for other in gradients[1:]:
        assert torch.linalg.norm(other - gradients[0]) < 1e-5 * torch.linalg.norm(gradients[0])


@pytest.mark.parametrize("name", ["embedded-xlmr", "embedded-labse"])
def test_cached_gradients_of_real_architectures_are_the_plain_ones_dropout_included(name):
    config = config_of(name)
    found = []
    for chunk in (None, 5):
        encoder = Encoder.load(name)
        for module in encoder.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1  # the embedded backbones ship without
        encoder.model.train()
        run = training._Run(config, Mixture(config, Pool([make_pairs()])), encoder)
        run.chunk = chunk
        batch = run.mixture.batch(1)
        token_ids = run.tokens.of(batch)
        torch.manual_seed(5)
        loss = run.backward(batch, token_ids, pieces(token_ids, 10**9, 5))  # the same pieces draw alike
        grads = {n: w.grad.clone() for n, w in run.optimizer.weights.items() if w.grad is not None}
        found.append((loss, grads))
    (plain_loss, plain), (cached_loss, cached) = found
    encoder.model.eval()
    undropped = run.backward(batch, token_ids, pieces(token_ids, 10**9, 5))
    assert abs(undropped - plain_loss) > 1e-4  # dropout was there
    assert cached_loss == pytest.approx(plain_loss, rel=1e-6)
    assert plain.keys() == cached.keys()
    whole = torch.linalg.norm(torch.cat([gradient.flatten() for gradient in plain.values()]))
    for weight, gradient in plain.items():
        assert torch.linalg.norm(cached[weight] - gradient) <= 1e-4 * max(
            torch.linalg.norm(gradient), 1e-3 * whole
        ), weight


@pytest.mark.parametrize("symmetric", [False, True])
def test_loss_and_gradient_are_those_of_sentence_transformers(backbone, symmetric):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    config = config_of(backbone, symmetric=symmetric)
    ours, theirs = Encoder.load(backbone), Encoder.load(backbone)
    ours.model.eval()
    theirs.model.eval()
    run = training._Run(config, Mixture(config, Pool([make_pairs()])), ours)
    batch = run.mixture.batch(2)
    token_ids = run.tokens.of(batch)
    loss = run.backward(batch, token_ids, pieces(token_ids, 200, None))

    pool, rows = run.mixture.pool, batch.pairs.tolist()
    questions = [pool.question(*key) for key in zip(rows, batch.query_languages, strict=True)]
    passages = [pool.passage(*key) for key in zip(rows, batch.passage_languages, strict=True)]
    directions = ("query_to_doc", "doc_to_query") if symmetric else ("query_to_doc",)
    loss_of = MultipleNegativesRankingLoss(
        theirs.model, scale=1 / config.temperature, directions=directions, partition_mode="per_direction"
    )
    expected = loss_of([theirs.model.preprocess(questions), theirs.model.preprocess(passages)], labels=None)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


KILLED = """
import sys
from pathlib import Path
from made_pairs import make_pairs
from hybrid.config import TrainConfig
from hybrid.encoder import Encoder
from hybrid.stopping import SelectionSet
from hybrid.train import train

config = TrainConfig.model_validate_json(sys.argv[1])
def tell(path):
    print("saved", flush=True)
train(config, [make_pairs()], Encoder.load(config.backbone), checkpoint=Path(sys.argv[2]),
      selection=SelectionSet(config, make_pairs()) if config.stop_on else None,
      checkpoint_seconds=0.0, on_checkpoint=tell)
"""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": PRECISIONS[-1], "chunk_size": 4},
        {"adapter": "lora", "lora_dropout": 0.1, "stop_on": "made", "stop_every": 3, "patience": 9999},
    ],
)
def test_a_killed_process_goes_on_to_the_same_weights(backbone, tmp_path, changes):
    config = config_of(backbone, steps=4000, **changes)
    checkpoint = tmp_path / "checkpoint"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, config.model_dump_json(), str(checkpoint)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
    )
    assert process.stdout is not None
    for _ in range(7):
        assert process.stdout.readline() == b"saved\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()

    # The killed run was of thousands of steps, so that it was surely in the middle; its schedule counts.
    given = {"selection": SelectionSet(config, make_pairs()) if config.stop_on else None}
    stop = _stop_after(20)
    resumed, through = Encoder.load(backbone), Encoder.load(backbone)
    with pytest.raises(_EnoughError):
        train(
            config, [make_pairs()], resumed, checkpoint=checkpoint, checkpoint_seconds=1e9, on_progress=stop,
            **given,
        )  # fmt: skip
    with pytest.raises(_EnoughError):
        train(config, [make_pairs()], through, on_progress=stop, **given)
    assert digest_of(resumed) == digest_of(through)


class _EnoughError(Exception):
    pass


def _stop_after(steps: int) -> Any:
    def stop(progress: Progress) -> None:
        if progress.step == steps:
            raise _EnoughError

    return stop


def test_a_finished_run_keeps_curve_and_seconds_of_the_attempt_before(backbone, tmp_path):
    config, checkpoint = config_of(backbone), tmp_path / "checkpoint"
    whole, through = trained(config)
    saved: list[Path] = []
    with pytest.raises(_EnoughError):
        trained(
            config,
            checkpoint=checkpoint,
            checkpoint_seconds=0.0,
            on_checkpoint=saved.append,
            on_progress=_stop_after(6),
        )
    assert len(saved) == 5
    result, resumed = trained(config, checkpoint=checkpoint)
    assert result.resumed_from == 5
    assert digest_of(resumed) == digest_of(through)
    assert result.curve.drop_columns("seconds").equals(whole.curve.drop_columns("seconds"))
    assert (np.diff(result.curve["seconds"].to_numpy()) > 0).all()
    assert result.seconds == result.curve["seconds"][-1].as_py()
    assert result.mixture == whole.mixture


def test_a_checkpoint_of_another_configuration_is_refused(backbone, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(_EnoughError):
        trained(
            config_of(backbone), checkpoint=checkpoint, checkpoint_seconds=0.0, on_progress=_stop_after(3)
        )
    with pytest.raises(BadInput, match="another configuration"):
        trained(config_of(backbone, temperature=0.2), checkpoint=checkpoint)


def test_a_checkpoint_that_cannot_be_read_is_an_event(backbone, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(b"half of it")
    result, encoder = trained(config_of(backbone), checkpoint=checkpoint)
    assert [event["event"] for event in result.events] == ["unreadable checkpoint, started again"]
    assert digest_of(encoder) == digest_of(trained(config_of(backbone))[1])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("chunk", [None, 10])
def test_too_little_memory_halves_the_chunk_and_changes_nothing_else(backbone, monkeypatch, chunk, precision):
    config = config_of(backbone, chunk_size=chunk, precision=precision)
    forward = Encoder.forward

    def forward_of_few(self, input_ids, attention_mask):
        if len(input_ids) > 4:
            torch.rand(3)  # what was drawn before memory ran out is drawn again
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, input_ids, attention_mask)

    monkeypatch.setattr(Encoder, "forward", forward_of_few)
    result, encoder = trained(config)
    sizes = [event["chunk_size"] for event in result.events]
    if chunk is None:  # first the whole batch as one chunk, then its half and its quarter
        assert sizes == [sizes[0], sizes[0] // 2, sizes[0] // 4]
    else:
        assert sizes == [5, 2]
    assert [event["step"] for event in result.events] == [1] * len(sizes)
    assert result.mixture["batch_size"] == 8
    monkeypatch.setattr(Encoder, "forward", forward)
    smaller = config.model_copy(update={"chunk_size": sizes[-1]})
    assert digest_of(trained(smaller)[1]) == digest_of(encoder)


@pytest.mark.parametrize("chunk", [None, 8])
def test_memory_that_runs_out_late_in_a_step_leaves_nothing_of_the_first_try(backbone, monkeypatch, chunk):
    """Out of memory at the last forward pass of step 3, when parts of the gradient may be there already."""
    config, forward, step_of = config_of(backbone, chunk_size=chunk), Encoder.forward, training._Run.step
    monkeypatch.setitem(training._PIECE_TOKENS, "cpu", 600)  # so that a plain step has several pieces, too
    calls: list[int] = []  # the step of each forward pass
    now = 0

    def step(self, number):
        nonlocal now
        now = number + 1
        if changed is not None and now == 3:
            self.chunk = changed
        return step_of(self, number)

    def count(self, *inputs):
        calls.append(now)
        if len(calls) == limit:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, *inputs)

    monkeypatch.setattr(training._Run, "step", step)
    monkeypatch.setattr(Encoder, "forward", count)
    changed, limit = None, 0
    trained(config)
    changed, limit = None, sum(one <= 3 for one in calls)
    assert calls.count(3) > 1
    calls.clear()
    result, encoder = trained(config)
    (event,) = result.events
    assert event["step"] == 3
    changed, limit = event["chunk_size"], 0
    assert digest_of(trained(config)[1]) == digest_of(encoder)


SHORT_OF_MEMORY = """
import resource, sys
from made_pairs import make_pairs
from hybrid import train as training
from hybrid.config import TrainConfig
from hybrid.encoder import Encoder
from test_train import digest_of

training._PIECE_TOKENS["cpu"] = 10**9  # one piece for the whole batch, so that it is memory that cuts it
config = TrainConfig.model_validate_json(sys.argv[1])
warm, encoder = Encoder.load(config.backbone), Encoder.load(config.backbone)
few = config.model_copy(update={"chunk_size": 8, "steps": 1})
training.train(few, [make_pairs(300, 1)], warm)  # what loading and a first step take is there already
size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
result = training.train(config, [make_pairs(300, 1)], encoder)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print([event["chunk_size"] for event in result.events], result.events[0]["step"], flush=True)
again, last = Encoder.load(config.backbone), {"chunk_size": result.events[-1]["chunk_size"]}
training.train(config.model_copy(update=last), [make_pairs(300, 1)], again)
print(digest_of(again) == digest_of(encoder), flush=True)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc and RLIMIT_AS")
def test_memory_that_really_runs_out_halves_the_chunk(backbone):
    config = config_of(backbone, batch_size=256, steps=1, threads=1)
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, config.model_dump_json(), str(150 * 2**20)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    halved, same = done.stdout.splitlines()
    assert halved.startswith("[512, 256")
    assert same == "True"


def test_memory_too_small_for_one_text_is_the_error_it_is(backbone, monkeypatch):
    def forward(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Encoder, "forward", forward)
    with pytest.raises(torch.OutOfMemoryError):
        trained(config_of(backbone))


def test_a_loss_that_is_no_number_says_so(backbone):
    with pytest.raises(DivergenceError, match=r"step \d+ of 8: loss .* lower learning_rate \(1e\+30\)"):
        trained(config_of(backbone, learning_rate=1e30, warmup=0.0))


def test_pairs_that_cannot_give_such_batches_are_refused(backbone):
    with pytest.raises(BadInput, match="batch_size: 21"):
        trained(config_of(backbone, batch_size=21))


def test_the_process_is_given_back_as_it_was(backbone):
    torch.manual_seed(11)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    trained(config_of(backbone, threads=threads + 1, steps=2))
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_progress_is_told_after_every_step(backbone):
    told: list[Progress] = []
    trained(config_of(backbone, steps=4), on_progress=told.append)
    assert [p.step for p in told] == [1, 2, 3, 4]
    assert told[-1].seconds_left == 0.0
    for one in told:
        assert re.fullmatch(r"step \d/4  loss \d+\.\d{4}  \d+\.\d pairs/s  \d+ s left", str(one))
    assert all(p.pairs_per_second > 0 and math.isfinite(p.loss) for p in told)


def test_learning_rate_warms_up_and_decays_to_nothing(backbone):
    config = config_of(backbone, steps=20, warmup=0.25, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(20)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 15)
    assert (np.diff(rates[5:]) < 0).all()
    constant = config.model_copy(update={"decay": "constant"})
    assert {learning_rate(constant, step) for step in range(5, 20)} == {1.0}


def test_adamw_is_torchs_own_and_vectors_do_not_decay(backbone):
    config = config_of(backbone, steps=1, warmup=0.0, learning_rate=0.1, weight_decay=0.5, clip_norm=1e9)
    encoder = Encoder.load(backbone)
    encoder.model.eval()
    run = training._Run(config, Mixture(config, Pool([make_pairs()])), encoder)
    before = {name: weight.detach().clone() for name, weight in encoder.model.named_parameters()}
    run.step(0)
    for name, weight in encoder.model.named_parameters():
        if weight.grad is None:
            continue
        # The first step of Adam moves every number by the learning rate against its gradient's sign.
        decay = 1 - 0.1 * (0.5 if weight.ndim >= 2 else 0.0)
        moved = weight.grad / (weight.grad.abs() + 1e-8)
        torch.testing.assert_close(weight.detach(), before[name] * decay - 0.1 * moved, rtol=1e-4, atol=1e-5)
