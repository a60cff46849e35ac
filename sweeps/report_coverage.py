"""Languages whose script a backbone's tokenizer cannot see: which they are, and the means without them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid.scores import PRIMARY_MEASURE
from sweeps.plan import Plan
from sweeps.results import Results
from sweeps.series import REPORTED

UNKNOWN, TIED = 0.25, 0.05
"""A language is set apart if more than a quarter of its tokens are unknown, or if for more than a twentieth
of its queries the answer has the very tokens of another candidate."""


def coverage_rows(results: Results) -> list[dict[str, Any]]:
    """One row for each backbone, task and language that was measured, as `hybrid.coverage.Coverage` has it.

    Training changes no tokenizer, so the first trial of a backbone speaks for all.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in results.trials:
        for task, how in record.measured.items():
            for one in how.get("coverage") or ():
                key = (record.trial.backbone, task, str(one["language"]))
                tied = one["tied_queries"] / one["queries"] if one["queries"] else 0.0
                apart = bool(one["unknown_share"] > UNKNOWN or tied > TIED)
                row = {"backbone": key[0], "task": task, **one, "tied_share": tied, "apart": apart}
                rows.setdefault(key, row)
    return list(rows.values())


def means_apart(plan: Plan, results: Results, coverage: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Macro means of the primary measures, with all languages and without those set apart, if there are any.

    Cells that have such a language as the query's or the documents' are left out; the pool of a
    multilingual setting still holds its documents.
    """
    apart: dict[tuple[str, str], list[str]] = {}
    for row in coverage:
        if row["apart"]:
            apart.setdefault((row["backbone"], row["task"]), []).append(row["language"])
    backbone_of = {arm.alias: arm.backbone for arm in plan.arms}
    values: dict[tuple[str, str, str, str], list[tuple[float, bool]]] = {}
    for cell in results.cells.to_pylist():
        languages = apart.get((backbone_of.get(cell["arm"], ""), cell["task"]))
        if languages and cell["group"] in REPORTED and PRIMARY_MEASURE[cell["setting"]] == cell["measure"]:
            seen = cell["query_lang"] not in languages and cell["doc_lang"] not in languages
            key = (cell["arm"], cell["task"], cell["setting"], cell["measure"])
            values.setdefault(key, []).append((cell["value"], seen))
    return [
        {
            "arm": arm, "task": task, "setting": setting, "measure": measure,
            "apart": apart[backbone_of[arm], task],
            "all": float(np.mean([value for value, _ in found])),
            "without": float(np.mean([value for value, seen in found if seen]))
            if any(seen for _, seen in found) else None,
        }
        for (arm, task, setting, measure), found in values.items()
    ]  # fmt: skip
