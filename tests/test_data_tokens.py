"""Token ids on disk: the same rows, tokenised once."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hybrid.data.arrow import ArrowStrings
from hybrid.data.cache import cache_folder, locked
from hybrid.data.tokens import Ids, tokens_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))


class Letters:
    """Tokenises into letters, and counts the texts."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        self.seen += len(texts)
        return [np.array([ord(letter) for letter in text], np.int32) for text in texts]


def test_rows_come_back_as_they_were_and_are_tokenised_once() -> None:
    texts = [str(i) * (i % 5) for i in range(25_000)]
    tokenizer = Letters()
    rows = tokens_of(texts, tokenizer, key=["tokenizer", "texts", "query", 64])
    assert len(rows) == len(texts)
    for i in (0, 1, 5, 9_999, 10_000, 24_999, -1):
        assert rows[i].tolist() == [ord(letter) for letter in texts[i]]
    assert [row.tolist() for row in rows[3:5]] == [[51, 51, 51], [52, 52, 52, 52]]
    assert rows.lengths.tolist() == [len(text) for text in texts]
    again = tokens_of(iter_twice(texts), tokenizer, key=["tokenizer", "texts", "query", 64])
    assert all(np.array_equal(again[i], rows[i]) for i in range(len(texts)))
    assert tokenizer.seen == len(texts)
    tokens_of(texts, tokenizer, key=["tokenizer", "texts", "query", 32])
    assert tokenizer.seen == 2 * len(texts)
    tokens_of(texts[::-1], tokenizer, key=["tokenizer", "texts", "query", 64])
    assert tokenizer.seen == 3 * len(texts), "the same texts in another order are other rows"
    with pytest.raises(IndexError):
        rows[25_000]


def iter_twice(texts: list[str]) -> Sequence[str]:
    """The same texts as memory-mapped Arrow holds them."""
    return ArrowStrings(pa.chunked_array([pa.array(texts[:7]), pa.array(texts[7:])]))


def test_rows_are_mapped_and_not_read(tmp_path: Path) -> None:
    rows = tokens_of(["abc"] * 20_000, Letters(), key=["mapped"])
    (file,) = (tmp_path / "cache" / "tokens").glob("*/ids.arrow")
    assert not rows[0].flags.owndata
    assert not rows[0].flags.writeable
    assert str(file) in Path("/proc/self/maps").read_text()


def test_a_text_that_is_missing_has_no_tokens_and_no_one_else_s_place() -> None:
    rows = tokens_of(["a", None, "b"], Letters(), key=["missing"])
    assert [row.tolist() for row in rows] == [[97], [], [98]]


def test_processes_that_ask_at_once_tokenise_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from hybrid.data.tokens import tokens_of\n"
        "def slow(texts):\n"
        "    Path(sys.argv[1], str(time.time_ns())).touch(); time.sleep(0.5)\n"
        "    return [np.ones(3, np.int32) for _ in texts]\n"
        "print(len(tokens_of(['x'] * 10, slow, key=['shared'])[9]))"
    )
    calls = tmp_path / "calls"
    calls.mkdir()
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(calls)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["3"] * 3
    assert len(list(calls.iterdir())) == 1


def test_who_waits_for_another_process_says_so() -> None:
    told: list[float | None] = []
    waits = threading.Event()

    def tell(share: float | None) -> None:
        told.append(share)
        waits.set()

    with ThreadPoolExecutor(1) as pool:
        tokens_of(["a"], Letters(), key=["other"])  # makes the folder
        (made,) = (path.parent for path in (cache_folder() / "tokens").glob("*/ids.arrow"))
        with locked(made):
            made.rename(made.with_name("away"))
            asked = pool.submit(tokens_of, ["a"], Letters(), key=["other"], told=tell)
            assert waits.wait(60)
            assert set(told) == {None}
        assert asked.result()[0].tolist() == [97]
    assert told[-1] == 1.0


def test_no_texts_and_texts_without_tokens() -> None:
    assert len(tokens_of([], Letters(), key=["none"])) == 0
    assert tokens_of([""], Letters(), key=["empty"])[0].tolist() == []
