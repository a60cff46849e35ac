"""Nothing read is executed, secrets are not written, damaged data files give sentences and nothing else."""

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import write_small_data

from hybrid.data.pairs import load_pairs
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput
from sweeps.failures import describe
from sweeps.secrets import redacted
from sweeps.spec import read_spec
from sweeps.submit import submit_sweep

ROOT = Path(__file__).parents[1]
EXECUTES = {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
UNPICKLES = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in both packages: where it stands and what is called."""
    for path in sorted([*(ROOT / "hybrid").rglob("*.py"), *(ROOT / "sweeps").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.func)}", node


def test_nothing_is_unpickled_or_executed() -> None:
    found = []
    for where, node in calls():
        name = where.partition(" ")[2]
        options = {one.arg: ast.unparse(one.value) for one in node.keywords}
        safe = name == "yaml.load" and options.get("Loader") == "Yaml12Loader"  # a SafeLoader
        found += [where] if (name in EXECUTES and not safe) or name.partition(".")[0] in UNPICKLES else []
        found += [where] if name == "torch.load" and options.get("weights_only") != "True" else []
        found += [where] if options.get("allow_pickle", "False") != "False" else []
        found += [where] if options.get("trust_remote_code") == "True" else []
        found += [where] if options.get("shell", "False") != "False" or name == "os.system" else []
        found += [where] if name.endswith((".extractall", ".extract")) else []
    assert found == []


def test_nothing_of_ours_listens_elsewhere_than_on_loopback() -> None:
    texts = [*(ROOT / "sweeps").glob("*.py"), *ROOT.glob("cluster*.yaml")]
    assert [path.name for path in texts if "0.0.0.0" in path.read_text(encoding="utf-8")] == []


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcd/efgh+1234567")
    monkeypatch.setenv("NOT_SO", "abcdefgh")
    text = "s3://me:word@bucket/x and https://me:pass%20word@host:5000/, abcd/efgh+1234567; abcdefgh"
    assert redacted(text) == (
        "s3://***@bucket/x and https://***@host:5000/, $AWS_SECRET_ACCESS_KEY; abcdefgh"
    )
    record = describe(RuntimeError("no access with abcd/efgh+1234567 at postgresql://me:word@host/db"))
    assert "efgh+" not in json.dumps(record)
    assert "me:word" not in json.dumps(record)


def test_a_password_in_the_sweep_file_or_a_submitted_store_is_refused(tmp_path: Path) -> None:
    data_root = write_small_data(tmp_path / "data")
    spec = tmp_path / "a.yaml"
    text = (
        "name: a\naxes: {grid: {mono_ratio: [1.0]}}\ntrain: {data: [faq:train]}\n"
        "evaluate: {zero_shot: [bugs]}\n"
    )
    spec.write_text(text)
    sweep = read_spec(str(spec), [], data_root)
    with pytest.raises(BadInput, match="user or password") as refused:
        submit_sweep(sweep, "http://127.0.0.1:1", store="s3://me:word@bucket/x")
    assert "word@" not in str(refused.value)
    spec.write_text(text + "tracking: {uri: 'https://me:word@host:5000'}\n")
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_PASSWORD") as refused:
        read_spec(str(spec), [], data_root)
    assert "me:word" not in str(refused.value)


FILES = ("faq/de.json", "bugs/corpus.jsonl", "bugs/queries.jsonl", "bugs/qrels/test.tsv")
ODD = [b"", b"\x00", b"\xff\xfe", b'"', b"}", b"[", b"{", b"\t", b"\n", b"null", b"-1", b"1e999", b"../../x",
       b"<script>", b"\\ud800", "ü".encode(), b'{"_id": 1}', b"q3\td3\tx\n", b"x" * 5000]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_CACHE", str(folder / "cache"))
        write_small_data(folder / "whole")
        yield folder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_data_files_give_sentences_and_write_nothing_outside_the_cache(
    data: st.DataObject, world: Path
) -> None:
    root = world / "data"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(world / "whole", root)
    for _ in range(data.draw(st.integers(1, 3))):
        path = root / data.draw(st.sampled_from(FILES))
        content = path.read_bytes()
        at = data.draw(st.integers(0, len(content)))
        end = data.draw(st.sampled_from([at, at, at + 1, at + 20, len(content)]))
        put = data.draw(st.sampled_from(ODD) | st.binary(max_size=8))
        path.write_bytes(content[:at] + put + content[end:])
    before = sorted(str(path) for path in world.rglob("*") if world / "cache" not in path.parents)
    for read in (
        lambda: load_pairs("faq:train", root),
        lambda: load_task("faq:test", root),
        lambda: load_task("bugs", root),
    ):
        try:
            read()
        except BadInput as error:
            for sentence in error.mistakes:
                assert sentence.splitlines() == [sentence]
    after = sorted(str(path) for path in world.rglob("*") if world / "cache" not in path.parents)
    assert set(after) - set(before) <= {str(world / "cache")}
