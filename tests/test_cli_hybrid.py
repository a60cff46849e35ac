"""The command `hybrid`: what it writes, prints and refuses; the same command again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from small_data import write_small_data
from small_sweep import write_small_backbone

from hybrid import cli
from hybrid.config import TrainConfig
from hybrid.config_file import read_config, write_config
from hybrid.errors import BadInput
from hybrid.scores import SCHEMA


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, an encoder and a configuration."""
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    write_small_data(tmp_path / "data")
    write_small_backbone(tmp_path / "backbone")
    write(tmp_path / "config.yaml", backbone=str(tmp_path / "backbone"))
    return tmp_path


def write(path: Path, **changes: Any) -> Path:
    fields = {"data": ["faq:train"], "mono_ratio": 0.5, "batch_size": 4, "steps": 5, "seed": 1}
    path.write_text(yaml.safe_dump({"train": fields | changes, "provenance": {"sweep": "small"}}))
    return path


def train(place: Path, *more: str) -> int:
    out, root = str(place / "out"), str(place / "data")
    return cli.main(["train", str(place / "config.yaml"), "--out", out, "--data-root", root, *more])


def test_train_writes_model_configuration_curve_and_mixture(place, capfd):
    assert train(place) == 0
    out = place / "out"
    assert {path.name for path in out.iterdir()} == {
        "config.yaml", "curve.parquet", "mixture.json", "model", "record.json",
    }  # fmt: skip
    config, provenance = read_config(out / "config.yaml")
    assert config == read_config(place / "config.yaml")[0]
    assert provenance == {"sweep": "small"}
    assert pq.read_table(out / "curve.parquet")["step"].to_pylist() == [1, 2, 3, 4, 5]
    assert json.loads((out / "mixture.json").read_text())["batches"] == {"mono": 3, "cross": 2}
    captured = capfd.readouterr()
    assert "step 5/5  loss" in captured.err
    assert "5 steps in" in captured.out

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(out / "model"))
    assert model.encode(["a question"]).shape == (1, 32)


def test_adapter_early_stopping_and_merging_go_by_the_file(place, capfd):
    backbone = str(place / "backbone")
    more = {
        "stop_on": "faq:dev",
        "stop_every": 2,
        "stop_languages": ["en"],
        "adapter": "lora",
        "lora_rank": 2,
    }
    write(place / "config.yaml", backbone=backbone, merge=1.0, **more)
    assert train(place, "--json") == 0
    answer = json.loads(capfd.readouterr().out)
    looked = answer["early_stopping"]
    assert (looked["on"], looked["languages"]) == ("faq:dev", ["en"])
    assert [look["step"] for look in looked["looks"]] == [2, 4, 5]
    assert answer["model_key"] != answer["train_key"]

    from hybrid.encoder import Encoder

    untouched = Encoder.load(backbone).encode(["a question"], "query")  # merge 1.0: nothing of the training
    assert (Encoder.load(answer["model"]).encode(["a question"], "query") == untouched).all()


