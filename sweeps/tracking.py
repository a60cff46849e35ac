"""MLflow as a view of the store: what the store has, written to a tracking database or server.

The store is the record: a projection can be made again at any time,
twice gives the same as once, and from nothing gives the same again.

Two experiments: `<sweep>` with a run for each trial, those of earlier forms of the sweep included, and
`<sweep> · arms` with a run for each of its arms over its seeds. A run is found by its key tag before it
is created, so none is ever there twice.
"""

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.plan import Plan
from sweeps.projection import RunContent, arm_runs, report_runs, trial_runs
from sweeps.results import Results, load_results
from sweeps.store import Store
from sweeps.tracking_address import tracking_uri
from sweeps.tracking_client import tracking_client
from sweeps.tracking_lock import to_stderr

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, CONTENT = "sweeps.key", "sweeps.content"  # tags: whose run it is; digest of what was written

_KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens on runs, not on traces
_NOTES = {
    "trials": "One run for each trial. Group by the tag `arm` for the seeds of an arm.",
    "arms": "One run for each arm, means over its seeds. Scatter and parallel coordinates: `in_domain/mean` "
    "against `zero_shot/mean`, without the untouched backbones: `tags.untouched = 'false'`.",
    "report": "The report of the sweep, with its tables and figures, among the artifacts of its run.",
}
"""What an experiment's page says of it, after which sweep's it is."""


@dataclass
class Projected:
    """What a projection did."""

    uri: str
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    experiments: list[str] = field(default_factory=list)


def project(
    plan: Plan,
    store: Store,
    uri: str | None = None,
    *,
    results: Results | None = None,
    say: Callable[[str], None] = to_stderr,
) -> Projected:
    """Bring MLflow to show what the store has of a sweep.

    `uri`: a tracking server or database; by default the spec's, else SQLite in the store. `say` is told whom
    it waits for. Raises BadInput if it cannot be reached; the results are in the store all the same.
    """
    uri = tracking_uri(store, uri or plan.sweep.tracking.uri)
    results = results or load_results(plan, store, every_measure=False)
    done = Projected(uri)
    with tracking_client(uri, store, say) as client:
        _project(client, plan, "trials", trial_runs(plan, store, results), store, done)
        _project(client, plan, "arms", arm_runs(plan, results), store, done)
        _project(client, plan, "report", report_runs(plan, store), store, done)
    return done


def project_report(plan: Plan, store: Store, uri: str | None = None) -> Projected | None:
    """Attach the report in the store to the sweep's run, and nothing else. None where nothing is tracked:
    the default database is not there."""
    uri = uri or plan.sweep.tracking.uri
    if uri is None and (store.local is None or not (store.local / "mlflow.db").exists()):
        return None
    done = Projected(tracking_uri(store, uri))
    with tracking_client(done.uri, store) as client:
        _project(client, plan, "report", report_runs(plan, store), store, done)
    return done


def _project(
    client: "MlflowClient", plan: Plan, kind: str, runs: Iterable[RunContent], store: Store, done: Projected
) -> None:
    """Bring one experiment up to date; one that would be empty is not made."""
    experiment, known, created = "", {}, done.created
    for run in runs:
        if not experiment:
            experiment = _experiment(client, plan.sweep.name, kind, done.uri, store)
            done.experiments.append(experiment)
            known = _known_runs(client, experiment)
        _write_run(client, experiment, run, known.get(run.key), store, done)
    if done.created > created and done.uri.startswith("http"):
        _known_runs(client, experiment)  # a creation sent twice, its first answer lost, left a double


def register_model(
    plan: Plan,
    store: Store,
    uri: str | None,
    folder: Path,
    key: str,
    description: str,
    alias: str = "champion",
) -> str:
    """Register the exported model as a version of the sweep's model and point `alias` at it.

    `folder` holds the sentence-transformers model; `key` is the trial's key, whose run must have been
    projected. The same key again keeps its version. Returns the version. It loads with
    `mlflow.sentence_transformers.load_model("models:/<sweep>@champion")`.
    """
    uri = tracking_uri(store, uri or plan.sweep.tracking.uri)
    name = plan.sweep.name
    with tracking_client(uri, store) as client:
        from mlflow.exceptions import MlflowException

        experiment = _experiment(client, name, "trials", uri, store)
        run = _known_runs(client, experiment)[key]
        with contextlib.suppress(MlflowException):  # it is there already
            client.create_registered_model(name, description=f"Winner of the sweep {name}.")
        version = next(
            (
                one.version
                for one in client.search_model_versions(f"name = '{name}'")
                if one.tags.get(KEY) == key
            ),
            None,
        )
        if version is None:
            with tempfile.TemporaryDirectory() as temporary:
                _save_mlflow_model(folder, Path(temporary) / "model")
                client.log_artifacts(run.info.run_id, f"{temporary}/model", "model")
            version = client.create_model_version(
                name,
                source=f"{run.info.artifact_uri}/model",
                run_id=run.info.run_id,
                tags={KEY: key},
                description=description,
            ).version
        client.set_registered_model_alias(name, alias, str(version))
    return str(version)


