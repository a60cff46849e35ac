"""What is exported loads, scores as recorded, trains again to the same weights and is registered once."""

import json

import numpy as np
import pytest
import yaml
from small_sweep import write_small_sweep

from hybrid.config import TrainConfig
from hybrid.errors import BadInput
from sweeps.choose import chosen_trial
from sweeps.export import export_winners
from sweeps.plan import make_plan, prepare_sweep
from sweeps.retrain import train_again
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.tracking_address import tracking_uri
from sweeps.trial import run_trial


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small sweep really run: its plan, store and data root."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_CACHE", str(folder / "cache"))
        spec, data_root = write_small_sweep(folder)
        sweep = read_spec(str(spec), (), data_root)
        prepare_sweep(sweep, data_root)
        store = Store(folder / "store")
        for trial in make_plan(sweep, store, data_root).todo:
            run_trial(trial, store, data_root)
        yield make_plan(sweep, store, data_root), store, data_root


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    plan, store, data_root = run
    return export_winners(plan, store, tmp_path_factory.mktemp("out") / "export", data_root=data_root)[0]


def test_the_written_model_gives_the_recorded_scores_to_the_last_bit(exported):
    assert exported.checked is not None
    assert (exported.checked.scores_that_differ, exported.checked.largest_difference) == (0, 0.0)


def test_it_loads_in_sentence_transformers(exported):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(exported.folder / "model"), device="cpu")
    vectors = model.encode(["how do I reset it?", "press the button"])
    assert vectors.shape == (2, 32)
    assert np.isfinite(vectors).all()


def test_best_yaml_is_the_whole_configuration_and_says_where_it_comes_from(run, exported):
    plan, _, _ = run
    document = yaml.safe_load((exported.folder / "best.yaml").read_text())
    trial = next(
        t for t in plan.trials if (t.arm.alias, t.seed) == (exported.choice.arm, exported.choice.seed)
    )
    assert TrainConfig.model_validate_json(json.dumps(document["train"])) == trial.train
    assert document["provenance"]["train_key"] == trial.train_key
    assert set(document["provenance"]["data_digests"]) == {"faq:train"}


def test_the_card_is_one_the_hub_reads(exported):
    """The Hub's own library reads the metadata and the results back, and finds nothing wrong with them."""
    from huggingface_hub import ModelCard

    card = ModelCard.load(str(exported.folder / "model" / "README.md"))
    data = card.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"]) == ("sentence-transformers", "sentence-similarity")
    assert (data["license"], data["license_name"]) == ("other", "unknown")
    results = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    document = json.loads((exported.folder / "certificate.json").read_text())
    [row] = [r for r in document["scores"] if (r["task"], r["measure"]) == ("bugs", "ndcg_at_10")]
    assert results["bugs", "ndcg_at_10"] == pytest.approx(row["value"], abs=1e-6)
    assert "## Verdict" in card.text