def test_the_mixture_that_was_asked_for_is_the_one_written(place):
    """Two sets two to one, pairs of languages two to one; negatives and repeats by the batch size."""
    for size in (2, 3):
        steps = 36 // size  # two epochs of 18 pairs
        write(
            place / "config.yaml", backbone=str(place / "backbone"), data=["faq:train", "faq:dev"],
            weights=[2.0, 1.0], language_pairs=["de->en=2", "en->de"], batch_size=size, steps=steps,
        )  # fmt: skip
        out = place / f"out-{size}"
        command = ["train", str(place / "config.yaml"), "--out", str(out), "--data-root", str(place / "data")]
        assert cli.main(command) == 0
        found = json.loads((out / "mixture.json").read_text())
        assert (found["batch_size"], found["steps"], found["epochs"]) == (size, steps, 2.0)
        assert found["batches"] == {"mono": steps // 2, "cross": steps // 2}
        cross = {name: n for name, n in found["pairs_by_language"].items() if name in ("de-en", "en-de")}
        assert sum(found["pairs_by_language"].values()) == 36
        assert sum(cross.values()) == 18
        assert abs(cross["de-en"] - 12) < steps // 2  # to within a row of every batch
        assert found["pairs_by_data"] == {"faq:train": 24, "faq:dev": 12}
        left_out = found["candidates_left_out"]
        assert found["effective_negatives_per_query"] == pytest.approx(size - 1 - left_out / 36)
        assert found["repeats_per_pair"]["mean"] == 36 / found["pool_pairs"] == 2.0
        assert len(pq.read_table(out / "curve.parquet")) == steps


def test_fields_that_count_only_beside_others_are_told(place, capfd):
    write(place / "config.yaml", backbone=str(place / "backbone"), patience=7, weights=[1.0, 2.0])
    assert train(place) == 2
    told = capfd.readouterr().err
    assert "patience: counts only with stop_on; add stop_on: xquad-r:dev or remove it." in told
    assert "weights: 2 numbers for 1 sets of `data`" in told


def test_a_finished_run_is_left_alone_and_says_so(place, capfd):
    assert train(place) == 0
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*")}
    capfd.readouterr()
    assert train(place) == 0
    assert "is finished; nothing to do" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*")} == before


def test_with_json_standard_output_is_one_object(place, capfd):
    assert train(place, "--json") == 0
    record = json.loads(capfd.readouterr().out)
    assert record["steps"] == 5
    assert record["model"] == str(place / "out" / "model")
    assert record["already_finished"] is False
    assert set(record) >= {"seconds", "peak_rss_mb", "resumed_from", "events", "train_key", "data_digests"}
    assert train(place, "--json") == 0
    assert json.loads(capfd.readouterr().out)["already_finished"] is True


def test_a_killed_run_goes_on_where_it_was(place):
    write(place / "config.yaml", backbone=str(place / "backbone"), steps=3000)
    command = [
        sys.executable, "-m", "hybrid", "train", str(place / "config.yaml"), "--out", str(place / "out"),
        "--data-root", str(place / "data"), "--checkpoint-seconds", "0.1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waited = time.monotonic()
    while not (place / "out" / "checkpoint").exists():
        assert process.poll() is None
        assert time.monotonic() - waited < 200
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (place / "out" / "model").exists()
    done = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stderr is not None
    first = done.stderr.readline()
    done.kill()
    done.communicate()
    assert first.startswith("step ")
    assert int(first.split()[1].split("/")[0]) > 1  # one from the beginning says step 1


def test_another_configuration_in_the_same_folder_is_refused(place, capfd):
    assert train(place) == 0
    write(place / "config.yaml", backbone=str(place / "backbone"), seed=2)
    assert train(place) == 2
    assert "holds a run with another seed; give another folder." in capfd.readouterr().err


def test_a_folder_with_other_files_is_refused(place, capfd):
    (place / "out").mkdir()
    (place / "out" / "thesis.tex").write_text("precious")
    assert train(place) == 2
    assert "holds other files" in capfd.readouterr().err


def test_every_mistake_of_a_file_is_told_with_its_line(place, capfd):
    (place / "config.yaml").write_text(
        "train:\n  backbone: minilm-l6\n  data: [faq:train]\n  mono_ratio: 1.5\n  batch_sise: 4\n"
        "  steps: many\n  seed: 1\n  precision: auto\nextra: 1\n"
    )
    assert train(place) == 2
    shown = capfd.readouterr().err.splitlines()
    file = place / "config.yaml"
    assert f"{file}:5: train.batch_sise: unknown; did you mean batch_size?" in shown
    assert f"{file}:9: extra: unknown; the sections are train and provenance." in shown
    assert {line.removeprefix(f"{file}:").split(": ")[1] for line in shown} == {
        "train.mono_ratio", "train.batch_sise", "train.batch_size", "train.steps", "train.precision", "extra",
    }  # fmt: skip
    assert not (place / "out").exists()


def test_unknown_backbone_and_data_are_told_together(place, capfd):
    write(place / "config.yaml", backbone="minilm-16", data=["fak:train"])
    assert train(place) == 2
    shown = capfd.readouterr().err
    assert "Did you mean 'minilm-l6'?" in shown
    assert "faq" in shown
    assert not (place / "out").exists()


def test_a_batch_larger_than_the_data_is_told_before_anything_is_written(place, capfd):
    write(place / "config.yaml", backbone=str(place / "backbone"), batch_size=512)
    assert train(place) == 2
    assert "batch_size: 512 needs as many pairs of different clusters" in capfd.readouterr().err
    assert not (place / "out").exists()


def test_a_run_that_diverges_fails_with_one_sentence(place, capfd):
    write(place / "config.yaml", backbone=str(place / "backbone"), learning_rate=1e30, warmup=0.0)
    assert train(place, "--json") == 1
    captured = capfd.readouterr()
    assert "lower learning_rate" in json.loads(captured.out)["failed"]
    assert "Traceback" not in captured.err


def test_evaluate_prints_cells_and_their_means(place, capfd):
    out = place / "scores" / "scores.parquet"
    arguments = [
        "evaluate", str(place / "backbone"), "--tasks", "faq:test,bugs", "--data-root", str(place / "data"),
    ]  # fmt: skip
    assert cli.main([*arguments, "--out", str(out), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert set(answer) == {"scores", "precision", "seconds", "peak_rss_mb"}
    for row in answer["scores"]:
        assert set(row) == {"task", "setting", "query_lang", "doc_lang", "measure", "value", "queries"}
    table = pq.read_table(out)
    assert table.column_names == SCHEMA.names
    rows = table.to_pylist()
    for row in answer["scores"]:
        keys = ["task", "setting", "measure"]
        keys += ["query_lang", "doc_lang"] if row["query_lang"] is not None else []
        same = [r["value"] for r in rows if all(r[key] == row[key] for key in keys)]
        assert len(same) == row["queries"]
        if row["query_lang"] is not None:
            assert row["value"] == pytest.approx(sum(same) / len(same))
    macro = {
        (row["task"], row["setting"], row["measure"]): row["value"]
        for row in answer["scores"]
        if row["query_lang"] is None
    }
    crossed = [
        row["value"]
        for row in answer["scores"]
        if (row["setting"], row["measure"]) == ("cross", "map") and row["query_lang"] is not None
    ]
    assert len(crossed) == 2
    assert macro["faq:test", "cross", "map"] == pytest.approx(sum(crossed) / 2)
    assert ("bugs", "beir", "ndcg_at_10") in macro
    assert cli.main(arguments) == 0
    assert "nDCG@10" in capfd.readouterr().out


def test_mistakes_of_evaluate_are_told_together(place, capfd):
    arguments = ["--tasks", "bugs,bugs,lows", "--data-root", str(place / "data")]
    assert cli.main(["evaluate", "minilm-16", *arguments, "--json"]) == 2
    captured = capfd.readouterr()
    mistakes = json.loads(captured.out)["mistakes"]
    assert len(mistakes) == 3
    assert captured.err.splitlines() == mistakes


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("train: [1, 2]\n", "train: is to hold the fields"),
        ("train: {a: b\n", "is no YAML"),
        ("", "train: is to hold"),
        ("train: {backbone: b}\nprovenance: 3\n", "provenance: is to be a mapping"),
    ],
)
def test_a_file_that_holds_no_configuration_is_refused(tmp_path, text, part):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(BadInput, match=part):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_config(tmp_path / "absent.yaml")


def test_a_configuration_is_read_as_it_was_written(tmp_path):
    config = TrainConfig(
        backbone="b", data=("x",), mono_ratio=0.25, batch_size=4, steps=9, seed=0, learning_rate=3e-5,
        languages=("no", "en"), chunk_size=None,
    )  # fmt: skip
    write_config(tmp_path / "c.yaml", config, {"when": "today"})
    assert read_config(tmp_path / "c.yaml") == (config, {"when": "today"})
    by_hand = (
        "train: {backbone: b, data: [x], mono_ratio: .25, batch_size: 4, steps: 9, seed: 0,"
        " learning_rate: 3e-5, languages: [no, en]}"
    )
    (tmp_path / "d.yaml").write_text(by_hand)
    assert read_config(tmp_path / "d.yaml") == (config, {})


def test_help_needs_no_torch():
    code = "import sys, hybrid.cli; hybrid.cli._parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "False"


def test_a_place_below_a_file_is_refused_before_any_work(place, capfd):
    (place / "file").write_text("")
    below = str(place / "file" / "scores.parquet")
    code = cli.main(
        [
            "evaluate",
            str(place / "backbone"),
            "--tasks",
            "bugs",
            "--data-root",
            str(place / "data"),
            "--out",
            below,
        ]
    )
    assert code == 2
    assert "give a place that can be written" in capfd.readouterr().err


def test_a_field_written_twice_is_refused(place, capfd):
    text = (place / "config.yaml").read_text()
    (place / "config.yaml").write_text(text.replace("  steps: 5\n", "  steps: 5\n  steps: 6\n"))
    assert train(place) == 2
    assert "steps is written twice" in capfd.readouterr().err
