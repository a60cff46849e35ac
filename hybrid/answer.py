"""What a command prints with --json: one object on standard output, everything else on standard error."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def answer_channel(as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives what hands over the answer; without `as_json` that does nothing and output stays as it is."""
    sys.stdout.flush()
    if not as_json:
        yield lambda _: None
        sys.stdout.flush()
        return
    real = os.dup(1)  # libraries and child processes print to the descriptor itself
    os.dup2(2, 1)
    python_stdout, sys.stdout = sys.stdout, sys.stderr

    def answer(value: dict[str, Any]) -> None:
        with os.fdopen(os.dup(real), "w", encoding="utf-8") as out:
            out.write(json.dumps(finite(value), ensure_ascii=False) + "\n")

    try:
        yield answer
    finally:
        sys.stdout = python_stdout
        os.dup2(real, 1)
        os.close(real)


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number becomes null, and any sequence a list."""
    if isinstance(value, Mapping):
        return {key: finite(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
