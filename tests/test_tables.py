"""The four forms of a table, and that LaTeX and Markdown print any text as it stands."""

import csv
import io

import pytest

from sweeps.tables import Block, Cell, Row, Table, csv_text, latex, latex_text, markdown, number

NASTY = r"a&b %5 $x$ #1 my_arm {y} ~ ^2 \section <b> | * [0] `c`"
TABLE = Table(
    "results",
    "In-domain 50% & more",
    ["mono_ratio", "mAP", "Δ mAP"],
    [
        Block("batch_size 16", [Row([Cell("1"), Cell("71.2", value=0.712), Cell("reference")])]),
        Block(
            "batch_size 32",
            [
                Row(
                    [
                        Cell("0.5"),
                        Cell("70.0", "69.0 · 71.0", 0.7, seeds={"1": 0.69, "2": 0.71}),
                        Cell("−1.2", "−2.0 to −0.4", -0.012, -0.02, -0.004),
                    ]
                )
            ],
        ),
    ],
    ["Held fixed: learning_rate 5e-05."],
)


def test_latex_escapes_every_special_character():
    assert latex_text(NASTY) == (
        r"a\&b \%5 \$x\$ \#1 my\_arm \{y\} \textasciitilde{} \textasciicircum{}2 \textbackslash{}section "
        r"\textless{}b\textgreater{} \textbar{} * [0] `c`"
    )


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("−1.2", "$-$1.2"),
        ("1–2", "1--2"),
        ("a · b", r"a $\cdot$ b"),
        ("[0, 1]", "{}[0, 1]"),
        ("\\", r"\textbackslash{}"),
    ],
)
def test_latex_prints_signs_and_brackets(plain, escaped):
    assert latex_text(plain) == escaped


def test_latex_table_is_booktabs_with_a_heading_for_each_block():
    text = latex(TABLE)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert text.count(r"\midrule") == 2
    assert r"\multicolumn{3}{l}{\emph{batch\_size 32}} \\" in text
    assert r"0.5 & 70.0 (69.0 $\cdot$ 71.0) & $-$1.2 ($-$2.0 to $-$0.4) \\" in text
    assert r"\caption{In-domain 50\% \& more. Held fixed: learning\_rate 5e-05.}" in text
    assert text.count("{") == text.count("}")


def test_markdown_rows_have_the_columns_of_their_head_whatever_is_in_them():
    nasty = Table("n", NASTY, ["arm", "x"], [Block("", [Row([Cell(NASTY), Cell("1", value=1.0)])])])
    lines = [line for line in markdown(nasty).splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {line.replace(r"\|", "").count("|") for line in lines} == {3}
    assert "<b>" not in markdown(nasty).replace(r"\<b\>", "")


def test_markdown_repeats_the_block_in_each_row():
    assert r"| batch\_size 32 | 0.5 | 70.0 (69.0 · 71.0) | −1.2 (−2.0 to −0.4) |" in markdown(TABLE)


def test_csv_holds_the_numbers_behind_the_text():
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    assert rows[1] == {
        "block": "batch_size 32",
        "mono_ratio": "0.5",
        "mAP": "0.7",
        "mAP seed 1": "0.69",
        "mAP seed 2": "0.71",
        "Δ mAP": "-0.012",
        "Δ mAP lower": "-0.02",
        "Δ mAP upper": "-0.004",
    }
    assert rows[0]["Δ mAP"] == ""


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [(-1.25, 1, False, "−1.2"), (-0.04, 1, True, "0.0"), (0.04, 1, True, "0.0"), (2.0, 0, True, "+2")],
)
def test_numbers_have_a_true_minus_and_no_signed_zero(value, decimals, signed, text):
    assert number(value, decimals, signed=signed) == text
