"""Values of axes in words, the same wherever a person reads them."""

from pathlib import Path

from small_sweep import write_small_sweep
from sweep_process import planned

from sweeps.axis_words import axes_words, value_words
from sweeps.series import blocks_of


def test_values_are_words_and_not_what_python_prints() -> None:
    assert value_words("languages", None) == "all"
    assert value_words("weights", None) == "by size"
    assert value_words("chunk_size", None) == "none"
    assert value_words("languages", ("en", "de")) == "en + de"
    assert axes_words({"mono_ratio": 1.0, "learning_rate": 5e-5}) == "mono_ratio 1, learning_rate 5e-05"


def test_blocks_of_a_report_are_named_in_words(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    spec.write_text(spec.read_text().replace("grid: {", "grid: {languages: [null, [de, en]], "))
    titles = [block["title"] for block in blocks_of(planned(tmp_path / "store", spec, data_root))]
    assert titles == ["languages all", "languages de + en"]