def _save_mlflow_model(folder: Path, to: Path) -> None:
    """An MLflow model of a sentence-transformers folder, its requirements stated and not guessed."""
    from importlib.metadata import version

    import mlflow.sentence_transformers
    from sentence_transformers import SentenceTransformer

    from hybrid.loading import no_progress_bars

    needs = [f"{name}=={version(name)}" for name in ("sentence-transformers", "transformers", "torch")]
    with no_progress_bars():
        mlflow.sentence_transformers.save_model(
            SentenceTransformer(str(folder), device="cpu"), str(to), pip_requirements=needs
        )


def _experiment(client: "MlflowClient", sweep: str, kind: str, uri: str, store: Store) -> str:
    """The experiment's id; made, or brought back if somebody deleted it."""
    name = sweep if kind == "trials" else f"{sweep} · {kind}"
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    location = None  # a server decides
    if uri.startswith("sqlite:") and store.local is not None:
        location = (store.local / "mlartifacts" / hashlib.sha256(name.encode()).hexdigest()[:12]).as_uri()
    note = f"{_NOTES[kind]} A view of the store, which is the record; `sweeps sync` makes it again."
    tags = {**_KIND, "mlflow.note.content": note}
    return str(client.create_experiment(name, artifact_location=location, tags=tags))


def _known_runs(client: "MlflowClient", experiment: str) -> dict[str, "Run"]:
    """Key → run. Of several with one key the written one stays, else the oldest."""
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment], max_results=1000, page_token=token, order_by=["attributes.start_time ASC"]
        )
        for run in page:
            key = run.data.tags.get(KEY)
            if key is None:
                continue
            other = found.setdefault(key, run)
            if other is not run:
                written = CONTENT in run.data.tags and CONTENT not in other.data.tags
                found[key], double = (run, other) if written else (other, run)
                client.delete_run(double.info.run_id)
        token = page.token
        if not token:
            return found


def _write_run(
    client: "MlflowClient",
    experiment: str,
    run: RunContent,
    known: "Run | None",
    store: Store,
    done: Projected,
) -> None:
    """Create, extend or replace one run; a run that shows what it should is left alone."""
    content = run.digest()
    if known is not None and known.data.tags.get(CONTENT) == content and known.info.status == run.status:
        done.unchanged += 1
        return
    if known is not None and _in_the_way(known, run):
        client.delete_run(known.info.run_id)
        known = None
    if known is None:
        tags = {KEY: run.key, **run.tags}
        known = client.create_run(experiment, start_time=run.start_ms, tags=tags, run_name=run.name)
        done.created += 1
    else:
        done.updated += 1
    _fill(client, known, run, content, store)


def _in_the_way(known: "Run", run: RunContent) -> bool:
    """Whether the run holds what cannot be taken back: another parameter value, a metric no longer shown."""
    params, metrics = known.data.params, known.data.metrics
    changed = any(name in params and params[name] != value for name, value in run.params.items())
    return changed or not set(metrics) <= {*run.metrics, *run.curve} or known.info.run_name != run.name


def _fill(client: "MlflowClient", known: "Run", run: RunContent, content: str, store: Store) -> None:
    from mlflow.entities import Metric, Param, RunTag

    run_id, now = known.info.run_id, int(time.time() * 1000)
    metrics = [
        Metric(name, value, now, 0)
        for name, value in run.metrics.items()
        if known.data.metrics.get(name) != value
    ]
    if not set(run.curve) & set(known.data.metrics):  # a curve never changes
        for name, points in run.curve.items():
            metrics += [Metric(name, value, run.start_ms or now, step) for step, value in points]
    params = [Param(name, value) for name, value in run.params.items() if name not in known.data.params]
    tags = [RunTag(name, value) for name, value in run.tags.items() if known.data.tags.get(name) != value]
    if run.inputs and (known.inputs is None or len(known.inputs.dataset_inputs) < len(run.inputs)):
        _log_inputs(client, run_id, run)
    if run.artifacts:
        with tempfile.TemporaryDirectory() as folder:
            for path, source in run.artifacts.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(source if isinstance(source, bytes) else store.get_bytes(source))
            client.log_artifacts(run_id, folder)
    tags.append(RunTag(CONTENT, content))
    parts = [metrics[start : start + 900] for start in range(0, max(len(metrics), 1), 900)]
    for part in parts[:-1]:
        client.log_batch(run_id, part)
    client.log_batch(run_id, parts[-1], params, tags)  # its tag last: what was cut off is written again
    client.set_terminated(run_id, run.status, run.end_ms)


def _log_inputs(client: "MlflowClient", run_id: str, run: RunContent) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    client.log_inputs(
        run_id,
        [
            DatasetInput(
                Dataset(
                    name=one.name,
                    digest=one.digest[:36],
                    source_type="local",
                    source=json.dumps({"uri": one.name}),
                    profile=json.dumps(one.profile),
                ),
                tags=[InputTag("mlflow.data.context", one.context)],
            )
            for one in run.inputs
        ],
    )


def summary(done: Projected) -> Mapping[str, Any]:
    """What a projection did, for --json."""
    return {
        "uri": done.uri,
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "experiments": done.experiments,
    }