def test_the_certificate_says_what_was_made_of_what_and_how_to_make_it_again(run, exported):
    import hashlib

    plan, _, _ = run
    document = json.loads((exported.folder / "certificate.json").read_text())
    weights = (exported.folder / "model" / "model.safetensors").read_bytes()
    assert document["digests"]["model"] == {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    assert set(document["digests"]["tasks"]) == {"faq:dev", "faq:test", "bugs:train", "bugs"}
    assert all(document["digests"]["tasks"].values())
    assert set(document["digests"]["training"]) == {"faq:train"}
    assert document["spec"]["sha256"] == hashlib.sha256(plan.sweep.text.encode()).hexdigest()
    assert document["hardware"]["machine"]
    assert document["versions"]["torch"]
    assert document["reference"]["axes"]["mono_ratio"] == 1.0
    assert document["failures"] == {"done": 5}
    assert document["verdict"]["sentence"]
    assert document["retrained"] is None


def test_training_again_reproduces_every_score_and_the_command_says_so(run, tmp_path):
    """The check of `sweeps export --check`, on real training; and what it says of a configuration that is
    another."""
    plan, store, data_root = run
    [done] = export_winners(
        plan, store, tmp_path / "export", data_root=data_root, register=False, retrain=True
    )
    assert done.retrained is not None
    assert done.retrained.weights_identical
    assert done.retrained.agreement.scores_that_differ == 0
    assert done.retrained.agreement.tasks == ("faq:dev", "bugs:train", "faq:test", "bugs")
    assert "reproduces the scores: the same weights; all" in done.retrained.sentence
    document = json.loads((tmp_path / "export" / "certificate.json").read_text())
    assert document["retrained"]["reproduces"] is True
    config = tmp_path / "other.yaml"
    text = (tmp_path / "export" / "best.yaml").read_text()
    config.write_text(text.replace(f"  seed: {done.choice.seed}\n", "  seed: 99\n", 1))
    trial = chosen_trial(plan, done.choice)
    other = train_again(config, tmp_path / "export" / "model", trial, store, ["faq:test"], data_root)
    assert not other.weights_identical
    assert other.agreement.scores_that_differ > 0
    assert other.agreement.largest_difference > 0
    assert "other weights" in other.sentence
    assert not list(tmp_path.glob(".retrain*"))


def test_several_winners_have_a_folder_and_an_alias_each(run, tmp_path):
    from mlflow import MlflowClient

    plan, store, data_root = run
    winners = export_winners(plan, store, tmp_path / "export", each="mono_ratio", data_root=data_root)
    titles = ["champion-mono-ratio-1-0", "champion-mono-ratio-0-0"]
    assert [one.choice.title for one in winners] == titles
    named = json.loads((tmp_path / "export" / "winners.json").read_text())
    assert [one["folder"] for one in named] == titles
    for title in titles:
        assert (tmp_path / "export" / title / "model" / "model.safetensors").is_file()
        assert (tmp_path / "export" / title / "certificate.json").is_file()
    uri = tracking_uri(store, None)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    versions = {client.get_model_version_by_alias("small", title).version for title in titles}
    assert len(versions) == 2
    front = export_winners(
        plan, store, tmp_path / "export", front=True, data_root=data_root, register=False, check=False
    )
    assert {one.folder.name for one in front} == {path.parent.name for path in
                                                  (tmp_path / "export").glob("*/best.yaml")}  # fmt: skip
    with pytest.raises(BadInput, match="give one"):
        export_winners(plan, store, tmp_path / "x", each="mono_ratio", front=True)


def test_the_card_has_front_matter_of_the_hub_and_the_reported_scores(exported):
    _, front, body = (exported.folder / "model" / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["library_name"] == "sentence-transformers"
    assert card["pipeline_tag"] == "sentence-similarity"
    [index] = card["model-index"]
    datasets = {result["dataset"]["name"] for result in index["results"]}
    assert datasets == {"faq:test", "bugs"}  # the selection sets are no results
    assert all(m["value"] >= 0 for result in index["results"] for m in result["metrics"])
    assert exported.choice.rule in body
    assert "| faq:test | cross-lingual | mAP |" in body


def test_the_model_is_registered_once_with_its_alias_and_loads_from_there(run, exported, tmp_path):
    import mlflow
    from mlflow import MlflowClient

    plan, store, data_root = run
    [again] = export_winners(plan, store, tmp_path / "again", data_root=data_root)
    assert again.version == exported.version == "1"
    uri = tracking_uri(store, None)
    version = MlflowClient(tracking_uri=uri, registry_uri=uri).get_model_version_by_alias("small", "champion")
    assert version.version == 1 or version.version == "1"
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        model = mlflow.sentence_transformers.load_model("models:/small@champion")
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    assert model.get_embedding_dimension() == 32


def test_a_model_that_scores_differently_is_not_exported(run, tmp_path):
    """Scores of another model under its key: the check notices and nothing is written."""
    plan, store, data_root = run
    other = Store(tmp_path / "store")
    for path in store.list("models") + store.list("scores"):
        other.put_bytes(path, store.get_bytes(path))
    for trial in plan.trials:
        for key in trial.scores.values():
            table = other.scores(trial.train_key, key).drop_columns(["train_key"])
            values = table["value"].to_numpy() * 0.5
            at = table.schema.get_field_index("value")
            halved = table.set_column(at, table.schema.field("value"), [values])
            record = other.score_record(trial.train_key, key)
            extra = {name: record[name] for name in record if name not in ("sha256", "bytes", "rows")}
            other.put_scores(trial.train_key, key, halved, extra)
    with pytest.raises(BadInput, match="scores differently"):
        export_winners(plan, other, tmp_path / "export", data_root=data_root, register=False)
    assert not (tmp_path / "export").exists()


def test_files_of_somebody_else_are_not_replaced(run, tmp_path):
    plan, store, data_root = run
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BadInput, match="no earlier export"):
        export_winners(plan, store, tmp_path, data_root=data_root, register=False)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_mistakes_of_the_command_are_one_sentence_each(run, tmp_path):
    plan, store, data_root = run
    (tmp_path / "file").write_text("keep")
    with pytest.raises(BadInput, match="no earlier export"):
        export_winners(plan, store, tmp_path / "file", data_root=data_root, register=False)
    assert (tmp_path / "file").read_text() == "keep"
    with pytest.raises(BadInput, match="--each learning_rate: is no axis of small"):
        export_winners(plan, store, tmp_path / "x", each="learning_rate", register=False)
    assert not (tmp_path / "x").exists()


def test_training_from_best_yaml_gives_the_same_weights(run, exported):
    """`hybrid train best.yaml` reads this configuration; what it trains is the exported model."""
    from safetensors.numpy import load_file

    from hybrid.data.pairs import load_pairs
    from hybrid.encoder import Encoder
    from hybrid.train import train

    _, _, data_root = run
    document = yaml.safe_load((exported.folder / "best.yaml").read_text())
    config = TrainConfig.model_validate_json(json.dumps(document["train"]))
    encoder = Encoder.load(
        config.backbone,
        max_query_length=config.max_query_length,
        max_passage_length=config.max_passage_length,
    )
    train(config, [load_pairs(name, data_root, passage=config.passage) for name in config.data], encoder)
    encoder.save(exported.folder.parent / "again")
    before = load_file(exported.folder / "model" / "model.safetensors")
    after = load_file(exported.folder.parent / "again" / "model.safetensors")
    assert all(np.array_equal(before[name], after[name]) for name in before)
